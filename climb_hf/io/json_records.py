"""Records of a JSON array or of JSON lines, one after the other: a file is never held whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import refuse_pointer

_READ = 1 << 20  # characters
# Who speaks, as LLaVA and those after it write it -> as a chat template calls it. The misspelt key
# stands in released files.
SPEAKERS = {"human": "user", "gpt": "assistant", "system": "system"}
_TALKS = ("conversations", "conversatons")
_BLANK = re.compile(r"\s*")


def lines_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields number (from 1) and object of each line of a JSONL file; blank lines are passed over.

    Raises:
        CorruptFileError: names the line that is no JSON object.
    """
    refuse_pointer(path)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(line, f"line {number} of {path.name}")
    except OSError as error:
        raise CorruptFileError(f"cannot read {path.name}: {error.strerror}.") from error


def turns_of(entry: Any) -> tuple[tuple[str, str], ...]:
    """Returns role and content of each turn of an entry with `conversations`.

    `<image>` is taken out of what is said. An entry that holds no conversation gives none.
    """
    try:
        turns = next((entry[key] for key in _TALKS if key in entry), ())
        return tuple((SPEAKERS[turn["from"]], without_marks(turn["value"])) for turn in turns)
    except (KeyError, TypeError):
        return ()


def without_marks(said: str) -> str:
    """Returns words without the place holders of their media."""
    return re.sub(r"\s*<(image|video)>\s*", "\n", said).strip()


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{where} is no JSON: {error}. Mend or remove that line.") from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise CorruptFileError(f"{where} is a JSON {kind}, but a record is an object ({{...}}).")
    return found


def array_of(path: Path) -> Iterator[Any]:
    """Yields the entries of a file that is one JSON array.

    Raises:
        CorruptFileError: where the array breaks off or is none; what stands before was yielded.
    """
    refuse_pointer(path)
    decode = json.JSONDecoder().raw_decode
    try:
        with path.open(encoding="utf-8-sig") as file:
            text, at, n_found = file.read(_READ), 0, 0
            at = _past(text, 0, "[", path, n_found)
            while True:
                try:
                    at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
                    if text[at : at + 1] == "]":
                        return
                    entry, end = decode(text, at)
                    after = _BLANK.match(text, end).end()  # type: ignore[union-attr]
                    if after == len(text):  # a number may go on in what is not read yet
                        raise ValueError("it breaks off")
                except ValueError as error:
                    # More is read, each time twice as much, until the entry is whole.
                    more = file.read(max(_READ, len(text) - at))
                    if not more:
                        raise _broken(path, n_found, error) from error
                    text, at = text[at:] + more, 0
                    continue
                yield entry
                n_found += 1
                at = after + 1 if text[after] == "," else after
                if text[after] not in ",]":
                    raise _broken(path, n_found, "a comma is missing")
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptFileError(f"cannot read {path.name}: {error}.") from error


def _past(text: str, at: int, mark: str, path: Path, n_found: int) -> int:
    at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
    if text[at : at + 1] != mark:
        raise _broken(path, n_found, f"{mark!r} is missing")
    return at + 1


def _broken(path: Path, n_found: int, why: object) -> CorruptFileError:
    return CorruptFileError(
        f"{path.name} is no whole JSON array: after {n_found} entries, {why}. Fetch the file again."
    )
