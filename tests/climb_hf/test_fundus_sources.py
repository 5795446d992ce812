"""Sources of fundus photographs: exams and patients stay whole, grades keep their order."""

from __future__ import annotations

import csv

import pytest

from climb_hf import catalog
from climb_hf.loading import load_dataset, load_report
from climb_hf.testing import Subject, run_check


@pytest.fixture
def tree_of(tmp_path, load_fake):
    """A function that makes a source's tree for this test alone."""

    def of(name, **how):
        root = tmp_path / "raw"
        return root, load_fake(name).make(root / name, **how)

    return of


def report_of(root, name, **options):
    (report,) = load_report(load_dataset("climb", name, data_dir=str(root), **options))
    return report


def rows_of(root, name, **options):
    splits = load_dataset("climb", name, data_dir=str(root), **options)
    return {
        row["id"].split("/")[1]: {**row, "split": split}
        for split, part in splits.items()
        for row in part
    }


def splits_by(rows, key):
    found = {}
    for row in rows.values():
        found.setdefault(row[key], set()).add(row["split"])
    return found


def test_both_eyes_of_an_exam_stay_in_one_split(tree_of):
    root, _ = tree_of("messidor2", n=40)
    rows = rows_of(root, "messidor2")
    exams = splits_by(rows, "study_id")
    assert len(exams) == 20
    assert {len(names) for names in exams.values()} == {1}
    assert {row["meta"]["eye"] for row in rows.values()} == {"left", "right"}


def test_without_the_table_of_pairs_it_is_named_as_missing(tree_of):
    root, truth = tree_of("messidor2", n=8)
    (root / "messidor2" / "messidor-2.csv").unlink()
    assert {row["study_id"] for row in rows_of(root, "messidor2").values()} == {None}
    report = report_of(root, "messidor2")
    missing = [fault for fault in report.faults if fault.kind == "missing"]
    assert [fault.record for fault in missing] == ["messidor-2.csv"]
    assert report.good == len(truth["records"])


def test_the_columns_of_a_copy_of_the_grades_are_read(tree_of):
    root, truth = tree_of("messidor2", n=10)
    table = root / "messidor2" / "messidor_data.csv"
    with table.open(newline="") as file:
        graded = [row for row in csv.DictReader(file) if row["adjudicated_dr_grade"]]
    lines = [f"{row['image_id']},{float(row['adjudicated_dr_grade']):.0f}" for row in graded]
    table.write_text("\n".join(["id_code,diagnosis", *lines]) + "\n")
    subject = Subject(catalog.get("messidor2"), root, truth)
    assert run_check("labels_are_the_makers", subject).outcome == "passed"
    subject.close()


def test_oedema_stands_beside_the_grade(tree_of):
    root, _ = tree_of("messidor2", n=10)
    for row in rows_of(root, "messidor2").values():
        grade, oedema = row["targets"]
        assert (grade["name"], oedema["name"]) == ("dr_grade", "dme")
        assert grade["value"] == row["label"]
        assert oedema["value"] == (row["label"] == 4)  # as the maker has it


def test_all_images_of_a_patient_stay_in_one_split(tree_of):
    root, _ = tree_of("jichi", n=60)
    patients = splits_by(rows_of(root, "jichi"), "patient_id")
    assert len(patients) == 20
    assert {len(names) for names in patients.values()} == {1}


def test_the_stage_of_the_whole_eye_is_an_option(tree_of):
    root, _ = tree_of("jichi", n=24)
    one = rows_of(root, "jichi")
    whole = rows_of(root, "jichi", options={"jichi": {"figure": "concatenated"}})
    worse = {name for name in one if whole[name]["label"] == one[name]["label"] + 1}
    same = {name for name in one if whole[name]["label"] == one[name]["label"]}
    assert len(worse) == 6
    assert worse | same == set(one)


def test_three_classes_remain_without_the_first(tree_of):
    root, truth = tree_of("jichi", n=24)
    options = {"jichi": {"drop_ndr": True}}
    rows = rows_of(root, "jichi", options=options)
    assert {row["label"] for row in rows.values()} == {1, 2, 3}
    report = report_of(root, "jichi", options=options)
    assert report.count("left out") == len(truth["records"]) - len(rows) == 6


def test_an_unknown_stage_is_a_row_without_a_label_and_no_question(tree_of):
    root, _ = tree_of("jichi", n=12, with_faults=True)
    assert rows_of(root, "jichi")["800_1_L"]["label"] is None
    assert "800_1_L" not in rows_of(root, "jichi", task="qa")


def test_fundus_sources_are_one_config(tree_of):
    for name in ("aptos2019", "jichi", "messidor2"):
        root, _ = tree_of(name, n=8)
    table = load_dataset("climb", "fundus", data_dir=str(root), split="all")
    assert set(table["source"]) == {"aptos2019", "jichi", "messidor2"}
    grades = ["No DR", "Mild DR", "Moderate DR", "Severe DR", "Proliferative DR"]
    assert table.features["label"].names == [*grades, "NDR", "SDR", "PPDR", "PDR"]


def test_a_damaged_table_of_pairs_costs_no_image(tree_of):
    root, truth = tree_of("messidor2", n=8)
    (root / "messidor2" / "messidor-2.csv").write_bytes(b"left;right\n\xff\xfe;\n")
    report = report_of(root, "messidor2")
    assert report.good == len(truth["records"])
    assert [fault.record for fault in report.faults if fault.kind == "damaged"] == [
        "messidor-2.csv"
    ]
