"""Writes the made raw trees of every source into one folder: `write_all.py OUT [N]`."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

SOURCES = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")
N_RECORDS = 64  # a source; enough for a tiny model to learn from within minutes


def main(arguments: list[str]) -> None:
    """Writes the trees; what an earlier call left in their folders is replaced."""
    out = Path(arguments[0])
    n_records = int(arguments[1]) if len(arguments) > 1 else N_RECORDS
    for name in SOURCES:
        shutil.rmtree(out / name, ignore_errors=True)
        importlib.import_module(name).make(out / name, n=n_records, seed=0)


if __name__ == "__main__":
    main(sys.argv[1:])
