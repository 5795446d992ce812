"""Kaggle, through its own client `kagglehub`: whole data sets, archives unpacked by it."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from climb_hf.errors import AccessError, DownloadError
from climb_hf.fetch.places import digests, inside, safe_path, writing
from climb_hf.fetch.unpack import Member
from climb_hf.optional import need

_DATA_SET = r"https://www\.kaggle\.com/datasets/([\w-]+/[\w-]+)/?"
_COMPETITION = r"https://www\.kaggle\.com/competitions/([\w-]+)(?:/data|/overview)?/?"
_CACHE = "KAGGLEHUB_CACHE"
_LOGIN = (
    "Make a token on the page of your Kaggle account, and set KAGGLE_API_TOKEN, or KAGGLE_USERNAME "
    "and KAGGLE_KEY, or put it into ~/.kaggle"
)


def is_kaggle(url: str) -> bool:
    """Whether an address is a data set or a competition of Kaggle."""
    return bool(re.fullmatch(_DATA_SET, url) or re.fullmatch(_COMPETITION, url))


def terms_page(url: str) -> str:
    """Returns the page on which the terms are accepted."""
    found = re.fullmatch(_COMPETITION, url)
    return f"https://www.kaggle.com/competitions/{found[1]}/rules" if found else url


def name_of(url: str) -> str:
    """Returns the name of a data set or a competition, for a folder."""
    found = re.fullmatch(_DATA_SET, url) or re.fullmatch(_COMPETITION, url)
    if found is None:
        raise DownloadError(f"{url} is no data set or competition of Kaggle.")
    return found[1].rpartition("/")[2]


def fetch(url: str, aside: Path, into: Path) -> list[Member]:
    """Fetches a whole data set into `into`, by way of `aside`; returns its files.

    Raises:
        DependencyError: where kagglehub is not installed.
        AccessError: when Kaggle refuses; it names the page to accept terms on.
        DownloadError: when it fails otherwise.
    """
    hub = need("kagglehub", extra="kaggle")
    competition = re.fullmatch(_COMPETITION, url)
    data_set = re.fullmatch(_DATA_SET, url)
    # What requests raises is an OSError too, so it is told first.
    with writing(aside, "run the same command again"), _told(url):
        aside.mkdir(parents=True, exist_ok=True)
        with _cache(aside):
            if competition:
                came = Path(hub.competition_download(competition[1]))
            elif data_set:
                came = Path(hub.dataset_download(data_set[1]))
            else:
                raise DownloadError(f"{url} is no data set or competition of Kaggle.")
    found = [one for one in sorted(came.rglob("*")) if one.is_file() and not one.is_symlink()]
    members = []
    for path in found:
        name = safe_path(path.relative_to(came).as_posix(), url)
        members.append(Member(name, path.stat().st_size, digests(path, "sha256")["sha256"]))
    with writing(into, "run the same command again"):
        for member in members:
            place = inside(into, member.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            (came / member.path).replace(place)
    shutil.rmtree(aside, ignore_errors=True)
    return members


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Has kagglehub keep its cache in a folder: on the right disk, and a cut archive goes on there.

    Its own `output_dir` refuses a folder that holds a part. Nor does it write to stdout meanwhile,
    where our own facts go.
    """
    log = logging.getLogger("kagglehub")
    level = log.level
    log.setLevel(logging.WARNING)
    before = os.environ.get(_CACHE)
    os.environ[_CACHE] = str(folder)
    try:
        yield
    finally:
        log.setLevel(level)
        del os.environ[_CACHE]
        if before is not None:
            os.environ[_CACHE] = before


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turns what kagglehub raises into one line; its texts may hold signed addresses."""
    import requests
    from kagglehub import exceptions

    try:
        yield
    except (exceptions.UnauthenticatedError, exceptions.CredentialError):
        raise AccessError(f"{url}: Kaggle does not know you. {_LOGIN}.") from None
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 401:
            raise AccessError(f"{url}: Kaggle does not accept your token. {_LOGIN}.") from None
        if status == 403:
            raise AccessError(
                f"{url}: Kaggle refuses you the files (403). Accept the rules at "
                f"{terms_page(url)}, logged in as the user of your token; then run the "
                "same command again."
            ) from None
        raise DownloadError(f"{url}: Kaggle answered {status}. Try again later.") from None
    except requests.RequestException as error:
        raise DownloadError(f"{url}: {type(error).__name__}. Run the same command again.") from None
    except (exceptions.DataCorruptionError, exceptions.BackendError, exceptions.NotFoundError) as e:
        raise DownloadError(f"{url}: kagglehub failed ({type(e).__name__}).") from None
