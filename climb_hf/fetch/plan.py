"""What a download would do: files, bytes, room on the disk, terms. Nothing is written."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from climb_hf.card import Access, Remote, SourceCard
from climb_hf.check import check_option, nearest
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.fetch import hosts
from climb_hf.fetch import manifest as manifests
from climb_hf.fetch.kaggle import is_kaggle
from climb_hf.fetch.manifest import Entry, Manifest
from climb_hf.fetch.places import shown
from climb_hf.fetch.transfer import RemoteFile
from climb_hf.fetch.web import Web

_SAMPLED = 8  # files whose sizes stand for all, where a host's list tells none
_INDEX = frozenset({".csv", ".tsv", ".txt", ".json", ".xlsx", ".xls", ".md", ".html"})
BY_HAND = "by hand"
_NOTES = ("RECORDS", "ANNOTATORS", "LICENSE", "README")
_NEEDED = {
    Access.OPEN: "",
    Access.ACCOUNT: "an account of the host, and that you accept its rules",
    Access.AGREEMENT: "an agreement that you have signed",
    Access.CREDENTIALED: "credentials that the host has granted to you, and a signed agreement",
}


@dataclass(frozen=True)
class Selection:
    """What of a source is wanted; everything by default.

    Attributes:
        files: patterns of the shell for paths under the source's folder; any may match.
        limit: number of records, by path without its suffix, of which files are wanted; tables at
            the top of a remote come along.
        remotes: parts of the addresses to take; by default all but what is there `again`.
    """

    files: tuple[str, ...] = ()
    limit: int | None = None
    remotes: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [f"--files {one}" for one in self.files]
        words += [f"--limit {self.limit}"] if self.limit is not None else []
        return " ".join([*words, *(f"--remote {one}" for one in self.remotes)])


@dataclass(frozen=True)
class Plan:
    """What would be done for one source.

    Attributes:
        card: of the source.
        folder: where its files go.
        files: all that are wanted and that a host lists.
        missing: those of them that are to be fetched, or looked at, because no manifest has them.
        kaggle: addresses that `kagglehub` fetches whole.
        by_hand: remotes that a person has to fetch from.
        left_out: remotes that hold the same once more.
        n_bytes: size of `missing`, or None where no host tells it.
        estimated: whether that comes from a sample.
        free_bytes: room where the folder lies.
        selection: what was asked for.
    """

    card: SourceCard
    folder: Path
    files: tuple[RemoteFile, ...]
    missing: tuple[RemoteFile, ...]
    kaggle: tuple[str, ...]
    by_hand: tuple[Remote, ...]
    left_out: tuple[Remote, ...]
    n_bytes: int | None
    estimated: bool
    free_bytes: int
    selection: Selection

    @property
    def terms(self) -> str:
        """What the user must have before, as words; "" where nothing is asked."""
        return _NEEDED[self.card.access]

    @property
    def fits(self) -> bool:
        """Whether there is room, as far as sizes are known."""
        return self.n_bytes is None or self.n_bytes <= self.free_bytes

    @property
    def steps(self) -> tuple[str, ...]:
        """What a person has to do; empty where every file can be fetched."""
        nothing = not (self.files or self.kaggle or self.by_hand)
        if not (self.by_hand or nothing):
            return ()
        return _steps(self.card, self.folder, [one.url for one in self.by_hand])


def make(card: SourceCard, root: Path, web: Web, selection: Selection | None = None) -> Plan:
    """Returns the plan for one source, under `root/<its name>`.

    Raises:
        OptionError: when nothing fits the selection.
        AccessError: when a host refuses its list.
        DownloadError: when a list cannot be had.
        CorruptFileError: when two files of a list would lie in one place.
        ManifestError: when the manifest of the folder cannot be read.
    """
    selection = selection or Selection()
    folder = root / card.name
    taken = _taken(card, selection)
    listed = [one for one in taken if hosts.lister(one.url)]
    files = _selected(_listed(card, listed, web), selection)
    known = manifests.load(folder, card.name)
    missing = tuple(file for file in files if not is_there(file, folder, known))
    n_bytes, estimated = _size(missing, web)
    return Plan(
        card,
        folder,
        tuple(files),
        missing,
        tuple(one.url for one in taken if is_kaggle(one.url)),
        tuple(one for one in taken if one not in listed and not is_kaggle(one.url)),
        tuple(one for one in card.remotes if one not in taken),
        n_bytes,
        estimated,
        _free(folder),
        selection,
    )


def way_of(url: str) -> str:
    """Returns how an address is fetched, in words: the kind of its host, or `BY_HAND`."""
    kind = hosts.lister(url)
    if kind:
        return f"download: {kind[0]}"
    return "download: Kaggle, by kagglehub" if is_kaggle(url) else BY_HAND


def is_there(file: RemoteFile, folder: Path, known: Manifest | None) -> bool:
    """Whether a manifest has a file, as the host lists it now, and its size on the disk is right.

    Bytes are read by `check.verify` only: a second call over terabytes has to be quick.
    """
    entry = known.entries.get(file.path) if known else None
    if known is None or entry is None or not _as_listed(entry, file):
        return False
    if not entry.unpacked:
        return _lies(entry, folder)
    members = [one for one in known.entries.values() if one.archive == entry.path]
    return all(_lies(one, folder) for one in members)


def _as_listed(entry: Entry, file: RemoteFile) -> bool:
    if file.n_bytes not in (None, entry.n_bytes):
        return False
    if file.digest is not None:
        return file.digest in (entry.promised, f"sha256:{entry.sha256}")
    return entry.origin in [shown(url) for url in file.urls]


def _lies(entry: Entry, folder: Path) -> bool:
    try:
        return (folder / entry.path).stat().st_size == entry.n_bytes
    except OSError:
        return False


def _taken(card: SourceCard, selection: Selection) -> list[Remote]:
    if not selection.remotes:
        return [one for one in card.remotes if not one.again]
    for word in selection.remotes:
        if not any(word in one.url for one in card.remotes):
            addresses = [one.url for one in card.remotes]
            listed = ", ".join(addresses) or "none"
            raise OptionError(
                f"--remote {word!r} is in no address of {card.name}; it has: {listed}."
                + nearest(word, addresses)
            )
    return [one for one in card.remotes if any(word in one.url for word in selection.remotes)]


def _listed(card: SourceCard, remotes: Sequence[Remote], web: Web) -> list[RemoteFile]:
    found: dict[str, RemoteFile] = {}
    for remote in remotes:
        # Two remotes may have files of one name; so each has a folder, where there are several.
        under = hosts.folder_of(remote) if len(card.remotes) > 1 else ""
        for file in hosts.list_files(web, remote):
            placed = replace(file, path=f"{under}/{file.path}" if under else file.path)
            other = found.setdefault(placed.path, placed)
            if other != placed:
                raise CorruptFileError(f"{remote.url} lists {placed.path} twice, in two versions.")
    return list(found.values())


def _selected(files: Iterable[RemoteFile], selection: Selection) -> list[RemoteFile]:
    chosen = list(files)
    if selection.files and chosen:
        fits = _glob(selection.files)
        some = [one.path for one in chosen[:3]]
        chosen = [file for file in chosen if fits(file.path)]
        if not chosen:
            raise OptionError(
                f"--files {', '.join(selection.files)}: no file fits; paths look like {some}."
            )
    if selection.limit is None:
        return chosen
    records = dict.fromkeys(_record(one.path) for one in chosen if not _is_index(one.path))
    wanted = set(list(records)[: selection.limit])
    return [one for one in chosen if _is_index(one.path) or _record(one.path) in wanted]


def _glob(patterns: Iterable[str]) -> Callable[[str], bool]:
    kept = tuple(patterns)
    return lambda path: any(fnmatch.fnmatchcase(path, pattern) for pattern in kept)


def _record(path: str) -> str:
    """What the files of one record have in common: the path up to the first dot of the name."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _is_index(path: str) -> bool:
    """Whether a file tells of many records: a table or a note in no deep folder, or RECORDS."""
    place = PurePosixPath(path)
    if place.name.startswith(_NOTES):
        return True
    return len(place.parts) <= 2 and place.suffix.lower() in _INDEX


def _size(files: Sequence[RemoteFile], web: Web) -> tuple[int | None, bool]:
    """Bytes of files, and whether that is an estimate from a sample of them."""
    known = [file.n_bytes for file in files if file.n_bytes is not None]
    unknown = [file for file in files if file.n_bytes is None]
    if not unknown:
        return sum(known), False
    step = max(1, len(unknown) // _SAMPLED)
    asked = [web.length(file.urls[0]) for file in unknown[::step][:_SAMPLED]]
    told = [size for size in asked if size is not None]
    if not told:
        return None, False
    return sum(known) + round(sum(told) / len(told) * len(unknown)), len(told) < len(unknown)


def _free(folder: Path) -> int:
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def _steps(card: SourceCard, folder: Path, urls: Sequence[str]) -> tuple[str, ...]:
    lines = [f"Open {' and '.join(urls) or card.homepage}"]
    if _NEEDED[card.access]:
        lines.append(f"Get what it asks for: {_NEEDED[card.access]} ({card.licence.name})")
    example = " or ".join(layout.example for layout in card.layouts)
    lines.append(f"Download the files into {folder}; unpack archives (folders may be nested)")
    lines.append(f"Look that there is something like {example}")
    again = f"climb-hf download {card.name} --to {folder.parent}"
    lines.append(f"Run `{again}` again: it recognises the files and takes them into its manifest")
    return tuple(f"{number}. {line}." for number, line in enumerate(lines, start=1))


def check_jobs(jobs: int) -> int:
    """Returns a number of transfers at once that hosts put up with.

    Raises:
        OptionError: for fewer than 1 or more than 16.
    """
    return int(check_option("jobs", jobs, range(1, 17)))
