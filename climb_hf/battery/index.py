"""Checks of what the reader finds, no media opened: records, ids, splits, faults."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

from climb_hf.battery.registry import Register
from climb_hf.io.tree import RawTree
from climb_hf.labels import tables_of
from climb_hf.splits import SPLIT_RULES
from climb_hf.subject import NotApplicable, Subject, require, some

check = Register()
_ID = re.compile(r"[\w.+-]+(/[\w.+-]+){1,2}")


@check
def layouts_are_found(subject: Subject) -> None:
    """The source's files are recognised by their names."""
    found = {
        layout.name for layout in subject.card.layouts if any(subject.tree.find(layout.marker))
    }
    require(bool(found), f"none of its layouts is under {subject.root}.")
    missing = set(subject.truth("layouts") if subject.knows("layouts") else ()) - found
    require(not missing, f"layouts that are there and were not found: {some(missing)}.")


@check
def ids_are_unique(subject: Subject) -> None:
    """No two records have one id, and none is found twice beyond the copies that are there."""
    ids = Counter(placed.id for placed in subject.placed)
    require(max(ids.values()) == 1, f"ids that stand twice: {some(i for i in ids if ids[i] > 1)}.")
    names = {placed.example.record for placed in subject.placed}
    copies = Counter(
        f.record for f in subject.index()[1].faults if f.kind == "copy" and f.record in names
    )
    # Without its maker's word, a file that is given twice tells a copy from a reader's repetition.
    paths = {str(path) for p in subject.placed for path in subject.files_of(p.example)}
    known = subject.knows("faults")
    wrong = set(copies) - _true_faults(subject, "copy") if known else _repeated(subject, paths)
    require(not wrong, f"records that its reader gives twice: {some(wrong)}.")


def _repeated(subject: Subject, paths: set[str]) -> set[str]:
    faults = subject.index()[1].faults
    return {fault.record for fault in faults if fault.kind == "copy" and fault.path in paths}


@check
def ids_are_free_of_paths(subject: Subject) -> None:
    """An id is made of names in the release: no path of a user's disk, no odd character."""
    released = {part for path, _, _ in subject.tree.files for part in path.split("/")}
    own = [part for part in subject.root.parts if len(part) > 3]
    folders = [part for part in own if not any(part in name for name in released)]
    suspect = {p.id for p in subject.placed if any(one in p.example.record for one in folders)}
    if suspect:  # a folder may be called as the release calls its records
        suspect -= {placed.id for placed in subject.index(_elsewhere(subject))[0]}
    for placed in subject.placed:
        require(
            _ID.fullmatch(placed.id) is not None and placed.id not in suspect,
            f"the id {placed.id!r} is not of the kind <source>/<record>[/<window>].",
        )


def _elsewhere(subject: Subject) -> RawTree:
    """The source's files by another path, in another order."""
    moved = subject.work / "elsewhere"
    if not moved.exists():
        moved.symlink_to(subject.tree.root)
    return RawTree(moved, tuple(reversed(subject.tree.files)))


@check
def the_order_of_files_changes_nothing(subject: Subject) -> None:
    """Another order of files and another place on disk give the same ids, labels and splits."""
    other = _elsewhere(subject)
    for rule in (None, "hash"):
        first, second = (
            {p.id: (p.split, p.example.native, p.example.patient_id) for p in placed}
            for placed in (
                subject.index(split_rule=rule)[0],
                subject.index(other, split_rule=rule)[0],
            )
        )
        wrong = {i for i in {*first, *second} if first.get(i) != second.get(i)}
        require(not wrong, f"another order of files changes {some(wrong)}.")


@check
def every_native_label_is_mapped_or_listed(subject: Subject) -> None:
    """A code of the release stands in a table, or the report lists it as unknown."""
    tables = tables_of(subject.card).values()
    listed = subject.index()[1].unknown_codes
    codes = {code for placed in subject.placed for code in placed.example.native}
    if subject.card.own_choices:  # each record says itself what its code stands beside
        codes -= {code for placed in subject.placed for code in placed.example.choices}
    lost = {code for code in codes if code not in listed and not any(code in t for t in tables)}
    require(not lost, f"codes in no table that the report does not list: {some(lost)}.")
    if not subject.knows("unknown_codes"):
        return
    wrong = set(listed) - set(subject.truth("unknown_codes"))
    require(not wrong, f"codes that should be known and are not: {some(wrong)}.")


@check
def counts_are_the_makers(subject: Subject) -> None:
    """Every record that was made is there, none else, and every fault is reported by its kind."""
    _, reports = subject.load()
    faults = [fault for report in reports for fault in report.faults]
    found = {placed.example.record for placed in subject.placed}
    found -= {fault.record for fault in faults if fault.kind == "damaged"}
    wanted = set(subject.truth("records"))
    require(not wanted - found, f"records that are lost: {some(wanted - found)}.")
    require(not found - wanted, f"records that nobody made: {some(found - wanted)}.")
    for kind in ("damaged", "missing", "copy", "left out"):
        reported = {fault.record for fault in faults if fault.kind == kind}
        silent = _true_faults(subject, kind) - reported
        require(not silent, f"{kind}, but not reported so: {some(silent)}.")
        wrong = reported - _true_faults(subject, kind)
        require(not wrong, f"reported as {kind}, but not so: {some(wrong)}.")


def _true_faults(subject: Subject, kind: str) -> set[str]:
    faults = subject.truth("faults")
    return {record for record, fault in faults.items() if fault["kind"] == kind}


@check
def patients_never_cross_splits(subject: Subject) -> None:
    """A patient's records, a recording's windows and a study stay in one split by every rule."""
    rules = [rule for rule in SPLIT_RULES if rule not in ("csv", "official")]
    for rule in (None, *rules):
        splits: dict[str, set[str]] = defaultdict(set)
        for placed in subject.index(split_rule=rule)[0]:
            splits[f"recording {placed.example.recording or placed.id}"].add(placed.split)
            for kind in ("patient_id", "group"):
                if getattr(placed.example, kind) is not None:
                    splits[f"{kind} {getattr(placed.example, kind)}"].add(placed.split)
        torn = {key for key, names in splits.items() if len(names) > 1}
        require(not torn, f"in two splits by split_rule={rule!r}: {some(torn)}.")


@check
def official_splits_are_honoured(subject: Subject) -> None:
    """A record that the release puts into a split is in that one, and says so."""
    if not subject.card.split.official:
        raise NotApplicable("the release has no official split")
    wanted = {r: split for r, split in subject.true_facts("split").items() if split}
    placed = {p.example.record: p for p in subject.placed}
    wrong = {r for r in wanted if r in placed and placed[r].split != wanted[r]}
    require(not wrong, f"not in their official split: {some(wrong)}.")
    silent = {r for r in wanted if r in placed and placed[r].split_origin != "official"}
    require(not silent, f"split_origin is not 'official' for {some(silent)}.")


@check
def labels_are_the_makers(subject: Subject) -> None:
    """Every record has the classes, codes and person that its maker gave it."""
    rows = {row["id"].split("/", 1)[1]: row for row in subject.rows().values()}
    columns = {
        "labels": "labels",
        "negative": "labels_negative",
        "uncertain": "labels_uncertain",
        "native": "native_labels",
        "patient_id": "patient_id",
        "age": "age_years",
        "sex": "sex",
    }
    looked = 0
    for fact, column in columns.items():
        known = subject.truth("records")
        wanted = {r: known[r][fact] for r in rows if fact in known.get(r, {})}
        looked += len(wanted)
        wrong = {r for r, value in wanted.items() if not _agrees(fact, rows[r][column], value)}
        example = "".join(f" {r} has {rows[r][column]!r}, not {wanted[r]!r}." for r in [*wrong][:1])
        require(not wrong, f"{column} differs for {some(wrong)}.{example}")
    require(looked > 0, "the maker tells nothing of these records.")


def _agrees(fact: str, found: Any, wanted: Any) -> bool:
    if fact == "native":  # the reader may add what it derives, under a name with a colon
        return [code for code in found if ":" not in code] == list(wanted)
    return found == (list(wanted) if isinstance(wanted, tuple) else wanted)
