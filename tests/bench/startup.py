"""How long it takes until something is there: `python tests/bench/startup.py [REPEATS]`.

Every command is started anew, in turns, so that a busy machine slows all of them alike; figures are
medians, and only ratios of one run mean anything.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 15
CLIMB_HF = str(Path(sys.executable).with_name("climb-hf"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "climb-hf --help": [CLIMB_HF, "--help"],
    "climb-hf list": [CLIMB_HF, "list"],
    "import datasets": [sys.executable, "-c", "import datasets"],
    "import climb_hf": [sys.executable, "-c", "import climb_hf"],
    "import climb_hf, datasets": [sys.executable, "-c", "import climb_hf, datasets"],
}
# (what, over what, at most)
BOUNDS = (
    ("climb-hf --help", "import numpy", 2.0),
    ("import climb_hf", "import datasets", 1.1),
    ("import climb_hf, datasets", "import datasets", 1.1),
)


def main(repeats: int = REPEATS) -> int:
    """Prints medians and ratios; returns 1 if a ratio is above its bound."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(repeats + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if turn:  # the first turn only warms the disk
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"medians of {repeats} interleaved starts")
    for name, median in medians.items():
        quickest, slowest = min(seconds[name]), max(seconds[name])
        print(f"{name:<26} {median:6.3f} s  ({quickest:.3f} to {slowest:.3f})")
    status = 0
    for what, over, bound in BOUNDS:
        ratio = medians[what] / medians[over]
        verdict = "ok" if ratio <= bound else "ABOVE"
        print(f"{what} / {over} = {ratio:.2f}, at most {bound:g}: {verdict}")
        status |= ratio > bound
    return int(status)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
