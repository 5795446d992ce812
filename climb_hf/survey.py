"""What lies in a raw folder, in figures: found by the index, signals opened only when asked.

Nothing here names a patient; counts are of records, patients and codes.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf import catalog, collect
from climb_hf.card import SourceCard
from climb_hf.catalog import Source
from climb_hf.check import check_option
from climb_hf.collect import Placed, Report
from climb_hf.describe import row_bytes
from climb_hf.errors import CorruptFileError, DataNotFoundError
from climb_hf.io.tree import RawTree
from climb_hf.labels import class_names
from climb_hf.rows import Request, build_row, labels_of
from climb_hf.schema import SPLITS, Fault, SeriesFile
from climb_hf.windows import duration_s, told_s

UNKNOWN = "unknown"
_KINDS = ("damaged", "missing", "copy", "left out")
_SHARE = 1.0  # a survey tells how much is damaged; it is not there to refuse it

Progress = Callable[[Iterable[Any]], Iterable[Any]]


# --- one source, as `climb-hf info` tells it -------------------------------------------------


def on_disk(source: Source, root: Path, progress: Progress = iter) -> dict[str, Any] | None:
    """Returns what a folder holds of a source, or None when it holds nothing of it.

    Returns:
        layouts found, files and bytes of the source, records by its index, faults by kind (each
        with its record and reason), unknown codes, and the bytes of these records once built.

    Raises:
        DataNotFoundError: if `root` is no folder, or no file of any listed record is there.
        TooManyBadRecordsError: if records are there and none of them can be read.
    """
    trees = collect.locate([source], root)
    if not trees:
        return None
    tree = trees[source.card.name]
    _, report = _collected(source, tree, {}, progress)
    n_bytes = sum(size for _, size, _ in tree.files)
    one = row_bytes(source.card)
    return {
        "folder": str(tree.root),
        "layouts": layouts_of(source.card, tree),
        "n_files": len(tree.files),
        "bytes_read": n_bytes,
        "bytes_built_at_most": one * report.good if one is not None else n_bytes,
        "records": report.good,
        **{kind: report.count(kind) for kind in _KINDS},
        "duplicate_signals": report.duplicate_signals,
        "unknown_codes": report.unknown_codes,
        "faults": [dict(vars(fault)) for fault in report.faults],
    }


def nothing_found(sources: Sequence[Source], root: Path) -> DataNotFoundError:
    """Returns the error for a folder without raw files; a prepared one is told apart."""
    from climb_hf.prepared import is_prepared

    if is_prepared(root):
        return DataNotFoundError(
            f"{root} is a folder that `climb-hf build` prepared; its README.md says what it holds. "
            "What is counted here are raw files: name the folder that they lie in."
        )
    return collect.not_found(sources, root)


def layouts_of(card: SourceCard, tree: RawTree) -> list[str]:
    """Returns the layouts that a folder's files have, in the card's order.

    In one folder the first layout counts: a later one's marker may match its files too.
    """
    seen: set[str] = set()
    found = []
    for layout in card.layouts:
        folders = {path.rpartition("/")[0] for path in tree.find(layout.marker)}
        if folders - seen:
            found.append(layout.name)
        seen |= folders
    return found


def _collected(
    source: Source, tree: RawTree, settings: Mapping[str, Any], progress: Progress
) -> tuple[list[Placed], Report]:
    return collect.collect(
        source,
        tree,
        _request(source.card, settings.get("label_set")),
        split_rule=settings.get("split_rule"),
        on_error="skip",
        max_error_rate=_SHARE,
        progress=progress,
    )


def _request(card: SourceCard, label_set: str | None) -> Request:
    """A source as it is loaded when only the label set is chosen."""
    options = card.check_options({})
    return Request(label_set=label_set, variant=card.check_variant(None), options=options)


# --- a config, as `climb-hf stats` tells it --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What is counted of one record."""

    source: str
    split: str
    origin: str
    patient: str | None
    age_years: float | None
    sex: str | None
    site: str | None
    duration_s: float | None
    flags: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]


@dataclass
class Composition:
    """What a config is made of in one folder.

    Attributes:
        signals_opened: whether each signal was read, or the index and headers alone.
        seen: source -> what is counted of its records.
        classes: source -> its class names, in order; `""` holds those of the whole config.
        reports: source -> what was found and left out.
    """

    config: str
    folder: str
    label_set: str | None
    signals_opened: bool
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Returns every figure as data that JSON can hold: of the whole, and by source."""
        every = [one for rows in self.seen.values() for one in rows]
        by_source = {
            name: {**_figures(rows, self.classes[name]), **_left_out(self.reports[name])}
            for name, rows in self.seen.items()
        }
        return {
            "config": self.config,
            "folder": self.folder,
            "label_set": self.label_set,
            "signals_opened": self.signals_opened,
            "total": {
                **_figures(every, self.classes[""]),
                **{kind: sum(by[kind] for by in by_source.values()) for kind in _KINDS},
            },
            "sources": by_source,
        }


def composition(
    config: str,
    root: Path,
    *,
    label_set: str | None = None,
    split_rule: str | None = None,
    signals: bool = False,
    progress: Callable[[str], Progress] = lambda name: iter,
) -> Composition:
    """Returns what a config is made of in a raw folder, without keeping any signal.

    Args:
        label_set, split_rule: as `load_dataset` takes them.
        signals: open every signal too. Ages, sexes and lengths that stand in no index, flags of
            the samples and damage inside a signal are known only then.
        progress: gives, for a source's name, what wraps the walk over its records.

    Raises:
        ConfigNameError, OptionError: for a word that is not allowed.
        DataNotFoundError: if the folder is none or holds no record of the config.
        TooManyBadRecordsError: if no record of a source can be read.
    """
    sources = [catalog.get(name) for name in catalog.check_config(config)]
    if label_set is not None:
        for source in sources:
            where = f"label_set of {source.card.name!r}"
            check_option(where, label_set, tuple(source.card.label_sets))
    if split_rule is not None:
        check_option("split_rule", split_rule, tuple(r for r in collect.SPLIT_RULES if r != "csv"))
    trees = collect.locate(sources, root)
    if not trees:
        raise nothing_found(sources, root)
    made = Composition(config, str(root), label_set, signals)
    for name, tree in trees.items():
        source = catalog.get(name)
        settings = {"label_set": label_set, "split_rule": split_rule}
        placed, report = _collected(source, tree, settings, progress(name))
        request = _request(source.card, label_set)
        look = _opened if signals else _indexed
        found = (look(source.card, one, request, report) for one in progress(name)(placed))
        made.seen[name] = [one for one in found if one is not None]
        made.classes[name] = class_names([source.card], label_set)
        made.reports[name] = report
        report.good = len(made.seen[name])
        report.judge(_SHARE)
    made.classes[""] = class_names([catalog.get(name).card for name in trees], label_set)
    return made


def _indexed(card: SourceCard, placed: Placed, request: Request, report: Report) -> Seen:
    """A record by its index, and its length by its header."""
    example = placed.example
    facts = {name: getattr(example, name) for name in ("age_years", "sex", "site", "flags")}
    lengths = [_told(file) for file in example.series]
    return _seen(card, placed, request, facts, lengths)


def _opened(card: SourceCard, placed: Placed, request: Request, report: Report) -> Seen | None:
    """A record as a load gives it; None for one that turns out damaged, which is counted."""
    example = placed.example
    try:
        row = build_row(card, example, request, placed.split_origin)
        lengths = [_told(file) or duration_s(file) for file in example.series]
    except CorruptFileError as error:
        report.faults.append(Fault(example.record, "damaged", str(error)))
        return None
    return _seen(card, placed, request, row, lengths)


def _seen(
    card: SourceCard,
    placed: Placed,
    request: Request,
    facts: Mapping[str, Any],
    lengths: Sequence[float | None],
) -> Seen:
    labels = labels_of(card, placed.example, request)
    known = [one for one in lengths if one is not None]
    return Seen(
        source=placed.source,
        split=placed.split,
        origin=placed.split_origin,
        patient=placed.example.patient_id,
        age_years=facts["age_years"],
        sex=facts["sex"],
        site=facts["site"],
        duration_s=sum(known) if known and len(known) == len(lengths) else None,
        flags=tuple(facts["flags"]),
        positive=labels.positive,
        negative=labels.negative,
    )


def _told(file: SeriesFile) -> float | None:
    """Length in seconds of what a record means of a recording, where a header tells it."""
    return file.stop_s - file.start_s if file.stop_s is not None else told_s(file)


# --- figures ---------------------------------------------------------------------------------


def _figures(rows: Sequence[Seen], classes: Sequence[str]) -> dict[str, Any]:
    ages = [one.age_years for one in rows if one.age_years is not None]
    lengths = [one.duration_s for one in rows if one.duration_s is not None]
    return {
        "records": len(rows),
        "patients": len({(one.source, one.patient) for one in rows if one.patient is not None}),
        "records_without_patient": sum(one.patient is None for one in rows),
        "splits": {name: sum(one.split == name for one in rows) for name in SPLITS},
        "split_origins": _counted(one.origin for one in rows),
        "records_without_labels": sum(not (one.positive or one.negative) for one in rows),
        "classes": _class_figures(rows, classes),
        "ages_years": _spread(ages, len(rows)),
        "sexes": _counted(one.sex or UNKNOWN for one in rows),
        "sites": _counted(one.site or UNKNOWN for one in rows),
        "durations_s": _spread(lengths, len(rows)),
        "flags": _counted(flag for one in rows for flag in one.flags),
    }


def _class_figures(
    rows: Sequence[Seen], classes: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    """class -> split -> records that are positive, negative, and not labelled for it."""
    total = Counter(one.split for one in rows)
    yes = Counter((one.split, name) for one in rows for name in one.positive)
    no = Counter((one.split, name) for one in rows for name in one.negative)
    return {
        name: {
            split: {
                "positive": yes[split, name],
                "negative": no[split, name],
                "not_labelled": total[split] - yes[split, name] - no[split, name],
            }
            for split in SPLITS
            if total[split]
        }
        for name in classes
    }


def _counted(words: Iterable[str]) -> dict[str, int]:
    """Counts, the most frequent first, then by name."""
    return dict(sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0])))


def _spread(values: Sequence[float], n_records: int) -> dict[str, float | int | None]:
    """Least, quartiles (inclusive method) and greatest of the known values."""
    quartiles: list[float | None] = [None] * 3
    if len(values) == 1:
        quartiles = [values[0]] * 3
    elif values:
        quartiles = list(statistics.quantiles(values, n=4, method="inclusive"))
    return {
        "known": len(values),
        "unknown": n_records - len(values),
        "least": min(values, default=None),
        "quarter": quartiles[0],
        "median": quartiles[1],
        "three_quarters": quartiles[2],
        "greatest": max(values, default=None),
    }


def _left_out(report: Report) -> dict[str, Any]:
    return {
        **{kind: report.count(kind) for kind in _KINDS},
        "duplicate_signals": report.duplicate_signals,
        "unknown_codes": dict(report.unknown_codes),
        "faults": [dict(vars(fault)) for fault in report.faults],
    }
