"""Gene expression of any file kind as `Profile`: one sample or group of a table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from climb_hf.check import check_option
from climb_hf.errors import CorruptFileError
from climb_hf.io.tensor import as_tensor
from climb_hf.schema import MediaFile


@dataclass(frozen=True)
class Profile:
    """Expression values of one sample or sample group.

    Attributes:
        genes: an id per value, each once; empty where the values are in the order of a list that
            whoever asked for them has.
        values: float32, shape (genes,); NaN where nothing was measured.
        names: a name per value, or empty; several ids may share one.
        unit: of the values, such as TPM; None where the release does not say.
        group: the sample or group that they were measured in.
        words: what the profile says in words, by the names in the card's sentence.
    """

    genes: tuple[str, ...]
    values: np.ndarray
    names: tuple[str, ...] = ()
    unit: str | None = None
    group: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> Mapping[str, str]:
        """Returns what the profile says in words."""
        return self.words

    def as_struct(self) -> dict[str, Any]:
        """Returns the profile as the struct that is stored."""
        values = as_tensor(np.asarray(self.values, dtype="<f4"))
        return {
            "genes": list(self.genes),
            "names": list(self.names),
            "values": values,
            "unit": self.unit,
            "group": self.group,
        }


class GeneTable:
    """Values of many genes in the samples or groups of one experiment.

    Args:
        genes: an id per gene; of one that stands there twice the first counts.
        names: a name per gene; its id where there is none.
        groups: of the samples or groups.
        values: shape (groups, genes); NaN where nothing was measured.
    """

    def __init__(
        self, genes: Sequence[str], names: Sequence[str], groups: Sequence[str], values: np.ndarray
    ) -> None:
        first_of: dict[str, int] = {}
        for at, gene in enumerate(genes):
            first_of.setdefault(gene, at)
        firsts = list(first_of.values())
        self.genes = tuple(genes[at] for at in firsts)
        self.names = tuple(names[at] or genes[at] for at in firsts)
        self.groups = tuple(groups)
        self.values = np.ascontiguousarray(values[:, firsts], "<f4")
        self.values[~np.isfinite(self.values)] = np.nan

    @cached_property
    def by_variance(self) -> np.ndarray:
        """Places of the genes, the one that differs most between the groups first.

        No label has a part in this: how genes are chosen tells nothing of the answer.
        """
        known = np.isfinite(self.values)
        n_known = np.maximum(known.sum(axis=0), 1)
        filled = np.where(known, self.values, 0).astype(np.float64)
        means = filled.sum(axis=0) / n_known
        spread = (np.where(known, filled - means, 0) ** 2).sum(axis=0) / n_known
        return np.argsort(-spread, kind="stable")

    @cached_property
    def _place_of(self) -> dict[str, int]:
        """Place of a gene by its id, else of the one that differs most of those of its name."""
        by_name = {self.names[at]: int(at) for at in self.by_variance[::-1]}
        return {**by_name, **{gene: at for at, gene in enumerate(self.genes)}}

    def profile(self, group: str, unit: str | None, facts: Mapping[str, Any]) -> Profile:
        """Returns the values of one group.

        Args:
            facts: `genes` (ids or names to give, in this order) or `n_genes` (so many that differ
                most, in the table's order; 0 means all); `n_shown`, so many genes the words list;
                `shown`: `variable` for those that differ most, `highest` for the highest values;
                `words`: more words; `unlisted`: whether the profile is to hold no list of genes.

        Raises:
            CorruptFileError: if the table has no such group, or none of the genes asked for.
        """
        if group not in self.groups:
            raise CorruptFileError(f"the table has no column {group!r}.")
        values = self.values[self.groups.index(group)]
        words = {**facts.get("words", {}), **self._words(values, facts)}
        genes, places = self._chosen(facts)
        there = np.array(places) >= 0
        given = np.where(there, values[places], np.float32(np.nan))
        names = tuple(
            self.names[at] if at >= 0 else gene for gene, at in zip(genes, places, strict=True)
        )
        if facts.get("unlisted"):
            genes, names = (), ()
        return Profile(genes, given, names, unit, group, words)

    def _chosen(self, facts: Mapping[str, Any]) -> tuple[tuple[str, ...], list[int]]:
        """Ids of the genes to give, and their places in the table; -1 for one that it lacks."""
        asked = facts.get("genes")
        if not asked:
            kept = np.sort(self.by_variance[: facts.get("n_genes") or None]).tolist()
            return tuple(self.genes[at] for at in kept), kept
        places = [self._place_of.get(gene, -1) for gene in asked]
        if max(places) < 0:
            raise CorruptFileError(f"none of the {len(asked)} genes asked for is in the table.")
        return tuple(asked), places

    def _words(self, values: np.ndarray, facts: Mapping[str, Any]) -> dict[str, str]:
        order = self.by_variance
        if facts.get("shown") == "highest":
            order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
        chosen: dict[str, int] = {}  # an array has several probes of a gene
        for at in order.tolist():
            if len(chosen) >= facts.get("n_shown", 0):
                break
            chosen.setdefault(self.names[at], at)
        told = (
            f"{name}: {values[at]:.4g}" if np.isfinite(values[at]) else f"{name}: not measured"
            for name, at in chosen.items()
        )
        return {"n_shown": str(len(chosen)), "listed": ", ".join(told)}


Reader = Callable[[MediaFile], Profile]


def _late(module: str, name: str) -> Reader:
    """A reader whose module is imported when it is first used."""

    def read(file: MediaFile) -> Profile:
        return getattr(importlib.import_module(f"climb_hf.io.{module}"), name)(file)

    return read


READERS: dict[str, Reader] = {
    "soft": _late("soft", "read_sample"),
    "gene_table": _late("gene_table", "read_group"),
}


def load(file: MediaFile) -> Profile:
    """Opens what a reader pointed at.

    Raises:
        CorruptFileError: if the file is not what its name says.
        DependencyError: if the package that reads it is not installed.
    """
    check_option("reader", file.reader, tuple(READERS))
    return READERS[file.reader](file)
