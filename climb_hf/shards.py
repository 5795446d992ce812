"""Which records go into which Parquet file, and the pure function that writes one of them.

The bytes of a shard follow from the raw files, what was asked and the code: not from the folder
that they lie in, from times, from the number of processes, or from what an earlier build left.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from climb_hf._version import __version__
from climb_hf.card import SourceCard
from climb_hf.collect import Placed
from climb_hf.io.tree import RawTree
from climb_hf.rows import Request
from climb_hf.schema import SCHEMA_VERSION, SPLITS, Fault, disk_features

DATA = "data"  # folder of the shards in a prepared folder
STATE = ".climb"  # folder of what belongs to this machine: the lock, and what a shard was made of
SHARD_MB = 256  # raw bytes of a shard, about
FOOTER = "climb_hf"  # key of the footer's entry
# A streaming reader holds a whole row group: 8 to 64 MB serve it, and random access.
ROW_GROUP_BYTES = 32 << 20
WRITER: Mapping[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": False,
    "write_page_index": True,
    "use_content_defined_chunking": True,
}


@dataclass(frozen=True)
class ShardPlan:
    """One shard before it is written.

    Attributes:
        path: in the prepared folder.
        asked: whether its rows are questions; the others stand in files of their own, which the
            `_qa` configs do not list.
        root: folder that paths in the metadata are relative to.
        digest: of all that decides the bytes. Raw files count by path and size and by what the
            index says of them, so that it is the same on every machine.
        seen: digest of the raw files' sizes and times on this machine, beside the shard and not
            in it: a file that was replaced by one of equal size is noticed by it.
        raw_bytes: its share of the raw files; a file that is cut into windows is shared by them.
    """

    path: str
    source: str
    split: str
    asked: bool
    records: tuple[Placed, ...]
    request: Request
    on_error: str
    root: Path
    digest: str
    seen: str
    raw_bytes: int


@dataclass(frozen=True)
class Shard:
    """A finished shard.

    Attributes:
        path: in the prepared folder.
        sha256: of the file.
        arrow_bytes: size of its columns when they are not compressed.
        faults: records found damaged when their samples were read.
    """

    path: str
    split: str
    asked: bool
    rows: int
    n_bytes: int
    arrow_bytes: int
    sha256: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class SourcePlan:
    """The shards of one source.

    Attributes:
        folder: where they lie in the prepared folder; another plan has another one.
        raw_bytes: size of the raw files that the records name, or of the tables that hold them.
    """

    source: str
    folder: str
    raw_bytes: int
    shards: tuple[ShardPlan, ...]


# ---- planning -----------------------------------------------------------------------------------


def plan_source(
    card: SourceCard,
    tree: RawTree,
    placed: Sequence[Placed],
    request: Request,
    *,
    code: str,
    shard_bytes: int = SHARD_MB << 20,
    on_error: str = "skip",
) -> SourcePlan:
    """Cuts the records of a source into shards, in their order.

    Args:
        tree: the source's files.
        placed: its records, as `climb_hf.collect.collect` returns them.
        code: digest of the code that makes rows.
        shard_bytes: raw bytes of a shard, about; a single record is never cut.
        on_error: `skip` or `raise`, for records whose samples turn out damaged.
    """
    asked_for = {
        "schema": SCHEMA_VERSION,
        "code": code,
        "request": request_facts(card, request),
    }
    records = _with_files(tree, placed)
    shards = []
    for split in SPLITS:
        for asked in (True, False):
            chosen = [r for r in records if r.placed.split == split and r.placed.asked is asked]
            runs = _runs(chosen, shard_bytes)
            for index, run in enumerate(runs):
                name = f"{stem(split, asked)}-{index:05d}-of-{len(runs):05d}.parquet"
                facts = [_facts(raw, tree.root) for raw in run]
                shards.append(
                    ShardPlan(
                        path=name,
                        source=card.name,
                        split=split,
                        asked=asked,
                        records=tuple(raw.placed for raw in run),
                        request=request,
                        on_error=on_error,
                        root=tree.root,
                        digest=_digest({**asked_for, "name": name, "records": facts}),
                        seen=_digest([raw.files for raw in run]),
                        raw_bytes=sum(raw.n_bytes for raw in run),
                    )
                )
    whole = _digest([[shard.path, shard.digest] for shard in shards])[:16]
    folder = f"{DATA}/{card.name}/{whole}"
    return SourcePlan(
        source=card.name,
        folder=folder,
        raw_bytes=_raw_bytes(tree, records),
        shards=tuple(replace(shard, path=f"{folder}/{shard.path}") for shard in shards),
    )


def stem(split: str, asked: bool) -> str:
    """Returns how the names of a split's shards begin, up to their number."""
    return split if asked else f"{split}_no_question"


def request_facts(card: SourceCard, request: Request) -> dict[str, Any]:
    """Returns what was asked of a source, defaults filled in, as plain data.

    A file that an option names counts by its content.
    """
    options = {}
    for name, value in sorted(request.options.items()):
        known = card.options.get(name)
        is_file = known is not None and known.is_file and value
        options[name] = file_digest(Path(value)) if is_file else value
    return {
        "label_set": request.label_set or card.default_label_set,
        "length": request.length,
        "rate_hz": request.rate_hz or card.rate_hz,
        "variant": request.variant,
        "options": options,
    }


def file_digest(path: Path) -> str:
    """Returns `sha256:...` of a file's content."""
    with path.expanduser().open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


@dataclass(frozen=True)
class _Raw:
    """A record with (relative path, size, time) of each file of it, and its share of them."""

    placed: Placed
    files: tuple[tuple[str, int, int], ...]
    n_bytes: int


def _with_files(tree: RawTree, placed: Sequence[Placed]) -> list[_Raw]:
    """The records with the files that they name, and those beside them of the same stem: a header
    that is named stands for its signal too. Where none names any, all stands in the tables, which
    the records then share.
    """
    if not any(one.example.paths for one in placed):
        whole = sum(size for _, size, _ in tree.files)
        return [_Raw(one, (), whole // len(placed)) for one in placed]
    facts = {path: (size, time) for path, size, time in tree.files}
    by_stem: dict[str, list[str]] = {}
    for path in facts:
        by_stem.setdefault(_stem_of(path), []).append(path)
    files = []
    for one in placed:
        named = {relative(path, tree.root) for path in one.example.paths}
        found = named.union(*(by_stem.get(_stem_of(path), ()) for path in named))
        files.append(tuple((path, *facts.get(path, (0, 0))) for path in sorted(found)))
    uses = Counter(path for own in files for path, _, _ in own)
    shares = [sum(size / uses[path] for path, size, _ in own) for own in files]
    return [_Raw(*each) for each in zip(placed, files, map(round, shares), strict=True)]


def _raw_bytes(tree: RawTree, records: Sequence[_Raw]) -> int:
    named = {file for raw in records for file in raw.files}
    return sum(size for _, size, _ in named or tree.files)


def _stem_of(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _runs(records: Sequence[_Raw], target: int) -> list[list[_Raw]]:
    """The records in runs of about `target` bytes, order kept, no run empty."""
    total = sum(raw.n_bytes for raw in records)
    n_runs = max(1, -(-total // target))
    runs: dict[int, list[_Raw]] = {}
    before = 0
    for raw in records:
        runs.setdefault(before * n_runs // max(total, 1), []).append(raw)
        before += raw.n_bytes
    return [runs[index] for index in sorted(runs)]


def _facts(raw: _Raw, root: Path) -> list[Any]:
    """What decides the row of a record, equal on every machine that has the same files."""
    sizes = [[name, size] for name, size, _ in raw.files]
    return [raw.placed.split_origin, _plain(raw.placed.example, root), sizes]


def relative(path: Path, root: Path) -> str:
    """Returns a path as it stands in metadata: below `root`, else its name alone."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _plain(value: Any, root: Path) -> Any:
    if isinstance(value, Path):
        return relative(value, root)
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name), root) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one, root) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, root) for one in value]
    return value


def _digest(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# ---- writing ------------------------------------------------------------------------------------


def _tell_nobody(n_bytes: int) -> None:
    """Shows no progress."""


def write_shard(plan: ShardPlan, out: Path, told: Callable[[int], object] = _tell_nobody) -> Shard:
    """Writes one shard: its records in their order, all 40 columns, class names as strings.

    The file appears under its name when it is whole and on disk, never before.

    Args:
        out: the prepared folder.
        told: called for each record that was read, with its share of the raw bytes.

    Raises:
        CorruptFileError: for a damaged record, if the plan says to raise.
    """
    import pyarrow.parquet as pq

    target = out / plan.path
    target.parent.mkdir(parents=True, exist_ok=True)
    _seen_file(plan, out).unlink(missing_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    faults: list[Fault] = []
    rows = arrow_bytes = 0
    try:
        with unfinished.open("wb") as file:
            hashed = _Hashed(file)
            with pq.ParquetWriter(hashed, disk_features().arrow_schema, **WRITER) as writer:
                for table in _tables(plan, faults, told):
                    writer.write_table(table, row_group_size=table.num_rows)
                    rows += table.num_rows
                    arrow_bytes += table.nbytes
                writer.add_key_value_metadata({FOOTER: _footer(plan, rows, faults)})
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(target.parent)
    shard = Shard(
        path=plan.path,
        split=plan.split,
        asked=plan.asked,
        rows=rows,
        n_bytes=hashed.n_bytes,
        arrow_bytes=arrow_bytes,
        sha256=hashed.total.hexdigest(),
        faults=tuple(faults),
    )
    write_text(_seen_file(plan, out), json.dumps({"seen": plan.seen, **_without_faults(shard)}))
    return shard


def finished(plan: ShardPlan, out: Path) -> Shard | None:
    """Returns the shard of a plan where an earlier build has finished it, else None.

    It has to have the size that it was written with and a footer that tells the plan's digest,
    and the raw files have to be those that it was made of.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        known = json.loads(_seen_file(plan, out).read_text("utf-8"))
        if known.pop("seen") != plan.seen:
            return None
        if (out / plan.path).stat().st_size != known["n_bytes"]:
            return None
        entries = pq.read_metadata(out / plan.path).metadata or {}
        footer = json.loads(entries[FOOTER.encode()])
        shard = Shard(**known, faults=tuple(Fault(**fault) for fault in footer["faults"]))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None  # whatever else lies there is written anew
    return shard if footer["digest"] == plan.digest and shard.path == plan.path else None


def _seen_file(plan: ShardPlan, out: Path) -> Path:
    return out / STATE / f"{plan.path}.json"


def _without_faults(shard: Shard) -> dict[str, Any]:
    return {name: value for name, value in asdict(shard).items() if name != "faults"}


def _footer(plan: ShardPlan, rows: int, faults: Sequence[Fault]) -> str:
    facts = {
        "digest": plan.digest,
        "source": plan.source,
        "split": plan.split,
        "asked": plan.asked,
        "rows": rows,
        "faults": [vars(fault) for fault in faults],
        "schema_version": SCHEMA_VERSION,
        "package_version": __version__,
    }
    return json.dumps(facts, sort_keys=True)


def _tables(plan: ShardPlan, faults: list[Fault], told: Callable[[int], object]) -> Iterator[Any]:
    """The rows as tables of at most `ROW_GROUP_BYTES`, one row at least; adds to `faults`."""
    from climb_hf.builder import row_or_fault

    rows: list[dict[str, Any]] = []
    held = 0
    for placed in plan.records:
        found = row_or_fault(placed, plan.request, plan.on_error)
        told(plan.raw_bytes // len(plan.records))
        if isinstance(found, Fault):
            faults.append(relative_fault(found, plan.root))
            continue
        size = _weight(found)
        if rows and held + size > ROW_GROUP_BYTES:
            yield _table(rows)
            rows, held = [], 0
        rows.append(found)
        held += size
    if rows:
        yield _table(rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import pyarrow as pa

    features = disk_features()
    columns = features.encode_batch({name: [row[name] for row in rows] for name in features})
    return pa.Table.from_pydict(columns, schema=features.arrow_schema)


def _weight(value: Any) -> int:
    """Bytes that a value takes in a column, about."""
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_weight(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_weight(one) for one in value)
    return 8


def relative_fault(fault: Fault, root: Path) -> Fault:
    """Returns a fault that names no folder of this machine."""
    reason = fault.reason.replace(f"{root}{os.sep}", "")
    path = relative(Path(fault.path), root) if Path(fault.path).is_absolute() else fault.path
    return Fault(fault.record, fault.kind, reason, path)


class _Hashed:
    """A file that is written from front to back, with the digest of what was written."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.total = hashlib.sha256()
        self.n_bytes = 0

    def write(self, data: bytes) -> int:
        self.total.update(data)
        self.n_bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """The file is closed by who opened it."""


def write_text(path: Path, text: str) -> None:
    """Writes a file so that its name shows the old or the new content, whole, at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Has the names in a folder written to disk, where the system can be told to."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
