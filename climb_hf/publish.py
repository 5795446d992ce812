"""`climb-hf push`: from a prepared folder to a data set of the Hub that needs no code of ours.

Shards go first, in commits of some; then they are read back and held to the digests that the build
wrote down, as the Hub's client takes wrong bytes of the right length. Only then the card follows,
which makes them visible, and a tag. A push that breaks off is run again and goes on: what is there
with the right digest is not sent again.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf import catalog, prepared
from climb_hf.build import manifest_of
from climb_hf.check import check_option
from climb_hf.dataset_card import changed_parts, content_digest, readme
from climb_hf.errors import (
    AccessError,
    ClimbError,
    DataNotFoundError,
    OptionError,
    PreparedFolderError,
)
from climb_hf.prepared import Manifest, SourceEntry
from climb_hf.schema import SCHEMA_VERSION
from climb_hf.shards import DATA, Shard, file_digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile

CHECKS = ("load", "tree")
COMMIT_FILES = 50  # shards of one commit: what a push that breaks off does not have to repeat
_SEEN = 3  # shards that a message names
_KIND = "dataset"


@dataclass(frozen=True)
class Plan:
    """What a push would send; no connection was opened to make it.

    Attributes:
        folder: the prepared folder.
        repo: `namespace/name` on the Hub.
        manifest: of the folder, cut to the sources of the config.
        closed: sources whose licence forbids to share what is derived, and its name.
        refused: why the push may not be made; empty where it may.
        notes: what else is worth knowing.
        tag: put on the last commit.
    """

    folder: Path
    repo: str
    config: str
    manifest: Manifest
    private: bool
    closed: Mapping[str, str]
    refused: tuple[str, ...]
    notes: tuple[str, ...]
    tag: str

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Every shard of the config's sources, in the order of their paths."""
        found = (shard for entry in self.manifest.sources.values() for shard in entry.shards)
        return tuple(sorted(found, key=lambda shard: shard.path))

    @property
    def n_bytes(self) -> int:
        """Size of the shards."""
        return sum(shard.n_bytes for shard in self.shards)


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        sent: paths of the shards that were sent.
        kept: paths of those that were there with the right digest.
        removed: shards of an earlier build of these sources, which the card does not name any more.
        commit: the last one, which the tag is on.
        configs: every config of the data set, those of earlier pushes included.
    """

    plan: Plan
    sent: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]
    commit: str
    configs: tuple[str, ...]


# ---- the plan -----------------------------------------------------------------------------------


def plan_push(
    repo: str,
    config: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    private: bool = False,
    acknowledged: Collection[str] = (),
    tag: str | None = None,
) -> Plan:
    """Returns what a push would send and what stands against it; nothing is sent.

    Args:
        repo: `namespace/name` of the data set on the Hub.
        config: of the folder, such as `ecg`; the shards of its sources are what is pushed.
        folder: the prepared folder; None takes CLIMB_HOME.
        private: whether the data set has to be private.
        acknowledged: sources whose licence forbids to share them, and that go to a private data
            set all the same, on the user's word.
        tag: of the pushed state; None makes one of the config's name and content.

    Raises:
        OptionError: for a name that the Hub does not take, or an acknowledged source that needs
            no such word.
        ConfigNameError: if the folder has no such config.
        DataNotFoundError, PreparedFolderError: if there is no prepared folder, or it is damaged.
    """
    _check_name(repo)
    root = _prepared(folder)
    manifest = prepared.open_folder(root)
    if manifest.schema_version != SCHEMA_VERSION:
        raise PreparedFolderError(
            f"{root} was written under schema {manifest.schema_version}, and this package pushes "
            f"{SCHEMA_VERSION}. Build it again, into a new folder."
        )
    name = prepared.config_named(root, manifest, config, None)
    prepared.check_shards(root, manifest, name)
    members = manifest.configs[name].sources
    cut = manifest_of({source: manifest.sources[source] for source in members})
    closed = {source: cut.sources[source].licence for source in members if _is_closed(cut, source)}
    _check_acknowledged(acknowledged, name, closed)
    changed = "text" in changed_parts((root / prepared.README).read_text("utf-8"))
    note = "the text of README.md was changed by hand; the card is made anew and does not hold it"
    return Plan(
        folder=root,
        repo=repo,
        config=name,
        manifest=cut,
        private=private,
        closed=closed,
        refused=tuple(_refusals(closed, private, acknowledged)),
        notes=(note,) if changed else (),
        tag=tag or _default_tag(cut, name),
    )


def _default_tag(manifest: Manifest, config: str) -> str:
    return f"{config}-{content_digest(manifest, config)[:12]}"


def _check_name(repo: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise OptionError(f"the Hub takes no data set named {repo!r}: {error}") from error
    if "/" not in repo:
        raise OptionError(f"name the owner too, as in ORG/{repo}.")


def _prepared(folder: str | os.PathLike[str] | None) -> Path:
    root = prepared.folder_meant(folder)
    if root is None:
        where = f"{Path(folder)} is" if folder is not None else "no folder was named that is"
        raise DataNotFoundError(
            f"{where} not prepared: there is no {prepared.MANIFEST}. Make one with: climb-hf build "
            "<config> --data-dir <raw files> --out <folder>; then push with --data-dir <folder>."
        )
    return root


def _check_acknowledged(
    acknowledged: Collection[str], config: str, closed: Mapping[str, str]
) -> None:
    needless = [source for source in acknowledged if source not in closed]
    if needless:
        raise OptionError(
            f"{', '.join(needless)} needs no acknowledgement: the sources of {config!r} that may "
            f"not be shared are: {', '.join(closed) or 'none'}."
        )


def _is_closed(manifest: Manifest, source: str) -> bool:
    """Whether the manifest or the card of today forbids to share what is derived of a source."""
    card = catalog.get(source).card if source in catalog.sources() else None
    may_share = card is None or card.licence.share_derived
    return not (manifest.sources[source].may_share and may_share)


def _refusals(
    closed: Mapping[str, str], private: bool, acknowledged: Collection[str]
) -> Iterator[str]:
    for source, licence in closed.items():
        missing = [] if private else ["--private"]
        if source not in acknowledged:
            missing.append(f"--acknowledge-licence {source}")
        if missing:
            yield (
                f"{source} ({licence}): its licence forbids to share what is derived of it; "
                f"needs {' and '.join(missing)}"
            )


# ---- the push -----------------------------------------------------------------------------------


def push(plan: Plan, *, check: str = "load", token: str | None = None) -> Pushed:
    """Makes a planned push.

    Args:
        plan: of `plan_push`.
        check: how the shards are held to their digests before the card follows: `load` reads each
            one back, `tree` takes the Hub's word.
        token: of the Hub; None takes HF_TOKEN or the one that is logged in.

    Raises:
        OptionError: if the licence of a source refuses, or the data set is public and has to be
            private, or the tag is on something else.
        PreparedFolderError: if a shard is not what the build wrote.
        AccessError: if the Hub does not know who asks, or that one may not write there.
        ClimbError: if the Hub cannot be reached, or does not give back what was sent.
    """
    from huggingface_hub import HfApi

    check_option("check", check, CHECKS)
    if plan.refused:
        raise OptionError(
            f"nothing was pushed to {plan.repo}. {'. '.join(plan.refused)}. Or push a config "
            "without it."
        )
    _check_local(plan)
    api = HfApi(token=token)
    with _hub_errors(plan.repo):
        _make_repo(api, plan)
        sent, kept = _send_shards(api, plan)
        _check_sent(api, plan, check)
        return _show(api, plan, sent, kept)


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Says of an error of the Hub what became of the push."""
    import httpx2  # a connection that breaks off is an error of its own, and no OSError

    try:
        yield
    except ClimbError:
        raise
    except (
        OSError,
        RuntimeError,
        httpx2.HTTPError,
    ) as error:  # of the Hub, of the way to it, of one file's upload
        status = _status(error)
        again = "Then give the same command again; shards that arrived are not sent again."
        if status in (401, 403):
            raise AccessError(
                f"the Hub refuses the push to {repo} ({_told(error)}). Log in with `hf auth "
                f"login`, or set HF_TOKEN to a token that may write to {repo.split('/')[0]!r}; of "
                f"a gated data set, ask for access on its page. {again}"
            ) from None
        raise ClimbError(f"the push to {repo} stopped: {_told(error)}. {again}") from None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error: its own, or that of its cause."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def _told(error: Exception) -> str:
    """An error in one line; signed addresses, which are secrets for a while, are cut short."""
    from huggingface_hub import get_token

    server = getattr(error, "server_message", None)
    status = _status(error)
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    text = f"{server or lines[0]}" if status is None else f"HTTP {status}: {server or lines[0]}"
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text)
    token = get_token()
    return (text.replace(token, "***") if token else text).rstrip(".")


def _check_local(plan: Plan) -> None:
    for shard in plan.shards:
        if not _holds(plan.folder / shard.path, shard):
            source = next(n for n, e in plan.manifest.sources.items() if shard in e.shards)
            command = plan.manifest.sources[source].command
            raise PreparedFolderError(
                f"{plan.folder / shard.path} is not what the build wrote: its sha256 is another "
                f"one. Delete it and build again: climb-hf build {command} --data-dir <raw files> "
                f"--out {plan.folder}"
            )


def _holds(file: Path, shard: Shard) -> bool:
    return file_digest(file).removeprefix("sha256:") == _bare(shard)


def _bare(shard: Shard) -> str:
    return shard.sha256.removeprefix("sha256:")


def _make_repo(api: HfApi, plan: Plan) -> None:
    """Sees to it that the data set is there, private if it has to be, and its tag free."""
    private = True if plan.private else None
    api.create_repo(plan.repo, repo_type=_KIND, private=private, exist_ok=True)
    if (
        plan.private and not api.dataset_info(plan.repo).private
    ):  # one that was there stays as it was
        raise OptionError(
            f"{plan.repo} is public, and this push has to be private. Make it private on its "
            "page, or choose another name; nothing was sent."
        )


def _there(api: HfApi, repo: str, revision: str | None = None) -> dict[str, RepoFile]:
    """The files of the data set by path."""
    from huggingface_hub import RepoFile

    tree = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=_KIND)
    return {one.path: one for one in tree if isinstance(one, RepoFile)}


def _is_ours(plan: Plan, shard: Shard, found: RepoFile | None) -> bool:
    """Whether the Hub says that it has a shard: by sha256, or by git's hash of a small file."""
    from huggingface_hub.utils.sha import git_hash

    if found is None or found.size != shard.n_bytes:
        return False
    if found.lfs is not None:
        return bool(found.lfs.sha256 == _bare(shard))
    return bool(found.blob_id == git_hash((plan.folder / shard.path).read_bytes()))


def _send_shards(api: HfApi, plan: Plan) -> tuple[list[str], list[str]]:
    """Sends what is not there yet; returns the paths that were sent, and that were there."""
    from huggingface_hub import CommitOperationAdd

    there = _there(api, plan.repo)
    missing = [one for one in plan.shards if not _is_ours(plan, one, there.get(one.path))]
    for start in range(0, len(missing), COMMIT_FILES):
        some = missing[start : start + COMMIT_FILES]
        added = [CommitOperationAdd(one.path, plan.folder / one.path) for one in some]
        told = f"Shards of {plan.config}, {start + len(some)} of {len(missing)}"
        api.create_commit(plan.repo, added, commit_message=told, repo_type=_KIND)
    return [one.path for one in missing], [one.path for one in plan.shards if one not in missing]


def _check_sent(api: HfApi, plan: Plan, check: str) -> None:
    """Holds the Hub's shards to the digests of the manifest.

    Raises:
        ClimbError: if one is something else.
    """
    there = _there(api, plan.repo)
    wrong = [one.path for one in plan.shards if not _is_ours(plan, one, there.get(one.path))]
    if not wrong and check == "load":
        wrong = [one.path for one in plan.shards if not _loads_back(api, plan.repo, one)]
    if wrong:
        more = f" and {len(wrong) - _SEEN} more" if len(wrong) > _SEEN else ""
        raise ClimbError(
            f"{plan.repo} does not give back what was sent: {', '.join(wrong[:_SEEN])}{more} "
            "with another sha256 than the build wrote down. The card was not pushed. Give the "
            "same command again; where that does not help, delete these files on the Hub first."
        )


def _loads_back(api: HfApi, repo: str, shard: Shard) -> bool:
    # Anew, never from a cache, and one at a time: a shard's worth of disk is all that it takes.
    with tempfile.TemporaryDirectory(prefix="climb-hf-") as place:
        file = api.hf_hub_download(
            repo, shard.path, repo_type=_KIND, local_dir=place, force_download=True
        )
        return _holds(Path(file), shard)


# ---- the card -----------------------------------------------------------------------------------


def _show(api: HfApi, plan: Plan, sent: Sequence[str], kept: Sequence[str]) -> Pushed:
    """Pushes manifest and card in one commit, beside what earlier pushes show, and tags it."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    at = str(api.dataset_info(plan.repo).sha)
    there = _there(api, plan.repo, at)
    standing = _standing(api, plan, there, at)
    manifest = manifest_of({**standing, **plan.manifest.sources})
    manifest = replace(manifest, package_version=plan.manifest.package_version)
    stale = sorted(_stale(standing.items(), plan) & set(there))
    changes: list[Any] = [
        CommitOperationAdd(prepared.MANIFEST, manifest.to_json().encode()),
        CommitOperationAdd(prepared.README, readme(manifest).encode()),
        *(CommitOperationDelete(path) for path in stale),
    ]
    # Refused by the Hub where somebody has pushed in between, whose configs this card lacks.
    made = api.create_commit(
        plan.repo,
        changes,
        commit_message=f"Card with {plan.config}",
        repo_type=_KIND,
        parent_commit=at,
    )
    commit = str(made.oid or at)
    _tag(api, plan, commit)
    return Pushed(plan, tuple(sent), tuple(kept), tuple(stale), commit, tuple(manifest.configs))


def _standing(
    api: HfApi, plan: Plan, there: Collection[str], revision: str
) -> Mapping[str, SourceEntry]:
    """The sources that the data set shows already."""
    if prepared.MANIFEST not in there:
        return {}
    with tempfile.TemporaryDirectory(prefix="climb-hf-") as place:
        api.hf_hub_download(
            plan.repo,
            prepared.MANIFEST,
            repo_type=_KIND,
            revision=revision,
            local_dir=place,
            force_download=True,
        )
        manifest = prepared.read_manifest(Path(place))
    if manifest.schema_version != SCHEMA_VERSION:
        raise PreparedFolderError(
            f"{plan.repo} holds shards of schema {manifest.schema_version}, and those of schema "
            f"{SCHEMA_VERSION} do not go beside them. Choose another name."
        )
    return manifest.sources


def _stale(standing: Iterable[tuple[str, SourceEntry]], plan: Plan) -> set[str]:
    """Shards of the pushed sources that an earlier push showed, and that have no place any more."""
    shown = {
        shard.path
        for name, entry in standing
        if name in plan.manifest.sources
        for shard in entry.shards
        if shard.path.startswith(f"{DATA}/{name}/")
    }
    return shown - {shard.path for shard in plan.shards}


def _tag(api: HfApi, plan: Plan, commit: str) -> None:
    tags = api.list_repo_refs(plan.repo, repo_type=_KIND).tags
    found = next((one.target_commit for one in tags if one.name == plan.tag), None)
    if found is None:
        api.create_tag(plan.repo, tag=plan.tag, revision=commit, repo_type=_KIND)
    elif found != commit and plan.tag != _default_tag(plan.manifest, plan.config):
        raise OptionError(
            f"everything is pushed to {plan.repo}, but the tag {plan.tag!r} is on an earlier "
            "commit and stays there. Give the same command with another --tag."
        )
