"""Splits that two machines agree on: official lists, else a stable hash, groups never cut.

Nothing here depends on the order of files. `stratified` keeps class proportions and depends on
which records are there; `hash` looks at one record's group alone, so that a partial download
gives each of its records the split it has in the full one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from climb_hf.check import check_option, nearest
from climb_hf.errors import OptionError
from climb_hf.schema import SPLITS

SPLIT_RULES = ("official", "stratified", "hash", "csv")


def check_split(split: Any) -> None:
    """Checks the words of `split=`, such as "train+test[:10%]"; the rest is left to `datasets`.

    Raises:
        OptionError: for a word that names no split, with the option to use for one of a rule.
    """
    if not isinstance(split, str):
        return
    for part in split.split("+"):
        word = part.split("[")[0].strip()
        if word not in (*SPLITS, "all"):
            hint = nearest(word, (*SPLITS, *SPLIT_RULES))
            for rule in SPLIT_RULES:
                hint = hint.replace(repr(rule), f"split_rule={rule!r}")
            raise OptionError(
                f"split={split!r} asks for rows of {word!r}, which is not one of: "
                f"{', '.join(map(repr, SPLITS))}, 'all'.{hint}"
            )


@dataclass(frozen=True)
class Unit:
    """What a split is decided from, for one record.

    Attributes:
        id: unique id of the record.
        group: records of one group stay together (a patient, equal signals).
        stratum: what proportions are kept for; the record's classes.
        official: the official split, or None.
    """

    id: str
    group: str
    stratum: str = ""
    official: str | None = None


def fraction_of(text: str, seed: int = 0) -> float:
    """Returns a number in [0, 1) that depends on `text` and `seed` alone (SHA-256)."""
    digest = hashlib.sha256(f"{seed}:{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign(
    units: Sequence[Unit], rule: str, fractions: Mapping[str, float], seed: int = 0
) -> dict[str, tuple[str, str]]:
    """Returns for each record id its split and where the split comes from.

    Args:
        rule: `official` (a record that has none is placed by `stratified`), `stratified`, `hash`.
        fractions: shares of the splits for what is not official.
        seed: of the hash.

    Raises:
        OptionError: for an unknown rule, or `official` where no record has an official split.
    """
    check_option("split_rule", rule, SPLIT_RULES)
    if rule == "official" and units and not any(unit.official for unit in units):
        raise OptionError(
            "split_rule='official', but no record found has an official split. "
            "Use split_rule='stratified' or 'hash'."
        )
    given = {u.group: u.official for u in units if u.official} if rule == "official" else {}
    open_groups = _first_of_group(unit for unit in units if unit.group not in given)
    placed = (_by_hash if rule == "hash" else _by_stratum)(open_groups, fractions, seed)
    return {
        u.id: (given[u.group], "official") if u.group in given else (placed[u.group], "derived")
        for u in units
    }


def _first_of_group(units: Iterable[Unit]) -> dict[str, str]:
    """group -> stratum, the stratum being that of the group's first record by id."""
    groups: dict[str, str] = {}
    for unit in sorted(units, key=lambda unit: unit.id):
        groups.setdefault(unit.group, unit.stratum)
    return groups


def _by_hash(
    groups: Mapping[str, str], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    return {group: _split_at(fraction_of(group, seed), fractions) for group in groups}


def _by_stratum(
    groups: Mapping[str, str], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Systematic sampling along the strata, each in hash order.

    Every stratum and the whole get each split's share to within one group (validation, drawn
    from what test leaves, to within one and its share of one).
    """

    def rank(group: str) -> tuple[float, str, float, str]:
        stratum = groups[group]
        return fraction_of(f"stratum {stratum}", seed), stratum, fraction_of(group, seed), group

    ordered = sorted(groups, key=rank)
    placed: dict[str, str] = {}
    for name, share in _held_out(fractions).items():
        offset, taken = fraction_of(name, seed), 0
        left = [group for group in ordered if group not in placed]
        for position, group in enumerate(left, start=1):
            wanted = int(position * share + offset)
            if wanted > taken:
                placed[group] = name
                taken = wanted
    return {group: placed.get(group, "train") for group in ordered}


def _held_out(fractions: Mapping[str, float]) -> dict[str, float]:
    """Shares of test and validation, the second of what the first leaves."""
    left, shares = 1.0, {}
    for name in ("test", "validation"):
        share = fractions.get(name, 0.0)
        if share:
            shares[name] = share / left
            left -= share
    return shares


def _split_at(position: float, fractions: Mapping[str, float]) -> str:
    total = 0.0
    for name in reversed(SPLITS):
        total += fractions.get(name, 0.0)
        if position < total:
            return name
    return "train"


def join_groups(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Joins records that share a key: (record id, key) pairs give record id -> group.

    A record that appears with two keys (its patient, its signal) ties both together. A group goes
    by its first key in alphabetical order, so that a patient's group keeps its name whichever of
    the patient's records are there.
    """
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    key_of: dict[str, str] = {}
    for record, key in pairs:
        first, second = sorted((root(key), root(key_of.setdefault(record, key))))
        parent[second] = first
    return {record: root(key) for record, key in key_of.items()}


def leaks(units: Iterable[Unit], placed: Mapping[str, tuple[str, str]]) -> list[str]:
    """Returns the groups that stand in more than one split, sorted."""
    seen: dict[str, set[str]] = {}
    for unit in units:
        seen.setdefault(unit.group, set()).add(placed[unit.id][0])
    return sorted(group for group, names in seen.items() if len(names) > 1)
