"""Two small files beside an experiment's tables: its condensed sample table and its groups.

Both as the Expression Atlas of EMBL-EBI writes them for MAGE-TAB experiments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import refuse_pointer

_KINDS = ("factor", "characteristic")


@dataclass(frozen=True)
class Group:
    """Assays that are replicates of each other.

    Attributes:
        id: such as `g1`.
        array: design of their array; "" for sequencing.
    """

    id: str
    label: str
    assays: tuple[str, ...]
    array: str


@dataclass(frozen=True)
class Configuration:
    """How an experiment was analysed.

    Attributes:
        kind: such as `rnaseq_mrna_baseline`; "" where it is not said.
        groups: by their ids.
        contrasts: ids, such as `g1_g2` (g2 compared with g1).
    """

    kind: str = ""
    groups: Mapping[str, Group] = field(default_factory=dict)
    contrasts: tuple[str, ...] = ()

    def assays(self, name: str) -> tuple[str, ...]:
        """Returns the assays of a group, or of both groups of a contrast."""
        parts = [name] if name in self.groups else name.split("_")
        found = [self.groups[part].assays for part in parts if part in self.groups]
        return tuple(assay for assays in found for assay in assays)


@dataclass(frozen=True)
class Samples:
    """What is known of the assays of an experiment.

    Attributes:
        facts: assay -> (`factor` or `characteristic`, its type) -> value.
    """

    facts: Mapping[str, Mapping[tuple[str, str], str]] = field(default_factory=dict)

    def shared(self, assays: Sequence[str]) -> dict[tuple[str, str], str]:
        """Returns what is the same of every one of some assays."""
        told = [self.facts.get(assay, {}) for assay in assays] or [{}]
        return {key: v for key, v in told[0].items() if all(one.get(key) == v for one in told)}


def read_configuration(path: Path | None = None, *_: Path) -> Configuration:
    """Reads `<accession>-configuration.xml`; without one nothing is known.

    Raises:
        CorruptFileError: if it is no whole XML file.
    """
    if path is None:
        return Configuration()
    try:
        root = ElementTree.fromstring(_text(path))
    except ElementTree.ParseError as error:
        raise CorruptFileError(f"{path.name} is no whole XML file: {error}.") from error
    groups: dict[str, Group] = {}
    for block in root.iter("analytics"):
        array = (block.findtext("array_design") or "").strip()
        for one in block.iter("assay_group"):
            assays = tuple((assay.text or "").strip() for assay in one.iter("assay"))
            found = Group(one.get("id", ""), one.get("label", ""), assays, array)
            groups.setdefault(found.id, found)
    contrasts = tuple(one.get("id", "") for one in root.iter("contrast"))
    return Configuration(root.get("experimentType", ""), groups, contrasts)


def read_samples(path: Path | None = None, *_: Path) -> Samples:
    """Reads `<accession>.condensed-sdrf.tsv`, which has no header and lines of different lengths.

    Of a type that is told twice of an assay the first counts; without a file nothing is known.

    Raises:
        CorruptFileError: if no line is of the kind that is expected.
    """
    if path is None:
        return Samples()
    found: dict[str, dict[tuple[str, str], str]] = {}
    for line in _text(path).splitlines():
        cells = [cell.strip() for cell in line.split("\t")]
        # A column of replicates may stand between the assay and what is told of it.
        at = next((n for n, cell in enumerate(cells[:6]) if n > 2 and cell in _KINDS), None)
        if at is not None and len(cells) > at + 2:
            found.setdefault(cells[2], {}).setdefault((cells[at], cells[at + 1]), cells[at + 2])
    if not found:
        raise CorruptFileError(f"{path.name} tells nothing of any assay.")
    return Samples(found)


def _text(path: Path) -> str:
    refuse_pointer(path)
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:  # labels of some authors
        return content.decode("latin-1")
