"""Label lists as vectors of numbers, to train and to score with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from climb_hf.check import check_option
from climb_hf.errors import OptionError

POLICIES = ("zeros", "ones", "ignore")


def multi_hot(
    row: Mapping[str, Any],
    classes: Sequence[str],
    *,
    uncertain: str = "zeros",
    unlabelled: str = "ignore",
) -> np.ndarray:
    """Returns a row's classes as numbers: 1 positive, 0 negative, NaN where a loss must not look.

    CLIMB's own code takes 0 for whatever is not positive: `uncertain="zeros", unlabelled="zeros"`.

    Args:
        row: with `labels`, `labels_negative` and `labels_uncertain`, of class names or of the
            integers of a `ClassLabel`.
        classes: names in the order of the vector, `ds.features["label"].names`.
        uncertain: what a class becomes that was examined and left open: 0 by `zeros`, 1 by `ones`
            (the U-Zeros and U-Ones of Irvin et al. 2019), NaN by `ignore`.
        unlabelled: what one becomes that nobody looked for, likewise.

    Returns:
        float32, shape (classes,).

    Raises:
        OptionError: for an unknown policy, a class that is none of `classes`, or no list of names.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise OptionError(
            f'classes={classes!r} should be a list of names: ds.features["label"].names.'
        )
    check_option("uncertain", uncertain, POLICIES)
    check_option("unlabelled", unlabelled, POLICIES)
    values = {"zeros": 0.0, "ones": 1.0, "ignore": np.nan}
    vector = np.full(len(classes), values[unlabelled], np.float32)
    place = {name: index for index, name in enumerate(classes)}
    columns = {"labels_uncertain": values[uncertain], "labels_negative": 0.0, "labels": 1.0}
    for column, value in columns.items():
        for one in row[column]:
            index = place.get(one, -1) if isinstance(one, str) else int(one)
            if not 0 <= index < len(classes):
                raise OptionError(
                    f"{column} holds {one!r}, which is none of the {len(classes)} classes given. "
                    'Pass those of the same config: ds.features["label"].names.'
                )
            vector[index] = value
    return vector
