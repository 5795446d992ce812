"""Whether tiles are told to be one original after they were turned, mirrored and cropped.

    python -m tests.bench.turned_tiles SLIDE [--copies 20] [--side 256] [--seeds 3]

A slide is cut into tiles with tissue on them, each is turned and mirrored as LC25000's were, and
what `climb_hf.io.rings` joins is compared with what belongs together: an original is torn when its
copies are in several groups, and joined when a group holds copies of another one too. Patches of a
large region are timed beside it, cut one after another with the mask of each.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image

from climb_hf.io import image, mask
from climb_hf.io.rings import alike, rings_of
from climb_hf.schema import ImageFile, MaskFile
from climb_hf.splits import join_groups

LEAST_SPREAD = 18  # of grey within a tile: less is glass


def turned(tile: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A tile as Augmentor makes it: turned by up to 25 degrees, cropped, perhaps mirrored."""
    angle = rng.uniform(-25, 25)
    side = tile.width / (math.cos(math.radians(abs(angle))) + math.sin(math.radians(abs(angle))))
    whole = tile.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    x, y = (whole.width - side) / 2, (whole.height - side) / 2
    made = whole.crop((x, y, x + side, y + side)).resize(tile.size, Image.Resampling.BICUBIC)
    for way in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
        made = made.transpose(way) if rng.random() < 0.5 else made
    return made


def tiles_of(slide: Image.Image, side: int) -> list[Image.Image]:
    """The tiles of a slide that show tissue."""
    corners = [
        (x, y)
        for x in range(0, slide.width - side + 1, side)
        for y in range(0, slide.height - side + 1, side)
    ]
    tiles = [slide.crop((x, y, x + side, y + side)) for x, y in corners]
    return [one for one in tiles if np.asarray(one.convert("L"), float).std() > LEAST_SPREAD]


def joined(tiles: list[Image.Image], copies: int, seed: int, folder: Path) -> str:
    """What becomes of the copies of tiles, as a line."""
    rng, rings, originals = np.random.default_rng(seed), [], []
    for number, tile in enumerate(tiles):
        for copy in range(copies):
            file = folder / f"{seed}_{number}_{copy}.jpeg"
            turned(tile, rng).save(file, quality=90)
            rings.append(rings_of(file))
            originals.append(number)
    pairs = alike(rings)
    group_of = join_groups((str(n), f"{a} {b}") for a, b in pairs for n in (a, b))
    groups, places = defaultdict(list), defaultdict(set)
    for number, original in enumerate(originals):
        group = group_of.get(str(number), f"alone {number}")
        groups[group].append(original)
        places[original].add(group)
    torn = sum(len(one) > 1 for one in places.values())
    with_others = {one for own in groups.values() if len(set(own)) > 1 for one in own}
    return f"seed {seed}: torn {torn}, joined {len(with_others)}, of {len(tiles)} originals"


def patches(slide: Image.Image, folder: Path) -> Iterator[float]:
    """Seconds of processor time for each patch of a region of 4,096 px with a mask."""
    region = Image.new("RGB", (4096, 4096))
    for x in range(0, 4096, slide.width):
        for y in range(0, 4096, slide.height):
            region.paste(slide, (x, y))
    region.save(folder / "region.png")
    codes = (np.asarray(region)[..., 0] > 200).astype(np.uint8)
    Image.fromarray(codes).save(folder / "mask.png")
    for start in range(0, 1200, 100):
        crop = (start, start, start + 1024, start + 1024)
        before = time.process_time()
        found = image.load(ImageFile(folder / "region.png", crop=crop))
        mask.load(MaskFile(folder / "mask.png", "tissue", codes={1: 1}, crop=crop), [found])
        yield time.process_time() - before


def main(arguments: list[str]) -> None:
    """Prints what was joined, and the mean time of a patch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    known = parser.parse_args(arguments)
    with Image.open(known.slide) as pages:
        slide = pages.convert("RGB")
    tiles = tiles_of(slide, known.side)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(known.seeds):
            print(joined(tiles, known.copies, seed, Path(folder)))
        times = list(patches(slide, Path(folder)))
        print(f"a patch of 1,024 px with its mask: {sum(times) / len(times):.2f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
