"""What a build of JPEG rows costs, beside a plain copy of the files and a decode-encode path.

    python -m tests.bench.build_images [--images 2000] [--width 600] [--height 450] [--repeats 3]

One run times all of it on the same made files, one after another and that several times, with files
in the page cache and one thread. Rates are images a second of processor time, as other work on a
machine moves the clock on the wall; medians are printed, with the bytes that each path wrote.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
TESTS = Path(__file__).parent.parent
SOURCE = "isic2020"


def make(root: Path, n: int, width: int, height: int) -> list[Path]:
    """Writes a tree of the source with images of a size; returns the images."""
    sys.path.append(str(TESTS / "fake"))
    import isic2020
    from made_images import encoded, picture

    def of_that_size(seed: list[int], *_: int) -> object:
        return picture(seed, width, height)

    isic2020.picture = of_that_size
    isic2020.encoded = encoded
    isic2020.make(root / SOURCE, n=n)
    return sorted((root / SOURCE).rglob("*.jpg"))


def copied(files: list[Path], out: Path) -> None:
    for file in files:
        shutil.copyfile(file, out / file.name)


def encoded_again(files: list[Path], out: Path, kind: str, **how: int) -> None:
    from PIL import Image

    for file in files:
        buffer = io.BytesIO()
        with Image.open(file) as decoded:
            decoded.save(buffer, format=kind, **how)
        (out / f"{file.stem}.{kind.lower()}").write_bytes(buffer.getvalue())


def built(root: Path, out: Path) -> None:
    from climb_hf.build import build
    from climb_hf.config import ClimbConfig

    build(ClimbConfig(name=SOURCE, sources=(SOURCE,)), root, out)


def measured(path: Callable[[Path], None], repeats: int) -> tuple[float, int]:
    """Median seconds of processor time, and the bytes written."""
    seconds, n_bytes = [], 0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            path(Path(folder))
            seconds.append(time.process_time() - begun)
            n_bytes = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
    return statistics.median(seconds), n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("--height", type=int, default=450)
    parser.add_argument("--repeats", type=int, default=3)
    known = parser.parse_args()
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        files = make(Path(folder), known.images, known.width, known.height)
        size = sum(file.stat().st_size for file in files)
        print(f"{len(files)} JPEG files of {known.width} x {known.height} px, {size:,} bytes")
        print("| path | images/s | bytes written | times the files |\n|---|---|---|---|")
        ways: dict[str, Callable[[Path], None]] = {
            "plain copy": lambda out: copied(files, out),
            "build, raw files to Parquet": lambda out: built(Path(folder), out),
            "decode, encode as JPEG of quality 90": lambda out: encoded_again(
                files, out, "JPEG", quality=90
            ),
            "decode, encode as PNG": lambda out: encoded_again(files, out, "PNG"),
        }
        for name, way in ways.items():
            seconds, n_bytes = measured(way, known.repeats)
            print(f"| {name} | {len(files) / seconds:,.0f} | {n_bytes:,} | {n_bytes / size:.3f} |")


if __name__ == "__main__":
    main()
