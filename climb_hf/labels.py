"""Class lists, and the way from a release's own codes to classes.

"Not labelled" stays apart from "negative": a class in neither list of `Labels` was not labelled.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from climb_hf.card import SourceCard, Vocabulary
from climb_hf.check import check_option
from climb_hf.schema import Example


@dataclass(frozen=True)
class Labels:
    """Classes of one record.

    Attributes:
        vocabulary: the class list, or None when the record carries no known code.
        positive, negative, uncertain: class names, in vocabulary order.
        unknown: native codes that stand in no table; they never raise and are never guessed.
    """

    vocabulary: Vocabulary | None
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def single(self) -> str | None:
        """The class, when exactly one is right and no other may be."""
        return self.positive[0] if len(self.positive) == 1 and not self.uncertain else None


# In the order behind CLIMB's integer labels (upstream code; its Dataset_Info.md prints another).
CLIMB7 = Vocabulary(
    "climb7",
    ("normal", "cd", "mi", "sttc", "other", "afib", "hyp"),
    (
        "normal sinus rhythm",
        "conduction disturbance",
        "myocardial infarction",
        "ST segment or T wave change",
        "other abnormality",
        "atrial fibrillation or flutter",
        "chamber hypertrophy or axis change",
    ),
    normal="normal",
    priority=("mi", "afib", "cd", "hyp", "sttc", "other", "normal"),
)
# Order of the PTB-XL paper (Wagner et al. 2020, table 5).
PTBXL_SUPER5 = Vocabulary(
    "ptbxl_super5",
    ("NORM", "MI", "STTC", "CD", "HYP"),
    (
        "normal ECG",
        "myocardial infarction",
        "ST segment or T wave change",
        "conduction disturbance",
        "hypertrophy",
    ),
    normal="NORM",
)
_SHARED = {words.id: words for words in (CLIMB7, PTBXL_SUPER5)}
_AXIS_CODES = frozenset({"39732003", "47665007", "axis:LAD", "axis:ALAD", "axis:RAD", "axis:ARAD"})


@cache
def code_table(name: str) -> Mapping[str, Mapping[str, str]]:
    """Returns a shipped table: native code -> column -> value."""
    text = resources.files("climb_hf.vocabularies").joinpath(f"{name}.csv").read_text("utf-8")
    return {row["code"]: row for row in csv.DictReader(text.splitlines())}


@cache
def vocabulary(vocabulary_id: str) -> Vocabulary:
    """Returns a shared class list by id; a code table's own codes are a class list too.

    Raises:
        OptionError: if there is none of that id.
    """
    if vocabulary_id in _SHARED:
        return _SHARED[vocabulary_id]
    check_option("vocabulary", vocabulary_id, (*_SHARED, "snomed_ecg", "scp_ecg"))
    rows = [row for code, row in code_table(vocabulary_id).items() if ":" not in code]
    names = tuple(row["code"] for row in rows)
    return Vocabulary(vocabulary_id, names, tuple(row["meaning"] for row in rows))


def vocabulary_of(card: SourceCard, vocabulary_id: str) -> Vocabulary:
    """Returns a class list that a card names: one it brings along, else a shared one."""
    own = {words.id: words for words in card.vocabularies}
    return own[vocabulary_id] if vocabulary_id in own else vocabulary(vocabulary_id)


def class_names(cards: Iterable[SourceCard], label_set: str | None = None) -> tuple[str, ...]:
    """Returns the ordered union of the class names of several cards' label sets.

    Args:
        label_set: None takes each card's default.
    """
    found: dict[str, None] = {}
    for card in cards:
        asked = label_set or card.default_label_set
        for vocabulary_id in card.label_sets[asked] if card.label_sets else ():
            found.update(dict.fromkeys(vocabulary_of(card, vocabulary_id).names))
    return tuple(found)


def tables_of(card: SourceCard) -> dict[str, Mapping[str, Mapping[str, str]]]:
    """Returns the code tables of a card by name: the shipped ones, then that of its own lists."""
    tables = {name: code_table(name) for name in card.code_tables}
    own: dict[str, dict[str, str]] = {}
    for words in card.vocabularies:
        for code, classes in words.codes.items():
            own.setdefault(code, {"code": code})[words.id] = classes
    return {**tables, card.name: own} if own else tables


def classify(
    card: SourceCard,
    native: Sequence[str],
    *,
    label_set: str,
    examined: Sequence[str] | None = None,
    uncertain: Sequence[str] = (),
    normal_exclusive: bool = False,
    axis_as_hyp: bool = True,
) -> Labels:
    """Maps the native codes of one record to the classes of a label set.

    Args:
        native: codes in the release's own spelling.
        label_set: one of the card's label sets.
        examined: codes that the annotators looked for; None means all. A class that none of
            them gives stays unlabelled.
        uncertain: codes that they looked for and left undecided.
        normal_exclusive: whether a normal class counts only when nothing else is positive.
        axis_as_hyp: whether an axis deviation counts as hypertrophy, as CLIMB does, or as other.

    Returns:
        No class at all when no code is known, or where the card has no class list. With an unknown
        code among known ones the absent classes are not called negative, since the unknown one
        could be any of them.

    Raises:
        OptionError: if the card has no such label set.
    """
    if not card.label_sets:
        return Labels(None)
    check_option(f"label_set of source {card.name!r}", label_set, tuple(card.label_sets))
    tables = tables_of(card)
    said = (*native, *uncertain, *(examined or ()))
    table = next((name for name, rows in tables.items() if any(c in rows for c in said)), None)
    if table is None:
        return Labels(None, unknown=tuple(native))
    rows = tables[table]
    if not _offers(rows, label_set, card.name):
        return Labels(None)
    unknown = tuple(code for code in (*native, *uncertain) if code not in rows)
    words = vocabulary_of(card, _vocabulary_id(card, label_set, table))

    def classes_of(codes: Iterable[str]) -> set[str]:
        kept = (rows[code] for code in codes if code in rows)
        return {name for row in kept for name in _classes(row, label_set, card.name, axis_as_hyp)}

    found = classes_of(native)
    if normal_exclusive and words.normal in found and len(found) > 1:
        found.discard(words.normal)
    undecided = classes_of(uncertain) - found
    looked_for = set(words.names) if examined is None else classes_of(examined)
    looked_for -= undecided
    if unknown:
        looked_for = set()
    return Labels(
        vocabulary=words,
        positive=tuple(name for name in words.names if name in found),
        negative=tuple(n for n in words.names if n not in found and n in looked_for),
        uncertain=tuple(name for name in words.names if name in undecided),
        unknown=unknown,
    )


def _offers(rows: Mapping[str, Mapping[str, str]], label_set: str, source: str) -> bool:
    """Whether a table maps its codes to a label set at all."""
    columns = next(iter(rows.values()))
    return label_set == "native" or label_set in columns or f"{label_set}:{source}" in columns


def _vocabulary_id(card: SourceCard, label_set: str, table: str) -> str:
    """The vocabulary of a label set; for native codes it is the table they stand in."""
    offered = card.label_sets[label_set]
    return table if table in offered else offered[0]


def _classes(row: Mapping[str, str], label_set: str, source: str, axis_as_hyp: bool) -> set[str]:
    """The classes that one code's table row gives in a label set."""
    if label_set == "native":
        return set() if ":" in row["code"] else {row["code"]}
    named = f"{label_set}:{source}"
    value = row.get(named if named in row else label_set) or ""
    if not axis_as_hyp and label_set == "climb7" and row["code"] in _AXIS_CODES:
        value = "other"
    return set(filter(None, value.split("+")))


def unknown_codes(card: SourceCard, examples: Iterable[Example]) -> Iterator[str]:
    """Yields, once a record, each native code that none of the card's tables knows.

    Where records bring their own choices no code is unknown: each says what it stands beside.
    """
    if card.own_choices:
        return
    tables = tables_of(card).values()
    for example in examples:
        yield from (c for c in example.native if not any(c in table for table in tables))
