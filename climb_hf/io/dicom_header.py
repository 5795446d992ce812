"""The header of a DICOM file: what it is parsed to, and how its stored values are meant."""

from __future__ import annotations

import io
import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import refuse_pointer
from climb_hf.optional import need

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

_NO_PREAMBLE = (b"\x02\x00", b"\x08\x00")  # the first group of a file that begins at once
# What pydicom raises for files that are cut short, or hold what the standard does not allow.
_BROKEN = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError),
    *(RuntimeError, TypeError, ValueError, struct.error),
)
_AGAIN = "Fetch the file again."


@dataclass(frozen=True)
class Table:
    """A look-up table: the value that `first` and all below it get, and those that follow."""

    first: int
    entries: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """Returns what it gives for values, as float64."""
        return self.entries[(values - self.first).clip(0, len(self.entries) - 1).astype(int)]


@dataclass(frozen=True)
class Window:
    """Which values are shown; `function` is LINEAR, LINEAR_EXACT or SIGMOID."""

    center: float
    width: float
    function: str


@dataclass(frozen=True)
class Facts:
    """What a file says of how its stored values are meant, for one frame."""

    photometric: str
    bits: int
    signed: bool
    inverted: bool
    slope: float
    intercept: float
    modality: Table | None
    window: Window | None
    voi: Table | None
    padding: tuple[int, int] | None


def parse(data: bytes, name: str) -> Dataset:
    """Returns the parsed file, its transfer syntax named even where its header does not.

    Raises:
        CorruptFileError: if it is no DICOM file or has no pixels.
        DependencyError: if pydicom is not installed.
    """
    pydicom = need("pydicom", extra="dicom")
    _check_kind(data, name)
    with reading(name):
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        if "PixelData" not in dataset:
            raise CorruptFileError(
                f"{name} is a DICOM file without PixelData, or is cut short before its end. "
                f"{_AGAIN}"
            )
        if not dataset.file_meta.get("TransferSyntaxUID"):
            implicit, little = dataset.original_encoding
            native = "Implicit" if implicit else "Explicit"
            order = "Little" if little else "Big"
            dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, f"{native}VR{order}Endian")
    return dataset


def header(path: Path, tags: Sequence[str]) -> dict[str, Any]:
    """Reads elements of a file by the standard's names; pixels are not read.

    Returns:
        Name -> value, without those that are absent or empty. Several values are a list, and a
        sequence is a list of pydicom's `Dataset`.

    Raises:
        CorruptFileError: if it is no DICOM file.
        DependencyError: if pydicom is not installed.
    """
    pydicom = need("pydicom", extra="dicom")
    refuse_pointer(path)
    with reading(path.name):
        with path.open("rb") as opened:
            _check_kind(opened.read(132), path.name)
        found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags), force=True)
        values = {tag: found.get(tag) for tag in tags}
    return {tag: value for tag, value in values.items() if value not in (None, "", [])}


def facts_of(dataset: Dataset, frame: int, name: str) -> Facts:
    """Returns what the header says of a frame.

    Raises:
        CorruptFileError: if it lacks what every image has.
    """
    with reading(name):
        scale = _place_of(dataset, frame, "PixelValueTransformationSequence")
        look = _place_of(dataset, frame, "FrameVOILUTSequence")
        photometric = str(dataset.get("PhotometricInterpretation") or "")
        bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
        signed = bool(dataset.get("PixelRepresentation"))
        slope = _number(scale.get("RescaleSlope"))
        shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
        return Facts(
            photometric=photometric,
            bits=bits,
            signed=signed,
            inverted=photometric == "MONOCHROME1" or shape == "INVERSE",
            slope=slope if slope else 1.0,
            intercept=_number(scale.get("RescaleIntercept")) or 0.0,
            modality=_table(dataset, "ModalityLUTSequence", signed),
            window=_window(look),
            voi=_table(dataset, "VOILUTSequence", signed),
            padding=_padding(dataset, bits, signed),
        )


def _place_of(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Where a frame's elements stand: among its functional groups, those of all, or the top."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (*frames[frame : frame + 1], *shared[:1]):
        if found := groups.get(sequence):
            return found[0]
    return dataset


def _number(value: Any) -> float | None:
    """The first of what may be several, or None for a blank or what is no number."""
    several = not isinstance(value, str | bytes) and hasattr(value, "__getitem__")
    first: Any = (value[0] if len(value) else None) if several else value
    try:
        found = float(first)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _window(place: Dataset) -> Window | None:
    center, width = _number(place.get("WindowCenter")), _number(place.get("WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    function = str(place.get("VOILUTFunction") or "").strip().upper()
    if function not in ("LINEAR_EXACT", "SIGMOID"):
        # The standard's plain kind takes one off the width.
        function = "LINEAR" if width >= 1 else "LINEAR_EXACT"
    return Window(center, width, function)


def _table(dataset: Dataset, sequence: str, signed: bool) -> Table | None:
    """The first table of a sequence.

    pydicom applies them too, but counts in the kind of the entries, so that one of 8 bits with more
    than 256 entries starts anew, and takes no entries of 10 to 15 bits for a modality.
    """
    import numpy as np

    items = dataset.get(sequence) or []
    if not len(items) or "LUTDescriptor" not in items[0] or "LUTData" not in items[0]:
        return None
    n_entries, first, bits = (int(number) for number in items[0].LUTDescriptor)
    n_entries = n_entries % 2**16 or 2**16
    first -= 2**16 if signed and first >= 2**15 else 0
    data = items[0].LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        packed = bits <= 8 and len(data) < 2 * n_entries
        data = np.frombuffer(data, "u1" if packed else f"{order}u2")
    entries = np.asarray(data, dtype=np.float64)[:n_entries]
    return Table(first, entries) if len(entries) else None


def _padding(dataset: Dataset, bits: int, signed: bool) -> tuple[int, int] | None:
    """The range of stored values that are padding, its ends in either order in the file."""
    value = _number(dataset.get("PixelPaddingValue"))
    if value is None:
        return None
    limit = _number(dataset.get("PixelPaddingRangeLimit"))
    ends = [int(end) for end in (value, value if limit is None else limit)]
    if signed:  # some write the two's complement as if it were unsigned
        ends = [end - 2**16 if end >= 2**15 and bits <= 16 else end for end in ends]
    return min(ends), max(ends)


def _check_kind(data: bytes, name: str) -> None:
    if data[128:132] != b"DICM" and data[:2] not in _NO_PREAMBLE:
        raise CorruptFileError(
            f"{name} is no DICOM file: its content begins with {data[:8]!r}. {_AGAIN}"
        )
    from climb_hf.io.image import ENDINGS  # not above, so that sources are listed without Pillow

    known = [ending for endings in ENDINGS.values() for ending in endings]
    if name.lower().endswith(tuple(known)):
        raise CorruptFileError(
            f"{name} is a DICOM file by its content and another kind by its name. Rename it to end "
            "in .dcm, or fetch the release's own file."
        )


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what pydicom raises into our error, and keeps its remarks on odd headers to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CorruptFileError:
        raise
    except _BROKEN as error:
        why = " ".join(str(error).split())[:300]
        raise CorruptFileError(f"{name} cannot be read as DICOM: {why}. {_AGAIN}") from error
