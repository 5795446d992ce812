"""Labels that several raters voted on: the class with most votes, ties said openly, votes kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from climb_hf.card import Option
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_csv
from climb_hf.schema import Example, Fault

# Options of a source whose labels are votes.
OPTIONS = {
    "ties": Option(
        "drop",
        "several codes with the most votes: `drop` the record, take the `lowest` code, or `keep` "
        "the record under all of them",
        ("drop", "lowest", "keep"),
    ),
    "min_raters": Option(1, "fewest votes that a record needs", kind=int),
}


def voted(
    found: Example, votes: Mapping[str, float], options: Mapping[str, Any]
) -> Example | Fault:
    """Returns a record with the code that most raters gave it, and the votes beside.

    Args:
        votes: code -> how many raters gave it.
        options: of the source, with those of `OPTIONS`.

    Returns:
        A fault for a record without votes, and for one that an option leaves out.
    """
    path, n_raters = str(found.paths[0]), sum(votes.values())
    if not n_raters:
        return Fault(found.record, "damaged", "nobody voted on it", path)
    if n_raters < options["min_raters"]:
        return Fault(found.record, "left out", f"{n_raters:g} raters voted on it", path)
    most = tuple(sorted(code for code, n in votes.items() if n == max(votes.values())))
    if len(most) > 1 and options["ties"] == "drop":
        why = f"codes {', '.join(most)} have {votes[most[0]]:g} votes each"
        return Fault(found.record, "left out", why, path)
    agreement = max(votes.values()) / n_raters
    return replace(
        found,
        native=most[:1] if options["ties"] == "lowest" else most,
        votes={code: votes[code] for code in sorted(votes) if votes[code]},
        meta={**found.meta, "n_raters": n_raters, "agreement": agreement},
    )


def joined(
    files: Mapping[str, str],
    votes: Mapping[str, Mapping[str, float]],
    example: Callable[[str, str], Example],
    options: Mapping[str, Any],
) -> Iterator[Example | Fault]:
    """Yields what both a file and a row of votes are there for, in order of the keys.

    Args:
        files: key -> path of its file.
        votes: key -> votes by code.
        example: makes the record of a key and a path, without its labels.
    """
    for key in sorted(files.keys() | votes.keys()):
        if key not in files:
            yield Fault(key, "missing", "voted on, but its file is not there")
        elif key not in votes:
            yield Fault(key, "damaged", "no table of votes has its key", files[key])
        else:
            yield voted(example(key, files[key]), votes[key], options)


def counts_in_csv(path: Path, columns: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Returns key -> votes by code, from a CSV with the column `key` and a column of counts a code.

    Args:
        columns: code -> the name of its column. The order of the columns does not matter.

    Raises:
        CorruptFileError: if a column is absent or a count is no whole number.
    """
    found = {}
    for row in read_csv(path, ("key", *columns.values())):
        try:
            found[row["key"]] = Counter({c: int(row[name] or 0) for c, name in columns.items()})
        except (TypeError, ValueError) as error:
            raise CorruptFileError(f"{path.name}, key {row['key']}: {error}.") from error
    return found


def codes_in_mat(path: Path) -> dict[str, Counter[str]]:
    """Returns key -> votes by code, from a MATLAB file with `keys` and a column of `Y` a rater.

    A rater who did not see a record has NaN there.

    Raises:
        CorruptFileError: if the two are not there or do not belong together.
    """
    from climb_hf.io.arrays import read_mat, texts

    held = read_mat(path, ("keys", "Y"))
    if held.keys() != {"keys", "Y"} or len(held["Y"]) != held["keys"].size:
        raise CorruptFileError(f"{path.name} does not hold `keys` and a row of `Y` for each.")
    given = ([f"{code:g}" for code in row if code == code] for row in held["Y"])
    return {key: Counter(row) for key, row in zip(texts(held["keys"]), given, strict=True)}
