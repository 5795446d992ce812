"""How fast 12-lead records are read and built, beside a bare loop over `wfdb.rdrecord`.

    python -m tests.bench.read_ecg [--records 400] [--repeats 5] [--real ../shared/real/ecg]

One run times all of it on the same records, once after another and that several times, with files
in the page cache and one thread. Rates are records a second of processor time, as other work on a
machine moves the clock on the wall; both medians are printed. `times wfdb` is a ratio within the
run, of processor time. The last rows say what the shards' compression alone costs.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
TESTS = Path(__file__).parent.parent
REAL = TESTS.parent.parent / "shared" / "real" / "ecg"
MADE = ("georgia", "ptb_xl")


@dataclass(frozen=True)
class Corpus:
    """Raw files and the records that are found in them.

    Attributes:
        files: header and signal of each record.
    """

    title: str
    root: Path
    sources: tuple[str, ...]
    files: tuple[tuple[Path, Path], ...]


def corpus(title: str, root: Path, sources: tuple[str, ...]) -> Corpus:
    placed = [one for found in gathered(root, sources) for one in found.placed]
    series = [one.example.series[0] for one in placed]
    files = tuple((one.path, one.signal or one.path.with_suffix(".dat")) for one in series)
    return Corpus(title, root, sources, files)


def config_of(sources: tuple[str, ...]) -> Any:
    from climb_hf.builder import ClimbConfig

    return ClimbConfig(name=sources[0], sources=sources)


def gathered(root: Path, sources: tuple[str, ...]) -> list[Any]:
    from climb_hf.builder import gather

    return gather(config_of(sources), root)


# --- what is timed: each returns how many records it did ---------------------------------------


def read_bytes(what: Corpus) -> int:
    for pair in what.files:
        for path in pair:
            path.read_bytes()
    return len(what.files)


def by_wfdb(what: Corpus) -> int:
    import wfdb

    done = 0
    for header, _ in what.files:
        try:
            wfdb.rdrecord(str(header.with_suffix("")))
        except (ValueError, OSError):  # a dialect that wfdb does not know
            continue
        done += 1
    return done


def by_load(what: Corpus, header_known: bool) -> int:
    """As the samples of a record are read alone, and as after an index that read the headers."""
    from climb_hf.errors import CorruptFileError
    from climb_hf.io.signal import load
    from climb_hf.schema import SeriesFile

    done = 0
    for header, signal in what.files:
        try:
            load(SeriesFile(header, "wfdb", signal=signal if header_known else None))
        except CorruptFileError:
            continue
        done += 1
    return done


def index(what: Corpus) -> int:
    return sum(len(found.placed) for found in gathered(what.root, what.sources))


def index_and_rows(what: Corpus) -> int:
    from climb_hf.rows import build_row

    done = 0
    config = config_of(what.sources)
    for found in gathered(what.root, what.sources):
        card = found.source.card
        request = config.request(card.name)
        for one in found.placed:
            build_row(card, one.example, request, one.split_origin)
            done += 1
    return done


def whole_build(what: Corpus) -> int:
    from climb_hf.build import build

    with tempfile.TemporaryDirectory() as out:
        made = build(config_of(what.sources), what.root, out)
        splits = (made.manifest.sources[name].shards for name in made.sources)
        return sum(shard.rows for shards in splits for shard in shards)


def compression(codec: str, level: int | None) -> Callable[[Any], int]:
    """Writes the table of a build once more, as its shards are written but for the codec."""
    import pyarrow.parquet as pq

    from climb_hf.shards import WRITER

    def write(table: Any) -> int:
        options = {**WRITER, "compression": codec, "compression_level": level}
        pq.write_table(table, io.BytesIO(), **options)
        return table.num_rows

    return write


# --- timing --------------------------------------------------------------------------------------


def timed(tasks: dict[str, Callable[[], int]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median records a second of each task, of processor time and of the clock on the wall."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(repeats + 1):  # the first round warms caches and is left out
        for name, task in tasks.items():
            wall, cpu = time.perf_counter(), time.process_time()
            done = task()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            spent[name].append((done / cpu, done / wall))
    medians = {}
    for name, rounds in spent.items():
        cpus, walls = zip(*rounds[1:], strict=True)
        medians[name] = statistics.median(cpus), statistics.median(walls)
    return medians


def built_table(what: Corpus, folder: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from climb_hf.build import build

    build(config_of(what.sources), what.root, folder)
    return pa.concat_tables([pq.read_table(path) for path in Path(folder).rglob("*.parquet")])


def report(what: Corpus, repeats: int) -> None:
    tasks: dict[str, Callable[[], int]] = {
        "file reading alone": lambda: read_bytes(what),
        "wfdb.rdrecord": lambda: by_wfdb(what),
        "io.signal.load": lambda: by_load(what, header_known=False),
        "io.signal.load after the index": lambda: by_load(what, header_known=True),
        "index": lambda: index(what),
        "index + rows": lambda: index_and_rows(what),
        "build (raw to Parquet)": lambda: whole_build(what),
    }
    with tempfile.TemporaryDirectory() as folder:
        table = built_table(what, folder)
        for codec, level in (("zstd", 3), ("zstd", 1), ("none", None)):
            write = compression(codec, level)
            label = f"  Parquet of its rows, {codec}{'' if level is None else f' {level}'}"
            tasks[label] = lambda write=write: write(table)  # type: ignore[misc]
        rates = timed(tasks, repeats)
    base = rates["wfdb.rdrecord"][0]
    print(f"\n{what.title}: {len(what.files)} records, wfdb reads {by_wfdb(what)} of them")
    print(f"{'':36}{'records/s':>11}{'us/record':>11}{'wall rec/s':>12}{'times wfdb':>12}")
    for name, (cpu, wall) in rates.items():
        print(f"{name:36}{cpu:11.0f}{1e6 / cpu:11.0f}{wall:12.0f}{cpu / base:12.1f}")


def quiet() -> None:
    import logging

    import datasets
    import pyarrow as pa

    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=400, help="of each made source")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--real", type=Path, default=REAL, help="folder of real records, if any")
    known = parser.parse_args()
    quiet()
    sys.path.append(str(TESTS / "fake"))
    with tempfile.TemporaryDirectory() as folder:
        for name in MADE:
            root = Path(folder, name)
            importlib.import_module(name).make(root, n=known.records)
        time.sleep(1.1)  # a header counts as settled a second after it was written
        for name in MADE:
            report(corpus(f"made {name}", Path(folder, name), (name,)), known.repeats)
    real = known.real / "challenge-2021"
    if real.is_dir():
        sources = ("georgia", "chapman_shaoxing", "ptb_xl")
        report(corpus("real, challenge-2021", real, sources), known.repeats)


if __name__ == "__main__":
    main()
