"""Who the user is to a host: from the environment or a netrc file, for that host alone."""

from __future__ import annotations

import base64
import netrc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from climb_hf.errors import AccessError

PHYSIONET = "physionet.org"
HUB = "huggingface.co"
DATAVERSE_KEY = "DATAVERSE_API_KEY"
DATAVERSES = frozenset({"dataverse.harvard.edu"})

Credentials = Callable[[str], Mapping[str, str]]


def from_user(url: str) -> Mapping[str, str]:
    """Returns the headers that say to the host of an address who asks; none for most hosts.

    Raises:
        AccessError: when the netrc file cannot be read.
    """
    host = urlsplit(url).hostname or ""
    if host == HUB:
        return _of_hub()
    if host in DATAVERSES and (key := os.environ.get(DATAVERSE_KEY)):
        return {"X-Dataverse-key": key}
    pair = _of_environment(host) or _of_netrc(host)
    if pair is None:
        return {}
    word = base64.b64encode(":".join(pair).encode()).decode()
    return {"Authorization": f"Basic {word}"}


def advice(url: str) -> str:
    """Returns how a user makes himself known to a host."""
    host = urlsplit(url).hostname or ""
    if host == HUB:
        return "log in with `hf auth login`, or set HF_TOKEN"
    if host in DATAVERSES:
        return f"set {DATAVERSE_KEY} to a key from your account page"
    if host == PHYSIONET:
        return (
            "set PHYSIONET_USERNAME and PHYSIONET_PASSWORD, or put `machine physionet.org login "
            "... password ...` into ~/.netrc (mode 600)"
        )
    return f"put `machine {host} login ... password ...` into ~/.netrc (mode 600)"


def _of_hub() -> Mapping[str, str]:
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _of_environment(host: str) -> tuple[str, str] | None:
    if host != PHYSIONET:
        return None
    user, word = (os.environ.get(f"PHYSIONET_{name}") for name in ("USERNAME", "PASSWORD"))
    return (user, word) if user and word else None


def _of_netrc(host: str) -> tuple[str, str] | None:
    """The entry of just this host: a `default` one would be sent to every storage server too."""
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    if not path.is_file():
        return None
    try:
        found = netrc.netrc(path).hosts.get(host)
    except netrc.NetrcParseError as error:
        # Its text may quote the line, and with it a password.
        raise AccessError(f"{path}: line {error.lineno} is not in netrc's form.") from None
    except OSError as error:
        raise AccessError(f"{path} cannot be read: {type(error).__name__}.") from None
    return (found[0], found[2]) if found and found[2] else None
