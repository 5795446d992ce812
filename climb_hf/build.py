"""`climb-hf build`: raw files to a prepared folder, shard by shard, with nothing in between.

A build that is broken off, however, is run again and goes on: each shard that is finished is kept.
What readers see of the folder changes at one moment, when the new manifest takes the old one's
place.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shlex
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import datasets

from climb_hf import catalog, collect, prepared
from climb_hf.builder import Found, code_digest, gather
from climb_hf.card import SourceCard
from climb_hf.check import check_type
from climb_hf.collect import Report
from climb_hf.config import ClimbConfig
from climb_hf.dataset_card import readme
from climb_hf.errors import ClimbError, OptionError, PreparedFolderError
from climb_hf.io.tree import RawTree
from climb_hf.labels import class_names
from climb_hf.prepared import QA, ConfigEntry, Manifest, SourceEntry
from climb_hf.shards import (
    DATA,
    SHARD_MB,
    STATE,
    Shard,
    ShardPlan,
    SourcePlan,
    finished,
    plan_source,
    relative_fault,
    request_facts,
    write_shard,
    write_text,
)


@dataclass(frozen=True)
class Outcome:
    """What a build did.

    Attributes:
        out: the prepared folder.
        manifest: as it stands there now, with what earlier builds put there.
        sources: those of this build.
        written, kept: paths of the shards that were written, and that an earlier build had.
    """

    out: Path
    manifest: Manifest
    sources: tuple[str, ...]
    written: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def raw_bytes(self) -> int:
        """Size of the raw files that the rows of this build's sources were made of."""
        return sum(self.manifest.sources[name].raw_bytes for name in self.sources)

    @property
    def n_bytes(self) -> int:
        """Size of the shards of this build's sources."""
        return sum(self.manifest.sources[name].n_bytes for name in self.sources)

    def reports(self) -> list[Report]:
        """Returns what was found of each source of this build."""
        return collect.from_json(self.manifest.sources[name].report for name in self.sources)


def build(
    config: ClimbConfig,
    data_dir: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    num_proc: int = 1,
    shard_mb: float = SHARD_MB,
    force: bool = False,
) -> Outcome:
    """Prepares a config: its shards, README.md and climb.json; earlier configs there stay.

    Args:
        config: what is built. Its task does not matter, as every shard serves both.
        data_dir: folder with the raw files; None takes CLIMB_DATA_DIR.
        out: the prepared folder; made where it is absent.
        num_proc: processes that write shards.
        shard_mb: megabytes (1,000,000 bytes) of raw files that a shard is made of, about.
        force: whether a README.md that was changed by hand is overwritten.

    Raises:
        OptionError: for a value that is not allowed.
        DataNotFoundError, CorruptFileError, TooManyBadRecordsError: see `climb_hf.collect`.
        PreparedFolderError: if the folder cannot be written; and see `climb_hf.prepared.claimed`.
        FolderInUseError: if another build is writing into it.
    """
    config = replace(config, task="classification")
    _check(config, num_proc, shard_mb)
    root = collect.data_root(data_dir)
    out = Path(out).expanduser().absolute()
    with _disk_errors(out), prepared.claimed(out) as standing:
        prepared.check_readme(out, standing, force)
        found = gather(config, root)
        plans = [_plan(config, one, int(shard_mb * 1e6)) for one in found]
        shards, written = _make(plans, out, standing, num_proc)
        entries = dict(standing.sources) if standing else {}
        for one, plan in zip(found, plans, strict=True):
            made = [shards[shard.path] for shard in plan.shards]
            command = _command(config, plan.source, shard_mb)
            entries[plan.source] = _entry(config, one, plan, made, command)
        manifest = manifest_of(entries)
        _publish(out, manifest)
        _remove_leftovers(out, plans)
    return Outcome(
        out=out,
        manifest=manifest,
        sources=tuple(plan.source for plan in plans),
        written=tuple(written),
        kept=tuple(path for path in shards if path not in written),
    )


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """Says of an error of the disk (full, read only, gone) what became of the build."""
    try:
        yield
    except ClimbError:
        raise
    except OSError as error:
        raise PreparedFolderError(
            f"the build into {out} stopped: {error}. Put that right and run the same command "
            "again; shards that are finished are kept."
        ) from error


def _check(config: ClimbConfig, num_proc: int, shard_mb: float) -> None:
    config.check()
    if check_type("num_proc", num_proc, int) < 1:
        raise OptionError(f"num_proc={num_proc} must be 1 or more.")
    if not check_type("shard_mb", shard_mb, (int, float)) >= 1e-6:
        raise OptionError(f"shard_mb={shard_mb} must be a positive number of megabytes.")


def _plan(config: ClimbConfig, found: Found, shard_bytes: int) -> SourcePlan:
    card = found.source.card
    return plan_source(
        card,
        found.tree,
        found.placed,
        config.request(card.name),
        code=code_digest([card.name]),
        shard_bytes=shard_bytes,
        on_error=config.on_error,
    )


# ---- shards -------------------------------------------------------------------------------------


def _make(
    plans: Sequence[SourcePlan], out: Path, standing: Manifest | None, num_proc: int
) -> tuple[dict[str, Shard], list[str]]:
    """The shards of a build by path, those to be had from an earlier one included; and the paths
    of those that were written.
    """
    _remove_unfinished(out)
    every = [shard for plan in plans for shard in plan.shards]
    had = {plan.path: finished(plan, out) for plan in every}
    missing = [plan for plan in every if had[plan.path] is None]
    if standing is not None:
        _withdraw(out, standing, missing)
    made = {shard.path: shard for shard in _write(missing, out, num_proc)}
    shards = {path: made.get(path) or had[path] for path in had}
    return {path: shard for path, shard in shards.items() if shard is not None}, list(made)


def _withdraw(out: Path, standing: Manifest, missing: Iterable[ShardPlan]) -> None:
    """Takes sources out of the folder one of whose shards is about to be replaced in its place.

    That happens when a raw file was replaced by one of equal size, or a shard was damaged; else
    new shards lie in a folder of their own. Readers so never see rows of two builds.
    """
    shown = {shard.path for entry in standing.sources.values() for shard in entry.shards}
    stale = {plan.source for plan in missing if plan.path in shown}
    left = {name: entry for name, entry in standing.sources.items() if name not in stale}
    if stale and left:
        _publish(out, manifest_of(left))
    elif stale:
        (out / prepared.README).unlink(missing_ok=True)
        (out / prepared.MANIFEST).unlink()


def _write(plans: Sequence[ShardPlan], out: Path, num_proc: int) -> list[Shard]:
    """Writes shards, in this process or in some of their own."""
    total = sum(plan.raw_bytes for plan in plans)
    with datasets.utils.tqdm(
        total=total, desc="Writing shards", unit="B", unit_scale=True, disable=None
    ) as bar:
        if num_proc == 1 or len(plans) < 2:
            return [write_shard(plan, out, bar.update) for plan in plans]
        places = catalog.places_of({plan.source for plan in plans})
        with ProcessPoolExecutor(
            min(num_proc, len(plans)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
        ) as pool:
            futures = {pool.submit(_write_apart, places, plan, out): plan for plan in plans}
            try:
                return _gathered(futures, bar.update)
            finally:
                pool.shutdown(cancel_futures=True)


def _gathered(
    futures: Mapping[Future[Shard], ShardPlan], told: Callable[[int], object]
) -> list[Shard]:
    made = []
    for future in as_completed(futures):
        plan = futures[future]
        try:
            made.append(future.result())
        except BrokenProcessPool as error:
            raise PreparedFolderError(
                f"a process that wrote shards was ended from outside, perhaps for want of memory "
                f"(while {plan.path} was waited for). Run the same command again, with a lower "
                "--num-proc; shards that are finished are kept."
            ) from error
        told(plan.raw_bytes)
    return made


def _write_apart(places: Iterable[str], plan: ShardPlan, out: Path) -> Shard:
    """Writes a shard in a worker, which knows sources of elsewhere by where they stand."""
    catalog.add_places(places)
    return write_shard(plan, out)


def _start_worker() -> None:
    """Has a worker end when its parent does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    # A parent that was killed cannot tell its workers, which would wait for ever.
    wait([sentinel])
    os._exit(1)


# ---- manifest -----------------------------------------------------------------------------------


def _entry(
    config: ClimbConfig, found: Found, plan: SourcePlan, made: Sequence[Shard], command: str
) -> SourceEntry:
    card = found.source.card
    asked = request_facts(card, config.request(card.name))
    rule = config.split_rule or ("official" if card.split.official else "stratified")
    return SourceEntry(
        name=card.name,
        title=card.title,
        modality=str(card.modality),
        licence=card.licence.name,
        may_share=card.licence.share_derived,
        homepage=card.homepage,
        citation=card.citation,
        card_version=card.version,
        release=card.release,
        layouts=tuple(la.name for la in card.layouts if any(found.tree.find(la.marker))),
        asked={**asked, "split_rule": rule},
        chosen=_chosen(config),
        command=command,
        classes=class_names([card], config.label_set),
        raw_digest=_raw_digest(found.tree),
        raw_bytes=plan.raw_bytes,
        code_digest=code_digest([card.name]),
        folder=plan.folder,
        shards=tuple(replace(shard, faults=()) for shard in made),
        report=_report(config, found, made),
    )


def _command(config: ClimbConfig, source: str, shard_mb: float) -> str:
    """The words that build a source so again; of files of this machine the names alone."""
    card = catalog.get(source).card
    words = [next((Path(file).name for file in catalog.files_of([source])), source)]
    for name, value in _chosen(config).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    for name, value in config.options.get(source, {}).items():
        shown = Path(value).name if card.options[name].is_file else value
        words += ["--option", f"{source}.{name}={shown}"]
    if shard_mb != SHARD_MB:
        words += ["--shard-mb", f"{shard_mb:g}"]
    return shlex.join(words)


def _chosen(config: ClimbConfig) -> dict[str, Any]:
    """The options, but for those of one source only, that are not left at their defaults."""
    names = ("split_rule", "label_set", "length", "rate_hz", "variant", "max_error_rate")
    values = {name: getattr(config, name) for name in names}
    return {name: value for name, value in values.items() if value != getattr(ClimbConfig, name)}


def _raw_digest(tree: RawTree) -> str:
    total = hashlib.sha256()
    for path, size, _ in tree.files:
        total.update(f"{size} {path}\n".encode())
    return total.hexdigest()


def _report(config: ClimbConfig, found: Found, made: Sequence[Shard]) -> dict[str, Any]:
    """The report with what was found damaged when samples were read.

    Raises:
        TooManyBadRecordsError: if too much of the source is damaged after all.
    """
    report = found.report
    late = [fault for shard in made for fault in shard.faults]
    report.good -= len(late)
    report.not_questions = sum(shard.rows for shard in made if not shard.asked)
    report.faults = [relative_fault(fault, found.tree.root) for fault in [*report.faults, *late]]
    report.faults.sort(key=lambda fault: (fault.kind, fault.record, fault.path))
    report.judge(config.max_error_rate)
    (plain,) = collect.as_json([report])
    return plain


def manifest_of(entries: Mapping[str, SourceEntry]) -> Manifest:
    """Returns the manifest of some sources, with every config that they serve."""
    sources = dict(sorted(entries.items()))
    configs = {}
    for name, members in _groups(sources).items():
        present = tuple(member for member in members if member in sources)
        for task in ("classification", "qa"):
            config = ConfigEntry(
                name=name + QA if task == "qa" else name,
                task=task,
                sources=present,
                modalities=_modalities(members, sources),
                classes=_classes(members, sources),
            )
            configs[config.name] = config
    manifest = Manifest(sources, dict(sorted(configs.items())))
    held = {name: config for name, config in manifest.configs.items() if manifest.shards(name)}
    return replace(manifest, configs=held)


def _groups(sources: Mapping[str, SourceEntry]) -> dict[str, tuple[str, ...]]:
    """Config -> its sources, for configs that have data.

    Sources that are known and not in the folder are among them, as they are when raw files are
    loaded: class lists and columns of a group are the same on both roads.
    """
    groups = {name: set(members) for name, members in catalog.configs().items()}
    for name, entry in sources.items():
        for group in (name, entry.modality, "all"):
            groups.setdefault(group, set()).add(name)
    kept = {name: members for name, members in groups.items() if members & set(sources)}
    return {name: tuple(sorted(members)) for name, members in kept.items()}


def _modalities(members: Iterable[str], sources: Mapping[str, SourceEntry]) -> tuple[str, ...]:
    found = [
        sources[name].modality if name in sources else str(catalog.get(name).card.modality)
        for name in members
    ]
    return tuple(dict.fromkeys(found))


def _classes(members: Iterable[str], sources: Mapping[str, SourceEntry]) -> tuple[str, ...]:
    """The ordered union of the sources' class names."""
    asked = {sources[name].asked["label_set"] for name in members if name in sources}
    common = asked.pop() if len(asked) == 1 else None
    found: dict[str, None] = {}
    for name in members:
        if name in sources:
            names: Sequence[str] = sources[name].classes
        else:
            names = _absent_classes(catalog.get(name).card, common)
        found.update(dict.fromkeys(names))
    return tuple(found)


def _absent_classes(card: SourceCard, label_set: str | None) -> Sequence[str]:
    return class_names([card], label_set if label_set in card.label_sets else None)


def differences(manifest: Manifest) -> list[str]:
    """Returns a line for each option that the sources of one modality were built with unlike."""
    found = []
    for name in dict.fromkeys(entry.modality for entry in manifest.sources.values()):
        members = [entry for entry in manifest.sources.values() if entry.modality == name]
        for option in ("label_set", "length", "rate_hz"):
            values = {entry.name: entry.chosen.get(option, "its default") for entry in members}
            if len(set(values.values())) > 1:
                listed = ", ".join(f"{source} {value}" for source, value in values.items())
                found.append(f"{option} differs within {name}: {listed}")
    return found


def _publish(out: Path, manifest: Manifest) -> None:
    """Writes what readers go by. After the first line this package sees the new rows, after the
    second plain `datasets` does; the shards of both are there.
    """
    write_text(out / prepared.MANIFEST, manifest.to_json())
    write_text(out / prepared.README, readme(manifest))


def _remove_unfinished(out: Path) -> None:
    """Removes what a build that was killed had begun to write."""
    for file in out.glob(".*.tmp"):
        file.unlink(missing_ok=True)
    for folder in (out / DATA, out / STATE):
        for file in folder.rglob(".*.tmp"):
            file.unlink(missing_ok=True)


def _remove_leftovers(out: Path, plans: Iterable[SourcePlan]) -> None:
    """Removes the shards of this build's sources that the manifest does not name any more."""
    for plan in plans:
        name = Path(plan.folder).name
        for above in (out / DATA / plan.source, out / STATE / DATA / plan.source):
            for folder in above.iterdir():
                if folder.name != name:
                    shutil.rmtree(folder)
