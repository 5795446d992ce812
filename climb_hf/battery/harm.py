"""Checks that harm to one record stays with that record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from climb_hf.battery.registry import Register
from climb_hf.errors import ClimbError, DataNotFoundError, TooManyBadRecordsError
from climb_hf.schema import Fault
from climb_hf.subject import Subject, require, some

check = Register()
_MEDIA = ("series", "images", "graphs", "expression")


@check
def a_damaged_file_costs_one_record(subject: Subject) -> None:
    """A file cut in half is reported with a reason, and every neighbour is as it was."""
    victim = subject.victim()
    largest = subject.files_of(victim.example)[:1]
    root = subject.harmed("damaged", _cut_in_half, largest)
    if _stands_alone(subject, victim):
        _refused(subject, root, TooManyBadRecordsError)
        return
    rows, faults = subject.rows(root), _faults(subject, root)
    reported = {f.record: f for f in faults if f.kind == "damaged"}
    touched = {i for i in subject.rows() if i not in subject.neighbours(victim)}
    require(not touched & set(rows), f"{victim.id} is still there with its file cut in half.")
    name = victim.example.recording or victim.example.record
    names = {name.split("/")[0], *(i.split("/", 1)[1] for i in touched)}
    told = [f for record, f in reported.items() if names & {record, record.split("/")[0]}]
    require(bool(told), f"{victim.id} is gone, but no damage to it is reported.")
    require(len(told[0].reason) > 10, f"{victim.id}: the report gives no reason.")
    _neighbours_kept(subject, victim, rows)


@check
def a_missing_file_is_counted_apart(subject: Subject) -> None:
    """A record none of whose files is there is missing, not damaged, and harms no neighbour."""
    victim = subject.victim()
    files = subject.files_of(victim.example)
    root = subject.harmed("missing", Path.unlink, files)
    if _stands_alone(subject, victim):
        _refused(subject, root, DataNotFoundError)
        return
    rows, faults = subject.rows(root), _faults(subject, root)
    require(victim.id not in rows, f"{victim.id} is there without its files.")
    name = victim.example.record
    kinds = {f.kind for f in faults if f.record == name}
    require(kinds <= {"missing"}, f"{victim.id} is reported as {some(kinds)}, not as missing.")
    _neighbours_kept(subject, victim, rows)


def _stands_alone(subject: Subject, victim: Any) -> bool:
    """Whether nothing is left of the source without the victim's files."""
    return not subject.neighbours(victim) - {victim.id}


def _refused(subject: Subject, root: Path, error: type[ClimbError]) -> None:
    try:
        subject.rows(root)
    except error:
        return
    require(False, f"with its only recording harmed it loads without {error.__name__}.")


def _cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _faults(subject: Subject, root: Path) -> list[Fault]:
    _, reports = subject.load(root)
    return [fault for report in reports for fault in report.faults]


def _neighbours_kept(subject: Subject, victim: Any, rows: Mapping[str, Any]) -> None:
    before = subject.rows()
    kept = subject.neighbours(victim) - {victim.id}
    lost = {identity for identity in kept if identity not in rows}
    require(not lost, f"harm to {victim.id} costs its neighbours {some(lost)}.")
    # A neighbour may move to another split, as the shares are those of the records that are there.
    columns = ("labels", "native_labels", "patient_id", *_MEDIA)
    changed = {i for i in kept if any(rows[i].get(c) != before[i].get(c) for c in columns)}
    require(not changed, f"harm to {victim.id} changes its neighbours {some(changed)}.")
