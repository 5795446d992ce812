"""A prepared folder: what its manifest says, and whether it is whole and may be read or written.

`climb-hf build` writes the folder, plain `datasets` reads it by its README, and this package by
its manifest. A folder whose manifest is absent is unfinished.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from climb_hf._version import __version__
from climb_hf.check import check_option, check_type, nearest
from climb_hf.collect import DATA_DIR_VARIABLE, Report, data_root, from_json
from climb_hf.errors import (
    ConfigNameError,
    DataNotFoundError,
    FolderInUseError,
    OptionError,
    PreparedFolderError,
)
from climb_hf.schema import SCHEMA_VERSION, SPLITS, TASKS
from climb_hf.shards import DATA, STATE, Shard, file_digest

MANIFEST = "climb.json"
README = "README.md"
HOME_VARIABLE = "CLIMB_HOME"
QA = "_qa"  # end of the name of a config of questions
_SEEN = 3  # damaged shards that a message names


@dataclass(frozen=True)
class SourceEntry:
    """One source of a prepared folder.

    Attributes:
        may_share: whether its licence lets prepared shards be given to others.
        card_version, release: of its card, and the release that the card was written from.
        layouts: of the raw files that were there.
        asked: what decides its rows, defaults filled in; a file that was named, by its content.
        chosen: the options of every source that were not left at their defaults.
        command: what `climb-hf build` was told, beside the two folders.
        classes: in label order.
        raw_digest: of the raw files' names and sizes.
        code_digest: of the code that made the rows.
        report: what was found and left out, as `climb_hf.collect.as_json` has it.
    """

    name: str
    title: str
    modality: str
    licence: str
    may_share: bool
    homepage: str
    citation: str
    card_version: str
    release: str
    layouts: tuple[str, ...]
    asked: Mapping[str, Any]
    chosen: Mapping[str, Any]
    command: str
    classes: tuple[str, ...]
    raw_digest: str
    raw_bytes: int
    code_digest: str
    folder: str
    shards: tuple[Shard, ...]
    report: Mapping[str, Any]

    @property
    def n_bytes(self) -> int:
        """Size of its shards."""
        return sum(shard.n_bytes for shard in self.shards)


@dataclass(frozen=True)
class ConfigEntry:
    """One config of a prepared folder: a view of the shards of its sources."""

    name: str
    task: str
    sources: tuple[str, ...]
    modalities: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What a prepared folder holds; nothing in it depends on when or where it was built."""

    sources: Mapping[str, SourceEntry]
    configs: Mapping[str, ConfigEntry]
    schema_version: str = SCHEMA_VERSION
    package_version: str = __version__

    def shards(self, config: str) -> dict[str, list[Shard]]:
        """Returns the shards of a config by split, in the order of its rows."""
        entry = self.configs[config]
        found = {
            split: [
                shard
                for source in entry.sources
                for shard in self.sources[source].shards
                if shard.split == split and (shard.asked or entry.task != "qa")
            ]
            for split in SPLITS
        }
        return {split: held for split, held in found.items() if sum(s.rows for s in held)}

    def reports(self, config: str) -> list[Report]:
        """Returns what was found of each source of a config."""
        entry = self.configs[config]
        reports = from_json(self.sources[source].report for source in entry.sources)
        if entry.task != "qa":
            for report in reports:
                report.not_questions = 0  # they are rows of this config
        return reports

    def to_json(self) -> str:
        """Returns the text of the file."""
        facts = asdict(self)
        for source in facts["sources"].values():
            for shard in source["shards"]:
                del shard["faults"]  # they stand in the report
        return json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _from_json(facts: Mapping[str, Any]) -> Manifest:
    sources = {}
    for name, entry in sorted(facts["sources"].items()):
        shards = tuple(Shard(**shard) for shard in entry["shards"])
        lists = {key: tuple(entry[key]) for key in ("layouts", "classes")}
        sources[name] = SourceEntry(**{**entry, **lists, "shards": shards})
    configs = {}
    for name, entry in sorted(facts["configs"].items()):
        lists = {key: tuple(entry[key]) for key in ("sources", "modalities", "classes")}
        configs[name] = ConfigEntry(**{**entry, **lists})
    return Manifest(sources, configs, facts["schema_version"], facts["package_version"])


# ---- where it is --------------------------------------------------------------------------------


def is_prepared(folder: Path) -> bool:
    """Whether `climb-hf build` has begun or finished a folder."""
    return (folder / MANIFEST).is_file() or (folder / STATE).is_dir()


def folder_meant(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Returns the prepared folder that a load means, or None where it means raw files.

    That is `data_dir`, else CLIMB_DATA_DIR, where one of the two is a prepared folder; CLIMB_HOME
    where neither is given.

    Raises:
        OptionError: if `data_dir` is no path.
        DataNotFoundError: if CLIMB_HOME is what is left and holds no prepared folder.
    """
    if data_dir is not None:
        check_type("data_dir", data_dir, (str, os.PathLike))
    root = data_root(data_dir)
    if root is not None:
        return root if is_prepared(root) else None
    home = os.environ.get(HOME_VARIABLE)
    if not home:
        return None
    folder = Path(home).expanduser().absolute()
    if not is_prepared(folder):
        raise DataNotFoundError(
            f"{HOME_VARIABLE} names {folder}, which is no prepared folder. Make it with: climb-hf "
            f"build <config> --data-dir <raw files> --out {folder}; or pass data_dir=<raw files>, "
            f"or set {DATA_DIR_VARIABLE}."
        )
    return folder


# ---- reading ------------------------------------------------------------------------------------


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a prepared folder.

    Raises:
        PreparedFolderError: if the build is unfinished, the manifest is damaged, or the folder was
            written under another schema.
    """
    try:
        facts = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise PreparedFolderError(
            f"the build of {folder} is unfinished. Run it again: {_command(folder)}; shards that "
            "are finished are kept."
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged_manifest(folder, error) from error
    check_schema(folder, facts)
    try:
        return _from_json(facts)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged_manifest(folder, error) from error


def _damaged_manifest(folder: Path, error: Exception) -> PreparedFolderError:
    return PreparedFolderError(
        f"{folder / MANIFEST} cannot be read ({type(error).__name__}: {error}). Delete that file "
        f"and build again: {_command(folder)}; shards that are finished are kept."
    )


def check_schema(folder: Path, facts: Any) -> None:
    """Raises PreparedFolderError where a manifest is of a schema that this package cannot read."""
    found = facts.get("schema_version") if isinstance(facts, dict) else None
    try:
        theirs = tuple(int(part) for part in str(found).split("."))
    except ValueError:
        raise PreparedFolderError(
            f"{folder / MANIFEST} names no schema version ({found!r}): it is no manifest of "
            "climb-hf. Choose another folder."
        ) from None
    ours = tuple(int(part) for part in SCHEMA_VERSION.split("."))
    if theirs > ours:
        raise PreparedFolderError(
            f"{folder} was written under schema {found} by climb-hf "
            f"{facts.get('package_version')}; this climb-hf {__version__} knows schema "
            f"{SCHEMA_VERSION}. Update it: pip install --upgrade climb-hf"
        )
    if theirs[0] < ours[0]:
        raise PreparedFolderError(
            f"{folder} was written under schema {found}, which this climb-hf {__version__} (schema "
            f"{SCHEMA_VERSION}) does not read any more. Build it again, into a new folder: "
            f"{_command(Path('<new folder>'))}"
        )


def open_folder(folder: Path) -> Manifest:
    """Returns the manifest of a folder that may be read.

    Raises:
        PreparedFolderError: see `read_manifest`; and if the settings in README.md, by which plain
            `datasets` reads the folder, are not those that the build wrote.
    """
    from climb_hf.dataset_card import changed_parts

    manifest = read_manifest(folder)
    path = folder / README
    changed = changed_parts(path.read_text("utf-8")) if path.is_file() else ("settings",)
    if "settings" in changed:
        what = (
            "were changed by hand since the build" if path.is_file() else "are gone with the file"
        )
        raise PreparedFolderError(
            f"the settings at the top of {path} {what}, so plain datasets would read another data "
            f"set than this package. Write them anew: {command_of(folder, manifest)} --force"
        )
    return manifest


def config_named(folder: Path, manifest: Manifest, name: str | None, task: str | None) -> str:
    """Returns the name of the config that is meant: `ecg` with the task `qa` is `ecg_qa`.

    Raises:
        ConfigNameError: if the folder has no such config; the message lists what there is.
        OptionError: if `task` is not one, or contradicts the name.
    """
    if task is not None:
        check_option("task", task, TASKS)
    there = ", ".join(repr(config) for config in manifest.configs)
    if name is None:
        raise ConfigNameError(
            f"name a config, e.g. load_dataset('climb', 'ecg'). In {folder} are: {there}."
        )
    if task == "classification" and name.endswith(QA) and name in manifest.configs:
        raise OptionError(f"task='classification' contradicts the config {name!r}.")
    wanted = name + QA if task == "qa" and not name.endswith(QA) else name
    if wanted in manifest.configs:
        return wanted
    if wanted != name and name in manifest.configs:
        raise ConfigNameError(f"{name!r} in {folder} holds no question, so there is no {wanted!r}.")
    raise ConfigNameError(
        f"config={wanted!r} is not in {folder}; there are: {there}."
        f"{nearest(wanted, manifest.configs)} To add one: {_command(folder)}"
    )


def check_shards(folder: Path, manifest: Manifest, config: str) -> None:
    """Raises PreparedFolderError where a shard of a config is absent or not of its size."""
    wrong: dict[str, list[str]] = {}
    for source in manifest.configs[config].sources:
        for shard in manifest.sources[source].shards:
            path = folder / shard.path
            size = path.stat().st_size if path.is_file() else None
            if size != shard.n_bytes:
                found = "is missing" if size is None else f"has {size} bytes of {shard.n_bytes}"
                wrong.setdefault(source, []).append(f"{shard.path} {found}")
    if wrong:
        named = [complaint for complaints in wrong.values() for complaint in complaints]
        more = f" and {len(named) - _SEEN} more" if len(named) > _SEEN else ""
        commands = "; ".join(_command(folder, manifest.sources[source]) for source in wrong)
        raise PreparedFolderError(
            f"in {folder}, {', '.join(named[:_SEEN])}{more}. Build it again: {commands}; shards "
            "that are whole are kept."
        )


def check_asked(folder: Path, manifest: Manifest, config: str, given: Mapping[str, Any]) -> None:
    """Raises OptionError where a folder was built with other options than a load asks for.

    Args:
        given: options of `climb_hf.config.ClimbConfig` that are not None.
    """
    members = manifest.configs[config].sources
    options = given.get("options") or {}
    for source in options:
        check_option("options for source", source, members)
    for source in members:
        entry = manifest.sources[source]
        wanted = {name: given[name] for name in entry.asked if name in given and name != "options"}
        for name, value in wanted.items():
            _check_equal(folder, entry, f"{name}={value!r}", value, entry.asked[name])
        for name, value in options.get(source, {}).items():
            built = entry.asked["options"]
            check_option(f"option of source {source!r}", name, tuple(built))
            if str(built[name]).startswith("sha256:"):
                value = file_digest(Path(value))
            shown = f"options={{{source!r}: {{{name!r}: {value!r}}}}}"
            _check_equal(folder, entry, shown, value, built[name])


def _check_equal(folder: Path, entry: SourceEntry, shown: str, value: Any, built: Any) -> None:
    if value != built:
        raise OptionError(
            f"{shown}, but {entry.name!r} in {folder} was built with {built!r}. Load it as it is, "
            f"or build it again with that option: {_command(folder, entry)}"
        )


def command_of(folder: Path, manifest: Manifest) -> str:
    """Returns a command that writes the manifest and README of a folder anew."""
    return _command(folder, next(iter(manifest.sources.values()), None))


def _command(folder: Path, entry: SourceEntry | None = None) -> str:
    told = entry.command if entry else "<config>"
    return f"climb-hf build {told} --data-dir <raw files> --out {folder}"


# ---- writing ------------------------------------------------------------------------------------


@contextmanager
def claimed(out: Path) -> Iterator[Manifest | None]:
    """Holds a folder for one build and gives the manifest that stands in it, or None.

    Raises:
        PreparedFolderError: if the folder holds something else, or see `read_manifest`.
        FolderInUseError: if another build holds it.
    """
    from filelock import FileLock, Timeout

    if out.exists() and not out.is_dir():
        raise PreparedFolderError(f"{out} is a file. Choose a folder for --out.")
    new = not out.exists()
    if not new and any(out.iterdir()) and not is_prepared(out):
        raise PreparedFolderError(
            f"{out} is not empty and was not made by climb-hf build, so nothing is written into "
            "it. Choose a new folder for --out."
        )
    (out / STATE).mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / STATE / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            f"another build is writing into {out}. Wait until it has ended, or choose another "
            "folder for --out."
        ) from None
    try:
        yield _standing(out)
    finally:
        if not (out / MANIFEST).exists() and not (out / DATA).exists():
            _leave_no_trace(out, new)
        lock.release()


def _standing(out: Path) -> Manifest | None:
    if not (out / MANIFEST).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.schema_version != SCHEMA_VERSION:
        raise PreparedFolderError(
            f"{out} was written under schema {manifest.schema_version}, and shards of schema "
            f"{SCHEMA_VERSION} do not go beside its own. Choose a new folder for --out."
        )
    return manifest


def _leave_no_trace(out: Path, new: bool) -> None:
    """Removes what a claim made, as nothing was built after all."""
    with suppress(OSError):  # a system may keep a locked file; an empty folder does no harm
        (out / STATE / "lock").unlink(missing_ok=True)
        (out / STATE).rmdir()
        if new:
            out.rmdir()


def check_readme(out: Path, manifest: Manifest | None, force: bool) -> None:
    """Raises PreparedFolderError where a build would overwrite a README written by hand."""
    from climb_hf.dataset_card import changed_parts

    path = out / README
    if force or not path.is_file():
        return
    changed: Sequence[str] = changed_parts(path.read_text("utf-8", "replace"))
    if changed:
        raise PreparedFolderError(
            f"{path} was changed by hand since it was built ({' and '.join(changed)}), and a build "
            "writes it anew. Keep your text in another file, then build with --force."
        )
