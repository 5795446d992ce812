"""What a host offers under an address: each function asks one kind of host for its list of files.

The addresses are the remotes of the cards. What no function here knows is fetched by hand, in
numbered steps.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from climb_hf.card import Remote
from climb_hf.errors import AccessError, DownloadError
from climb_hf.fetch.places import ORIGINAL, safe_path, shown
from climb_hf.fetch.transfer import RemoteFile
from climb_hf.fetch.web import Web

HUB = "https://huggingface.co"
DATAVERSE = "https://dataverse.harvard.edu"
PHYSIONET = "https://physionet.org"
FIGSHARE_API = "https://api.figshare.com"

Lister = Callable[[Web, Remote, re.Match[str]], list[RemoteFile]]


def lister(url: str) -> tuple[str, Lister, re.Match[str]] | None:
    """Returns the name of a host's kind, what lists its files, and the parts of the address."""
    for name, pattern, function in _KINDS:
        found = re.fullmatch(pattern, url)
        if found:
            return name, function, found
    return None


def list_files(web: Web, remote: Remote) -> list[RemoteFile]:
    """Returns the files under a remote that `lister` knows.

    Raises:
        AccessError: when the host refuses the list.
        DownloadError: when it cannot be had, or is not as expected.
        CorruptFileError: when a name in it would leave the folder.
    """
    kind = lister(remote.url)
    if kind is None:
        raise DownloadError(f"{remote.url}: no way to list this host's files is known.")
    name, function, parts = kind
    try:
        files = function(web, remote, parts)
    except (KeyError, TypeError, IndexError, AttributeError, ElementTree.ParseError) as error:
        raise DownloadError(
            f"{remote.url}: the list of {name} is not as expected ({type(error).__name__}). Its "
            "interface may have changed; fetch by hand until climb-hf follows."
        ) from error
    for file in files:
        safe_path(file.path, f"the list of {shown(remote.url)}")
    if not files:
        raise DownloadError(f"{remote.url}: the host lists no files there.")
    return files


def folder_of(remote: Remote) -> str:
    """Returns the name that tells a remote's files from those of another one, "" for a file."""
    kind = lister(remote.url)
    if kind is None or kind[0] == "a file":
        return ""
    named = next((part for part in kind[2].groups() if part), "files")
    return re.sub(r"[^\w.-]+", "-", named.rstrip("/").rpartition("/")[2])


# ---- one kind each ------------------------------------------------------------------------------


def _file(web: Web, remote: Remote, _: re.Match[str]) -> list[RemoteFile]:
    name = unquote(PurePosixPath(urlsplit(remote.url).path).name)
    size = remote.n_bytes if remote.n_bytes is not None else web.length(remote.url)
    digest = f"sha256:{remote.sha256}" if remote.sha256 else None
    return [RemoteFile(name, (remote.url,), size, digest)]


def _physionet(web: Web, remote: Remote, parts: re.Match[str]) -> list[RemoteFile]:
    slug, version, under = parts.groups()
    root = f"{PHYSIONET}/files/{slug}/{version}/"
    files = []
    for number, line in enumerate(web.text(f"{root}SHA256SUMS.txt").splitlines(), start=1):
        if not line.strip():
            continue
        found = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(?:\./)?(.+)", line)
        if found is None:
            raise DownloadError(f"{root}SHA256SUMS.txt: line {number} is no digest with a name.")
        if found[2].startswith(under):
            url = root + quote(found[2])
            files.append(RemoteFile(found[2], (url,), None, f"sha256:{found[1].lower()}"))
    return files


def _zenodo(web: Web, _: Remote, parts: re.Match[str]) -> list[RemoteFile]:
    base = f"https://zenodo.org/api/records/{parts[1]}"
    files = []
    for one in web.json(base)["files"]:
        name = one.get("key") or one["filename"]
        sent = f"{base}/files/{quote(name, safe='')}/content"
        urls = [link for link in ((one.get("links") or {}).get("self"), sent) if link]
        size = one.get("size", one.get("filesize"))
        files.append(RemoteFile(name, tuple(dict.fromkeys(urls)), size, _md5(one["checksum"])))
    return files


def _md5(text: str) -> str:
    return text if ":" in text else f"md5:{text}"


def _figshare(web: Web, _: Remote, parts: re.Match[str]) -> list[RemoteFile]:
    number, version = parts[1], parts[2]
    asked = f"{FIGSHARE_API}/v2/articles/{number}" + (f"/versions/{version}" if version else "")
    files = []
    for one in web.json(asked)["files"]:
        # What figshare names first is at times answered with a riddle for browsers (202).
        other = f"{FIGSHARE_API}/v2/file/download/{one['id']}"
        digest = one.get("computed_md5") or one.get("supplied_md5")
        urls = tuple(dict.fromkeys((one["download_url"], other)))
        files.append(RemoteFile(one["name"], urls, one.get("size"), digest and _md5(digest)))
    return files


_KNOWN_SUMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}


def _dataverse(web: Web, _: Remote, parts: re.Match[str]) -> list[RemoteFile]:
    asked = urlencode({"persistentId": f"doi:{parts[1]}"}, safe="/:")
    answer = web.json(f"{DATAVERSE}/api/datasets/:persistentId?{asked}")
    return [_of_dataverse(DATAVERSE, one) for one in answer["data"]["latestVersion"]["files"]]


def _of_dataverse(site: str, one: Mapping[str, Any]) -> RemoteFile:
    facts = one["dataFile"]
    url = f"{site}/api/access/datafile/{facts['id']}"
    folder = f"{one['directoryLabel']}/" if one.get("directoryLabel") else ""
    if facts.get("originalFileFormat"):
        # A table is kept there in another form, and the sums are of that one.
        name = facts.get("originalFileName") or facts["filename"]
        size = facts.get("originalFileSize")
        return RemoteFile(folder + name, (f"{url}?{ORIGINAL}",), size, None)
    sums = facts.get("checksum") or {"type": "MD5", "value": facts["md5"]}
    kind = _KNOWN_SUMS.get(sums["type"])
    digest = f"{kind}:{sums['value']}" if kind else None
    return RemoteFile(folder + facts["filename"], (url,), facts.get("filesize"), digest)


def _mendeley(web: Web, _: Remote, parts: re.Match[str]) -> list[RemoteFile]:
    base = f"https://data.mendeley.com/public-api/datasets/{parts[1]}"
    # Its files by folder: those of the root are asked for; the archives of a set stand there.
    files = []
    for one in web.json(f"{base}/files?folder_id=root&version={parts[2]}"):
        facts = one["content_details"]
        digest = f"sha256:{facts['sha256_hash']}"
        files.append(RemoteFile(one["filename"], (facts["download_url"],), one["size"], digest))
    return files


def _s3(web: Web, _: Remote, parts: re.Match[str]) -> list[RemoteFile]:
    bucket, prefix = parts[1] or parts[2], unquote(parts[3])
    base = (
        f"https://s3.amazonaws.com/{bucket}" if parts[1] else f"https://{bucket}.s3.amazonaws.com"
    )
    files: list[RemoteFile] = []
    after: str | None = ""
    while after is not None:
        asked = {"list-type": "2", "prefix": prefix}
        if after:
            asked["continuation-token"] = after
        page = ElementTree.fromstring(web.text(f"{base}/?{urlencode(asked)}"))
        for one in page.iterfind("{*}Contents"):
            key, size = one.findtext("{*}Key", ""), int(one.findtext("{*}Size", "0"))
            if not key.endswith("/"):  # what consoles make for a folder
                files.append(RemoteFile(key[len(prefix) :], (f"{base}/{quote(key)}",), size))
        after = page.findtext("{*}NextContinuationToken")
    return files


def _hub(web: Web, remote: Remote, parts: re.Match[str]) -> list[RemoteFile]:
    from huggingface_hub import HfApi, get_token, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=web.origin(HUB), token=get_token() or False)
    repo = parts[1]
    try:
        sha = api.dataset_info(repo).sha
        tree = api.list_repo_tree(repo, recursive=True, revision=sha, repo_type="dataset")
        found = [one for one in tree if isinstance(one, RepoFile)]
    except GatedRepoError:
        raise AccessError(
            f"{remote.url} is gated: accept its terms on that page, then log in with "
            "`hf auth login`, or set HF_TOKEN; then run the same command again."
        ) from None
    except (HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise DownloadError(f"{remote.url} cannot be listed: {type(error).__name__}.") from None
    files = []
    for one in found:
        url = hf_hub_url(repo, one.path, repo_type="dataset", revision=sha, endpoint=HUB)
        # Of small files the Hub tells git's own hash, which is over more than the bytes.
        digest = f"sha256:{one.lfs.sha256}" if one.lfs else None
        files.append(RemoteFile(one.path, (url,), one.size, digest))
    return files


_KINDS: tuple[tuple[str, str, Lister], ...] = (
    (
        "PhysioNet",
        r"https://physionet\.org/(?:files|content)/([\w-]+)/(\d[\w.]*)/?(.*)",
        _physionet,
    ),
    ("Zenodo", r"https://zenodo\.org/records?/(\d+)/?", _zenodo),
    ("figshare", r"https://(?:[\w-]+\.)?figshare\.com/articles/.*?/(\d+)(?:/(\d+))?/?", _figshare),
    (
        "Dataverse",
        r"https://(?:doi\.org/|dataverse\.harvard\.edu/dataset\.xhtml\?persistentId=doi:)"
        r"(10\.7910/DVN/\w+)/?",
        _dataverse,
    ),
    ("Mendeley Data", r"https://data\.mendeley\.com/datasets/(\w+)/(\d+)/?", _mendeley),
    ("the Hub", r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)/?", _hub),
    (
        "S3",
        r"https://(?:s3\.amazonaws\.com/([\w.-]+)|([\w.-]+)\.s3\.amazonaws\.com)/(.*/)",
        _s3,
    ),
    ("a file", r"https://[^?#]+/[^/?#]+\.(?!html?$|php$|aspx?$)\w+", _file),
)
