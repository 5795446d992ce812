"""Sources of images: splits that keep lesions and twins together, layouts, the group's config."""

from __future__ import annotations

import shutil

import pytest
from datasets import Image, List
from PIL import Image as Pillow

from climb_hf import catalog, cli
from climb_hf.errors import TooManyBadRecordsError
from climb_hf.loading import load_dataset
from climb_hf.testing import Subject, run_check

SKIN = ("ham10000", "isic2020", "pad_ufes_20")


@pytest.fixture
def tree_of(tmp_path, load_fake):
    """A function that makes a source's tree, by any of its makers, for this test alone."""

    def of(name, make="make", **how):
        root = tmp_path / name
        return root, getattr(load_fake(name), make)(root / name, **how)

    return of


@pytest.fixture
def skin(tmp_path, load_fake):
    """A folder with the made trees of the three skin sources."""
    for name in SKIN:
        load_fake(name).make(tmp_path / "raw" / name, n=12)
    return tmp_path / "raw"


def rows_of(root, name, **options):
    with_splits = load_dataset("climb", name, data_dir=str(root), **options)
    return {
        row["id"].split("/")[1]: (split, row) for split in with_splits for row in with_splits[split]
    }


def test_images_of_a_lesion_stay_in_one_split(tree_of):
    root, _ = tree_of("ham10000", n=40)
    splits = {}
    for split, row in rows_of(root, "ham10000").values():
        splits.setdefault(row["meta"]["lesion_id"], set()).add(split)
    assert len(splits) == 20
    assert {len(names) for names in splits.values()} == {1}
    assert {name for names in splits.values() for name in names} == {"train", "test"}


def test_the_challenges_tables_say_what_the_dataverses_do(tree_of):
    root, truth = tree_of("ham10000", "make_challenge", n=16)
    subject = Subject(catalog.get("ham10000"), root, truth)
    for check in ("labels_are_the_makers", "images_keep_their_bytes", "layouts_are_found"):
        assert run_check(check, subject).outcome == "passed"
    lesions = {placed.example.group for placed in subject.placed}
    subject.close()
    assert len(lesions) == 8


def test_two_layouts_in_one_folder_give_each_image_once(tree_of):
    root, truth = tree_of("ham10000", n=8)
    tree_of("ham10000", "make_challenge", n=8)
    shutil.rmtree(root / "ham10000" / "ISIC2018_Task3_Training_Input")
    subject = Subject(catalog.get("ham10000"), root, truth)
    for check in ("counts_are_the_makers", "labels_are_the_makers"):
        assert run_check(check, subject).outcome == "passed"
    subject.close()


def test_the_seven_diagnoses_are_a_label_set(tree_of):
    root, _ = tree_of("ham10000", n=16)
    found = load_dataset("climb", "ham10000", data_dir=str(root), label_set="ham7", split="all")
    names = found.features["label"].names
    assert names == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert [names[row["label"]] for row in found] == [row["native_labels"][0] for row in found]


def test_a_pair_of_duplicates_that_is_kept_stays_in_one_split(tree_of):
    options = {"isic2020": {"drop_duplicates": False}}
    root, _ = tree_of("isic2020", n=24)
    rows = rows_of(root, "isic2020", options=options)
    first, second = rows["ISIC_2637011"], rows["ISIC_7777777"]
    assert first[1]["patient_id"] != second[1]["patient_id"]
    assert first[0] == second[0]
    assert "ISIC_7777777" not in rows_of(root, "isic2020")


def test_the_first_version_of_the_table_suffices(tree_of):
    root, truth = tree_of("isic2020", n=8)
    (root / "isic2020" / "ISIC_2020_Training_GroundTruth_v2.csv").unlink()
    rows = rows_of(root, "isic2020")
    assert set(rows) == set(truth["records"])
    assert "lesion_id" not in rows["ISIC_2637011"][1]["meta"]


def test_images_of_a_broken_archive_are_damaged_not_missing(tree_of):
    root, truth = tree_of("pad_ufes_20", n=16)
    archive = root / "pad_ufes_20" / "imgs_part_1.zip"
    archive.write_bytes(archive.read_bytes()[:500])
    subject = Subject(catalog.get("pad_ufes_20"), root)
    placed, report = subject.index()
    subject.close()
    assert report.count("damaged") == 4
    assert report.count("missing") == 0
    assert "imgs_part_1.zip cannot be opened" in report.faults[0].reason
    assert len(placed) == len(truth["records"]) - 4


def test_equal_images_with_different_grades_stay_in_one_split(tree_of):
    root, _ = tree_of("aptos2019", n=30)
    rows = rows_of(root, "aptos2019").values()
    twins = [(split, row) for split, row in rows if "duplicate_signal" in row["flags"]]
    assert len(twins) == 2
    assert twins[0][0] == twins[1][0]
    assert twins[0][1]["label"] != twins[1][1]["label"]


def test_grades_are_numbers_too(tree_of):
    root, _ = tree_of("aptos2019", n=10)
    for _, row in rows_of(root, "aptos2019").values():
        (target,) = row["targets"]
        assert target == {"name": "dr_grade", "value": float(row["label"]), "unit": None}


def test_images_without_their_table_are_refused_by_its_name(tree_of):
    root, _ = tree_of("pad_ufes_20", n=4)
    (root / "pad_ufes_20" / "metadata.csv").unlink()
    with pytest.raises(TooManyBadRecordsError, match=r"metadata\.csv: it is not there"):
        load_dataset("climb", "pad_ufes_20", data_dir=str(root))


def test_a_table_cut_short_keeps_the_lines_before(tree_of):
    root, _ = tree_of("ham10000", n=8)
    table = root / "ham10000" / "HAM10000_metadata.tab"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:7], lines[7][:20]]))
    subject = Subject(catalog.get("ham10000"), root)
    placed, report = subject.index()
    subject.close()
    assert len(placed) == 6
    assert [fault.reason for fault in report.faults if fault.kind == "damaged"] == [
        "HAM10000_metadata.tab is cut short: row 7 has fewer cells than the header. Fetch the "
        "file again."
    ]


def test_a_line_given_twice_is_a_copy(tree_of):
    root, truth = tree_of("aptos2019", n=8)
    table = root / "aptos2019" / "train.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[3] + "\n")
    subject = Subject(catalog.get("aptos2019"), root)
    placed, report = subject.index()
    subject.close()
    assert len(placed) == len(truth["records"])
    assert report.count("copy") == 1


def test_the_skin_sources_are_one_config(skin):
    table = load_dataset("climb", "dermoscopy", data_dir=str(skin), split="train")
    names = ["MEL", "NV", "BCC", "AKIEC", "OTHER", "Malignant", "Benign"]
    assert table.features["label"].names == names
    assert set(table["source"]) == set(SKIN)
    stream = load_dataset("climb", "dermoscopy", data_dir=str(skin), split="train", streaming=True)
    pairs = list(zip(stream, table, strict=True))
    assert [one["id"] for one, _ in pairs] == [other["id"] for _, other in pairs]
    for one, other in pairs:
        assert one["label"] == other["label"]
        assert one["images"][0].tobytes() == other["images"][0].tobytes()


def test_images_are_shown_upright_and_stored_as_released(skin):
    table = load_dataset("climb", "ham10000", data_dir=str(skin), split="all")
    (row,) = table.filter(lambda name: name.endswith("24309"), input_columns="id")
    assert row["images"][0].size == (45, 60)
    assert (row["image_info"][0]["width"], row["image_info"][0]["height"]) == (45, 60)
    kept = table.cast_column("images", List(Image(decode=False)))
    file = next(skin.rglob("ISIC_0024309.jpg")).read_bytes()
    assert file in [one[0]["bytes"] for one in kept["images"]]


def test_a_preview_draws_the_images(skin, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    command = ["preview", "isic2020", "--data-dir", str(skin), "--n", "2", "--out", str(out)]
    assert cli.main(command) == 0
    assert "image  48 x 36 px, RGB" in capsys.readouterr().out
    with Pillow.open(out) as sheet:
        colours = sheet.convert("RGB").getcolors(2**24)
    assert len(colours) > 100
