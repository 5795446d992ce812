"""Several configs as one data set to train on: columns and classes brought together, rows mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from climb_hf.check import check_option
from climb_hf.errors import OptionError

if TYPE_CHECKING:
    from datasets import Features

LABEL_COLUMNS = ("label", "labels", "labels_negative", "labels_uncertain")
STOPPING = ("all_exhausted_without_replacement", "first_exhausted", "all_exhausted")


def mixture(
    parts: Sequence[Any],
    probabilities: Sequence[float] | None = None,
    *,
    seed: int = 0,
    stopping_strategy: str = "all_exhausted_without_replacement",
) -> Any:
    """Mixes splits of several configs, of whatever modality, all map-style or all streamed.

    A column that a part lacks is empty in its rows (null where it is no list), and the classes are
    the ordered union of the parts' classes: a name keeps its meaning, its integer may change, so
    `features["label"]` of the mixture is what to ask. A map-style part is not copied.

    Args:
        parts: splits, such as `load_dataset("climb", "ecg", ...)["train"]`.
        probabilities: of drawing the next row from each part; None takes turns.
        seed: of the draws; without probabilities there are none.
        stopping_strategy: `all_exhausted_without_replacement` shows every row once,
            `first_exhausted` ends with the first part, `all_exhausted` repeats the small ones.

    Returns:
        A `Dataset`, or an `IterableDataset` where the parts are streamed.

    Raises:
        OptionError: if there is no part, parts of both kinds, a part without known columns, or the
            probabilities are not one positive number a part that add up to 1.
    """
    import datasets

    from climb_hf.views import Series

    check_option("stopping_strategy", stopping_strategy, STOPPING)
    _check_parts(parts)
    _check_probabilities(probabilities, len(parts))
    streamed = isinstance(parts[0], datasets.IterableDataset)
    decoded = any(_is_view(part.features.get("series")) for part in parts)
    features = united([_stored(part.features) for part in parts])
    aligned = [_aligned(part, features, decoded) for part in parts]
    mixed = datasets.interleave_datasets(
        aligned,
        probabilities=list(probabilities) if probabilities else None,
        seed=seed,
        stopping_strategy=stopping_strategy,
    )
    return mixed.cast_column("series", Series()) if decoded and not streamed else mixed


def _check_parts(parts: Sequence[Any]) -> None:
    import datasets

    if not parts:
        raise OptionError("mixture needs one data set or more.")
    for number, part in enumerate(parts):
        if not isinstance(part, (datasets.Dataset, datasets.IterableDataset)):
            raise OptionError(
                f"part {number} of the mixture is a {type(part).__name__}, but should be one split "
                "of a data set, such as load_dataset(...)['train']."
            )
        if part.features is None:
            raise OptionError(
                f"the columns of part {number} of the mixture are not known, as after a `map` of a "
                "stream. Pass features= to that map."
            )
    if len({isinstance(part, datasets.Dataset) for part in parts}) > 1:
        raise OptionError(
            "a mixture is of map-style or of streamed parts, not of both. Load all with "
            "streaming=True, or turn one with to_iterable_dataset()."
        )


def _check_probabilities(given: Sequence[float] | None, n_parts: int) -> None:
    if given is None:
        return
    right = len(given) == n_parts and all(p > 0 for p in given)
    if not right or not math.isclose(math.fsum(given), 1.0, abs_tol=1e-6):
        raise OptionError(
            f"probabilities={list(given)!r} should be {n_parts} positive numbers that add up to 1."
        )


def _is_view(kind: Any) -> bool:
    return type(kind).__name__ == "Series"


def _stored(features: Features) -> Features:
    """The columns with `series` as it is stored."""
    from datasets import Features

    from climb_hf.schema import disk_features

    kinds = {
        name: disk_features()["series"] if _is_view(kind) else kind
        for name, kind in features.items()
    }
    return Features(kinds)


def united(all_features: Sequence[Features]) -> Features:
    """Returns the columns of several data sets together, with the union of their class names.

    Raises:
        OptionError: if a column has another type in one of them.
    """
    from datasets import ClassLabel, Features, List

    names: dict[str, None] = {}
    for features in all_features:
        if "label" in features:
            names.update(dict.fromkeys(features["label"].names))
    one = ClassLabel(names=list(names)) if names else None
    found: dict[str, Any] = {}
    for features in all_features:
        for column, kind in features.items():
            if one is not None and column in LABEL_COLUMNS:
                kind = one if column == "label" else List(one)
            if found.setdefault(column, kind) != kind:
                raise OptionError(
                    f"column {column!r} is {found[column]} in one part of the mixture and {kind} "
                    "in another. Rename or cast it in one of them."
                )
    return Features(found)


def _aligned(part: Any, features: Features, decoded: bool) -> Any:
    import datasets

    from climb_hf.views import Series

    fill = _Fill(part.features, features)
    if isinstance(part, datasets.IterableDataset):
        # What a `map` of a stream is told of its columns cannot be changed by a later cast.
        kinds = {**features, "series": Series()} if decoded else features
        return part.map(fill, features=datasets.Features(kinds))
    if _is_view(part.features.get("series")):
        part = part.cast_column("series", features["series"])
    return _beside(part, fill, features)


class _Fill:
    """Gives a row the columns and class integers of the mixture; a class, so that it pickles."""

    def __init__(self, own: Features, features: Features) -> None:
        lists = {name for name, kind in features.items() if type(kind).__name__ == "List"}
        self.absent: dict[str, Any] = {
            name: [] if name in lists else None for name in features if name not in own
        }
        self.renumbered: dict[int, int] | None = None
        if "label" in own and own["label"].names != features["label"].names:
            names = features["label"].names
            self.renumbered = {
                old: names.index(name) for old, name in enumerate(own["label"].names)
            }

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {**row, **self.absent, **self.labels(row)}

    def labels(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the label columns of a row with the integers of the mixture."""
        if self.renumbered is None:
            return {}
        made: dict[str, Any] = {}
        for column in LABEL_COLUMNS:
            value = row[column]
            if isinstance(value, list):
                made[column] = [self.renumbered[one] for one in value]
            else:
                made[column] = None if value is None else self.renumbered[value]
        return made


def _beside(part: Any, fill: _Fill, features: Features) -> Any:
    """A map-style part with new columns beside the old ones, which are not copied."""
    import datasets

    new = {name: [value] * len(part) for name, value in fill.absent.items()}
    if fill.renumbered is not None:
        rows = [fill.labels(row) for row in part.select_columns(list(LABEL_COLUMNS))]
        new |= {column: [row[column] for row in rows] for column in LABEL_COLUMNS}
        part = part.remove_columns(list(LABEL_COLUMNS))
    if new:
        kinds = datasets.Features({name: features[name] for name in new})
        added = datasets.Dataset.from_dict(new, features=kinds)
        part = datasets.concatenate_datasets([part, added], axis=1)
    return part.select_columns(list(features)).cast(features)
