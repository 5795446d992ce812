"""Raw folder to a list of placed records: where each source lies, what was found, which split.

This is the part of a build that opens index files only; `climb_hf.rows` opens the media.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from climb_hf.card import SourceCard
from climb_hf.catalog import Source
from climb_hf.check import check_option
from climb_hf.errors import (
    CardError,
    CorruptFileError,
    DataNotFoundError,
    OptionError,
    TooManyBadRecordsError,
)
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree, walk
from climb_hf.labels import classify, unknown_codes
from climb_hf.rows import Request, question_of
from climb_hf.schema import SPLITS, Example, Fault
from climb_hf.splits import SPLIT_RULES, Unit, assign, join_groups

DATA_DIR_VARIABLE = "CLIMB_DATA_DIR"
MIN_SEEN = 200  # the share of damaged records is judged once this many were seen


@dataclass(frozen=True)
class Placed:
    """A record with its split; what a worker needs to make its row.

    Attributes:
        asked: whether its labels answer a question; the `qa` view leaves the others out.
    """

    source: str
    example: Example
    split: str
    split_origin: str
    asked: bool = True

    @property
    def id(self) -> str:
        return f"{self.source}/{self.example.record}"


@dataclass
class Report:
    """What was found of one source.

    Attributes:
        good: records that can be read, by their index.
        not_questions: good records that the `qa` view leaves out, as their labels answer none.
        unknown_codes: native codes in no table, with how often each occurs.
        unplaced_files: files of the folder that belong to no source of the config.
        faults: what was left out and why.
        absent: why nothing of the source was looked at; empty where something was.
    """

    source: str
    good: int = 0
    not_questions: int = 0
    unplaced_files: int = 0
    unknown_codes: dict[str, int] = field(default_factory=dict)
    duplicate_signals: int = 0
    faults: list[Fault] = field(default_factory=list)
    absent: str = ""

    def count(self, kind: str) -> int:
        """Returns how many faults are of a kind."""
        return sum(fault.kind == kind for fault in self.faults)

    def judge(self, max_error_rate: float) -> None:
        """Raises if too much of the source is damaged, or nothing of it is good.

        Raises:
            TooManyBadRecordsError: names the share and the first faults.
            DataNotFoundError: if records are listed but no file of any of them is there.
        """
        if self.absent:
            return
        damaged, missing = self.count("damaged"), self.count("missing")
        seen = self.good + damaged
        if self.good == 0 and damaged == 0 and missing:
            raise DataNotFoundError(
                f"source {self.source!r}: all {missing} records that its index lists are missing. "
                "Fetch the signal files too, or point data_dir at the folder that holds them."
            )
        if seen == 0:
            raise TooManyBadRecordsError(
                f"source {self.source!r}: 0 of 0 records are damaged; its files hold "
                "no record that the options ask for. Ask for another part of it."
            )
        too_many = seen >= MIN_SEEN and damaged > max_error_rate * seen
        if self.good == 0 or too_many:
            examples = "; ".join(f"{f.record}: {f.reason}" for f in self._damaged()[:3])
            raise TooManyBadRecordsError(
                f"source {self.source!r}: {damaged} of {seen} records are damaged"
                + (f" (more than max_error_rate={max_error_rate:g})" if too_many else "")
                + f". First: {examples}"
            )

    def _damaged(self) -> list[Fault]:
        return [fault for fault in self.faults if fault.kind == "damaged"]

    def summary(self) -> str:
        """Returns one line that says what was found and what was left out."""
        if self.absent:
            return f"{self.source}: {self.absent}"
        parts = [f"{self.good} records"]
        for kind in ("damaged", "missing", "copy", "left out"):
            if self.count(kind):
                parts.append(f"{self.count(kind)} {kind}")
        if self.not_questions:
            parts.append(f"{self.not_questions} without a question")
        if self.duplicate_signals:
            parts.append(f"{self.duplicate_signals} with a signal or image stored twice")
        if self.unknown_codes:
            parts.append(f"unknown codes {', '.join(sorted(self.unknown_codes))}")
        return f"{self.source}: " + ", ".join(parts)


def data_root(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Returns the raw root: `data_dir`, else the environment variable CLIMB_DATA_DIR, else None."""
    given = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    return Path(given).expanduser().absolute() if given else None


def locate(sources: Sequence[Source], root: Path) -> dict[str, RawTree]:
    """Returns the files of each source that has any: `<root>/<source>`, else found in `root`.

    Raises:
        DataNotFoundError: if `root` is no folder.
    """
    whole = walk(root)
    found = {}
    for source in sources:
        card = source.card
        own = root / card.name
        tree = walk(own) if own.is_dir() else whole
        tree = tree.only(layout.files for layout in card.layouts)
        if any(True for layout in card.layouts for _ in tree.find(layout.marker)):
            found[card.name] = tree
    return found


def not_found(sources: Sequence[Source], root: Path | None) -> DataNotFoundError:
    """Returns the error that tells a user what was looked for, where, and what to do."""
    wanted = "; ".join(
        f"{s.card.name}: {' or '.join(la.example for la in s.card.layouts)} ({s.card.homepage})"
        for s in sources
    )
    if root is None:
        where = f"no raw data were named. Pass data_dir=<folder>, or set {DATA_DIR_VARIABLE}"
    else:
        where = f"no record of {', '.join(s.card.name for s in sources)} lies under {root}"
    return DataNotFoundError(
        f"{where}. Looked for {wanted}. Fetch them with `climb-hf download {sources[0].card.name} "
        "--to <folder>`, or by hand; their folders may be nested in any way."
    )


def collect(
    source: Source,
    tree: RawTree,
    request: Request,
    *,
    split_rule: str | None,
    on_error: str,
    max_error_rate: float,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[list[Placed], Report]:
    """Reads the index of one source and puts its records into splits.

    Args:
        progress: wraps the walk over the index, to show how far it is.

    Returns:
        The records in order of their ids, those without a question after all others (shards keep
        the two apart), independent of the order of files, and the report.

    Raises:
        CorruptFileError: for the first damaged record, if `on_error` is "raise".
        TooManyBadRecordsError, DataNotFoundError: see `Report.judge`.
    """
    card = source.card
    report = Report(card.name)
    examples: dict[str, Example] = {}
    for found in progress(source.read(tree, request.for_reader())):
        if isinstance(found, Fault):
            if on_error == "raise" and found.kind == "damaged":
                raise CorruptFileError(_fault_message(card, found))
            report.faults.append(found)
        elif found.split not in (None, *SPLITS):
            raise CardError(
                f"the reader of source {card.name!r} puts record {found.record} into split "
                f"{found.split!r}; splits are called {', '.join(SPLITS)}."
            )
        elif found.record in examples:
            report.faults.append(Fault(found.record, "copy", "its id was seen before"))
        else:
            examples[found.record] = found
    report.good = len(examples)
    report.judge(max_error_rate)
    report.unknown_codes = dict(Counter(unknown_codes(card, examples.values())))
    groups = _groups(examples, report)
    placed = _place(card, examples, groups, split_rule, request)
    if request.task == "qa":
        asked = [p for p in placed if p.asked]
        report.not_questions = len(placed) - len(asked)
        placed = asked
    return placed, report


def _fault_message(card: SourceCard, fault: Fault) -> str:
    return (
        f"cannot read record {fault.record} of source {card.name!r}: {fault.reason} "
        f"({fault.path}) Load with on_error='skip' to go on without it."
    )


def _groups(examples: dict[str, Example], report: Report) -> dict[str, str]:
    """record -> group: patients, windows, studies and byte-equal signals stay together.

    Equal signatures (header checksums and first samples) only nominate; the bytes decide.
    """
    pairs = []
    nominated: dict[str, list[str]] = {}
    for record, example in examples.items():
        keys = {
            "record": example.recording or record,
            "patient": example.patient_id,
            "group": example.group,
        }
        pairs += [(record, f"{kind} {key}") for kind, key in keys.items() if key is not None]
        if example.signature is not None:
            nominated.setdefault(example.signature, []).append(record)
    for records in nominated.values():
        if len({examples[record].recording or record for record in records}) < 2:
            continue
        equal: dict[str, list[str]] = {}
        for record in records:
            equal.setdefault(_signal_digest(examples[record]), []).append(record)
        for digest, twins in equal.items():
            if len(twins) > 1:
                pairs.extend((record, f"signal {digest}") for record in twins)
                report.duplicate_signals += len(twins)
                for record in twins:
                    flags = (*examples[record].flags, "duplicate_signal")
                    examples[record] = replace(examples[record], flags=flags)
    return join_groups(pairs)


def _signal_digest(example: Example) -> str:
    total = hashlib.sha256()
    for file in example.series:
        total.update((file.signal or file.path).read_bytes())
    for image in example.images:
        total.update(image.path.read_bytes())
    return total.hexdigest()


def _place(
    card: SourceCard,
    examples: Mapping[str, Example],
    groups: Mapping[str, str],
    split_rule: str | None,
    request: Request,
) -> list[Placed]:
    rule = split_rule or ("official" if card.split.official else "stratified")
    check_option("split_rule", rule, SPLIT_RULES)
    official = {record: example.split for record, example in examples.items()}
    if rule == "csv":
        official = _from_csv(card, request.options.get("split_csv"), examples)
    elif split_rule is None and not any(official.values()):
        rule = "stratified"  # a release without its lists, such as a copy of the signals alone
    units = [
        Unit(
            id=record,
            group=groups[record],
            stratum=_stratum(card, example),
            official=official[record],
        )
        for record, example in examples.items()
    ]
    decided = assign(units, "official" if rule == "csv" else rule, card.split.fractions)
    named = {"official": "user"} if rule == "csv" else {}
    placed = []
    for record, (split, origin) in sorted(decided.items()):
        asked = question_of(card, examples[record], request) is not None
        origin = named.get(origin, origin)
        placed.append(Placed(card.name, examples[record], split, origin, asked))
    return sorted(placed, key=lambda one: not one.asked)


def _stratum(card: SourceCard, example: Example) -> str:
    """Its site, or its classes by the card's defaults, however the rows are to be shown."""
    if card.split.strata == "site":
        return example.site or ""
    labels = classify(card, example.native, label_set=card.default_label_set)
    return "+".join(labels.positive)


def _from_csv(
    card: SourceCard, path: str | os.PathLike[str] | None, examples: Mapping[str, Example]
) -> dict[str, str | None]:
    """Splits of a user's CSV; a record that it does not list is placed by hash."""
    if path is None or not Path(path).is_file():
        given = "" if path is None else f"; there is no file {path}"
        raise OptionError(
            f"split_rule='csv' needs options={{{card.name!r}: {{'split_csv': <file>}}}}{given}."
        )
    words = {"train": "train", "val": "test", "test": "test", "validation": "validation"}
    listed = {}
    for row in read_csv(Path(path), ("file_name", "split")):
        split = check_option("split in the CSV", row["split"], tuple(words))
        listed[Path(row["file_name"]).stem] = words[split]
    return {record: listed.get(record) or listed.get(f"HR{record}") for record in examples}


def chunked(placed: Iterable[Placed], n_chunks: int = 64) -> list[list[Placed]]:
    """Returns the records in at most `n_chunks` runs of nearly equal length, order kept."""
    records = list(placed)
    n_chunks = max(min(n_chunks, len(records)), 1)
    edges = [len(records) * index // n_chunks for index in range(n_chunks + 1)]
    return [records[a:b] for a, b in itertools.pairwise(edges)]


def as_json(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """Returns reports as plain data; faults keep their record and reason."""
    return [
        {**vars(report), "faults": [vars(fault) for fault in report.faults]} for report in reports
    ]


def from_json(data: Iterable[Mapping[str, Any]]) -> list[Report]:
    """Returns the reports that `as_json` wrote."""
    return [
        Report(**{**entry, "faults": [Fault(**fault) for fault in entry["faults"]]})
        for entry in data
    ]
