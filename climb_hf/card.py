"""The typed card of a source: every fact about it, stated once and checked when it is made.

A card holds no logic. README tables, `climb-hf info`, builder configs and tests are made from it.
This module uses the standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from climb_hf.check import check_option, check_type, nearest
from climb_hf.errors import CardError, OptionError


class Modality(StrEnum):
    """The 16 kinds of data; each is a config name and the default DRPO domain of its sources."""

    ECG = "ecg"
    EEG = "eeg"
    GAIT = "gait"
    GENE_EXPRESSION = "gene_expression"
    BRAIN_GRAPH = "brain_graph"
    MOLECULE_GRAPH = "molecule_graph"
    CHEST_XRAY = "chest_xray"
    MAMMOGRAPHY = "mammography"
    DERMOSCOPY = "dermoscopy"
    FUNDUS = "fundus"
    PATHOLOGY = "pathology"
    CT = "ct"
    ULTRASOUND = "ultrasound"
    MRI = "mri"
    ENDOSCOPY = "endoscopy"
    MULTIMODAL = "multimodal"


class Access(StrEnum):
    """What a user has to do before the files can be fetched."""

    OPEN = "open"
    ACCOUNT = "account"
    AGREEMENT = "agreement"
    CREDENTIALED = "credentialed"


class Proof(StrEnum):
    """How the reader of a source was proved; told by `climb-hf info`."""

    REAL_FILES = "real files of the source were read"
    PEER_READER = "an independent reader gave equal content"
    CARD_ONLY = "written from the card, no real file seen"


@dataclass(frozen=True)
class Licence:
    """A licence and what it allows to be passed on.

    Attributes:
        name: SPDX identifier, or the licence's own name where it has none.
        share_data: whether the files themselves may be given to others.
        share_derived: whether prepared shards and trained weights may be.
    """

    name: str
    share_data: bool
    share_derived: bool


CC_BY_4_0 = Licence("CC-BY-4.0", share_data=True, share_derived=True)


@dataclass(frozen=True)
class Remote:
    """A place that a source can be fetched from.

    Attributes:
        url: address of an archive or of a folder.
        n_bytes: size where the host states it, else None.
        sha256: checksum where the host publishes one, else None.
        again: whether it holds once more, or in another form, what the others hold; it is
            fetched only when it is asked for.
    """

    url: str
    n_bytes: int | None = None
    sha256: str | None = None
    again: bool = False


@dataclass(frozen=True)
class Layout:
    """One way in which a source's files lie on disk.

    Attributes:
        name: what the layout is called in messages.
        marker: regular expression that a file *name* matches in full when this layout is there;
            one with a slash in it is held against the name and as many folders above it.
        files: likewise of every file that belongs to the layout.
        example: a path as it looks, for messages.
    """

    name: str
    marker: str
    files: str
    example: str


@dataclass(frozen=True)
class Vocabulary:
    """A class list.

    Attributes:
        id: a class name means something only together with it.
        names: as they are stored, in the order behind integer labels.
        texts: what a question offers for them; the names where none are given.
        codes: native code -> class, several joined by "+"; for a list that one source brings
            along. A code that gives no class maps to "".
        normal: the class that says "nothing else", or None.
        priority: which class stands for a record where only one may, the most pressing first.

    Raises:
        CardError: when the parts do not fit together.
    """

    id: str
    names: tuple[str, ...]
    texts: tuple[str, ...] = ()
    codes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    normal: str | None = None
    priority: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", tuple(self.texts) or tuple(self.names))
        for complaint in _vocabulary_complaints(self):
            raise CardError(f"vocabulary {self.id!r}: {complaint}")


def _vocabulary_complaints(words: Vocabulary) -> list[str]:
    found = []
    if not words.id or not words.names:
        found.append("it needs an id and class names")
    if len(set(words.names)) < len(words.names):
        found.append("a class name stands in it twice")
    if len(words.texts) != len(words.names) or len(set(words.texts)) < len(words.texts):
        found.append("it needs one text a class, all different")
    used = {name for value in words.codes.values() for name in value.split("+") if name}
    used |= {*words.priority, *([words.normal] if words.normal else [])}
    for name in sorted(used - set(words.names)):
        found.append(f"{name!r} is none of its classes.{nearest(name, words.names)}")
    return found


@dataclass(frozen=True)
class Option:
    """A setting that only one source knows, given as `options={source: {name: value}}`."""

    default: Any
    meaning: str
    choices: tuple[Any, ...] = ()
    kind: type = str
    is_file: bool = False  # its content then counts for the cache, not its path alone


@dataclass(frozen=True)
class SplitRule:
    """How a source's records are put into train, validation and test.

    Attributes:
        official: whether the release publishes splits.
        fractions: shares for the records that have no official split.
        origin: one sentence on where the official splits come from.
        strata: what the shares are kept in: `labels`, the classes of a record, or `site`.
    """

    fractions: Mapping[str, float]
    official: bool = False
    origin: str = ""
    strata: str = "labels"


@dataclass(frozen=True)
class SourceCard:
    """Facts about one source. Units are in the names.

    Attributes:
        label_sets: name of each label set it offers, the default first, with the ids of the
            vocabularies that the set's class names come from; one set for each of `vocabularies`
            where none are given.
        vocabularies: class lists that the source brings along, with their codes.
        code_tables: tables of `climb_hf.vocabularies` that map its native codes to classes.
        question: id of the question template, or None where no question is asked.
        shown: the sentence that tells a model what it is shown, with which the question begins;
            {names} in it are filled with what the record's media say in words.
        asked: `set` where several classes may be right, `choice` where one is.
        asked_with: options under which the question is asked, where it is not by default.
        own_choices: whether each record brings the options of its own question
            (`Example.choices`) in place of a class list of the source.
        channels: of every series, in their order.
        derivations: the pair of electrodes whose difference each of `channels` is; empty where
            channels are recorded as they are shown.
        unit: of every channel; a tuple gives one for each.
        window_hu: centre and width of the values in which its organ is looked at.
        mask_legend: what the codes of masks without a label mean.
        lesion_codes: those of them that a question is about; empty means every code above 0.
        variants: other forms of the source: name -> meaning, the default first.
        release: the release of the source that the card was written from.
        version: version of this card; raise it when rows change.

    Raises:
        CardError: when a fact is missing or two facts contradict each other.
    """

    name: str
    title: str
    summary: str
    modality: Modality
    licence: Licence
    access: Access
    homepage: str
    citation: str
    release: str
    remotes: tuple[Remote, ...]
    layouts: tuple[Layout, ...]
    split: SplitRule
    n_records: int
    label_sets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    vocabularies: tuple[Vocabulary, ...] = ()
    code_tables: tuple[str, ...] = ()
    version: str = "1.0.0"
    n_patients: int | None = None
    channels: tuple[str, ...] = ()
    derivations: tuple[tuple[str, str], ...] = ()
    rate_hz: float | None = None
    unit: str | tuple[str, ...] | None = None
    duration_s: float | None = None
    window_hu: tuple[float, float] | None = None
    mask_legend: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    lesion_codes: tuple[int, ...] = ()
    question: str | None = None
    shown: str = ""
    asked: str = "set"
    asked_with: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    own_choices: bool = False
    variants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))
    proof: Proof = Proof.CARD_ONLY
    quirks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.label_sets:
            sets = {words.id: (words.id,) for words in self.vocabularies}
            object.__setattr__(self, "label_sets", MappingProxyType(sets))
        for complaint in _complaints(self):
            raise CardError(f"card of source {self.name!r}: {complaint}")

    @property
    def units(self) -> tuple[str, ...]:
        """A unit for each channel; empty where the card names none."""
        if isinstance(self.unit, str):
            return (self.unit,) * len(self.channels)
        return self.unit or ()

    @property
    def default_label_set(self) -> str:
        """Name of the label set used when none is asked for: the first of the card, or ""."""
        return next(iter(self.label_sets), "")

    def check_variant(self, given: str | None) -> str | None:
        """Returns the variant to read: `given`, else the first of the card, else None.

        Raises:
            OptionError: if the card has no such variant.
        """
        if given is None:
            return next(iter(self.variants), None)
        if not self.variants:
            raise OptionError(f"variant={given!r}: source {self.name!r} has one form only.")
        return check_option(f"variant of source {self.name!r}", given, tuple(self.variants))

    def check_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns every option of this source with its value, defaults filled in.

        Raises:
            OptionError: for an unknown name, a wrong type or a value that is not offered.
        """
        for name in given:
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise OptionError(
                    f"source {self.name!r} has no option {name!r}; it has: {known}."
                    + nearest(name, self.options)
                )
        values = {}
        for name, option in self.options.items():
            value = given.get(name, option.default)
            where = f"options[{self.name!r}][{name!r}]"
            if option.choices:
                check_option(where, value, option.choices)
            elif value is not None or option.default is not None:
                check_type(where, value, _kinds(option))
            values[name] = value
        return values


def _kinds(option: Option) -> type | tuple[type, ...]:
    """The types that an option takes: a whole number is a number too, and a file a path."""
    if option.is_file:
        return (str, os.PathLike)
    return (int, float) if option.kind is float else option.kind


_KINDS: dict[str, type] = {
    "modality": Modality,
    "access": Access,
    "licence": Licence,
    "proof": Proof,
    "split": SplitRule,
}


def _complaints(card: SourceCard) -> list[str]:
    """Everything that is wrong with a card, as sentences."""
    found = []
    if not re.fullmatch(r"[a-z][a-z0-9_]*", card.name) or card.name in ("all", *Modality):
        found.append("name must be snake_case, and neither a modality nor 'all'")
    for name in ("title", "summary", "homepage", "citation", "release"):
        if not str(getattr(card, name)).strip():
            found.append(f"{name} is empty")
    for name, kind in _KINDS.items():
        value = getattr(card, name)
        if not isinstance(value, kind):
            words = [str(one) for one in kind] if issubclass(kind, StrEnum) else []
            hint = f", one of: {', '.join(words)}.{nearest(value, words)}" if words else ""
            found.append(f"{name}={value!r} is not a {kind.__name__}{hint}")
    if not card.layouts:
        found.append("it names no layout")
    if not card.label_sets and not card.own_choices:
        found.append("it names no label set")
    if card.n_records <= 0:
        found.append("n_records must be positive")
    if bool(card.question) != bool(card.shown):
        found.append("question and shown go together: the template's id and its first sentence")
    return found + _channel_complaints(card) + _remote_complaints(card) + _split_complaints(card)


def _channel_complaints(card: SourceCard) -> list[str]:
    parts = ("derivations", "units")
    wrong = [p for p in parts if getattr(card, p) and len(getattr(card, p)) != len(card.channels)]
    return [f"{part} and channels differ in number" for part in wrong]


def _remote_complaints(card: SourceCard) -> list[str]:
    found = []
    for remote in card.remotes:
        if not remote.url.startswith("https://"):
            found.append(f"remote {remote.url!r} is not an https address")
        if remote.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", remote.sha256):
            found.append(f"remote {remote.url!r} has a malformed sha256")
    if isinstance(card.licence, Licence) and (
        card.licence.share_derived and not card.licence.share_data
    ):
        found.append("its licence allows sharing what is made of the data, but not the data")
    for layout in card.layouts:
        for pattern in (layout.marker, layout.files):
            try:
                re.compile(pattern)
            except re.error as error:
                found.append(f"layout {layout.name!r}: {pattern!r} is no pattern ({error})")
    return found


def _split_complaints(card: SourceCard) -> list[str]:
    found: list[str] = []
    if not isinstance(card.split, SplitRule):
        return found
    unknown = set(card.split.fractions) - {"train", "validation", "test"}
    if unknown:
        found.append(f"split fractions name {sorted(unknown)}")
    if abs(sum(card.split.fractions.values()) - 1) > 1e-9:
        found.append("split fractions do not add up to 1")
    if card.split.official and not card.split.origin:
        found.append("its official split names no origin")
    if card.split.strata not in ("labels", "site"):
        found.append(f"split strata={card.split.strata!r} is neither 'labels' nor 'site'")
    return found
