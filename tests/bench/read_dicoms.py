"""What it costs to make an image of a DICOM file, beside pydicom's own functions and Pillow's PNG.

    python -m tests.bench.read_dicoms [--height 3518] [--width 2800] [--repeats 3]

One run times both on the same made film, inverted, of 12 bits, uncompressed, one after another and
that several times, with one thread. Seconds are those of the processor; medians are printed, with
the bytes that each came to.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parent.parent / "fake"))
WINDOW = {"WindowCenter": 2000, "WindowWidth": 3000}


def by_pydicom(data: bytes) -> int:
    """The chain of pydicom's functions as its documentation has it, and a PNG of 8 bits."""
    import numpy as np
    import pydicom
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    film = pydicom.dcmread(io.BytesIO(data))
    values = apply_voi_lut(apply_modality_lut(film.pixel_array, film), film)
    shades = (255 - values / (2**film.BitsStored - 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(shades).save(buffer, "PNG")
    return buffer.tell()


def by_us(form: str) -> Callable[[bytes], int]:
    from climb_hf.io import dicom
    from climb_hf.schema import ImageFile

    return lambda data: len(dicom.load(ImageFile(Path("film.dcm"), form=form), data).data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=3518)
    parser.add_argument("--width", type=int, default=2800)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    from made_dicoms import dicom, film

    values = film(0, asked.height, asked.width)
    data = dicom(values, bits=12, photometric="MONOCHROME1", **WINDOW)
    ways = {"pydicom, Pillow": by_pydicom}
    ways |= {f"climb_hf, {form}": by_us(form) for form in ("uint8", "uint16", "raw")}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    written: dict[str, int] = {}
    for _ in range(asked.repeats):
        for name, way in ways.items():
            began = time.process_time()
            written[name] = way(data)
            spent[name].append(time.process_time() - began)
    print(f"{len(data):,} bytes read")
    for name in ways:
        print(f"{name}: {statistics.median(spent[name]):.2f} s, {written[name]:,} bytes")


if __name__ == "__main__":
    main()
