"""Writes made raw trees into one folder, each called as its source.

    write_all.py OUT [N] [SOURCE ...]

N is the number of records of each; without sources, those of the ECG ones are written, and `all`
means every source that has a maker here.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

ECG = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")
N_RECORDS = 64  # a source; enough for a tiny model to learn from within minutes


def makers() -> tuple[str, ...]:
    """Returns the names of the sources that have a maker: modules beside this one with `make`."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return tuple(file.stem for file in files if "\ndef make(" in file.read_text("utf-8"))


def main(arguments: list[str]) -> None:
    """Writes the trees; what an earlier call left in their folders is replaced."""
    out, *more = arguments
    n_records = int(more.pop(0)) if more and more[0].isdigit() else N_RECORDS
    names = makers() if more == ["all"] else tuple(more) or ECG
    unknown = sorted(set(names) - set(makers()))
    if unknown:
        sys.exit(f"no maker of {', '.join(unknown)}; there are: {', '.join(makers())}.")
    for name in names:
        shutil.rmtree(Path(out, name), ignore_errors=True)
        importlib.import_module(name).make(Path(out, name), n=n_records, seed=0)


if __name__ == "__main__":
    main(sys.argv[1:])
