"""Downloads from a real HTTP server on loopback: resumed, checked, nothing wrong is named."""

import base64
import email.utils
import hashlib
import importlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from climb_hf import catalog
from climb_hf.card import Access, Remote
from climb_hf.errors import (
    AccessError,
    CorruptFileError,
    DownloadError,
    ManifestError,
    OptionError,
)
from climb_hf.fetch import manifest as manifests
from climb_hf.fetch.check import verify
from climb_hf.fetch.plan import Selection, make
from climb_hf.fetch.run import download, repair
from climb_hf.fetch.transfer import RemoteFile, fetch
from climb_hf.fetch.web import Web

STANDINS = Path(__file__).parents[1] / "standins"
if str(STANDINS) not in sys.path:
    sys.path.append(str(STANDINS))
Files = importlib.import_module("files").Files
Fault = importlib.import_module("loopback").Fault

PHYSIONET = "https://physionet.org"
ROOT = "/files/made/1.0/"


def content(size, seed=0):
    return random.Random(seed).randbytes(size)


def sha256(body):
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def host():
    made = Files()
    yield made
    made.close()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def web(host, waits):
    real = (PHYSIONET, "https://files.example.org")
    origins = dict.fromkeys(real, host.url)
    with Web(origins, credentials=lambda _: {}, pause=waits.append, timeout_s=5) as made:
        yield made


@pytest.fixture
def card():
    remotes = (Remote(f"{PHYSIONET}{ROOT}"),)
    return replace(catalog.get("ptb_xl").card, name="made", remotes=remotes)


def offered(path="a.bin", body=None, n_bytes=None):
    digest = f"sha256:{sha256(body)}" if body is not None else None
    return RemoteFile(path, (f"https://files.example.org/{path}",), n_bytes, digest)


def run(card, root, web, selection=None, **wanted):
    return download(make(card, root, web, selection), web, **wanted)


def named(folder):
    """Files that have a final name, with their bytes."""
    found = (path for path in folder.rglob("*") if path.is_file())
    kept = [path for path in found if ".climb" not in path.relative_to(folder).parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


# ---- one file -----------------------------------------------------------------------------------


def test_a_cut_transfer_goes_on_where_it_was(host, web, tmp_path):
    body = content(400_000)
    host.files["/a.bin"] = body
    host.web.faults.append(Fault("GET", "a.bin", cut=150_000))
    got = fetch(web, offered(body=body), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == body
    assert got.sha256 == sha256(body)
    second = host.bodies("/a.bin")[1].headers
    assert second["range"] == "bytes=150000-"
    assert second["if-range"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert second["accept-encoding"] == "identity"


def interrupted(host, web, folder, n, seed):
    """Downloads, each cut at random bytes a few times; returns the digests that came and should."""
    chance = random.Random(seed)
    came, wanted = [], []
    for number in range(n):
        body = content(chance.randrange(1, 300_000), seed=number)
        host.files[f"/{number}.bin"] = body
        cuts = [chance.randrange(len(body)) for _ in range(chance.randrange(1, 4))]
        host.web.faults = [Fault("GET", f"/{number}.bin", cut=cut) for cut in cuts]
        host.ranges, host.etags = chance.random() < 0.8, chance.random() < 0.8
        host.redirected = chance.random() < 0.3
        known = body if chance.random() < 0.7 else None
        part = folder / f"{number}.part"
        got = fetch(web, offered(f"{number}.bin", known), part)
        came.append((got.sha256, sha256(part.read_bytes())))
        wanted.append((sha256(body), sha256(body)))
    return came, wanted


def test_20_downloads_cut_at_random_bytes_come_whole(host, web, tmp_path):
    came, wanted = interrupted(host, web, tmp_path, 20, seed=1)
    assert came == wanted


@pytest.mark.slow
def test_200_downloads_cut_at_random_bytes_come_whole(host, web, tmp_path):
    came, wanted = interrupted(host, web, tmp_path, 200, seed=2)
    assert came == wanted


def test_a_part_of_a_file_that_changed_meanwhile_is_dropped(host, web, tmp_path):
    old, new = content(200_000, 1), content(200_000, 2)
    host.files["/a.bin"] = old
    host.web.faults += [Fault("GET", "a.bin", cut=90_000), Fault("GET", "a.bin", status=404)]
    with pytest.raises(DownloadError, match="not there"):
        fetch(web, offered(), tmp_path / "part")
    host.files["/a.bin"] = new
    fetch(web, offered(), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == new


def test_a_part_that_is_damaged_on_disk_is_fetched_anew(host, web, tmp_path):
    body = content(100_000)
    host.files["/a.bin"] = body
    host.web.faults += [Fault("GET", "a.bin", cut=60_000), Fault("GET", "a.bin", status=404)]
    with pytest.raises(DownloadError):
        fetch(web, offered(body=body), tmp_path / "part")
    part = tmp_path / "part"
    part.write_bytes(b"x" + part.read_bytes()[1:])
    fetch(web, offered(body=body), part)
    assert part.read_bytes() == body


def test_a_checksum_list_that_lies_leaves_nothing(host, web, tmp_path):
    host.files["/a.bin"] = b"true content"
    with pytest.raises(CorruptFileError) as raised:
        fetch(web, offered(body=b"other content"), tmp_path / "part")
    assert sha256(b"true content") in str(raised.value)
    assert sha256(b"other content") in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_one_wrong_transfer_is_made_good_by_a_second(host, web, tmp_path):
    host.files["/a.bin"] = content(5000)
    host.web.faults.append(Fault("GET", "a.bin", corrupt=True))
    got = fetch(web, offered(body=content(5000)), tmp_path / "part")
    assert got.sha256 == sha256(content(5000))


@pytest.mark.parametrize("listed", [10, 1_000_000])
def test_a_wrong_length_is_refused_without_a_digest_too(host, web, tmp_path, listed):
    host.files["/a.bin"] = content(5000)
    with pytest.raises(CorruptFileError, match="bytes"):
        fetch(web, offered(n_bytes=listed), tmp_path / "part")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AccessError, "netrc"),
        (403, AccessError, "terms"),
        (404, DownloadError, "not there"),
        (202, DownloadError, "in place of the file"),
        (500, DownloadError, "run the same command again"),
    ],
)
def test_a_refusal_says_what_to_do(host, web, tmp_path, status, error, words):
    host.files["/a.bin"] = content(10)
    host.web.faults.append(Fault("GET", "a.bin", status=status, times=99))
    with pytest.raises(error, match=words):
        fetch(web, offered(), tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_too_many_requests_wait_as_long_as_the_host_asks(host, web, waits, tmp_path):
    host.files["/a.bin"] = content(10)
    later = {"Retry-After": email.utils.formatdate(time.time() + 60, usegmt=True)}
    host.web.faults += [
        Fault("GET", "a.bin", status=429, headers={"Retry-After": "7"}),
        Fault("GET", "a.bin", status=503, headers=later),
    ]
    fetch(web, offered(), tmp_path / "part")
    assert waits[0] == 7
    assert 1 <= waits[1] <= 61


def test_a_login_page_is_no_file(host, web, tmp_path):
    host.files["/a.bin"] = b"<html>log in</html>"
    host.kinds["/a.bin"] = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="web page"):
        fetch(web, offered(), tmp_path / "part")


def test_an_empty_file_is_refused_unless_it_is_listed_as_empty(host, web, tmp_path):
    host.files["/a.bin"] = b""
    with pytest.raises(CorruptFileError, match="empty"):
        fetch(web, offered(), tmp_path / "part")
    assert fetch(web, offered(n_bytes=0), tmp_path / "part").n_bytes == 0


def test_the_next_address_is_tried_where_a_host_sends_a_riddle(host, web, tmp_path):
    host.files["/b.bin"] = content(50)
    host.files["/a.bin"] = b""
    host.web.faults.append(Fault("GET", "a.bin", status=202, times=9))
    urls = ("https://files.example.org/a.bin", "https://files.example.org/b.bin")
    assert fetch(web, RemoteFile("x", urls), tmp_path / "part").origin == urls[1]


def test_a_full_disk_is_one_clear_line(host, web, tmp_path, monkeypatch):
    host.files["/a.bin"] = content(5000)
    opened = Path.open

    def full(path, mode="r", *rest, **kept):
        return opened(Path("/dev/full") if path.name == "part" else path, mode, *rest, **kept)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DownloadError, match="the disk is full"):
        fetch(web, offered(body=content(5000)), tmp_path / "part")


def test_an_expired_certificate_is_refused(tmp_path, monkeypatch):
    pem = str(STANDINS / "expired.pem")
    monkeypatch.setenv("SSL_CERT_FILE", pem)  # known to us, so that its age is what is wrong
    host = Files({"/a.bin": b"x"}, certificate=pem)
    try:
        origins = {"https://files.example.org": host.url}
        expired = pytest.raises(DownloadError, match="certificate has expired")
        with Web(origins, credentials=lambda _: {}) as web, expired:
            fetch(web, offered(), tmp_path / "part")
    finally:
        host.close()


def test_a_redirect_away_from_tls_is_not_followed(web, tmp_path):
    import httpx2

    away = httpx2.Response(302, headers={"Location": "http://files.example.org/a.bin"})
    transport = httpx2.MockTransport(lambda _: away)
    with Web(credentials=lambda _: {}) as made:
        made._client = httpx2.Client(transport=transport)
        with pytest.raises(DownloadError, match="without TLS"):
            fetch(made, offered(), tmp_path / "part")


def test_another_part_than_was_asked_for_is_not_appended(host, web, tmp_path):
    body = content(100_000)
    host.files["/a.bin"] = body
    host.web.faults.append(Fault("GET", "a.bin", cut=60_000))
    answer = host.web.app

    def shifted(request):
        found = answer(request)
        if "range" not in request.headers:
            return found
        spans = {"Content-Range": f"bytes 0-9999/{len(body)}", "ETag": found.headers["ETag"]}
        return replace(found, status=206, headers=spans, body=body[:10_000], ranged=False)

    host.web.app = shifted
    fetch(web, offered(), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == body


def test_a_host_that_packs_a_file_unasked_is_refused(host, web, tmp_path):
    host.files["/a.bin"] = content(100)
    answer = host.web.app
    host.web.app = lambda request: replace(
        answer(request), headers={"Content-Encoding": "gzip"}, ranged=False
    )
    with pytest.raises(DownloadError, match="packs the file"):
        fetch(web, offered(), tmp_path / "part")


# ---- a source -----------------------------------------------------------------------------------

TREE = {
    "RECORDS": b"g1/r1\ng1/r2\n",
    "table.csv": b"id\n1\n2\n",
    "g1/r1.hea": b"r1 1 500 10\n",
    "g1/r1.dat": content(30_000, 1),
    "g1/r2.hea": b"r2 1 500 10\n",
    "g1/r2.dat": content(30_000, 2),
    "größe/北京 1.dat": content(100, 3),
}


@pytest.fixture
def tree(host):
    host.sums(ROOT, TREE)
    return host


def test_a_source_comes_as_its_host_lists_it(tree, web, card, tmp_path):
    outcome = run(card, tmp_path, web)
    assert outcome.whole
    assert named(tmp_path / "made") == TREE
    assert verify(tmp_path / "made", "made").right


def test_what_is_there_and_right_is_not_fetched_again(tree, web, card, tmp_path):
    run(card, tmp_path, web)
    (tmp_path / "made" / "table.csv").unlink()
    tree.web.log.clear()
    outcome = run(card, tmp_path, web)
    assert outcome.fetched == ["table.csv"]
    assert {r.path for r, _ in tree.web.log if r.method == "GET"} == {
        f"{ROOT}SHA256SUMS.txt",
        f"{ROOT}table.csv",
    }


def test_files_that_were_there_before_any_manifest_are_read_and_kept(tree, web, card, tmp_path):
    (tmp_path / "made/g1").mkdir(parents=True)
    (tmp_path / "made/g1/r1.dat").write_bytes(TREE["g1/r1.dat"])
    (tmp_path / "made/g1/r2.dat").write_bytes(b"another file")
    outcome = run(card, tmp_path, web)
    assert outcome.kept == 1
    assert named(tmp_path / "made") == TREE


def test_a_plan_fetches_and_writes_nothing(tree, web, card, tmp_path):
    plan = make(card, tmp_path / "new", web)
    assert len(plan.missing) == len(TREE)
    assert plan.n_bytes == sum(map(len, TREE.values()))
    assert plan.estimated is False
    assert plan.free_bytes > 0
    assert list(tmp_path.iterdir()) == []
    assert not [r for r, _ in tree.web.log if r.method == "GET" and r.path.endswith("dat")]


def test_files_are_selected_by_pattern(tree, web, card, tmp_path):
    run(card, tmp_path, web, Selection(files=("g1/*.hea", "*.csv")))
    assert set(named(tmp_path / "made")) == {"g1/r1.hea", "g1/r2.hea", "table.csv"}


def test_a_limit_takes_whole_records_and_the_tables(tree, web, card, tmp_path):
    run(card, tmp_path, web, Selection(limit=1))
    assert set(named(tmp_path / "made")) == {"RECORDS", "table.csv", "g1/r1.hea", "g1/r1.dat"}


def test_a_pattern_that_fits_nothing_says_how_paths_look(tree, web, card, tmp_path):
    with pytest.raises(OptionError, match="paths look like"):
        make(card, tmp_path, web, Selection(files=("*.nii",)))


def test_one_wrong_file_does_not_keep_the_others_away(tree, web, card, tmp_path):
    tree.files[f"{ROOT}g1/r1.dat"] = b"not what is listed"
    outcome = run(card, tmp_path, web)
    assert list(outcome.failed) == ["g1/r1.dat"]
    assert named(tmp_path / "made") == {k: v for k, v in TREE.items() if k != "g1/r1.dat"}
    assert verify(tmp_path / "made", "made").complete is False


def test_verify_names_missing_damaged_and_extra_files(tree, web, card, tmp_path):
    run(card, tmp_path, web)
    folder = tmp_path / "made"
    (folder / "table.csv").unlink()
    (folder / "g1/r1.dat").write_bytes(TREE["g1/r1.dat"][:-1] + b"\0")
    (folder / "notes.txt").write_text("mine")
    found = verify(folder, "made")
    assert (found.missing, found.damaged, found.extra) == (
        ("table.csv",),
        ("g1/r1.dat",),
        ("notes.txt",),
    )
    assert found.good == len(TREE) - 2


def test_repair_fetches_only_what_is_damaged_or_missing(tree, web, card, tmp_path):
    run(card, tmp_path, web)
    folder = tmp_path / "made"
    (folder / "table.csv").unlink()
    (folder / "g1/r1.dat").write_bytes(b"rot")
    tree.web.log.clear()
    outcome = repair(card, tmp_path, web)
    assert sorted(outcome.fetched) == ["g1/r1.dat", "table.csv"]
    assert {r.path for r, _ in tree.web.log} == {f"{ROOT}g1/r1.dat", f"{ROOT}table.csv"}
    assert named(folder) == TREE


def test_a_list_that_leads_out_of_the_folder_is_refused(host, web, card, tmp_path):
    for name in ("../x", "a/../../x", "/etc/x", "C:/x", "a\\x", ".climb/manifest.json"):
        host.sums(ROOT, {name: b"x"})
        with pytest.raises(CorruptFileError, match="would not lie in"):
            make(card, tmp_path / "to", web)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_folder_does_not_lead_a_file_out(tree, web, card, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "made/g1").symlink_to(tmp_path / "outside")
    with pytest.raises(CorruptFileError, match="a link that leads out"):
        run(card, tmp_path, web)
    assert list((tmp_path / "outside").iterdir()) == []


def test_too_little_room_is_said_before_anything_is_fetched(tree, web, card, tmp_path):
    plan = replace(make(card, tmp_path, web), n_bytes=10**13)
    with pytest.raises(DownloadError, match="are free"):
        download(plan, web)
    assert named(tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_one_clear_line(tree, web, card, tmp_path):
    (tmp_path / "made").write_text("a file stands here")
    with pytest.raises(DownloadError, match="cannot be written"):
        run(card, tmp_path, web)


def test_terms_have_to_be_accepted_once(tree, web, card, tmp_path):
    locked = replace(card, access=Access.CREDENTIALED)
    with pytest.raises(AccessError, match="--accept-licence"):
        run(locked, tmp_path, web)
    run(locked, tmp_path, web, accepted=True)
    assert manifests.load(tmp_path / "made", "made").accepted is not None
    assert run(locked, tmp_path, web).whole


def test_a_manifest_of_another_version_is_not_guessed_at(tree, web, card, tmp_path):
    run(card, tmp_path, web)
    path = manifests.place(tmp_path / "made")
    text = path.read_text("utf-8")
    path.write_text(text.replace('"version": 1', '"version": 2'), "utf-8")
    for action in (lambda: make(card, tmp_path, web), lambda: verify(tmp_path / "made", "made")):
        with pytest.raises(ManifestError, match="version 2"):
            action()
    path.write_text(text[:100], "utf-8")
    with pytest.raises(ManifestError, match="damaged"):
        verify(tmp_path / "made", "made")


def test_clocks_that_are_wrong_change_nothing(tree, web, card, tmp_path):
    run(card, tmp_path, web)
    folder = tmp_path / "made"
    path = manifests.place(folder)
    path.write_text(re.sub(r'"time": "\d+', '"time": "2999', path.read_text("utf-8")), "utf-8")
    for name in TREE:
        os.utime(folder / name, (1, 1))
    assert run(card, tmp_path, web).fetched == []
    assert verify(folder, "made").right


def test_two_downloads_into_one_folder_do_not_meet(tree, web, card, tmp_path):
    with manifests.locked(tmp_path / "made"), pytest.raises(DownloadError, match="another process"):
        run(card, tmp_path, web)


# ---- killed -------------------------------------------------------------------------------------

CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from climb_hf import catalog
from climb_hf.card import Remote
from climb_hf.fetch.plan import make
from climb_hf.fetch.run import download
from climb_hf.fetch.web import Web
url, to, remote = sys.argv[1:]
card = replace(catalog.get("ptb_xl").card, name="made", remotes=(Remote(remote),))
with Web({"https://physionet.org": url, "https://files.example.org": url}) as web:
    print("ready", flush=True)
    outcome = download(make(card, Path(to), web), web)
sys.exit(not outcome.whole)
"""


def killed(host, to, remote, chance):
    """Kills a download after some number of requests, then runs it again; whether it was killed."""
    command = [sys.executable, "-c", CHILD, host.url, str(to), remote]
    before, asked = len(host.web.log), chance.randrange(1, N_REQUESTS)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        while len(host.web.log) - before < asked and child.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    return child.returncode == -signal.SIGKILL


N_REQUESTS = 1 + 8 + 31  # the list, a sample of sizes, the files


def check_killed(host, folder, n, seed):
    files = {f"r{k}.dat": content(60_000, k) for k in range(30)}
    packed = {f"{k}.png": content(100_000, 100 + k) for k in range(50)}
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, one in packed.items():
            archive.writestr(name, one)
    host.sums(ROOT, {**files, "images.zip": body.getvalue()})
    wanted = {**files, **{f"images/{name}": one for name, one in packed.items()}}
    host.slow_s = 0.03
    chance, n_killed = random.Random(seed), 0
    for step in range(n):
        to = folder / str(step)
        n_killed += killed(host, to, f"{PHYSIONET}{ROOT}", chance)
        assert named(to / "made") == wanted
        assert verify(to / "made", "made").right
        assert list((to / "made/.climb/parts").iterdir()) == []
    assert n_killed > n / 3  # the others ended first


def test_a_killed_download_run_again_gives_the_same_files(host, tmp_path):
    check_killed(host, tmp_path, 2, seed=0)


@pytest.mark.slow
def test_30_killed_downloads_run_again_give_the_same_files(host, tmp_path):
    check_killed(host, tmp_path, 30, seed=10)


# ---- secrets ------------------------------------------------------------------------------------


def test_credentials_go_to_their_host_alone_and_are_told_nowhere(
    tree, card, tmp_path, monkeypatch, caplog
):
    word = "plantedSecret42"
    monkeypatch.setenv("PHYSIONET_USERNAME", "me")
    monkeypatch.setenv("PHYSIONET_PASSWORD", word)
    tree.users = {"me": word}
    tree.redirected = True
    # No process is started, so no list of processes can show them.
    monkeypatch.setattr(subprocess, "Popen", None)
    with caplog.at_level("DEBUG"), Web({PHYSIONET: tree.url}) as web:
        outcome = run(card, tmp_path, web)
        assert outcome.whole
        tree.users = {"me": "changed since"}
        with pytest.raises(AccessError) as raised:
            make(card, tmp_path, web)
        assert "PHYSIONET_PASSWORD" in str(raised.value)
    at_storage = [r for r, _ in tree.web.log if r.origin == "storage"]
    assert at_storage
    assert not [r for r in at_storage if "authorization" in r.headers]
    written = "".join(p.read_text("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    told = caplog.text + str(raised.value) + written
    for secret in (word, base64.b64encode(f"me:{word}".encode()).decode(), "signed-word"):
        if secret == "signed-word":  # httpcore tells a header of an answer, at DEBUG alone
            told = "".join(r.getMessage() for r in caplog.records if r.levelname != "DEBUG")
            told += written
        assert secret not in told


def test_a_password_may_stand_in_netrc_but_a_default_one_is_not_sent(
    tree, card, tmp_path, monkeypatch
):
    secret = tmp_path / "netrc"
    secret.write_text(
        "machine physionet.org login me password pw\ndefault login all password any\n"
    )
    monkeypatch.setenv("NETRC", str(secret))
    monkeypatch.delenv("PHYSIONET_PASSWORD", raising=False)
    tree.users, tree.redirected = {"me": "pw"}, True
    with Web({PHYSIONET: tree.url}) as web:
        assert run(card, tmp_path, web).whole
    assert not [
        r for r, _ in tree.web.log if r.origin == "storage" and "authorization" in r.headers
    ]


def test_a_netrc_that_cannot_be_parsed_is_not_quoted(tree, card, tmp_path, monkeypatch):
    secret = tmp_path / "netrc"
    secret.write_text("machine physionet.org login me password\nplantedSecret42 nonsense\n")
    monkeypatch.setenv("NETRC", str(secret))
    monkeypatch.delenv("PHYSIONET_PASSWORD", raising=False)
    with Web({PHYSIONET: tree.url}) as web, pytest.raises(AccessError, match="netrc") as raised:
        make(card, tmp_path, web)
    assert "plantedSecret42" not in str(raised.value)
