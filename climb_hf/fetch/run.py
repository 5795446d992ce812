"""A plan carried out: files fetched side by side, checked, named, unpacked, and written down."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from climb_hf.card import Access, SourceCard
from climb_hf.errors import AccessError, ClimbError, CorruptFileError, DownloadError
from climb_hf.fetch import check, kaggle
from climb_hf.fetch import manifest as manifests
from climb_hf.fetch.manifest import BY_HAND, Entry, Manifest
from climb_hf.fetch.places import STATE, digests, inside, shown, writing
from climb_hf.fetch.plan import Plan, check_jobs
from climb_hf.fetch.transfer import Fetched, RemoteFile, Stopped, fetch
from climb_hf.fetch.unpack import Member, folder_for, move_in, unpack
from climb_hf.fetch.web import Web
from climb_hf.io.tree import matcher, walk

_AGAIN = "run the same command again"


class Bar(Protocol):
    """What is told of progress, in bytes; `tqdm` is one."""

    def update(self, n: int) -> object:
        """Adds a number, which may be negative."""


class _Silent:
    def update(self, n: int) -> None:
        """Tells nobody."""


@dataclass
class Outcome:
    """What a download or a repair did for one source.

    Attributes:
        source: its name.
        folder: where its files are.
        fetched: paths that came.
        kept: number of files that were there and right.
        failed: path or address to the reason.
        recognised: layouts of the card that lie there, of sources that people fetch by hand.
        steps: what is left to do by hand.
    """

    source: str
    folder: Path
    fetched: list[str] = field(default_factory=list)
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    recognised: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing failed and nothing is left to do."""
        return not self.failed and (not self.steps or bool(self.recognised))


def download(
    plan: Plan,
    web: Web,
    *,
    accepted: bool = False,
    jobs: int = 4,
    keep_archives: bool = False,
    bar: Bar | None = None,
) -> Outcome:
    """Carries a plan out.

    Args:
        accepted: whether the user says that the terms of the source are accepted.
        jobs: transfers at once.
        keep_archives: whether archives stay beside what was unpacked from them.

    Raises:
        AccessError: when terms have to be accepted first.
        DownloadError: when there is no room, or the folder cannot be written.
        ManifestError: when the manifest cannot be read.
    """
    check_jobs(jobs)
    fetching = bool(plan.files or plan.kaggle)
    if fetching:
        _check_terms(plan, accepted)
    if not plan.fits:
        raise DownloadError(
            f"{plan.folder}: {plan.n_bytes:,} bytes are to come, and {plan.free_bytes:,} are free. "
            "Choose another folder with --to, or a part with --files or --limit."
        )
    if not fetching and not plan.folder.is_dir():
        return Outcome(plan.card.name, plan.folder, steps=plan.steps)
    with manifests.locked(plan.folder):
        job = _Job(
            plan.card, plan.folder, web, jobs, keep_archives, _Silent() if bar is None else bar
        )
        return job.download(plan, accepted)


def repair(
    card: SourceCard, root: Path, web: Web, jobs: int = 4, bar: Bar | None = None
) -> Outcome:
    """Fetches the files of a manifest again that are missing or damaged, and only those.

    Raises:
        ManifestError: where there is no manifest, or none that can be read.
        AccessError: when a host refuses its list.
        DownloadError: when a list cannot be had, or the folder cannot be written.
    """
    check_jobs(jobs)
    folder = root / card.name
    verdict = check.verify(folder, card.name, jobs)
    bad = {*verdict.missing, *verdict.damaged}
    if not bad:
        return Outcome(card.name, folder, kept=verdict.good)
    with manifests.locked(folder):
        return _Job(card, folder, web, jobs, False, _Silent() if bar is None else bar).repair(
            bad, verdict.good
        )


def _check_terms(plan: Plan, accepted: bool) -> None:
    known = manifests.load(plan.folder, plan.card.name)
    before = known is not None and known.accepted is not None
    if plan.card.access is Access.OPEN or accepted or before:
        return
    raise AccessError(
        f"{plan.card.name} is under {plan.card.licence.name}. It takes {plan.terms}: see "
        f"{plan.card.homepage}. When that is done, add --accept-licence; it is written down in "
        "the manifest."
    )


class _Job:
    def __init__(
        self, card: SourceCard, folder: Path, web: Web, jobs: int, keep_archives: bool, bar: Bar
    ) -> None:
        self.card, self.folder, self.web = card, folder, web
        self.jobs, self.keep_archives, self.bar = jobs, keep_archives, bar
        self.known = manifests.load(folder, card.name) or Manifest(card.name)
        self.entries = dict(self.known.entries)
        self.outcome = Outcome(card.name, folder)
        self.stop = threading.Event()
        self.lock = threading.Lock()

    # ---- what is done ---------------------------------------------------------------------------

    def download(self, plan: Plan, accepted: bool) -> Outcome:
        self.known = replace(
            self.known,
            licence=self.card.licence.name,
            accepted=self.known.accepted or (manifests.now() if accepted else None),
            complete=False,
            selection=str(plan.selection),
        )
        manifests.save(self.folder, self.known)
        wanted = [file for file in plan.missing if not self._adopted(file)]
        self.outcome.kept = len(plan.files) - len(wanted)
        self._fetch_all(wanted)
        self._unpack_all([file.path for file in plan.files])
        for url in plan.kaggle:
            self._from_kaggle(url)
        if plan.steps:
            self.outcome.steps = plan.steps
            self._recognise()
        self._finish()
        return self.outcome

    def repair(self, bad: Collection[str], good: int) -> Outcome:
        """Fetches bad files, or the archives that they came from, from where they came."""
        self.outcome.kept = good
        entries = [self.entries[path] for path in bad]
        archives = {entry.archive for entry in entries if entry.archive}
        wanted = []
        for path in sorted({entry.path for entry in entries if not entry.archive} | archives):
            entry = self.entries.get(path)
            if entry is None or not entry.origin.startswith("https://"):
                self.outcome.failed[path] = "it was placed by hand: put it there again"
            elif kaggle.is_kaggle(entry.origin):
                self.outcome.failed[path] = "Kaggle gives whole sets: download it again"
            else:
                wanted.append(_as_remote(entry))
        self._fetch_all(wanted)
        self._unpack_all([path for path in archives if path], only=set(bad))
        self._finish()
        return self.outcome

    def _finish(self) -> None:
        complete = not self.outcome.failed and not self.stop.is_set()
        self.known = replace(self.known, complete=complete, entries=self.entries)
        manifests.save(self.folder, self.known)

    def _note(self, entries: Sequence[Entry]) -> None:
        manifests.note(self.folder, entries)
        self.entries |= {entry.path: entry for entry in entries}

    # ---- single files ---------------------------------------------------------------------------

    def _adopted(self, file: RemoteFile) -> bool:
        """Whether a file without an entry lies there with the host's own digest."""
        place = inside(self.folder, file.path)
        name, _, digest = (file.digest or "").partition(":")
        if not name or not place.is_file():
            return False
        found = digests(place, "sha256", name)
        if found[name] != digest:
            return False
        size = place.stat().st_size
        self._note([self._entry(file, Fetched(size, found["sha256"], shown(file.urls[0])))])
        return True

    def _entry(self, file: RemoteFile, got: Fetched) -> Entry:
        now = manifests.now()
        return Entry(file.path, got.n_bytes, got.sha256, got.origin, now, file.digest)

    def _fetch_all(self, files: Sequence[RemoteFile]) -> None:
        pool = ThreadPoolExecutor(self.jobs)
        ended = False
        try:
            running = {pool.submit(self._fetch, file): file for file in files}
            for future in as_completed(running):
                self._take(running[future], future)
            ended = True
        finally:
            if not ended:  # an error, or the user's Ctrl-C: transfers stop where they are
                self.stop.set()
            pool.shutdown(cancel_futures=True)

    def _fetch(self, file: RemoteFile) -> Fetched:
        if self.stop.is_set():
            raise Stopped
        return fetch(self.web, file, self._part(file.path), self._tell, self.stop.is_set)

    def _tell(self, n_bytes: int) -> None:
        with self.lock:
            self.bar.update(n_bytes)

    def _part(self, path: str) -> Path:
        name = hashlib.sha256(path.encode()).hexdigest()[:32]
        return self.folder / STATE / "parts" / f"{name}.part"

    def _take(self, file: RemoteFile, future: Future[Fetched]) -> None:
        try:
            got = future.result()
        except Stopped:
            self.outcome.failed.setdefault(file.path, "not fetched, because of the failure before")
            return
        except ClimbError as error:
            self.outcome.failed[file.path] = str(error)
            # The next file would meet the same: a refusal, or a full disk.
            if isinstance(error, AccessError) or "the disk is full" in str(error):
                self.stop.set()
            return
        place = inside(self.folder, file.path)
        self._note([self._entry(file, got)])
        with writing(place, _AGAIN):
            place.parent.mkdir(parents=True, exist_ok=True)
            self._part(file.path).replace(place)
        self.outcome.fetched.append(file.path)

    # ---- archives -------------------------------------------------------------------------------

    def _unpack_all(self, paths: Sequence[str], only: Collection[str] | None = None) -> None:
        for path in paths:
            into, entry = folder_for(path), self.entries.get(path)
            if into is None or entry is None or self._is_read_as_it_is(path):
                continue
            if entry.unpacked or not (self.folder / path).is_file():
                if entry.unpacked and not self.keep_archives:
                    (self.folder / path).unlink(missing_ok=True)  # a killed process left it
                continue
            try:
                self._unpack(entry, into, only)
            except (CorruptFileError, DownloadError) as error:
                self.outcome.failed[path] = str(error)

    def _is_read_as_it_is(self, path: str) -> bool:
        return matcher(layout.files for layout in self.card.layouts)(path)

    def _unpack(self, entry: Entry, into: str, only: Collection[str] | None) -> None:
        archive = inside(self.folder, entry.path)
        aside = self.folder / STATE / "unpacked"
        members = unpack(archive, aside)
        if only is not None:
            members = [one for one in members if f"{into}/{one.path}" in only]
        move_in(aside, inside(self.folder, into), members)
        origin = f"{entry.origin} ({entry.path})"
        self._note(
            [*self._members(members, into, origin, entry.path), replace(entry, unpacked=True)]
        )
        if not self.keep_archives:
            archive.unlink(missing_ok=True)

    def _members(
        self, members: Sequence[Member], into: str, origin: str, archive: str | None
    ) -> Iterator[Entry]:
        now = manifests.now()
        for one in members:
            path = f"{into}/{one.path}"
            yield Entry(path, one.n_bytes, one.sha256, origin, now, archive=archive)

    # ---- whole sets -----------------------------------------------------------------------------

    def _from_kaggle(self, url: str) -> None:
        name = kaggle.name_of(url)
        held = [entry for entry in self.entries.values() if entry.origin == url]
        if held and all(_has_size(self.folder, entry) for entry in held):
            self.outcome.kept += len(held)
            return
        try:
            members = kaggle.fetch(url, self.folder / STATE / name, self.folder / name)
        except ClimbError as error:
            self.outcome.failed[url] = str(error)
            return
        entries = list(self._members(members, name, url, None))
        self._note(entries)
        self.outcome.fetched += [entry.path for entry in entries]

    def _recognise(self) -> None:
        """Takes files into the manifest that a person placed, where the card knows their layout."""
        tree = walk(self.folder)
        fitting = [one for one in self.card.layouts if any(True for _ in tree.find(one.marker))]
        self.outcome.recognised = tuple(layout.name for layout in fitting)
        found = tree.only(layout.files for layout in fitting) if fitting else tree
        new = [] if not fitting else [f for f, _, _ in found.files if f not in self.entries]
        now = manifests.now()
        entries = []
        for path in new:
            place = self.folder / path
            sha256 = digests(place, "sha256")["sha256"]
            entries.append(Entry(path, place.stat().st_size, sha256, BY_HAND, now))
        if entries:
            self._note(entries)


def _as_remote(entry: Entry) -> RemoteFile:
    """A file as it was fetched; its own digest is what it has to be again."""
    digest = entry.promised or f"sha256:{entry.sha256}"
    return RemoteFile(entry.path, (entry.origin,), entry.n_bytes, digest)


def _has_size(folder: Path, entry: Entry) -> bool:
    place = folder / entry.path
    return place.is_file() and place.stat().st_size == entry.n_bytes
