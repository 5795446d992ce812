"""Checks that every way of loading gives the same rows."""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from climb_hf.battery.registry import Register
from climb_hf.schema import SPLITS, disk_features
from climb_hf.subject import NotApplicable, Subject, require, some, undecoded

check = Register()
MOST_GROWTH = 1.2  # bytes built for each byte read


@check
def splits_are_named_as_everywhere(subject: Subject) -> None:
    """Splits are called train, validation and test, and train is never empty."""
    found, _ = subject.load()
    require(set(found) <= set(SPLITS), f"splits are called {some(found)}.")
    require("train" in found, "there is nothing to train on.")


@check
def view_equals_stored_row(subject: Subject) -> None:
    """What a config shows is what is stored, column by column."""
    for identity, row in subject.rows().items():
        stored = subject.stored()[identity]
        for column in set(row) & set(stored):
            require(
                _plain(row[column]) == _plain(stored[column]),
                f"{identity}: column {column!r} shows {_short(row[column])}, "
                f"but {_short(stored[column])} is stored.",
            )


@check
def questions_equal_stored_questions(subject: Subject) -> None:
    """The question view has exactly the records that have a stored question, and the same text."""
    asked = {i: row for i, row in subject.stored().items() if row["prompt"]}
    if not asked:
        raise NotApplicable("no record has a question")
    shown = subject.rows(task="qa")
    require(set(shown) == set(asked), f"asked or not: {some(set(shown) ^ set(asked))}.")


@check
def a_stream_equals_the_table(subject: Subject) -> None:
    """Streaming gives the rows of the eager table, in its order."""
    table, _ = subject.load()
    stream, _ = subject.load(streaming=True)
    require(set(stream) == set(table), f"splits are {set(stream)}, not {set(table)}.")
    for split, rows in stream.items():
        _same_rows(rows, table[split], f"streamed {split}")


@check
def prepared_files_have_the_one_schema(subject: Subject) -> None:
    """Every Parquet file of a build has the columns and types that all sources share."""
    import pyarrow.parquet as pq

    wanted = disk_features().arrow_schema
    for file in sorted(subject.built().out.rglob("*.parquet")):
        found = pq.read_schema(file)
        wrong = [f.name for f in wanted if f.name not in found.names or found.field(f.name) != f]
        require(not wrong, f"{file.name}: columns {some(wrong)} are not those of the schema.")
        require(found.names == wanted.names, f"{file.name}: its columns are in another order.")


@check
def a_prepared_folder_equals_the_table(subject: Subject) -> None:
    """Plain `datasets` reads from a build what `load_dataset` reads from the raw files."""
    import datasets

    asks = any(row["prompt"] for row in subject.stored().values())
    names = {"classification": subject.card.name, "qa": f"{subject.card.name}_qa"}
    for task, name in names.items():
        if task == "qa" and not asks:
            continue
        table, _ = subject.load(task=task)
        cache = str(subject.work / "plain")
        found = datasets.load_dataset(str(subject.built().out), name, cache_dir=cache)
        require(set(found) == set(table), f"splits of {name} are {set(found)}, not {set(table)}.")
        for split, part in found.items():
            _same_rows(undecoded(part), table[split], f"prepared {name}, {split}")


@check
def a_build_grows_little(subject: Subject) -> None:
    """A build is at most 1.2 times what was read, and 64 kB a file for the columns' own needs."""
    built = subject.built()
    allowed = MOST_GROWTH * built.raw_bytes + 64_000 * len({*built.written, *built.kept})
    require(
        built.n_bytes <= allowed,
        f"{built.n_bytes:,} bytes were written for {built.raw_bytes:,} bytes read.",
    )


@check
def two_processes_equal_one(subject: Subject) -> None:
    """Two processes make the table that one makes."""
    one, _ = subject.load()
    two, _ = subject.load(num_proc=2, fresh="two")
    for split in one:
        _same_rows(two[split], one[split], f"{split} of two processes")


@check
def a_rerun_gives_equal_bytes(subject: Subject) -> None:
    """Made again from the same files, the table is the same to the byte."""
    first, _ = subject.load()
    again, _ = subject.load(fresh="again")
    for split in first:
        digests = [_digest_of_files(found[split]) for found in (first, again)]
        require(digests[0] == digests[1], f"split {split!r} has other bytes when made again.")


def _digest_of_files(part: Any) -> str:
    total = hashlib.sha256()
    for file in part.cache_files:
        total.update(Path(file["filename"]).read_bytes())
    return total.hexdigest()


def _same_rows(found: Iterable[Any], wanted: Iterable[Any], what: str) -> None:
    for one, other in itertools.zip_longest(found, wanted):
        require(one is not None and other is not None, f"{what}: another number of rows.")
        differing = [c for c in other if _plain(one.get(c)) != _plain(other[c])]
        require(not differing, f"{what}: {other['id']} differs in {some(differing)} ({one['id']}).")


def _plain(value: Any) -> Any:
    """A value as it is compared: numbers to float32, tuples as lists, nulls apart from NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return "not a number" if math.isnan(value) else struct.pack("<f", value)
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
