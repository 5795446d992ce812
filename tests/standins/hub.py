"""A small Hub on loopback: what `huggingface_hub`, `datasets` and `transformers` ask of the real.

    stand_in = Hub()
    subprocess.run(..., env=stand_in.environment(home))   # HF_ENDPOINT is read when imported
    stand_in.files("owner/model")                         # what was pushed
    stand_in.close()

It serves: repositories (create, delete, information, private, gated), uploads (preupload, LFS
batch with basic and multipart transfer, verify, commits as ndjson with additions and deletions),
branches and tags, trees, and downloads (small files directly, large ones by a redirect to a second
origin, as from the real Hub, with ranges). Large means `LARGE` bytes, or a name that ends in one of
`LFS_NAMES`. Everything else is answered by 404 and kept in `unknown`, which the fixture `hub` of
`tests/conftest.py` holds to be empty: so a call that a newer client makes is noticed.

What it does not cover: Xet (set `HF_HUB_DISABLE_XET=1`; the client then takes its older path, of
one commit for a folder), pull requests, Spaces, buckets, jobs, search, the dataset viewer, web
pages, quotas, `.gitattributes`, git over HTTP, permissions beyond owner, stranger and accepted
stranger, speed. What it answers is our reading of what the clients need. That a test passes here
proves our client code, and nothing of the real Hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from loopback import Loopback, Request, Response

LARGE = 1_000_000
LFS_NAMES = (".parquet", ".safetensors", ".bin", ".pt", ".pth")
TOKENS = {"tok-owner": "owner", "tok-stranger": "stranger", "tok-accepted": "accepted"}
_DATE = "2000-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class File:
    """One file of a commit."""

    content: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """What the file goes by: sha256 of a large one, git's blob hash of a small one."""
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class Repo:
    """A repository; `commits` are (sha, title, files by path), oldest first."""

    kind: str
    name: str
    private: bool = False
    gated: str | bool = False
    commits: list[tuple[str, str, dict[str, File]]] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, title: str, files: dict[str, File]) -> str:
        """Adds a commit to a branch; returns its sha."""
        seed = f"{self.kind}{self.name}{branch}{title}{len(self.commits)}"
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.commits.append((sha, title, files))
        self.branches[branch] = sha
        return sha

    def sha(self, revision: str) -> str:
        """Returns the commit that a branch, a tag or a sha means."""
        known = [sha for sha, _, _ in self.commits]
        found = self.branches.get(revision) or self.tags.get(revision)
        if found is None and revision not in known:
            raise Refused(404, "RevisionNotFound", f"no revision {revision}")
        return found or revision

    def at(self, revision: str) -> dict[str, File]:
        """Returns the files of a revision."""
        wanted = self.sha(revision)
        return next(files for sha, _, files in self.commits if sha == wanted)


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str | None, message: str, **body: Any) -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.response = Response.json({"error": message, **body}, status, **headers)


Route = Callable[["Hub", Request, tuple[str, ...]], Response]
_ROUTES: list[tuple[str, str, re.Pattern[str], Route]] = []
_API = r"/api/(models|datasets)/([^/]+/[^/]+)"
_WEB = r"/(?:(datasets)/)?([^/]+/[^/]+)"


def _route(methods: str, pattern: str, origin: str = "hub") -> Callable[[Route], Route]:
    def enter(route: Route) -> Route:
        for method in methods.split():
            _ROUTES.append((origin, method, re.compile(pattern), route))
        return route

    return enter


class Hub:
    """The stand-in.

    Attributes:
        url: for `HF_ENDPOINT`.
        web: the servers, with their log and their faults.
        repos: by (`models` or `datasets`, `namespace/name`).
        objects: large contents by sha256, those of failed commits too.
        accepted: users that a gated repository lets in.
        multipart_from: bytes from which an upload goes in parts of `part` bytes; None for never.
        unknown: requests that no route answers.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.accepted = {"accepted"}
        self.multipart_from: int | None = None
        self.part = 200_000
        self.unknown: list[Request] = []
        self._parts: dict[tuple[str, int], bytes] = {}
        self.web = Loopback(self._answer, {"hub": "127.0.0.1", "files": "localhost"})
        self.url = self.web.urls["hub"]

    def close(self) -> None:
        """Stops the servers."""
        self.web.close()

    def environment(self, home: Path, token: str = "tok-owner") -> dict[str, str]:
        """Returns the environment of a client process: this Hub, and caches of its own.

        Args:
            home: an empty folder, another one for each client that should remember nothing.
            token: of `TOKENS`, or an empty text for a client without one.
        """
        kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
        return {
            **kept,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "DISABLE_SAFETENSORS_CONVERSION": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "OMP_NUM_THREADS": "1",
        }

    def files(self, name: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        """Returns the content of a repository's files by path."""
        return {path: f.content for path, f in self.repos[kind, name].at(revision).items()}

    def _answer(self, request: Request) -> Response:
        for origin, method, pattern, route in _ROUTES:
            found = pattern.fullmatch(request.path)
            if (origin, method) == (request.origin, request.method) and found:
                groups = tuple(unquote(one or "") for one in found.groups())
                try:
                    return route(self, request, groups)
                except Refused as refused:
                    return refused.response
        self.unknown.append(request)
        return Response.json({"error": "the stand-in knows no such route"}, 404)

    def repo(self, kind: str, name: str, request: Request, *, content: bool = False) -> Repo:
        """Returns a repository that a request may see; `content`: may read the files of."""
        found, user = self.repos.get((kind or "models", name)), TOKENS.get(request.token or "")
        mine = user == name.split("/")[0]
        if found is None or (found.private and not mine):
            raise Refused(404 if user else 401, "RepoNotFound", f"no repository {name}")
        if content and found.gated and not mine and user not in self.accepted:
            raise Refused(403 if user else 401, "GatedRepo", f"access to {name} is restricted")
        return found

    def own(self, kind: str, name: str, request: Request) -> Repo:
        """Returns a repository that a request may change."""
        found = self.repo(kind, name, request)
        if TOKENS.get(request.token or "") != name.split("/")[0]:
            raise Refused(403 if request.token else 401, None, f"{name} is not yours")
        return found


_UNSET = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN_PATH"}
_UNSET |= {"HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "XDG_CACHE_HOME"}
_UNSET |= {
    name for one in ("http", "https", "all") for name in (f"{one}_proxy", f"{one}_PROXY".upper())
}


# ---- repositories -------------------------------------------------------------------------------


@_route("POST", "/api/repos/create")
def _create(hub: Hub, request: Request, _: tuple[str, ...]) -> Response:
    asked, user = request.json(), TOKENS.get(request.token or "")
    if user is None:
        raise Refused(401, None, "create: no token")
    owner, kind = asked.get("organization") or user, f"{asked.get('type') or 'model'}s"
    if owner != user:
        raise Refused(403, None, f"{user} may not create in {owner}")
    name = f"{owner}/{asked['name']}"
    url = f"{hub.url}/{'datasets/' if kind == 'datasets' else ''}{name}"
    if (kind, name) in hub.repos:
        raise Refused(409, None, f"{name} exists", url=url)
    private = asked.get("visibility") == "private" or bool(asked.get("private"))
    made = hub.repos[kind, name] = Repo(kind, name, private)
    made.commit("main", "initial commit", {})
    return Response.json({"url": url})


@_route("DELETE", "/api/repos/delete")
def _delete(hub: Hub, request: Request, _: tuple[str, ...]) -> Response:
    asked = request.json()
    kind = f"{asked.get('type') or 'model'}s"
    owner = asked.get("organization") or TOKENS.get(request.token or "")
    found = hub.own(kind, f"{owner}/{asked['name']}", request)
    del hub.repos[kind, found.name]
    return Response.json({})


@_route("GET", "/api/whoami-v2")
def _whoami(hub: Hub, request: Request, _: tuple[str, ...]) -> Response:
    user = TOKENS.get(request.token or "")
    if user is None:
        raise Refused(401, None, "whoami: no token")
    return Response.json(
        {"type": "user", "name": user, "orgs": [], "auth": {"type": "access_token"}}
    )


@_route("POST", "/api/validate-yaml")
def _validate(hub: Hub, request: Request, _: tuple[str, ...]) -> Response:
    import yaml

    front = _front_matter(request.json()["content"])
    try:
        yaml.safe_load(front)
    except yaml.YAMLError as error:
        return Response.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
    return Response.json({"errors": [], "warnings": []})


def _front_matter(text: str) -> str:
    found = re.match(r"---\r?\n(.*?)\r?\n---(?:\r?\n|$)", text, re.DOTALL)
    return found[1] if found else ""


@_route("GET HEAD", f"{_API}(?:/revision/([^/]+))?")
def _information(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    import yaml

    kind, name, revision = groups
    repo = hub.repo(kind, name, request)
    files = repo.at(revision or "main")
    card = files["README.md"].content.decode() if "README.md" in files else ""
    data = yaml.safe_load(_front_matter(card)) or {}
    facts = {"id": name, "sha": repo.sha(revision or "main"), "private": repo.private}
    facts |= {"gated": repo.gated, "disabled": False, "downloads": 0, "likes": 0}
    facts |= {"createdAt": _DATE, "lastModified": _DATE, "cardData": data}
    facts |= {"tags": data.get("tags") or [], "siblings": [{"rfilename": one} for one in files]}
    return Response.json(facts | ({"modelId": name} if kind == "models" else {}))


@_route("GET", f"{_API}/auth-check")
def _auth_check(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    hub.repo(*groups, request, content=True)
    return Response.json({})


@_route("GET", f"{_API}/refs")
def _refs(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    repo = hub.repo(*groups, request)

    def listed(kind: str, found: dict[str, str]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}
            for name, sha in found.items()
        ]

    branches, tags = listed("heads", repo.branches), listed("tags", repo.tags)
    return Response.json({"branches": branches, "converts": [], "tags": tags})


@_route("POST DELETE", f"{_API}/branch/([^/]+)")
def _branch(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    kind, name, branch = groups
    repo = hub.own(kind, name, request)
    if request.method == "DELETE":
        repo.branches.pop(branch, None)
    elif branch in repo.branches:
        raise Refused(409, None, f"branch {branch} exists")
    else:
        repo.branches[branch] = repo.sha(request.json().get("startingPoint") or "main")
    return Response.json({})


@_route("POST DELETE", f"{_API}/tag/([^/]+)")
def _tag(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    kind, name, place = groups  # of the tag when it is deleted, else of what it is put on
    repo = hub.own(kind, name, request)
    if request.method == "DELETE":
        repo.tags.pop(place, None)
        return Response.json({})
    tag = request.json()["tag"]
    if tag in repo.tags:
        raise Refused(409, None, f"tag {tag} exists")
    repo.tags[tag] = repo.sha(place)
    return Response.json({})


# ---- uploads ------------------------------------------------------------------------------------


@_route("POST", f"{_API}/preupload/([^/]+)")
def _preupload(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    kind, name, revision = groups
    there = hub.own(kind, name, request).at(revision)

    def told(one: dict[str, Any]) -> dict[str, Any]:
        large = one["size"] >= LARGE or one["path"].endswith(LFS_NAMES)
        mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        known = {"oid": there[one["path"]].oid} if one["path"] in there else {}
        return {"path": one["path"], **mode, **known}

    return Response.json({"files": [told(one) for one in request.json()["files"]]})


@_route("POST", rf"{_WEB}\.git/info/lfs/objects/batch")
def _batch(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    hub.own(*groups, request)

    def told(one: dict[str, Any]) -> dict[str, Any]:
        oid, size = one["oid"], one["size"]
        if oid in hub.objects:
            return {"oid": oid, "size": size}
        upload: dict[str, Any] = {"href": f"{hub.web.urls['files']}/upload/{oid}"}
        if hub.multipart_from is not None and size >= hub.multipart_from:
            n = -(-size // hub.part)
            parts = {f"{i:05d}": f"{upload['href']}/{i}" for i in range(1, n + 1)}
            upload["header"] = {"chunk_size": str(hub.part), **parts}
        verify = {"href": f"{hub.url}/verify/{oid}"}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}

    asked = request.json()
    kind = "multipart" if hub.multipart_from is not None else "basic"
    return Response.json({"transfer": kind, "objects": [told(one) for one in asked["objects"]]})


@_route("PUT", "/upload/([0-9a-f]{64})", origin="files")
def _upload(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    return _stored(hub, groups[0], request.body)


@_route("PUT", r"/upload/([0-9a-f]{64})/(\d+)", origin="files")
def _upload_part(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    hub._parts[groups[0], int(groups[1])] = request.body
    return Response(200, {"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


@_route("POST", "/upload/([0-9a-f]{64})", origin="files")
def _join_parts(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    numbers = [one["partNumber"] for one in request.json()["parts"]]
    return _stored(hub, groups[0], b"".join(hub._parts[groups[0], n] for n in sorted(numbers)))


def _stored(hub: Hub, oid: str, content: bytes) -> Response:
    if hashlib.sha256(content).hexdigest() != oid:
        raise Refused(400, None, f"the bytes that came are not {oid}")
    hub.objects[oid] = content
    return Response.json({})


@_route("POST", "/verify/([0-9a-f]{64})")
def _verify(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    held = hub.objects.get(groups[0])
    if held is None or len(held) != request.json()["size"]:
        raise Refused(404, None, f"no object {groups[0]}")
    return Response.json({})


@_route("POST", f"{_API}/commit/([^/]+)")
def _commit(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    kind, name, branch = groups
    repo = hub.own(kind, name, request)
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = next(one["value"] for one in lines if one["key"] == "header")
    if header.get("parentCommit") not in (None, repo.branches.get(branch)):
        raise Refused(412, None, "the branch has moved since")
    files = dict(repo.at(branch))
    for one in lines:
        _change(hub, files, one["key"], one["value"])
    sha = repo.commit(branch, header["summary"], files)
    prefix = "datasets/" if kind == "datasets" else ""
    url = f"{hub.url}/{prefix}{name}/commit/{sha}"
    return Response.json({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


def _change(hub: Hub, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
    """Makes one change of a commit."""
    path = value.get("path", "").rstrip("/")
    if key == "file":
        files[path] = File(base64.b64decode(value["content"]), lfs=False)
    elif key == "lfsFile":
        if value["oid"] not in hub.objects:
            raise Refused(400, None, f"{path}: object {value['oid']} was not uploaded")
        files[path] = File(hub.objects[value["oid"]], lfs=True)
    elif key in ("deletedFile", "deletedFolder"):
        inside = [one for one in files if one == path or one.startswith(f"{path}/")]
        if not inside:
            raise Refused(404, "EntryNotFound", f"{path} is not there")
        for one in inside:
            del files[one]


# ---- reading ------------------------------------------------------------------------------------


@_route("GET", f"{_API}/tree/([^/]+)(?:/(.*))?")
def _tree(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    kind, name, revision, folder = groups
    files = hub.repo(kind, name, request, content=True).at(revision)
    recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    start = f"{folder}/" if folder else ""
    if folder and not any(path.startswith(start) for path in files):
        raise Refused(404, "EntryNotFound", f"{folder} is not there")
    return Response.json(list(_entries(files, start, recursive)))


def _entries(files: dict[str, File], start: str, recursive: bool) -> Iterator[dict[str, Any]]:
    folders: set[str] = set()
    for path, one in sorted(files.items()):
        if not path.startswith(start):
            continue
        above = path[len(start) :].split("/")[:-1]
        depth = len(above) if recursive else min(1, len(above))
        shown = ["/".join(above[: n + 1]) for n in range(depth)]
        for folder in shown:
            if folder not in folders:
                folders.add(folder)
                yield {"type": "directory", "path": start + folder, "oid": "0" * 40, "size": 0}
        if recursive or not above:
            yield _entry(path, one)


def _entry(path: str, one: File) -> dict[str, Any]:
    size = len(one.content)
    lfs = {"lfs": {"oid": one.oid, "size": size, "pointerSize": 134}} if one.lfs else {}
    return {"type": "file", "path": path, "size": size, "oid": one.oid[:40], **lfs}


@_route("POST", f"{_API}/paths-info/([^/]+)")
def _paths_info(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    kind, name, revision = groups
    files = hub.repo(kind, name, request, content=True).at(revision)
    asked = parse_qs(request.body.decode()).get("paths", [])
    return Response.json([_entry(one, files[one]) for one in asked if one in files])


@_route("GET HEAD", f"{_WEB}/resolve/([^/]+)/(.+)")
def _resolve(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    kind, name, revision, path = groups
    repo = hub.repo(kind, name, request, content=True)
    commit = {"X-Repo-Commit": repo.sha(revision)}
    one = repo.at(revision).get(path)
    if one is None:
        refused = Refused(404, "EntryNotFound", f"{path} is not in {name}").response
        return Response(404, {**refused.headers, **commit}, refused.body)
    if not one.lfs:
        headers = {**commit, "ETag": f'"{one.oid}"', "Accept-Ranges": "bytes"}
        return Response(200, headers, one.content, ranged=True)
    hub.objects.setdefault(one.oid, one.content)
    linked = {"X-Linked-Size": str(len(one.content)), "X-Linked-Etag": f'"{one.oid}"'}
    return Response(
        302, {**commit, **linked, "Location": f"{hub.web.urls['files']}/object/{one.oid}"}
    )


@_route("GET HEAD", "/object/([0-9a-f]{64})", origin="files")
def _object(hub: Hub, request: Request, groups: tuple[str, ...]) -> Response:
    headers = {"ETag": f'"{groups[0]}"', "Accept-Ranges": "bytes"}
    return Response(200, headers, hub.objects[groups[0]], ranged=True)
