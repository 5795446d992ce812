"""Cells of chest X-ray tables: 1, 0, -1 and blank are four different things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from climb_hf import catalog
from climb_hf.chest import CHEST14, FINDINGS, findings_of
from climb_hf.labels import classify

# Dataset_Info.md of CLIMB, the line of MIMIC-CXR.
PUBLISHED = (
    "Atelectasis, Cardiomegaly, Consolidation, Edema, Enlarged Cardiomediastinum, Fracture, "
    "Lung Lesion, Lung Opacity, Pleural Effusion, Pneumonia, Pneumothorax, Pleural Other, "
    "Support Devices, No Finding"
)
CARD = replace(catalog.get("aptos2019").card, vocabularies=(CHEST14,), label_sets={})


def labels(row):
    return classify(CARD, label_set="chest14", **findings_of(row))


def test_the_findings_are_climbs_in_its_order():
    assert ", ".join(FINDINGS) == PUBLISHED


def test_each_cell_says_one_of_four_things():
    found = labels({"Edema": "1.0", "Fracture": "0.0", "Pneumonia": "-1.0", "Atelectasis": ""})
    assert found.positive == ("Edema",)
    assert found.negative == ("Fracture",)
    assert found.uncertain == ("Pneumonia",)
    assert not {"Atelectasis", "No Finding"} & {*found.positive, *found.negative}


@pytest.mark.parametrize("cell", ["1", "1.0", " 1.0 "])
def test_a_cell_may_be_written_with_or_without_a_fraction(cell):
    assert labels({"Edema": cell}).positive == ("Edema",)


@pytest.mark.parametrize("cell", [None, "", " ", "nan", "NaN"])
def test_a_blank_row_has_no_labels_at_all(cell):
    found = labels(dict.fromkeys(FINDINGS, cell))
    assert found.vocabulary is None
    assert (found.positive, found.negative, found.uncertain) == ((), (), ())


def test_a_row_of_zeros_alone_is_labelled():
    found = labels(dict.fromkeys(FINDINGS, "0.0"))
    assert found.negative == FINDINGS


def test_a_row_of_open_questions_alone_is_labelled():
    assert labels(dict.fromkeys(FINDINGS, "-1.0")).uncertain == FINDINGS


def test_native_labels_keep_every_cell_in_the_order_of_the_release():
    row = {"Edema": "0.0", "Atelectasis": "-1.0", "Fracture": "", "Pneumonia": "1.0"}
    found = findings_of({"Path": "1", **row})
    assert found["native"] == (
        "Edema=0",
        "Atelectasis=-1",
        "Pneumonia=1",
    )


def test_the_radiologists_name_for_an_opacity_is_the_same_class():
    assert labels({"Airspace Opacity": "1"}).positive == ("Lung Opacity",)


def test_a_cell_that_means_nothing_is_reported_and_never_guessed():
    found = labels({"Edema": "1.0", "Fracture": "2.0"})
    assert found.unknown == ("Fracture=2",)
    assert found.positive == ("Edema",)
    assert found.negative == ()
