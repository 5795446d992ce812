"""How much memory a build of long EEG recordings takes: one and four hours of made EDF, beside.

    python -m tests.bench.eeg_memory [--hours 1 4] [--road build|load|stream]

Each length is built in a process of its own from one file of 19 electrodes at 250 Hz. What is
printed is the highest resident memory of that process, and by how much it is above what the
process held with everything imported and one minute built (the same road, a smaller file).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
TESTS = Path(__file__).parent.parent
RATE_HZ = 250
ROADS = ("build", "load", "stream")


def write(root: Path, seconds: int) -> int:
    """Writes one normal recording, second by second; returns its size in bytes."""
    import numpy as np

    sys.path.append(str(TESTS / "fake"))
    eeg = importlib.import_module("eeg_waves")
    names = [name for name in eeg.ELECTRODES if name not in ("A1", "A2")]
    codes = eeg.waves(np.random.default_rng(0), RATE_HZ, RATE_HZ)
    second = {eeg.label_of(name): codes[eeg.label_of(name)] for name in names}
    path = root / "edf" / "train" / "normal" / "01_tcp_ar" / "aaaaaaaa_s001_t000.edf"
    eeg.write_edf(path, second, RATE_HZ)
    header, record = path.read_bytes()[: 256 * 20], path.read_bytes()[256 * 20 :]
    with path.open("wb") as file:
        file.write(header[:236] + f"{seconds:<8}".encode() + header[244:])
        for _ in range(seconds):
            file.write(record)
    return path.stat().st_size


def run(road: str, root: Path) -> int:
    """Builds what lies under `root`; returns the number of windows."""
    import climb_hf
    from climb_hf.build import build
    from climb_hf.builder import ClimbConfig

    if road == "build":
        config = ClimbConfig(name="tuab", sources=("tuab",))
        made = build(config, root, root / "out")
        return sum(shard.rows for shard in made.manifest.sources["tuab"].shards)
    options = {"data_dir": str(root), "cache_dir": str(root / "cache")}
    found = climb_hf.load_dataset("climb", "tuab", streaming=road == "stream", **options)
    if road == "load":  # rows that are looked at lie in memory as long as the system likes
        return sum(len(part) for part in found.values())
    return sum(1 for part in found.values() for _ in part)


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB (1,000,000 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def child(road: str, seconds: int) -> None:
    """Builds a minute, then the recording, and tells the peak of both."""
    facts = {}
    for name, length in (("minute", 60), ("recording", seconds)):
        with tempfile.TemporaryDirectory() as folder:
            size = write(Path(folder), length)
            start = time.process_time()
            windows = run(road, Path(folder))
            took_s = time.process_time() - start
        facts[name] = {"mb": size / 1e6, "windows": windows, "peak": peak_mb(), "s": took_s}
    print(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", nargs="+", type=float, default=[1, 4])
    parser.add_argument("--road", choices=ROADS, nargs="+", default=list(ROADS))
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.child:
        child(known.road[0], known.child)
        return
    print(f"{'road':<8} {'hours':>5} {'EDF MB':>7} {'windows':>8} {'peak MB':>8} {'above':>6} s")
    for road in known.road:
        for hours in known.hours:
            words = ["--road", road, "--child", str(round(hours * 3600))]
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.eeg_memory", *words],
                cwd=TESTS.parent,
                capture_output=True,
                text=True,
                check=True,
            )
            facts = json.loads(done.stdout.splitlines()[-1])
            found, before = facts["recording"], facts["minute"]["peak"]
            above = found["peak"] - before
            print(
                f"{road:<8} {hours:>5g} {found['mb']:>7.0f} {found['windows']:>8} "
                f"{found['peak']:>8.0f} {above:>6.0f} {found['s']:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
