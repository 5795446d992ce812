"""Curated data sets of the Gene Expression Omnibus: SOFT text, mostly gzipped, as a stream.

Format: https://www.ncbi.nlm.nih.gov/geo/info/soft.html (GDS).
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import keeps_last, refuse_pointer
from climb_hf.schema import MediaFile

if TYPE_CHECKING:
    from climb_hf.io.expression import GeneTable, Profile  # else NumPy, which a listing needs not

_BEGIN, _END = "!dataset_table_begin", "!dataset_table_end"
_NOTHING = ["", "null", "NULL", "Null", "NA", "NaN", "nan"]


@dataclass(frozen=True)
class Subset:
    """Samples that the curators put together.

    Attributes:
        kind: what tells them from others, such as `disease state`.
        value: what they are.
    """

    kind: str
    value: str
    samples: tuple[str, ...]


@dataclass(frozen=True)
class SoftHeader:
    """What stands before the table.

    Attributes:
        facts: of the data set, by their names without `dataset_`; the first of several.
        columns: of the table.
    """

    facts: Mapping[str, str]
    subsets: tuple[Subset, ...]
    columns: tuple[str, ...]

    @property
    def samples(self) -> tuple[str, ...]:
        """The columns that are samples."""
        return tuple(name for name in self.columns if name.startswith("GSM"))


def read_header(path: Path) -> SoftHeader:
    """Reads a data set up to the first line of its table.

    Raises:
        CorruptFileError: if the file ends before, which it does where there is no table.
    """
    with _opened(path) as file:
        return _header(path, file)


def read_sample(file: MediaFile) -> Profile:
    """Reads one sample; `part` is its accession, and facts are those of `GeneTable.profile`.

    Raises:
        CorruptFileError: if the file is cut short, or a value is no number.
    """
    return _table(file.path).profile(str(file.part), file.facts.get("unit"), file.facts)


@keeps_last
def _table(path: Path) -> GeneTable:
    import pandas as pd

    from climb_hf.io.expression import GeneTable

    with _opened(path) as file:
        header = _header(path, file)
        body = io.StringIO()
        for line in file:
            if line.lower().startswith(_END):
                break
            body.write(line)
        else:
            raise CorruptFileError(f"{path.name} ends within its table. Fetch it again.")
    body.seek(0)
    # By place: the annotations after the samples may repeat a name.
    places = [header.columns.index(sample) for sample in header.samples]
    try:
        table = pd.read_csv(
            body,
            sep="\t",
            header=None,
            usecols=[0, 1, *places],
            dtype={0: str, 1: str, **dict.fromkeys(places, "float32")},
            na_values=dict.fromkeys(places, _NOTHING),
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise CorruptFileError(
            f"{path.name}: its table holds what is no number: {error}"
        ) from error
    names = ["" if name in _NOTHING else name for name in table[1]]
    return GeneTable(list(table[0]), names, header.samples, table[places].to_numpy("<f4").T)


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a file that may be gzipped."""
    refuse_pointer(path)
    open_it = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with open_it(path, "rb") as file:
            yield map(_text, file)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFileError(f"{path.name} is cut short or no gzip file: {error}") from error


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:  # descriptions of some authors
        return line.decode("latin-1")


def _header(path: Path, file: Iterator[str]) -> SoftHeader:
    facts: dict[str, str] = {}
    parts: list[dict[str, str]] = []
    for line in file:
        key, _, value = (part.strip() for part in line.partition("="))
        key = key.lower()
        if key == "^subset":
            parts.append({})
        elif key.startswith("!subset_") and parts:
            parts[-1].setdefault(key.removeprefix("!subset_"), value)
        elif key.startswith(_BEGIN):
            return _with_columns(path, facts, parts, file)
        elif key.startswith("!dataset_"):
            facts.setdefault(key.removeprefix("!dataset_"), value)
    raise CorruptFileError(f"{path.name} has no table of values, or ends before it.")


def _with_columns(
    path: Path, facts: dict[str, str], parts: list[dict[str, str]], file: Iterator[str]
) -> SoftHeader:
    columns = tuple(next(file, "").rstrip("\r\n").split("\t"))
    if [name.upper() for name in columns[:2]] != ["ID_REF", "IDENTIFIER"]:
        raise CorruptFileError(
            f"{path.name}: its table begins with {columns[0][:40]!r}, not with ID_REF and "
            "IDENTIFIER."
        )
    subsets = tuple(
        Subset(
            part.get("type", ""),
            part.get("description", ""),
            tuple(name.strip() for name in part.get("sample_id", "").split(",") if name.strip()),
        )
        for part in parts
    )
    return SoftHeader(facts, subsets, columns)
