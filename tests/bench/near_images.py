"""How far apart real radiographs are by their fingerprints, and how far re-encoding moves them.

    python -m tests.bench.near_images ../shared/real/image/xray-classification/pneumoniamnist.npz

Behind the two limits of `climb_hf.io.fingerprint`: every two different images are compared, and
each of 1,000 with itself as JPEG of several qualities and sizes. At the end 100,000 made
fingerprints with planted pairs, for what the bands miss and how long they take.
"""

from __future__ import annotations

import argparse
import io
import time

import numpy as np
from PIL import Image

from climb_hf.io import fingerprint as prints
from climb_hf.io.fingerprint import Fingerprint, fingerprint, near_pairs

SIDE = 224  # px, as the images of 28 px are shown to the encoder
AGAIN = ((75, 1.0), (50, 1.0), (50, 0.5), (90, 0.25), (30, 0.5))  # quality, scale


def encoded(image: Image.Image, kind: str, scale: float = 1.0, **how: int) -> bytes:
    side = round(SIDE * scale)
    buffer = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(buffer, kind, **how)
    return buffer.getvalue()


def apart(one: Fingerprint, other: Fingerprint) -> tuple[int, float]:
    bits = int(np.bitwise_count(one.bits ^ other.bits).sum())
    return bits, float(prints._detail(one) @ prints._detail(other))


def others(found: list[Fingerprint]) -> None:
    """Prints the least distance of different images, equal ones left out."""
    bits = np.stack([one.bits for one in found])
    detail = np.stack([prints._detail(one) for one in found])
    least, most, equal = [], [], 0
    for index in range(len(found) - 1):
        distances = np.bitwise_count(bits[index] ^ bits[index + 1 :]).sum(axis=1)
        alike = detail[index + 1 :] @ detail[index]
        same = alike > 0.9999
        equal += int(same.sum())
        least.append(distances[~same].min(initial=256))
        most.append(alike[~same].max(initial=-1.0))
    n_pairs = len(found) * (len(found) - 1) // 2
    print(f"| {n_pairs:,} pairs of others | {min(least)} at least | {max(most):.3f} at most |")
    print(f"\n{equal} pairs are stored twice in the set itself and left out of the first line.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="an .npz with arrays of 8-bit grey images")
    with np.load(parser.parse_args().images, allow_pickle=False) as file:
        stacks = [file[name] for name in sorted(file.files) if name.endswith("images")]
    pictures = [
        Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        for one in np.concatenate(stacks)
    ]
    found = [fingerprint(encoded(one, "PNG")) for one in pictures]
    print("| what | of 256 bits | correlation of detail |\n|---|---|---|")
    for quality, scale in AGAIN:
        pairs = [
            apart(known, fingerprint(encoded(one, "JPEG", scale, quality=quality)))
            for known, one in zip(found[:1000], pictures, strict=False)
        ]
        bits, alike = zip(*pairs, strict=True)
        how = f"JPEG of quality {quality}, size x {scale:g}"
        print(f"| {how} | {np.median(bits):g}, at most {max(bits)} | {min(alike):.3f} at least |")
    others(found)
    bands(found[0])


def bands(like: Fingerprint, n: int = 100_000, planted: int = 500) -> None:
    """Prints the share of planted pairs that is found among made fingerprints, and the time."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**16, (n, 16), np.uint16)
    rows, kinds = [], (8, 16, 24, 32)
    places = rng.choice(n, (len(kinds), planted), replace=False)
    for n_bits, some in zip(kinds, places, strict=True):
        for row in np.unpackbits(bits[some].view(np.uint8), axis=1):
            row[rng.choice(256, n_bits, replace=False)] ^= 1
            rows.append(row)
    bits = np.concatenate([bits, np.packbits(np.stack(rows), axis=1).view(np.uint16)])
    begun = time.process_time()
    found = near_pairs([Fingerprint(one, like.pixels) for one in bits])
    seconds = time.process_time() - begun
    wanted = {place: n + index for index, place in enumerate(places.ravel().tolist())}
    right = [one.n_bits for one in found if wanted.get(one.first) == one.second]
    shares = ", ".join(f"{right.count(k) / planted:.3f} at {k}" for k in kinds)
    print(f"\n{len(bits):,} fingerprints: {seconds:.1f} s; share of planted pairs found: {shares}")


if __name__ == "__main__":
    main()
