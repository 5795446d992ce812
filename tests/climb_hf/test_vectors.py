"""Label lists as vectors: what a policy makes of the undecided and of the unlabelled."""

from __future__ import annotations

import numpy as np
import pytest

from climb_hf import multi_hot
from climb_hf.errors import OptionError

CLASSES = ("a", "b", "c", "d")
ROW = {"labels": ["a"], "labels_negative": ["b"], "labels_uncertain": ["c"]}
NAN = float("nan")


@pytest.mark.parametrize(
    ("policy", "value"), [("zeros", 0.0), ("ones", 1.0), ("ignore", NAN)], ids=str
)
def test_a_policy_decides_what_the_undecided_become(policy, value):
    found = multi_hot(ROW, CLASSES, uncertain=policy)
    np.testing.assert_array_equal(found, np.float32([1, 0, value, NAN]))


def test_what_nobody_looked_for_is_no_negative():
    found = multi_hot({**ROW, "labels_negative": []}, CLASSES)
    np.testing.assert_array_equal(found, np.float32([1, NAN, 0, NAN]))


def test_zeros_for_both_are_the_vectors_of_climbs_code():
    found = multi_hot(ROW, CLASSES, uncertain="zeros", unlabelled="zeros")
    np.testing.assert_array_equal(found, np.float32([1, 0, 0, 0]))


def test_integers_of_a_class_label_do_as_well_as_names():
    row = {"labels": [0], "labels_negative": np.array([1]), "labels_uncertain": [2]}
    np.testing.assert_array_equal(multi_hot(row, CLASSES), multi_hot(ROW, CLASSES))


def test_a_row_without_labels_is_nan_throughout():
    row = dict.fromkeys(ROW, ())
    assert np.isnan(multi_hot(row, CLASSES)).all()


def test_a_mean_loss_over_what_counts_leaves_the_rest_out():
    targets = multi_hot(ROW, CLASSES, uncertain="ignore")
    probabilities = np.array([0.8, 0.4, 0.01, 0.99])
    counts = np.isfinite(targets)
    losses = np.abs(probabilities - targets)[counts]
    assert losses.tolist() == pytest.approx([0.2, 0.4])


def test_classes_of_another_config_are_refused():
    with pytest.raises(OptionError, match="labels_uncertain holds 'c', which is none of the 2"):
        multi_hot(ROW, ("x", "y"))
    with pytest.raises(OptionError, match="labels holds 7"):
        multi_hot({**ROW, "labels": [7]}, CLASSES)


def test_an_unknown_policy_is_refused_by_name():
    with pytest.raises(OptionError, match="uncertain"):
        multi_hot(ROW, CLASSES, uncertain="multi")


@pytest.mark.parametrize("classes", [14, "Edema", None])
def test_classes_are_a_list_of_names(classes):
    row = {"labels": [], "labels_negative": [], "labels_uncertain": []}
    with pytest.raises(OptionError, match="list of names"):
        multi_hot(row, classes)
