"""Sources of chest X-rays: layouts, variants, cells of four kinds, what options leave out."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest

from climb_hf import catalog, multi_hot
from climb_hf.loading import load_dataset
from climb_hf.rows import Request, build_row
from climb_hf.subject import named
from climb_hf.testing import Subject, run_check

LISTS = {"labels": "labels", "labels_negative": "negative", "labels_uncertain": "uncertain"}


@pytest.fixture
def tree_of(tmp_path, load_fake):
    """A function that makes a source's tree, by any of its makers, for this test alone."""

    def of(name, make="make", **how):
        root = tmp_path / name
        return root, getattr(load_fake(name), make)(root / name, **how)

    return of


def rows_of(root, name, **options):
    with_splits = load_dataset("climb", name, data_dir=str(root), **options)
    found = {}
    for split, part in with_splits.items():
        names = part.features["label"].names
        found |= {row["id"].split("/")[1]: (split, named(row, names)) for row in part}
    return found


def report_of(root, name, variant=None, **options):
    source = catalog.get(name)
    subject = Subject(source, root)
    request = Request(options=source.card.check_options(options), variant=variant)
    found = list(source.read(subject.tree, request.for_reader()))
    subject.close()
    return found


@pytest.mark.parametrize("name", ["mimic_cxr", "chexpert"])
def test_each_cell_stands_in_the_list_that_it_means(tree_of, name):
    root, truth = tree_of(name)
    rows = rows_of(root, name)
    assert set(rows) == set(truth["records"])
    for record, facts in truth["records"].items():
        row = rows[record][1]
        assert {column: row[column] for column in LISTS} == {c: facts[f] for c, f in LISTS.items()}
        assert row["native_labels"] == facts["native"]
    assert any(facts["uncertain"] for facts in truth["records"].values())
    assert any(not facts["native"] for facts in truth["records"].values())


def test_a_policy_makes_numbers_of_a_row_with_every_kind_of_cell(tree_of):
    root, _ = tree_of("mimic_cxr", n=2)
    table = load_dataset("climb", "mimic_cxr", data_dir=str(root), split="all")
    names = table.features["label"].names
    vector = dict(zip(names, multi_hot(table[0], names, uncertain="ignore"), strict=True))
    assert (vector["Cardiomegaly"], vector["Fracture"]) == (1, 0)
    assert np.isnan([vector["Edema"], vector["Pneumonia"]]).all()
    assert multi_hot(table[0], names, uncertain="ones")[names.index("Edema")] == 1


def test_rows_without_a_finding_are_kept_and_ask_no_question(tree_of):
    root, truth = tree_of("mimic_cxr")
    asked = load_dataset("climb", "mimic_cxr", data_dir=str(root), task="qa", split="all")
    wanted = {record for record, facts in truth["records"].items() if facts["labels"]}
    assert {row["id"].split("/")[1] for row in asked} == wanted
    assert {row["answer_type"] for row in asked} == {"set"}
    assert "Edema, Pneumonia, Support Devices" in asked["answer"]


def test_other_labels_of_mimic_cxr_are_an_option(tree_of):
    root, truth = tree_of("mimic_cxr", n=4)
    first = next(iter(truth["records"]))
    options = {"mimic_cxr": {"labels": "negbio"}}
    assert "Edema" in rows_of(root, "mimic_cxr", options=options)[first][1]["labels"]
    rows = rows_of(root, "mimic_cxr", options={"mimic_cxr": {"labels": "radiologists"}})
    read = [row for _, row in rows.values() if row["labels"]]
    assert len(read) == 2
    assert {tuple(row["labels"]) for row in read} == {("Lung Opacity",)}
    assert "Airspace Opacity=1" in read[0]["native_labels"]


def test_the_validation_part_joins_test_where_climbs_numbers_are_wanted(tree_of):
    for name in ("mimic_cxr", "chexpert"):
        root, truth = tree_of(name)
        rows = rows_of(root, name, options={name: {"merge_validation": True}})
        splits = {record: split for record, (split, _) in rows.items()}
        known = {record: facts["split"] for record, facts in truth["records"].items()}
        assert "validation" in known.values()
        assert splits == {r: s.replace("validation", "test") for r, s in known.items()}


def test_views_are_told_and_lateral_ones_may_be_left_out(tree_of):
    root, truth = tree_of("chexpert")
    rows = rows_of(root, "chexpert")
    views = {record: row["image_info"][0]["view"] for record, (_, row) in rows.items()}
    assert views == {record: facts["view"] for record, facts in truth["records"].items()}
    frontal = rows_of(root, "chexpert", options={"chexpert": {"frontal_only": True}})
    assert set(frontal) == {record for record, view in views.items() if view != "LATERAL"}
    assert {"AP", "PA", "frontal", "LATERAL"} == set(views.values())


def test_a_view_that_is_not_known_counts_as_none_of_the_frontal(tree_of):
    root, _ = tree_of("mimic_cxr", n=8)
    found = report_of(root, "mimic_cxr", frontal_only=True)
    reasons = [one.reason for one in found if getattr(one, "kind", "") == "left out"]
    assert sorted(reason.rpartition("is ")[2] for reason in reasons) == [
        "LATERAL",
        "LATERAL",
        "not known",
        "not known",
    ]


def test_the_dicom_variant_has_the_other_projects_labels_and_splits(tree_of):
    root, truth = tree_of("mimic_cxr", "make_dicom", n=12)
    rows = rows_of(root, "mimic_cxr", variant="dicom")
    assert set(rows) == set(truth["records"])
    for record, facts in truth["records"].items():
        split, row = rows[record]
        assert (row["labels"], split) == (facts["labels"], facts["split"])
        assert row["image_info"][0]["mode"] == "L"
        assert row["images"][0].size == (16, 16)


def test_the_dicom_variant_keeps_the_report_of_each_study(tree_of):
    root, truth = tree_of("mimic_cxr", "make_dicom", n=12)
    found = report_of(root, "mimic_cxr", variant="dicom")
    texts = {one.record: one.text for one in found}
    assert texts == {record: facts["text"] for record, facts in truth["records"].items()}
    card = catalog.get("mimic_cxr").card
    row = build_row(card, found[0], Request(options=card.check_options({})), "official")
    assert row["text"] == found[0].text


def test_dicom_files_may_be_stored_in_16_bits(tree_of):
    root, _ = tree_of("mimic_cxr", "make_dicom", n=2)
    options = {"mimic_cxr": {"dicom_mode": "uint16"}}
    rows = rows_of(root, "mimic_cxr", variant="dicom", options=options)
    assert {row["image_info"][0]["mode"] for _, row in rows.values()} == {"I;16"}


def test_dicom_files_without_the_other_projects_tables_are_read_unlabelled(tree_of):
    root, truth = tree_of("mimic_cxr", "make_dicom", n=12)
    shutil.rmtree(root / "mimic_cxr" / "mimic-cxr-jpg")
    rows = rows_of(root, "mimic_cxr", variant="dicom")
    assert set(rows) == set(truth["records"])
    assert not any(row["native_labels"] for _, row in rows.values())
    assert {row["split_origin"] for _, row in rows.values()} == {"derived"}


def test_the_batches_of_aimi_are_one_release(tree_of):
    root, truth = tree_of("chexpert", "make_batches")
    subject = Subject(catalog.get("chexpert"), root, truth)
    for check in ("layouts_are_found", "counts_are_the_makers", "labels_are_the_makers"):
        assert run_check(check, subject).message == ""
    subject.close()


def test_two_copies_of_chexpert_give_each_image_once(tree_of):
    root, truth = tree_of("chexpert")
    folder = root / "chexpert"
    shutil.copytree(folder / "CheXpert-v1.0-small", folder / "CheXpert-v1.0")
    found = report_of(root, "chexpert")
    records = [one.record for one in found if not hasattr(one, "kind")]
    assert sorted(records) == sorted(truth["records"])
    assert {one.kind for one in found if hasattr(one, "kind")} == {"copy"}


def test_another_sources_table_of_the_same_name_is_passed_over(tree_of):
    root, truth = tree_of("chexpert", n=6)
    (root / "chexpert" / "train.csv").write_text("id_code,diagnosis\n000c1434d8d7,2\n")
    assert set(rows_of(root, "chexpert")) == set(truth["records"])


def test_a_path_that_names_no_view_is_damaged_alone(tree_of):
    root, truth = tree_of("chexpert", n=6)
    table = root / "chexpert" / "CheXpert-v1.0-small" / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, "some.jpg," + lines[1].split(",", 1)[1]]) + "\n")
    found = report_of(root, "chexpert")
    (fault,) = [one for one in found if getattr(one, "kind", "") == "damaged"]
    assert "'some.jpg' names no view" in fault.reason
    assert len(found) == len(truth["records"]) + 1


def test_a_table_of_labels_cut_short_is_reported_and_images_stay(tree_of):
    root, truth = tree_of("mimic_cxr", n=8)
    (table,) = (root / "mimic_cxr").rglob("*chexpert.csv.gz")
    table.write_bytes(table.read_bytes()[:-12])
    found = report_of(root, "mimic_cxr")
    damaged = [one for one in found if getattr(one, "kind", "") == "damaged"]
    assert ["cannot be read as CSV" in fault.reason for fault in damaged] == [True]
    assert len(found) == len(truth["records"]) + 1


def test_tables_may_be_unpacked(tree_of):
    root, truth = tree_of("mimic_cxr", n=8)
    for table in (root / "mimic_cxr").rglob("*.csv.gz"):
        table.with_suffix("").write_bytes(gzip.decompress(table.read_bytes()))
        table.unlink()
    rows = rows_of(root, "mimic_cxr")
    for record, facts in truth["records"].items():
        assert rows[record][1]["labels"] == facts["labels"]


# --- folders and a table of causes ------------------------------------------------------------


def test_the_oversampled_folder_is_no_class_and_read_on_request_alone(tree_of):
    root, truth = tree_of("covid19_cxr")
    assert set(rows_of_folders(root)) == set(truth["records"])
    more = rows_of_folders(root, oversampled=True)
    (added,) = set(more) - set(truth["records"])
    assert added == "OversampledAugmentedCOVID-19/COVID-19_0_1.jpg"
    assert more[added] == ("train", "COVID-19")


def rows_of_folders(root, **options):
    given = {"options": {"covid19_cxr": options}} if options else {}
    found = load_dataset("climb", "covid19_cxr", data_dir=str(root), **given)
    return {
        row["id"].split("/", 1)[1]: (split, row["native_labels"][0])
        for split, part in found.items()
        for row in part
    }


def test_the_images_before_augmentation_may_stand_for_train(tree_of):
    root, truth = tree_of("covid19_cxr")
    rows = rows_of_folders(root, train_folder="NonAugmentedTrain")
    train = {record.split("/")[1] for record, (split, _) in rows.items() if split == "train"}
    wanted = {r.split("/")[1] for r, facts in truth["records"].items() if facts["split"] == "train"}
    assert train == wanted
    assert {record.split("/")[0] for record in rows} == {"NonAugmentedTrain", "ValData"}


def test_an_image_of_test_is_left_out_of_train_or_moved_beside_its_twin(tree_of):
    root, truth = tree_of("covid19_cxr")
    (twin,) = truth["faults"]
    (fault,) = [one for one in report_of(root, "covid19_cxr") if hasattr(one, "kind")]
    assert fault.record == twin
    assert "which is in test" in fault.reason
    kept = load_dataset(
        "climb",
        "covid19_cxr",
        data_dir=str(root),
        options={"covid19_cxr": {"drop_duplicates": False}},
    )
    flagged = [(s, r) for s, part in kept.items() for r in part if "duplicate_signal" in r["flags"]]
    assert len(flagged) == 2
    assert len({split for split, _ in flagged}) == 1


def test_covid_may_be_a_class_of_its_own(tree_of):
    root, truth = tree_of("coronahack")
    options = {"label_set": "pneumonia4"}
    rows = rows_of(root, "coronahack", **options)
    covid = {r for r, facts in truth["records"].items() if "COVID-19" in facts["native"][0]}
    assert covid
    assert {record for record, (_, row) in rows.items() if row["label"] == "COVID-19"} == covid
    assert {rows_of(root, "coronahack")[record][1]["label"] for record in covid} == {
        "Viral Pneumonia"
    }


def test_the_doubled_folder_may_be_single(tree_of):
    root, truth = tree_of("coronahack")
    outer = root / "coronahack" / "Coronahack-Chest-XRay-Dataset"
    for part in ("train", "test"):
        shutil.move(outer / outer.name / part, outer / part)
    assert set(rows_of(root, "coronahack")) == set(truth["records"])


def test_a_table_that_is_not_the_releases_length_is_told(tree_of, caplog):
    root, _ = tree_of("coronahack", n=6)
    report_of(root, "coronahack")
    assert "has 7 rows, the release 5910" in caplog.text


def test_another_sources_images_are_none_of_a_source_that_goes_by_folders(tree_of, tmp_path):
    tree_of("coronahack")
    found = load_dataset("climb", "chest_xray", data_dir=str(tmp_path), split="all")
    assert set(found["source"]) == {"coronahack"}


def test_the_chest_sources_are_one_config(tree_of, tmp_path):
    for name in ("mimic_cxr", "chexpert", "covid19_cxr", "coronahack"):
        tree_of(name, n=6)
    found = load_dataset("climb", "chest_xray", data_dir=str(tmp_path), split="train")
    assert {"mimic_cxr", "chexpert", "covid19_cxr", "coronahack"} == set(found["source"])
    names = found.features["label"].names
    assert len(names) == len(set(names))
    shared = {
        row["source"]: row["vocabulary"] for row in found.remove_columns("images") if row["labels"]
    }
    assert shared["mimic_cxr"] == shared["chexpert"] == "chest14"


# --- masks of CheXlocalize ----------------------------------------------------------------------


def test_what_radiologists_drew_lies_over_its_image(tree_of):
    root, truth = tree_of("chexpert")
    rows = rows_of(root, "chexpert")
    test = {record for record, facts in truth["records"].items() if facts["split"] == "test"}
    for record, (_, row) in rows.items():
        labels = [one["label"] for one in row["masks"]]
        assert labels == (["Airspace Opacity"] if record in test else [])
    record = min(test)
    (mask,) = rows[record][1]["masks"]
    # Rows 8 to 19 of 32 and columns 4 to 15 of 24, brought to 16 x 16 px.
    wanted = np.zeros((16, 16), int)
    wanted[4:10, 3:10] = 255
    found = np.asarray(mask["mask"])
    assert found.shape == (16, 16)
    assert np.count_nonzero(found != wanted) <= 6  # the edge of a column may fall either way
    assert "mask_resized" in rows[record][1]["flags"]


def test_broken_outlines_cost_no_image(tree_of):
    root, truth = tree_of("chexpert", n=12)
    (table,) = (root / "chexpert").rglob("gt_segmentations_test.json")
    table.write_text(table.read_text()[:100])
    found = report_of(root, "chexpert")
    (fault,) = [one for one in found if getattr(one, "kind", "") == "damaged"]
    assert "no whole JSON file" in fault.reason
    assert len(found) == len(truth["records"]) + 1
