"""Shards: how records are cut into files, and what one file holds."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climb_hf import catalog, shards
from climb_hf.builder import gather
from climb_hf.collect import Placed
from climb_hf.config import ClimbConfig
from climb_hf.errors import CorruptFileError
from climb_hf.io.tree import RawTree
from climb_hf.rows import Request, build_row
from climb_hf.schema import Example, SeriesFile, disk_features

pytest.importorskip("wfdb")

CARD = catalog.get("georgia").card
ROOT = Path("raw")


def tree_of(sizes):
    """A tree that names files of given sizes, and its records; nothing lies on disk."""
    files = tuple((f"r{index:04d}.mat", size, 1) for index, size in enumerate(sizes))
    placed = [
        Placed(
            CARD.name,
            Example(path[:-4], series=(SeriesFile(ROOT / path, "wfdb"),)),
            split="train" if index % 3 else "test",
            split_origin="derived",
            asked=bool(index % 4),
        )
        for index, (path, _, _) in enumerate(files)
    ]
    return RawTree(ROOT, files), sorted(placed, key=lambda p: not p.asked)


def plan_of(tree, placed, **more):
    return shards.plan_source(CARD, tree, placed, Request(), code="c", **more)


def plan_raw(root, shard_mb=1.0, source="georgia", **options):
    """The plan of a source's raw files."""
    config = ClimbConfig(name=source, sources=(source,), **options)
    (found,) = gather(config, Path(root))
    return shards.plan_source(
        found.source.card,
        found.tree,
        found.placed,
        config.request(source),
        code="c",
        shard_bytes=int(shard_mb * 1e6),
        on_error=config.on_error,
    )


def all_records(plan):
    return [placed.id for shard in plan.shards for placed in shard.records]


@pytest.fixture(scope="module")
def plan(ecg_tree):
    return plan_raw(ecg_tree.root)


@pytest.fixture(scope="module")
def written(plan, tmp_path_factory):
    """The folder with every shard of the plan, and what was said of each."""
    out = tmp_path_factory.mktemp("written")
    return out, [shards.write_shard(shard, out) for shard in plan.shards]


@pytest.fixture
def own_georgia(ecg_tree, tmp_path):
    return shutil.copytree(ecg_tree.root / "georgia", tmp_path / "elsewhere" / "georgia")


# --- planning --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 2000))
def test_every_record_is_in_one_shard_and_their_order_is_kept(sizes, target):
    tree, placed = tree_of(sizes)
    plan = plan_of(tree, placed, shard_bytes=target)
    assert sorted(all_records(plan)) == sorted(p.id for p in placed)
    for split in ("train", "test"):
        rows = [p.id for s in plan.shards if s.split == split for p in s.records]
        assert rows == [p.id for p in placed if p.split == split]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 2000))
def test_a_shard_holds_about_the_bytes_that_were_asked_for(sizes, target):
    tree, placed = tree_of(sizes)
    plan = plan_of(tree, placed, shard_bytes=target)
    # A shard begins with the first record past its share, so it holds at most one record more.
    assert all(shard.raw_bytes <= target + max(sizes) for shard in plan.shards)
    assert sum(shard.raw_bytes for shard in plan.shards) == plan.raw_bytes == sum(sizes)


def test_names_number_the_shards_of_each_split_and_keep_questions_apart():
    tree, placed = tree_of([100] * 24)
    plan = plan_of(tree, placed, shard_bytes=300)
    names = [Path(shard.path).name for shard in plan.shards]
    assert [name for name in names if name.startswith("train-")] == [
        f"train-{index:05d}-of-00004.parquet" for index in range(4)
    ]
    assert "test_no_question-00000-of-00001.parquet" in names
    assert all(p.asked is shard.asked for shard in plan.shards for p in shard.records)


def test_windows_of_one_recording_share_its_bytes():
    series = [SeriesFile(ROOT / "long.dat", "wfdb", start_s=10.0 * i) for i in range(10)]
    placed = [
        Placed(CARD.name, Example(f"long/{i}", series=(one,)), "train", "derived")
        for i, one in enumerate(series)
    ]
    plan = plan_of(RawTree(ROOT, (("long.dat", 1000, 1),)), placed, shard_bytes=500)
    assert [len(shard.records) for shard in plan.shards] == [5, 5]
    assert plan.raw_bytes == 1000


def test_a_header_that_is_named_stands_for_its_signal():
    tree = RawTree(ROOT, (("a.dat", 900, 1), ("a.hea", 10, 1), ("b.dat", 70, 1)))
    example = Example("a", series=(SeriesFile(ROOT / "a.hea", "wfdb"),))
    plan = plan_of(tree, [Placed(CARD.name, example, "train", "derived")])
    assert plan.raw_bytes == 910


def test_records_that_stand_in_a_table_share_its_bytes():
    placed = [Placed(CARD.name, Example(f"row{i}"), "train", "derived") for i in range(10)]
    plan = plan_of(RawTree(ROOT, (("table.csv", 1000, 1),)), placed, shard_bytes=500)
    assert [len(shard.records) for shard in plan.shards] == [5, 5]
    assert plan.raw_bytes == 1000


CHANGES = {
    "size": lambda tree, placed: (replace(tree, files=((*tree.files[0][:1], 7, 1),)), placed),
    "split": lambda tree, placed: (tree, [replace(placed[0], split_origin="official")]),
    "codes": lambda tree, placed: (
        tree,
        [replace(placed[0], example=replace(placed[0].example, native=("1",)))],
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_decides_a_row_decides_the_folder(change):
    tree, placed = tree_of([5])
    assert plan_of(tree, placed).folder != plan_of(*change(tree, placed)).folder


@pytest.mark.parametrize(
    "more", [{"length": "raw"}, {"rate_hz": 250.0}, {"label_set": "native"}], ids=str
)
def test_whatever_is_asked_decides_the_folder(ecg_tree, plan, more):
    assert plan_raw(ecg_tree.root, **more).folder != plan.folder


def test_the_folder_and_times_of_the_raw_files_do_not(own_georgia, plan):
    os.utime(next(own_georgia.rglob("E00002.mat")), ns=(1, 1))
    moved = plan_raw(own_georgia.parent)
    assert moved.folder == plan.folder
    assert [s.digest for s in moved.shards] == [s.digest for s in plan.shards]
    # The times are noticed all the same.
    assert [s.seen for s in moved.shards] != [s.seen for s in plan.shards]


# --- one shard -------------------------------------------------------------------------------


def test_a_shard_has_the_stored_schema_and_its_rows_in_order(plan, written):
    out, made = written
    for shard, told in zip(plan.shards, made, strict=True):
        table = pq.read_table(out / shard.path)
        assert table.schema.equals(disk_features().arrow_schema)
        assert table.num_rows == told.rows
        lost = {fault.record for fault in told.faults}
        kept = [placed.id for placed in shard.records if placed.example.record not in lost]
        assert table["id"].to_pylist() == kept


def test_a_row_is_what_the_row_builder_says(plan, written):
    out, _ = written
    shard = plan.shards[0]
    stored = pq.read_table(out / shard.path).to_pylist()
    for placed, row in zip(shard.records, stored, strict=True):
        want = build_row(CARD, placed.example, shard.request, placed.split_origin)
        assert row["series"] == want["series"]
        assert (row["labels"], row["answer"]) == (want["labels"], want["answer"])
        assert json.loads(row["meta"]) == want["meta"]


def test_what_is_said_of_a_shard_is_so(written):
    import hashlib

    out, made = written
    for shard in made:
        content = (out / shard.path).read_bytes()
        assert shard.n_bytes == len(content)
        assert shard.sha256 == hashlib.sha256(content).hexdigest()


def test_a_shard_is_written_as_readers_like_it(plan, written):
    out, _ = written
    columns = pq.read_metadata(out / plan.shards[0].path).row_group(0)
    for index in range(columns.num_columns):
        column = columns.column(index)
        assert column.compression == "ZSTD"
        assert column.dictionary_page_offset is None
        assert column.has_offset_index


def test_row_groups_are_bounded_by_bytes(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 300_000)  # two signals of 120 kB, not three
    shard = shards.write_shard(plan.shards[0], tmp_path)
    metadata = pq.read_metadata(tmp_path / shard.path)
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert set(sizes[:-1]) == {2}
    assert sum(sizes) == shard.rows


def test_the_same_records_give_the_same_bytes_wherever_they_lie(own_georgia, written, tmp_path):
    _, made = written
    os.utime(next(own_georgia.rglob("E00002.hea")), ns=(1, 1))
    moved = plan_raw(own_georgia.parent)
    again = [shards.write_shard(shard, tmp_path / "out") for shard in moved.shards]
    assert again == made


def test_a_shard_describes_itself_without_naming_a_folder_of_this_machine(plan, written, ecg_tree):
    out, _ = written
    for shard in plan.shards:
        content = (out / shard.path).read_bytes()
        assert str(ecg_tree.root).encode() not in content
        footer = json.loads(pq.read_metadata(out / shard.path).metadata[b"climb_hf"])
        assert (footer["digest"], footer["source"]) == (shard.digest, "georgia")
        assert footer["schema_version"] == "1.0.0"


def damage_the_unit(georgia, record="E00002"):
    """A fault that is found when samples are read: a pressure is no voltage."""
    header = next(georgia.rglob(f"{record}.hea"))
    header.write_text(header.read_text().replace("/mV", "/mmHg"))


def test_a_record_found_damaged_late_stands_in_the_footer(own_georgia, tmp_path):
    damage_the_unit(own_georgia)
    plan = plan_raw(own_georgia.parent)
    (shard,) = [s for s in plan.shards if "georgia/E00002" in [p.id for p in s.records]]
    told = shards.write_shard(shard, tmp_path / "out")
    (fault,) = told.faults
    assert (fault.record, fault.kind) == ("E00002", "damaged")
    assert "mmHg" in fault.reason
    assert not Path(fault.path).is_absolute()
    assert told.rows == len(shard.records) - 1
    assert shards.finished(shard, tmp_path / "out") == told


def test_on_error_raise_leaves_no_file(own_georgia, tmp_path):
    damage_the_unit(own_georgia)
    plan = plan_raw(own_georgia.parent)
    (shard,) = [s for s in plan.shards if "georgia/E00002" in [p.id for p in s.records]]
    with pytest.raises(CorruptFileError, match="E00002"):
        shards.write_shard(replace(shard, on_error="raise"), tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


# --- is it finished? -------------------------------------------------------------------------


@pytest.fixture
def one(plan, written, tmp_path):
    """A finished shard of its own: its plan and the folder."""
    shutil.copytree(written[0], tmp_path / "own")
    return plan.shards[0], tmp_path / "own"


def test_a_finished_shard_is_known_again(plan, written):
    out, made = written
    assert [shards.finished(shard, out) for shard in plan.shards] == made


def cut_in_half(shard, out):
    path = out / shard.path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return shard


def overwrite_the_footer(shard, out):
    path = out / shard.path
    path.write_bytes(path.read_bytes()[:-40] + b"\0" * 40)
    return shard


def remove(shard, out):
    (out / shard.path).unlink()
    return shard


def forget_what_it_was_made_of(shard, out):
    (out / ".climb" / f"{shard.path}.json").unlink()
    return shard


def ask_something_else(shard, out):
    return replace(shard, digest="0" * 64)


def touch_a_raw_file(shard, out):
    return replace(shard, seen="0" * 64)


NOT_FINISHED = (
    cut_in_half,
    overwrite_the_footer,
    remove,
    forget_what_it_was_made_of,
    ask_something_else,
    touch_a_raw_file,
)


@pytest.mark.parametrize("harm", NOT_FINISHED, ids=lambda harm: harm.__name__)
def test_any_other_shard_is_not(one, harm):
    shard, out = one
    assert shards.finished(harm(shard, out), out) is None
