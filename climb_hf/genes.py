"""What readers of gene expression share: which genes a row holds and a question shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.answers import answerable, normalise
from climb_hf.card import Modality, Option
from climb_hf.errors import OptionError
from climb_hf.schema import MediaFile

if TYPE_CHECKING:
    from climb_hf.io.magetab import Configuration, Samples
    from climb_hf.io.soft import Subset

# What the cards of these sources state alike; `SourceCard(..., **EXPRESSION)`.
EXPRESSION: dict[str, Any] = {
    "modality": Modality.GENE_EXPRESSION,
    "asked": "choice",
    "options": {
        "n_genes": Option(
            1000, "genes of a row: those that differ most within its experiment; 0 is all", kind=int
        ),
        "gene_file": Option(
            None, "file of gene ids or names, one a line: rows hold just these", is_file=True
        ),
        "genes_in_rows": Option(
            True,
            "False, with gene_file: values in its order, without a list in each row",
            kind=bool,
        ),
        "n_shown": Option(20, "genes that a question lists", kind=int),
    },
}


def gene_facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns which genes the options ask for, as `GeneTable.profile` takes it.

    Raises:
        OptionError: for a number below 0, for rows without a list of genes that no file gives, or
            for a file that is not there or names no gene.
    """
    for name in ("n_genes", "n_shown"):
        if options[name] < 0:
            raise OptionError(f"{name}={options[name]} must not be below 0.")
    facts = {name: options[name] for name in ("n_genes", "n_shown")}
    given = options["gene_file"]
    if given is None and not options["genes_in_rows"]:
        raise OptionError(
            "genes_in_rows=False needs gene_file, which then tells what the values are of; "
            "climb_hf.gene_list gives the genes of a platform to write into it."
        )
    if given is None:
        return facts
    path = Path(given)
    if not path.is_file():
        raise OptionError(f"gene_file={str(given)!r}: there is no such file.")
    lines = (line.strip() for line in path.read_text("utf-8-sig").splitlines())
    genes = tuple(dict.fromkeys(line for line in lines if line))
    if not genes:
        raise OptionError(f"gene_file={str(given)!r} names no gene.")
    return {**facts, "genes": genes, "unlisted": not options["genes_in_rows"]}


def groups_of(
    subsets: Sequence[Subset], kinds: Mapping[str, str | None]
) -> tuple[str | None, dict[str, str]]:
    """Returns by which kind of group the samples of a study are told apart, and each one's group.

    It is the first kind with several groups whose names no answer could confuse. A sample in two
    groups of that kind, or in none, has no group; names that differ in case or blanks are one.

    Args:
        kinds: kind of group -> another one that is added to it where it is there, in the order in
            which they are looked for.
    """
    for kind, more in kinds.items():
        found, added = _of_kind(subsets, kind), _of_kind(subsets, more)
        joined = {s: ", ".join(filter(None, (v, added.get(s)))) for s, v in found.items()}
        spelled = {normalise(value): value for value in sorted(joined.values(), reverse=True)}
        values = {sample: spelled[normalise(value)] for sample, value in joined.items()}
        if len(spelled) > 1 and answerable(sorted(set(values.values()))):
            return kind, values
    return None, {}


def _of_kind(subsets: Sequence[Subset], kind: str | None) -> dict[str, str]:
    pairs = [(s, one.value) for one in subsets if one.kind == kind for s in one.samples]
    listed = [sample for sample, value in pairs if value]
    return {sample: value for sample, value in pairs if value and listed.count(sample) == 1}


@dataclass(frozen=True)
class Measured:
    """A group of samples in a table of an experiment.

    Attributes:
        label: in words; "" where none is given.
        shared: (`factor` or `characteristic`, its type) -> value that all its samples share.
        file: where its values are; None where the table lacks them.
    """

    name: str
    label: str
    shared: Mapping[tuple[str, str], str]
    file: MediaFile | None

    def told(self, kind: str) -> str | None:
        """Returns what its samples share: the factor of a kind, else the characteristic."""
        return self.shared.get(("factor", kind)) or self.shared.get(("characteristic", kind))

    @property
    def meta(self) -> dict[str, Any]:
        """Its species and its factors."""
        factors = [{"type": t, "value": v} for (k, t), v in self.shared.items() if k == "factor"]
        return {"species": self.told("organism"), "factors": factors}


def measured(
    table: Path,
    unit: str,
    array: str,
    setup: Configuration,
    samples: Samples,
    facts: Mapping[str, Any],
) -> Iterator[Measured]:
    """Yields the groups of a table, those that it lacks last.

    Args:
        unit: `tpm`, `fpkm`, `normalized` or `log2fc` (the groups are then contrasts).
        array: design of the array whose assays it holds.
        facts: which genes to give, as `gene_facts` returns them.

    Raises:
        CorruptFileError: if the table cannot be read, or its groups are not known.
    """
    from climb_hf.io.gene_table import sets_of

    sets, lost = sets_of(table, unit, setup, array)
    for name in (*dict(sets), *lost):
        group = setup.groups.get(name)
        one = Measured(name, group.label if group else "", samples.shared(setup.assays(name)), None)
        words = {"organism": one.told("organism") or "?", "unit": unit}
        own = {**facts, "groups": sets, "unit": unit, "words": words}
        there = name in dict(sets)
        yield replace(one, file=MediaFile(table, "gene_table", name, own)) if there else one
