"""What lists of genes in the rows cost, on disk and in memory, beside values alone.

    python -m tests.bench.gene_lists [--genes 54675]

A made tree of GEO (`tests/fake/geo.py`, as many probes as a common human array has) is built by the
package with and without them; printed are bytes a row, of Parquet files and of their Arrow tables.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
TESTS = Path(__file__).parent.parent
SOURCE, PLATFORM = "geo", "GPL96"


def make(root: Path, n_genes: int) -> None:
    """Writes the tree."""
    sys.path.append(str(TESTS / "fake"))
    import geo

    geo.N_GENES = n_genes
    geo.make(root / SOURCE)


def built(root: Path, out: Path, options: dict[str, object]) -> tuple[float, float]:
    """Bytes a row of the Parquet files, and of the tables that they hold."""
    from climb_hf.build import build
    from climb_hf.config import ClimbConfig

    config = ClimbConfig(name=SOURCE, sources=(SOURCE,), options={SOURCE: options})
    shards = build(config, root, out).manifest.sources[SOURCE].shards
    rows = sum(shard.rows for shard in shards)
    sizes = (sum(s.n_bytes for s in shards), sum(s.arrow_bytes for s in shards))
    return sizes[0] / rows, sizes[1] / rows


def main() -> None:
    """Prints a line for each number of genes, with and without lists."""
    import climb_hf

    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--genes", type=int, default=54_675)
    n_genes = known.parse_args().genes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "raw", n_genes)
        genes = list(climb_hf.gene_list(SOURCE, PLATFORM, data_dir=folder / "raw"))
        for number in (1000, n_genes):
            file = folder / f"{number}.txt"
            file.write_text("\n".join(genes[:number]))
            alone = {"gene_file": str(file), "genes_in_rows": False}
            ways = {"listed": {"gene_file": str(file)}, "alone": alone}
            for way, options in ways.items():
                disk, memory = built(folder / "raw", folder / f"{number}{way}", options)
                print(f"{number} genes, {way}: {disk:,.0f} bytes a row, {memory:,.0f} in memory")


if __name__ == "__main__":
    main()
