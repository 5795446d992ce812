"""The stand-in of the Hub itself, by plain requests: where it has to refuse, and exact ranges."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from http.client import RemoteDisconnected
from urllib.error import HTTPError
from urllib.request import Request, build_opener

import pytest

CONTENT = bytes(range(256)) * 8
OID = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def ask(hub):
    """A call: status, headers and body of one answer; redirects are followed."""
    opener = build_opener()

    def call(method, url, body=None, token="tok-owner", **headers):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(url, data=data, method=method, headers=headers)
        if token and hub.url in url:  # and not to where it is sent on
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    return call


@pytest.fixture
def commit(hub, ask):
    ask("POST", f"{hub.url}/api/repos/create", {"name": "made", "organization": None})

    def call(*changes, **header):
        lines = [{"key": "header", "value": {"summary": "made", **header}}, *changes]
        body = "\n".join(json.dumps(one) for one in lines).encode()
        return ask("POST", f"{hub.url}/api/models/owner/made/commit/main", body)

    return call


def large(oid=OID):
    return {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": oid}}


def test_bytes_that_are_not_what_their_name_says_are_refused(hub, ask):
    status, _, _ = ask("PUT", f"{hub.web.urls['files']}/upload/{'0' * 64}", CONTENT)
    assert status == 400 and hub.objects == {}


def test_a_commit_of_an_object_that_never_came_is_refused(hub, commit):
    assert commit(large())[0] == 400
    assert hub.files("owner/made") == {}


def test_a_commit_on_a_parent_that_has_moved_is_refused(commit):
    assert commit(parentCommit="0" * 40)[0] == 412


def test_a_large_file_comes_from_the_other_origin_in_exact_parts(hub, ask, commit):
    files = hub.web.urls["files"]
    assert ask("PUT", f"{files}/upload/{OID}", CONTENT)[0] == 200
    assert commit(large())[0] == 200
    web = f"{hub.url}/owner/made/resolve/main/a.bin"
    assert ask("GET", web)[2] == CONTENT
    status, headers, body = ask("GET", f"{files}/object/{OID}", Range="bytes=5-9")
    assert (status, body) == (206, CONTENT[5:10])
    assert headers["Content-Range"] == f"bytes 5-9/{len(CONTENT)}"
    assert ask("GET", f"{files}/object/{OID}", Range="bytes=2048-")[0] == 416


@pytest.mark.parametrize(
    ("token", "gated", "private", "status", "code"),
    [
        ("tok-stranger", "manual", False, 403, "GatedRepo"),
        (None, "manual", False, 401, "GatedRepo"),
        ("tok-accepted", "manual", False, 404, "EntryNotFound"),
        ("tok-stranger", False, True, 404, "RepoNotFound"),
    ],
)
def test_strangers_are_told_why(hub, ask, commit, token, gated, private, status, code):
    repo = hub.repos["models", "owner/made"]
    repo.gated, repo.private = gated, private
    found, headers, _ = ask("GET", f"{hub.url}/owner/made/resolve/main/none", token=token)
    assert (found, headers["X-Error-Code"]) == (status, code)


def test_faults_are_used_up(hub, ask):
    fault = importlib.import_module("loopback").Fault
    hub.web.faults += [
        fault("GET", "whoami", status=503, headers={"Retry-After": "1"}),
        fault("GET", "whoami", drop=True),
    ]
    url = f"{hub.url}/api/whoami-v2"
    status, headers, _ = ask("GET", url)
    assert (status, headers["Retry-After"]) == (503, "1")
    with pytest.raises(RemoteDisconnected):
        ask("GET", url)
    assert json.loads(ask("GET", url)[2])["name"] == "owner"


def test_a_route_that_it_does_not_know_is_kept(hub, ask):
    assert ask("GET", f"{hub.url}/api/models/owner/made/xet-write-token/main")[0] == 404
    (one,) = hub.unknown
    assert one.path.endswith("/xet-write-token/main")
    hub.unknown.clear()


# ---- with the clients it is made for ------------------------------------------------------------

DATASET = """
import json, sys
import datasets
from datasets import Dataset, load_dataset

datasets.config.USE_PARQUET_EXPORT = False  # else it asks for a viewer, by a name of its own
rows = {"id": [str(i) for i in range(50)], "image": [bytes([i]) * 400 for i in range(50)]}
Dataset.from_dict(rows).push_to_hub("owner/data", config_name="ecg", num_shards=3)
whole = load_dataset("owner/data", "ecg", split="train")
stream = load_dataset("owner/data", "ecg", split="train", streaming=True)
assert [row for row in stream] == [row for row in whole]
print(json.dumps({"ids": list(whole["id"]), "bytes": sum(len(one) for one in whole["image"])}))
"""


def test_a_data_set_goes_there_and_back_whole_and_streamed(hub, tmp_path):
    environment = hub.environment(tmp_path / "home")
    command = [sys.executable, "-c", DATASET]
    ran = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout) == {"ids": [str(i) for i in range(50)], "bytes": 50 * 400}
    names = [path for path in hub.files("owner/data", kind="datasets") if path.endswith("parquet")]
    assert len(names) == 3
    assert hub.web.asked("GET", "/object/")  # shards came from the origin of files
