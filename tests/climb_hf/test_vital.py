"""Released conversations about figures: what the battery cannot know of them."""

from __future__ import annotations

import json

import pytest

from climb_hf import catalog
from climb_hf.errors import CorruptFileError, DataNotFoundError
from climb_hf.io.json_records import array_of
from climb_hf.io.tree import walk
from climb_hf.loading import load_dataset
from climb_hf.schema import Fault

NAME = "BioMed-VITAL-instructions-210K.json"


@pytest.fixture
def root(tmp_path, load_fake):
    """A folder with a tree of six records, as `data_dir`."""
    load_fake("vital").make(tmp_path / "vital", n=6)
    return tmp_path


def found_in(root, **options):
    source = catalog.get("vital")
    asked = source.card.check_options(options)
    return [*source.read(walk(root / "vital"), asked)]


def listed_of(root):
    return json.loads((root / "vital" / NAME).read_text("utf-8"))


def write_list(root, listed, name=NAME):
    (root / "vital" / name).write_text(json.dumps(listed), "utf-8")


def test_what_is_said_is_a_column_without_place_holders(made):
    tree = made("vital")
    truth = tree.manifests["vital"]["records"]
    splits = load_dataset("climb", "vital", data_dir=str(tree.root), decode=False)
    rows = {row["id"].split("/", 1)[1]: row for part in splits.values() for row in part}
    assert set(rows) == set(truth)
    for record, row in rows.items():
        turns = [(turn["role"], turn["content"]) for turn in row["messages"]]
        assert turns == truth[record]["turns"]


def test_talks_about_one_figure_are_in_one_split(made):
    splits = load_dataset("climb", "vital", data_dir=str(made("vital").root), decode=False)
    where = {}
    for split, part in splits.items():
        for row in part:
            where.setdefault(row["meta"]["image"], set()).add(split)
    assert len(where) < sum(map(len, splits.values()))
    assert all(len(found) == 1 for found in where.values())


def test_text_alone_is_kept_where_asked_and_each_figure_counted(root):
    for figure in (root / "vital" / "images").iterdir():
        figure.unlink()
    found = found_in(root, allow_missing_images=True)
    faults = [one for one in found if isinstance(one, Fault)]
    records = [one for one in found if not isinstance(one, Fault)]
    assert len(records) == 6
    assert not any(one.images for one in records)
    assert all(one.messages for one in records)
    assert {f.record for f in faults} == {f"{one.record}_image" for one in records}
    assert {f.kind for f in faults} == {"missing"}


def test_a_release_without_any_figure_is_refused(root):
    for figure in (root / "vital" / "images").iterdir():
        figure.unlink()
    with pytest.raises(DataNotFoundError, match="all 6 records"):
        load_dataset("climb", "vital", data_dir=str(root))


def test_another_talk_under_the_same_id_is_kept_under_its_own(root):
    listed = listed_of(root)
    other = json.loads(json.dumps(listed[1]))
    other["conversations"][1]["value"] = "Something else."
    write_list(root, [*listed, other])
    records = [one.record for one in found_in(root)]
    assert len(set(records)) == 7
    assert records[-1].startswith(f"{other['id']}.")


def test_a_smaller_part_beside_the_whole_adds_copies_only(root):
    before = {one.record for one in found_in(root)}
    write_list(root, listed_of(root)[:3], "BioMed-VITAL-instructions-60K.json")
    found = found_in(root)
    assert {one.record for one in found if not isinstance(one, Fault)} == before
    assert [one.kind for one in found if isinstance(one, Fault)] == ["copy"] * 3


def test_keys_that_nobody_knows_are_kept(root):
    listed = listed_of(root)
    listed[0]["in_text_mention"] = ["as Fig. 1 shows"]
    listed[0]["fig_caption"] = "A spot."
    write_list(root, listed)
    first = found_in(root)[0]
    assert first.meta["in_text_mention"] == ["as Fig. 1 shows"]
    assert first.text == "A spot."


def test_a_list_cut_in_the_middle_gives_what_stands_before(root):
    path = root / "vital" / NAME
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    *records, fault = found_in(root)
    assert 0 < len(records) < 6
    assert fault.kind == "damaged"
    assert f"after {len(records)} entries" in fault.reason


def test_an_array_is_read_across_the_ends_of_what_is_read_at_once(tmp_path):
    entries = [{"n": n, "text": 'é] ,{"' * (n % 7) * 9000} for n in range(60)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(entries, ensure_ascii=False, indent=2), "utf-8")
    assert path.stat().st_size > 4 << 20
    assert list(array_of(path)) == entries


@pytest.mark.parametrize(
    "text", ["", "{}", "[1 2]", "[1,", '[{"a": 1}', "[nul]", "\ufeff", "<html>"]
)
def test_what_is_no_whole_array_is_named(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, "utf-8")
    with pytest.raises(CorruptFileError, match=r"a\.json is no whole JSON array"):
        list(array_of(path))


@pytest.mark.parametrize("text", ["[]", " [ ] ", "[1]", "[1, 23]\n", "\ufeff[[], {}, 4.5]"])
def test_whole_arrays_are_read(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, "utf-8")
    assert list(array_of(path)) == json.loads(text.lstrip("\ufeff"))
