"""Sources of radiographs in DICOM: readings of several, boxes, masks, polarity, tables of paths."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from climb_hf.errors import DependencyError, OptionError, TooManyBadRecordsError
from climb_hf.loading import load_dataset, load_report
from climb_hf.radiology import fused, overlap
from climb_hf.schema import Box

pytest.importorskip("pydicom")


@pytest.fixture
def tree_of(tmp_path, load_fake):
    """A function that makes a source's tree for this test alone."""

    def of(name, maker="make", **how):
        root = tmp_path / "raw"
        return root, getattr(load_fake(name), maker)(root / name, **how)

    return of


def rows_of(root, name, **options):
    own = {key: options.pop(key) for key in ("label_set", "variant", "task") if key in options}
    splits = load_dataset("climb", name, data_dir=str(root), options={name: options}, **own)
    return {
        row["id"].split("/", 1)[1]: {**row, "split": split, "names": part.features}
        for split, part in splits.items()
        for row in part
    }


def names(row, column="labels"):
    classes = row["names"]["labels"].feature.names
    return [classes[index] for index in row[column]]


def drawn(row):
    return [[box["label"], box["reader"], *box["xyxy"]] for box in row["boxes"]]


def faults(root, name, kind):
    report = load_report(load_dataset("climb", name, data_dir=str(root)))
    return {fault.record: fault.reason for fault in report[0].faults if fault.kind == kind}


# --- boxes -----------------------------------------------------------------------------------


def box(x1, y1, x2, y2, reader="R1", label="ILD"):
    return Box(label, (x1, y1, x2, y2), reader=reader)


def test_boxes_that_overlap_by_half_become_their_mean():
    found = fused([box(0, 0, 10, 10), box(2, 0, 12, 10, "R2")])
    assert overlap((0, 0, 10, 10), (2, 0, 12, 10)) == pytest.approx(80 / 120)
    assert found == (Box("ILD", (1, 0, 11, 10), reader="R1+R2"),)


def test_boxes_of_another_label_or_place_stay_apart():
    kept = [box(0, 0, 10, 10), box(0, 0, 10, 10, "R2", "Edema"), box(6, 0, 16, 10, "R3")]
    assert {one.xyxy for one in fused(kept)} == {one.xyxy for one in kept}
    assert len(fused(kept)) == 3


def test_fusing_does_not_depend_on_the_order():
    boxes = [box(0, 0, 10, 10), box(2, 0, 12, 10, "R2"), box(3, 1, 13, 11, "R3")]
    assert fused(boxes) == fused(boxes[::-1])


# --- vindr_cxr -------------------------------------------------------------------------------


def test_boxes_of_the_three_readers_are_kept_apart_and_inside_their_film(tree_of):
    root, truth = tree_of("vindr_cxr", n=12)
    rows = rows_of(root, "vindr_cxr")
    for name, known in truth["records"].items():
        assert drawn(rows[name]) == known["boxes"]
    clipped = [name for name, row in rows.items() if "box_clipped" in row["flags"]]
    assert len(clipped) == 1
    assert {one["reader"] for row in rows.values() for one in row["boxes"]} > {None, "R9"}


def test_fused_boxes_are_one_a_finding(tree_of):
    root, truth = tree_of("vindr_cxr", n=7)
    rows = rows_of(root, "vindr_cxr", fused_boxes=True)
    name = list(truth["records"])[4]
    assert drawn(rows[name]) == [["Nodule/Mass", "R12+R13+R14", 5, 5.5, 15, 20]]


def test_labels_are_a_majority_and_its_votes_stand_beside(tree_of):
    root, truth = tree_of("vindr_cxr", n=6)
    name = list(truth["records"])[1]
    row = rows_of(root, "vindr_cxr")[name]
    votes = {one["label"]: one["weight"] for one in row["label_weights"]}
    assert names(row) == ["Pneumonia"]
    assert votes == {"Pneumonia": 2, "No finding": 1}
    assert sorted(row["meta"]["readers"]) == ["R10", "R11", "R9"]
    assert names(rows_of(root, "vindr_cxr", readers="any")[name]) == ["Pneumonia", "No finding"]
    assert names(rows_of(root, "vindr_cxr", readers="all")[name]) == []


def test_one_reader_alone_can_be_asked_for(tree_of):
    root, truth = tree_of("vindr_cxr", n=7)
    rows = rows_of(root, "vindr_cxr", reader="R9")
    first, second = list(truth["records"])[:2]
    assert set(rows) == {first, second}
    assert names(rows[second]) == ["Pneumonia"]
    assert {one["reader"] for one in rows[second]["boxes"]} == {"R9"}
    with pytest.raises(OptionError, match="majority"):
        rows_of(root, "vindr_cxr", readers="most")


def test_findings_come_under_those_of_chexpert(tree_of):
    root, truth = tree_of("vindr_cxr", n=6)
    rows = rows_of(root, "vindr_cxr", label_set="chest14")
    second, third, _, fifth = (rows[list(truth["records"])[i]] for i in (1, 2, 3, 4))
    assert names(second) == ["Lung Opacity", "Pneumonia"]
    assert names(third) == []  # only tuberculosis has a majority, and has no class here
    assert names(fifth) == ["Lung Lesion"]
    assert "Support Devices" not in names(second) + names(second, "labels_negative")


def test_every_label_set_of_vindr_has_its_number_of_classes(tree_of):
    root, _ = tree_of("vindr_cxr", n=4)
    for label_set, n in {"vindr_global6": 6, "vindr_local22": 22, "vindr_all28": 28}.items():
        rows = rows_of(root, "vindr_cxr", label_set=label_set)
        row = next(iter(rows.values()))
        assert len(row["names"]["labels"].feature.names) == n
        assert len(names(row)) + len(names(row, "labels_negative")) == n


def test_the_test_set_is_spelt_as_train(tree_of):
    root, truth = tree_of("vindr_cxr", n=4)
    row = rows_of(root, "vindr_cxr")[list(truth["records"])[3]]
    assert row["split"] == "test"
    assert names(row) == ["COPD", "Other diseases"]
    assert row["label_weights"] == []


def test_kaggles_table_says_only_what_it_asks(tree_of):
    root, truth = tree_of("vindr_cxr", "make_kaggle")
    rows = rows_of(root, "vindr_cxr", label_set="vindr_all28")
    assert set(rows) == set(truth["records"])
    for name, known in truth["records"].items():
        row = rows[name]
        assert row["native_labels"] == known["native"]
        asked = {*names(row), *names(row, "labels_negative")}
        assert len(asked) == 15
        assert "Tuberculosis" not in asked
    assert drawn(rows[list(truth["records"])[3]])


def test_raw_values_can_be_asked_for(tree_of):
    root, truth = tree_of("vindr_cxr", n=2)
    row = rows_of(root, "vindr_cxr", dicom_mode="raw")[list(truth["records"])[1]]
    assert row["image_info"][0]["mode"] == "I;16"
    assert row["meta"]["PhotometricInterpretation"] == "MONOCHROME1"
    assert np.asarray(row["images"][0]).max() > 255


def test_a_download_without_boxes_is_built_and_says_so(tree_of):
    root, _ = tree_of("vindr_cxr", n=8)
    (root / "vindr_cxr/annotations/annotations_train.csv").unlink()
    rows = rows_of(root, "vindr_cxr")
    assert len(rows) == 8
    assert {bool(row["boxes"]) for row in rows.values() if row["split"] == "train"} == {False}
    assert "annotations" in faults(root, "vindr_cxr", "missing")["image_labels_train.csv"]


def test_a_table_cut_short_is_reported(tree_of):
    root, _ = tree_of("vindr_cxr", n=8)
    table = root / "vindr_cxr/annotations/image_labels_train.csv"
    table.write_bytes(table.read_bytes()[:-30])
    assert "cut short" in faults(root, "vindr_cxr", "damaged")["annotations/image_labels_train.csv"]


# --- vindr_mammo -----------------------------------------------------------------------------


def test_findings_of_several_categories_are_one_box(tree_of):
    root, truth = tree_of("vindr_mammo", n=16)
    rows = rows_of(root, "vindr_mammo")
    for name, known in truth["records"].items():
        assert drawn(rows[name]) == known["boxes"]
        assert rows[name]["image_info"][0]["view"] == known["view"]
    second = rows[list(truth["records"])[1]]
    assert [one["label"] for one in second["boxes"]] == [
        "Mass; Skin Retraction",
        "Suspicious Calcification",
    ]
    assert [one["finding_birads"] for one in second["meta"]["findings"]] == [
        "BI-RADS 4",
        "BI-RADS 3",
    ]
    assert "box_clipped" in second["flags"]


def test_the_grade_of_a_breast_is_a_number_too(tree_of):
    root, _ = tree_of("vindr_mammo", n=8)
    for row in rows_of(root, "vindr_mammo").values():
        (target,) = row["targets"]
        assert names(row) == [f"BI-RADS {target['value']:g}"]


def test_density_is_a_label_set_of_its_own(tree_of):
    root, truth = tree_of("vindr_mammo", n=8)
    rows = rows_of(root, "vindr_mammo", label_set="density4")
    for name, known in truth["records"].items():
        assert names(rows[name]) == known["native"][1:]


def test_the_table_of_findings_stands_in_for_that_of_breasts(tree_of):
    root, truth = tree_of("vindr_mammo", n=8)
    (root / "vindr_mammo/breast-level_annotations.csv").unlink()
    rows = rows_of(root, "vindr_mammo")
    assert set(rows) == set(truth["records"])


def test_a_film_without_a_window_is_shown_and_says_so(tree_of):
    root, truth = tree_of("vindr_mammo", n=4)
    rows = rows_of(root, "vindr_mammo")
    third = rows[list(truth["records"])[2]]
    assert third["meta"]["window"] == "percentiles 0.5 to 99.5"
    assert np.asarray(third["images"][0]).max() == 255


# --- cmmd ------------------------------------------------------------------------------------


@pytest.fixture
def workbooks():
    return pytest.importorskip("openpyxl")


def test_a_breast_has_its_own_images_only(tree_of, workbooks):
    root, truth = tree_of("cmmd", n=8)
    rows = rows_of(root, "cmmd")
    assert set(rows) == set(truth["records"])
    for name, row in rows.items():
        side = name[-1]
        assert [one["view"] for one in row["image_info"]] == [f"{side}-CC", f"{side}-MLO"]
    assert names(rows["D1-0001_L"]) == ["Benign"]
    assert names(rows["D1-0001_R"]) == ["Malignant"]
    assert rows["D1-0001_L"]["split"] == rows["D1-0001_R"]["split"]
    assert rows["D1-0001_R"]["meta"]["abnormality"] == "calcification"


def test_the_splits_of_cmmd_do_not_follow_the_order_of_its_table(tree_of, workbooks):
    root, _ = tree_of("cmmd", n=24)
    rows = rows_of(root, "cmmd").values()
    cohorts = {
        split: {r["id"][5:7] for r in rows if r["split"] == split} for split in ("train", "test")
    }
    assert cohorts["train"] == cohorts["test"] == {"D1", "D2"}


def test_patients_are_found_without_descriptive_names(tree_of, workbooks):
    root, truth = tree_of("cmmd", "make_by_uid")
    rows = rows_of(root, "cmmd")
    assert set(rows) == set(truth["records"])
    for name, known in truth["records"].items():
        assert names(rows[name]) == known["labels"]


def test_a_workbook_without_its_reader_says_how_to_install_it(tree_of, workbooks, monkeypatch):
    root, _ = tree_of("cmmd", n=4)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DependencyError, match=r"pip install 'climb-hf\[xlsx\]'"):
        rows_of(root, "cmmd")


def test_a_workbook_that_is_none_is_reported(tree_of, workbooks):
    root, _ = tree_of("cmmd", n=4)
    (root / "cmmd/CMMD_clinicaldata_revision.xlsx").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(TooManyBadRecordsError, match="cannot be read as a workbook"):
        rows_of(root, "cmmd")


# --- cbis_ddsm -------------------------------------------------------------------------------


def test_every_outline_is_found_however_its_files_lie(tree_of):
    root, truth = tree_of("cbis_ddsm", n=12)
    rows = rows_of(root, "cbis_ddsm")
    resized = 0
    for name, known in truth["records"].items():
        row = rows[name]
        assert len(row["masks"]) == known["n_masks"]
        for mask in row["masks"]:
            pixels = np.asarray(mask["mask"])
            assert pixels.shape == (40, 32)
            assert set(np.unique(pixels)) == {0, 255}
            lines, columns = np.nonzero(pixels)
            found = (columns.min(), lines.min(), columns.max() + 1, lines.max() + 1)
            was = (34, 46) if "mask_resized" in row["flags"] else (32, 40)
            edges = np.multiply((6, 8, 18, 20), (32 / was[0], 40 / was[1]) * 2)
            assert np.abs(found - edges).max() < 1
        assert {one["label"] for one in row["masks"]} <= {"mass", "calcification"}
        resized += "mask_resized" in row["flags"]
    assert resized == 2


def test_a_film_of_several_abnormalities_has_the_gravest_of_each(tree_of):
    root, truth = tree_of("cbis_ddsm", n=8)
    fifth, seventh = (list(truth["records"])[i] for i in (4, 6))
    rows = rows_of(root, "cbis_ddsm")
    assert names(rows[fifth]) == ["BI-RADS 4"]
    assert [one["assessment"] for one in rows[fifth]["meta"]["abnormalities"]] == ["2", "4"]
    assert sorted(one["label"] for one in rows[seventh]["masks"]) == ["calcification", "mass"]
    for label_set, found in {"pathology3": "MALIGNANT", "pathology2": "MALIGNANT"}.items():
        row = rows_of(root, "cbis_ddsm", label_set=label_set)[fifth]
        assert row["native_labels"][1] == found
        assert names(row) == ["Malignant"]


def test_films_to_be_seen_again_are_a_class_of_the_six(tree_of):
    root, _ = tree_of("cbis_ddsm", n=4, with_faults=True)
    assert "P_00901_LEFT_CC" not in {name for name in rows_of(root, "cbis_ddsm")}
    rows = rows_of(root, "cbis_ddsm", label_set="birads6")
    again = [name for name, row in rows.items() if names(row) == ["BI-RADS 0"]]
    assert [name[:7] for name in again] == ["P_00901"]


def test_women_of_both_sets_can_all_be_tested_on(tree_of):
    root, _ = tree_of("cbis_ddsm", n=4, with_faults=True)
    kept_apart = rows_of(root, "cbis_ddsm")
    tested = rows_of(root, "cbis_ddsm", in_both_sets="test")
    (moved,) = set(tested) - set(kept_apart)
    assert moved.startswith("P_00900_RIGHT")
    assert tested[moved]["split"] == "test"


def test_each_abnormality_is_a_record_of_its_own_where_asked(tree_of):
    root, truth = tree_of("cbis_ddsm", n=8)
    rows = rows_of(root, "cbis_ddsm", variant="roi")
    assert len(rows) == sum(known["n_masks"] for known in truth["records"].values())
    for name, row in rows.items():
        assert name.startswith(("mass_P_", "calc_P_"))
        assert (row["image_info"][0]["height"], row["image_info"][0]["width"]) == (12, 12)
        assert row["masks"] == []


def test_files_are_found_without_the_metadata_of_the_download(tree_of):
    root, _ = tree_of("cbis_ddsm", n=12)
    with_it = rows_of(root, "cbis_ddsm")
    (root / "cbis_ddsm/manifest-1/metadata.csv").unlink()
    without = rows_of(root, "cbis_ddsm")
    assert {n: len(row["masks"]) for n, row in without.items()} == {
        n: len(row["masks"]) for n, row in with_it.items()
    }
