"""Each kind of host, by lists of the form that its clients read: the right files, checked."""

import base64
import hashlib
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from climb_hf import catalog
from climb_hf.card import Access, Remote
from climb_hf.errors import AccessError, CardError, DependencyError, DownloadError
from climb_hf.fetch import hosts, kaggle
from climb_hf.fetch.check import verify
from climb_hf.fetch.manifest import BY_HAND
from climb_hf.fetch.manifest import load as load_manifest
from climb_hf.fetch.plan import Selection, make
from climb_hf.fetch.run import download, repair
from climb_hf.fetch.web import Web

STANDINS = Path(__file__).parents[1] / "standins"
if str(STANDINS) not in sys.path:
    sys.path.append(str(STANDINS))
Files = importlib.import_module("files").Files
Fault = importlib.import_module("loopback").Fault
BIG = bytes(range(256)) * 8000  # more than the 1 MiB that kagglehub writes at once
BODY, OTHER = b"an image\n" * 50, b"a table\n" * 20
SITES = (
    "https://physionet.org",
    "https://zenodo.org",
    "https://api.figshare.com",
    "https://figshare.com",
    "https://dataverse.harvard.edu",
    "https://data.mendeley.com",
    "https://s3.amazonaws.com",
)


def md5(body):
    return hashlib.md5(body).hexdigest()


def sha256(body):
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def host():
    made = Files()
    yield made
    made.close()


@pytest.fixture
def web(host):
    origins = dict.fromkeys(SITES, host.url)
    with Web(origins, credentials=lambda _: {}, pause=lambda _: None) as made:
        yield made


def made_card(*urls, **facts):
    remotes = tuple(Remote(url) for url in urls)
    return replace(catalog.get("ptb_xl").card, name="made", remotes=remotes, **facts)


def fetched(web, root, *urls):
    """Bytes by path of what comes from addresses, which then has to be as the manifest says."""
    outcome = download(make(made_card(*urls), root, web), web)
    assert outcome.failed == {}
    assert verify(root / "made", "made").right
    paths = (path for path in sorted((root / "made").rglob("*")) if path.is_file())
    kept = [p.relative_to(root / "made") for p in paths if ".climb" not in p.parts]
    return {path.as_posix(): (root / "made" / path).read_bytes() for path in kept}


def lists_zenodo(host):
    links = {"self": "https://zenodo.org/api/records/77/files/moved/content"}
    files = [
        {"key": "a b.bin", "size": len(BODY), "checksum": f"md5:{md5(BODY)}", "links": links},
        {"filename": "t.csv", "filesize": len(OTHER), "checksum": md5(OTHER)},
    ]
    host.json("/api/records/77", {"files": files})
    host.files["/api/records/77/files/a b.bin/content"] = BODY
    host.files["/api/records/77/files/t.csv/content"] = OTHER


def test_zenodo_by_record_number_in_both_shapes_and_past_a_link_that_moved(host, web, tmp_path):
    lists_zenodo(host)
    got = fetched(web, tmp_path, "https://zenodo.org/records/77")
    assert got == {"a b.bin": BODY, "t.csv": OTHER}


@pytest.mark.parametrize("status", [202, 403])
def test_figshare_past_its_riddle_for_browsers(host, web, tmp_path, status):
    one = {
        "id": 5,
        "name": "a.bin",
        "size": len(BODY),
        "computed_md5": md5(BODY),
        "download_url": "https://figshare.com/ndownloader/files/5",
    }
    host.json("/v2/articles/4879853/versions/2", {"files": [one]})
    host.files["/ndownloader/files/5"] = BODY
    host.files["/v2/file/download/5"] = BODY
    host.web.faults.append(Fault("GET", "ndownloader", status=status, times=9))
    url = "https://figshare.com/articles/figure/_/4879853/2"
    assert fetched(web, tmp_path, url) == {"a.bin": BODY}


def dataverse(host):
    files = [
        {
            "directoryLabel": "images",
            "dataFile": {
                "id": 1,
                "filename": "a.bin",
                "filesize": len(BODY),
                "checksum": {"type": "SHA-1", "value": hashlib.sha1(BODY).hexdigest()},
            },
        },
        {"dataFile": {"id": 2, "filename": "b.bin", "md5": md5(BODY)}},
        {
            "dataFile": {
                "id": 3,
                "filename": "t.tab",
                "filesize": 1,
                "md5": md5(b"x"),
                "originalFileFormat": "text/csv",
                "originalFileName": "t.csv",
                "originalFileSize": len(OTHER),
            }
        },
    ]
    host.json("/api/datasets/:persistentId", {"data": {"latestVersion": {"files": files}}})
    host.files |= {
        f"/api/access/datafile/{k}": body for k, body in enumerate((BODY, BODY, OTHER), 1)
    }


@pytest.mark.parametrize(
    "url",
    [
        "https://doi.org/10.7910/DVN/DBW86T",
        "https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/DBW86T",
    ],
)
def test_dataverse_gives_tables_as_they_were_put_in(host, web, tmp_path, url):
    dataverse(host)
    got = fetched(web, tmp_path, url)
    assert got == {"images/a.bin": BODY, "b.bin": BODY, "t.csv": OTHER}
    (table,) = host.bodies("/api/access/datafile/3")
    assert table.query == {"format": ["original"]}
    (asked,) = host.bodies("/api/datasets/:persistentId")
    assert asked.query == {"persistentId": ["doi:10.7910/DVN/DBW86T"]}


def test_repair_asks_dataverse_for_the_original_too(host, web, tmp_path):
    dataverse(host)
    fetched(web, tmp_path, "https://doi.org/10.7910/DVN/DBW86T")
    (tmp_path / "made/t.csv").unlink()
    host.web.log.clear()
    outcome = repair(made_card("https://doi.org/10.7910/DVN/DBW86T"), tmp_path, web)
    assert outcome.fetched == ["t.csv"]
    assert [r.query for r, _ in host.web.log] == [{"format": ["original"]}]


def test_mendeley_by_its_list_of_files(host, web, tmp_path):
    link = "https://data.mendeley.com/public-files/datasets/zr7/files/1/file_downloaded"
    details = {"sha256_hash": sha256(BODY), "size": len(BODY), "download_url": link}
    one = {"id": "1", "filename": "a.bin", "size": len(BODY), "content_details": details}
    host.json("/public-api/datasets/zr7/files", [one])
    host.files["/public-files/datasets/zr7/files/1/file_downloaded"] = BODY
    assert fetched(web, tmp_path, "https://data.mendeley.com/datasets/zr7/1") == {"a.bin": BODY}


def test_a_folder_of_s3_in_pages(host, web, tmp_path):
    head = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    entry = "<Contents><Key>d/{}</Key><Size>{}</Size></Contents>"
    pages = [
        head
        + entry.format("", 0)
        + entry.format("x/a.bin", len(BODY))
        + "<NextContinuationToken>n+1</NextContinuationToken></ListBucketResult>",
        head + entry.format("t.csv", len(OTHER)) + "</ListBucketResult>",
    ]
    answer = host._answer

    def paged(request):
        if request.path == "/fcp/":
            host.files["/fcp/"] = pages["continuation-token" in request.query].encode()
        return answer(request)

    host.web.app = paged
    host.files |= {"/fcp/d/x/a.bin": BODY, "/fcp/d/t.csv": OTHER}
    got = fetched(web, tmp_path, "https://s3.amazonaws.com/fcp/d/")
    assert got == {"x/a.bin": BODY, "t.csv": OTHER}
    assert host.bodies("/fcp/")[1].query["continuation-token"] == ["n+1"]


def test_physionet_by_its_page_and_by_a_folder_of_a_release(host, web, tmp_path):
    host.sums("/files/c/1.0.3/", {"training/g/a.dat": BODY, "training/h/b.dat": OTHER})
    page = "https://physionet.org/content/c/1.0.3/"
    assert set(fetched(web, tmp_path / "1", page)) == {"training/g/a.dat", "training/h/b.dat"}
    part = "https://physionet.org/files/c/1.0.3/training/g/"
    assert set(fetched(web, tmp_path / "2", part)) == {"training/g/a.dat"}


def test_remotes_of_one_source_do_not_overwrite_each_other(host, web, tmp_path):
    for slug, body in (("one", BODY), ("two", OTHER)):
        host.sums(f"/files/{slug}/1.0/", {"LICENSE.txt": body})
    urls = [f"https://physionet.org/files/{slug}/1.0/" for slug in ("one", "two")]
    got = fetched(web, tmp_path, *urls)
    assert sorted(got.values()) == sorted([BODY, OTHER])


def test_what_holds_the_same_once_more_is_fetched_only_when_named(host, web, tmp_path):
    for slug in ("one", "two"):
        host.sums(f"/files/{slug}/1.0/", {f"{slug}.dat": BODY})
    first, second = (Remote(f"https://physionet.org/files/{s}/1.0/") for s in ("one", "two"))
    card = replace(made_card(), remotes=(first, replace(second, again=True)))
    plan = make(card, tmp_path, web)
    assert [file.path for file in plan.files] == ["one/one.dat"]
    assert [remote.url for remote in plan.left_out] == [second.url]
    named = make(card, tmp_path, web, Selection(remotes=("two/",)))
    assert [file.path for file in named.files] == ["two/two.dat"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"files": [{}]}', b'{"files": []}', b"\xff"])
def test_a_list_that_is_not_as_expected_is_one_clear_error(host, web, tmp_path, body):
    host.files["/api/records/77"] = body
    with pytest.raises(DownloadError):
        make(made_card("https://zenodo.org/records/77"), tmp_path, web)


def test_a_line_of_checksums_that_is_none_is_named(host, web, tmp_path):
    host.files["/files/c/1.0/SHA256SUMS.txt"] = b"abc a.dat\n"
    with pytest.raises(DownloadError, match="line 1"):
        make(made_card("https://physionet.org/files/c/1.0/"), tmp_path, web)


def test_plain_http_is_no_address_of_a_card():
    with pytest.raises(CardError, match="not an https address"):
        made_card("http://physionet.org/files/c/1.0/")


def test_every_remote_of_the_cards_has_a_way():
    """Hosts without a list that programs can read are known by name: nobody forgets a new one."""
    by_hand = set()
    for source in catalog.sources().values():
        for remote in source.card.remotes:
            if not (hosts.lister(remote.url) or kaggle.is_kaggle(remote.url)):
                by_hand.add(remote.url.split("/")[2])
    assert by_hand <= {
        "academictorrents.com",
        "aimi.stanford.edu",
        "camma.unistra.fr",
        "echonet.github.io",
        "ftp.ebi.ac.uk",
        "ftp.ncbi.nlm.nih.gov",
        "github.com",
        "stanfordaimi.azurewebsites.net",
        "www.adcis.net",
        "www.cancerimagingarchive.net",
    }


# ---- by hand ------------------------------------------------------------------------------------


def test_a_source_without_a_way_gives_steps_and_recognises_what_was_placed(web, tmp_path, made):
    import shutil

    card = made_card("https://aimi.stanford.edu/datasets/x", access=Access.AGREEMENT)
    plan = make(card, tmp_path, web)
    assert [step[:2] for step in plan.steps] == ["1.", "2.", "3.", "4.", "5."]
    assert "https://aimi.stanford.edu/datasets/x" in plan.steps[0]
    before = download(plan, web)
    assert not before.whole
    assert list(tmp_path.iterdir()) == []
    shutil.copytree(made("ptb_xl").root / "ptb_xl", tmp_path / "made")
    after = download(make(card, tmp_path, web), web)
    assert after.recognised
    assert after.whole
    entries = load_manifest(tmp_path / "made", "made").entries
    assert {entry.origin for entry in entries.values()} == {BY_HAND}
    header = next(path for path in entries if path.endswith(".hea"))
    (tmp_path / "made" / header).write_text("rot")
    assert verify(tmp_path / "made", "made").damaged == (header,)
    assert "by hand" in repair(card, tmp_path, web).failed[header]


# ---- the Hub ------------------------------------------------------------------------------------

CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from climb_hf import catalog
from climb_hf.card import Remote
from climb_hf.fetch.plan import make
from climb_hf.fetch.run import download
from climb_hf.fetch.web import Web
remotes = (Remote("https://huggingface.co/datasets/owner/set"),)
card = replace(catalog.get("ptb_xl").card, name="made", remotes=remotes)
try:
    with Web({"https://huggingface.co": sys.argv[1]}) as web:
        print(download(make(card, Path(sys.argv[2]), web), web).failed)
except OSError as error:
    print(type(error).__name__, error)
"""


def ask_hub(hub, tmp_path, token):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, hub.url, str(tmp_path / "to")],
        env=hub.environment(tmp_path / "home", token),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_hub_gives_its_files_and_its_token_to_nobody_else(hub, tmp_path):
    module = importlib.import_module("hub")
    repo = module.Repo("datasets", "owner/set", gated="manual")
    large = bytes(range(256)) * 5000
    repo.commit(
        "main",
        "first",
        {"d/a.parquet": module.File(large, lfs=True), "t.csv": module.File(OTHER, lfs=False)},
    )
    hub.repos["datasets", "owner/set"] = repo
    refused = ask_hub(hub, tmp_path, "tok-stranger")
    assert "AccessError" in refused
    assert "accept its terms" in refused or "terms" in refused
    assert "tok-stranger" not in refused
    assert ask_hub(hub, tmp_path, "tok-owner").strip() == "{}"
    assert (tmp_path / "to/made/d/a.parquet").read_bytes() == large
    assert (tmp_path / "to/made/t.csv").read_bytes() == OTHER


# ---- Kaggle -------------------------------------------------------------------------------------


def test_kaggle_without_its_client_names_the_line_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DependencyError, match=r"climb-hf\[kaggle\]"):
        kaggle.fetch("https://www.kaggle.com/datasets/a/b", tmp_path / "x", tmp_path / "y")


@pytest.fixture
def kaggle_host(monkeypatch, tmp_path):
    """Kaggle as its client asks it; needs kagglehub."""
    import io
    import zipfile

    pytest.importorskip("kagglehub", exc_type=ImportError)
    from kagglesdk import kaggle_env

    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("yes/1.jpg", BODY)
        archive.writestr("big.bin", BIG)
        archive.writestr("t.csv", OTHER)
    made = Files({"/set.zip": body.getvalue()})
    loopback = importlib.import_module("loopback")
    answer = made._answer

    def api(request):
        if request.origin == "storage":
            digest = base64.b64encode(hashlib.md5(body.getvalue()).digest()).decode()
            found = answer(request)
            return replace(found, headers={**found.headers, "x-goog-hash": f"md5={digest}"})
        word = request.headers.get("authorization", "")
        if made.refusal in (401, 403) and made.users:
            return loopback.Response.json({"code": made.refusal, "message": word}, made.refusal)
        if request.path.endswith("GetDataset"):
            return loopback.Response.json({"currentVersionNumber": 1})
        return loopback.Response(302, {"Location": f"{made.storage}/set.zip?sig=signed-word"})

    made.web.app = api
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "plantedSecret42")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    local = kaggle_env.KaggleEnv.LOCAL
    monkeypatch.setitem(kaggle_env._env_to_endpoint, local, made.url)
    yield made
    made.close()


def test_kaggle_comes_whole_into_the_manifest(kaggle_host, web, tmp_path, capsys):
    got = fetched(web, tmp_path, "https://www.kaggle.com/datasets/a/brains")
    assert got == {"brains/yes/1.jpg": BODY, "brains/t.csv": OTHER, "brains/big.bin": BIG}
    assert capsys.readouterr().out == ""


def test_a_cut_archive_of_kaggle_goes_on_in_the_next_call(kaggle_host, web, tmp_path):
    url = "https://www.kaggle.com/datasets/a/brains"
    kaggle_host.web.faults.append(Fault("GET", "set.zip", cut=1_500_000))
    cut = download(make(made_card(url), tmp_path, web), web)
    assert list(cut.failed) == [url]
    assert "signed-word" not in cut.failed[url]
    got = fetched(web, tmp_path, url)
    assert got == {"brains/yes/1.jpg": BODY, "brains/t.csv": OTHER, "brains/big.bin": BIG}
    assert kaggle_host.bodies("/set.zip")[-1].headers["range"] == "bytes=1048576-"


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://www.kaggle.com/competitions/c", "https://www.kaggle.com/competitions/c/rules"),
        ("https://www.kaggle.com/datasets/a/b", "https://www.kaggle.com/datasets/a/b"),
    ],
)
def test_a_403_of_kaggle_names_the_page_to_accept_the_rules_on(
    kaggle_host, web, tmp_path, url, page
):
    kaggle_host.users, kaggle_host.refusal = {"x": "y"}, 403
    outcome = download(make(made_card(url), tmp_path, web), web)
    assert f"Accept the rules at {page}" in outcome.failed[url]
    assert "plantedSecret42" not in json.dumps(outcome.failed)


# ---- the real hosts -----------------------------------------------------------------------------


@pytest.fixture
def real_web(request):
    if "network" not in (request.config.getoption("-m") or ""):
        pytest.skip("asks a real host; run with: pytest -m network")
    with Web() as made:
        yield made


@pytest.mark.network
@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("https://physionet.org/files/ptb-xl/1.0.3/", "LICENSE.txt"),
        ("https://zenodo.org/records/4924875", "*"),
        ("https://figshare.com/articles/dataset/_/14763051/1", "*"),
        ("https://doi.org/10.7910/DVN/DBW86T", "HAM10000_metadata*"),
        ("https://data.mendeley.com/datasets/zr7vgbcyr2/1", "*.csv"),
        ("https://huggingface.co/datasets/lhoestq/demo1", "*.csv"),
        ("https://s3.amazonaws.com/fcp-indi/data/Projects/ABIDE_Initiative/Outputs/cpac/", "*.csv"),
        ("https://www.chrsmrrs.com/graphkerneldatasets/PROTEINS.zip", "*"),
    ],
)
def test_a_tiny_file_of_a_real_host(real_web, tmp_path, url, pattern):
    plan = make(made_card(url), tmp_path, real_web, Selection(files=(pattern,), limit=1))
    smallest = min(plan.missing, key=lambda file: file.n_bytes or 0)
    assert (smallest.n_bytes or 0) < 50_000_000
    plan = replace(plan, files=(smallest,), missing=(smallest,))
    assert download(plan, real_web).failed == {}
    assert verify(tmp_path / "made", "made").right


@pytest.mark.network
def test_a_real_host_that_wants_credentials_says_so(real_web, tmp_path, monkeypatch):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    card = made_card("https://physionet.org/files/mimic-cxr-jpg/2.1.0/")
    with pytest.raises(AccessError):
        outcome = download(make(card, tmp_path, real_web, Selection(files=("*.txt",))), real_web)
        raise AccessError(str(outcome.failed)) if outcome.failed else AssertionError("it came")
