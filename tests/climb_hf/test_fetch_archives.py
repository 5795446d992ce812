"""Archives are unpacked inside their folder, once, or not at all."""

import importlib
import io
import random
import stat
import sys
import tarfile
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from climb_hf import catalog
from climb_hf.card import Remote
from climb_hf.errors import CorruptFileError
from climb_hf.fetch.check import verify
from climb_hf.fetch.plan import make
from climb_hf.fetch.run import download, repair
from climb_hf.fetch.unpack import Limits, unpack
from climb_hf.fetch.web import Web

STANDINS = Path(__file__).parents[1] / "standins"
if str(STANDINS) not in sys.path:
    sys.path.append(str(STANDINS))
Files = importlib.import_module("files").Files

MEMBERS = {
    "a.csv": b"id\n1\n",
    "images/1.png": random.Random(1).randbytes(5000),
    "images/größe 北京.png": random.Random(2).randbytes(5000),
}


def zipped(members, mode=0, twice=False):
    body = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of a name that stands twice, which is meant
        for name, content in [*members.items(), *(list(members.items())[:1] if twice else [])]:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return body.getvalue()


def tarred(members, kind=tarfile.REGTYPE, link="", mode="w:gz"):
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, 0 if link else len(content)
            archive.addfile(info, io.BytesIO(content))
    return body.getvalue()


def lying(content):
    """A zip whose entries say that the file is small."""
    size = len(content).to_bytes(4, "little")
    return zipped({"a": content}).replace(size, (10).to_bytes(4, "little"))


def tree(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    kept = [path for path in found if ".climb" not in path.relative_to(folder).parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


BAD = {
    "zip leads up": (zipped({"../x": b"x"}), "would not lie in"),
    "zip is absolute": (zipped({"/tmp/x": b"x"}), "would not lie in"),
    "zip with a drive": (zipped({"C:/x": b"x"}), "would not lie in"),
    "zip with a link": (zipped({"a": b"../../x"}, mode=stat.S_IFLNK | 0o777), "link or a device"),
    "zip with a name twice": (zipped({"a": b"x"}, twice=True), "twice"),
    "zip over our state": (zipped({".climb/manifest.json": b"{}"}), "would not lie in"),
    "tar leads up": (tarred({"a/../../x": b"x"}), "would not lie in"),
    "tar is absolute": (tarred({"/x": b"x"}), "would not lie in"),
    "tar with a link": (tarred({"a": b""}, tarfile.SYMTYPE, "../x"), "link or a device"),
    "tar with a hard link": (tarred({"a": b""}, tarfile.LNKTYPE, "../x"), "link or a device"),
    "tar with a device": (tarred({"a": b""}, tarfile.CHRTYPE), "link or a device"),
    "zip bomb": (zipped({"a": bytes(3_000_000)}), "bomb"),
    "tar bomb": (tarred({"a": bytes(3_000_000)}), "bomb"),
    "cut zip": (zipped(MEMBERS)[:-40], "damaged"),
    "cut tar": (tarred(MEMBERS)[:-400], "damaged"),
    "empty zip": (zipped({}), "no file"),
    "too many files": (zipped({str(k): b"" for k in range(101)}), "more than 100 files"),
    "zip that lies of sizes": (lying(bytes(3_000_000)), "damaged|bomb"),
}


@pytest.mark.parametrize(("body", "words"), BAD.values(), ids=BAD)
def test_a_bad_archive_is_refused_and_leaves_nothing(tmp_path, body, words):
    archive = tmp_path / "in" / "a.bin"
    archive.parent.mkdir()
    archive.write_bytes(body)
    limits = Limits(ratio=50, floor_bytes=1 << 20, n_files=100)
    with pytest.raises(CorruptFileError, match=words):
        unpack(archive, tmp_path / "in" / "aside", limits)
    assert tree(tmp_path) == {"in/a.bin": body}


@pytest.mark.parametrize(
    "body",
    [zipped(MEMBERS), tarred(MEMBERS), tarred(MEMBERS, mode="w:xz"), tarred(MEMBERS, mode="w")],
    ids=["zip", "tar.gz", "tar.xz", "tar"],
)
def test_an_archive_gives_its_files(tmp_path, body):
    (tmp_path / "a.bin").write_bytes(body)
    members = unpack(tmp_path / "a.bin", tmp_path / "aside")
    assert tree(tmp_path / "aside") == MEMBERS
    assert {one.path: one.n_bytes for one in members} == {k: len(v) for k, v in MEMBERS.items()}


# ---- in a download ------------------------------------------------------------------------------

URL = "https://files.example.org/Images v1.zip"
UNPACKED = {f"Images v1/{name}": content for name, content in MEMBERS.items()}


@pytest.fixture
def host():
    made = Files({"/Images v1.zip": zipped(MEMBERS)})
    yield made
    made.close()


@pytest.fixture
def web(host):
    origins = {"https://files.example.org": host.url}
    with Web(origins, credentials=lambda _: {}, pause=lambda _: None) as made:
        yield made


@pytest.fixture
def card():
    return replace(catalog.get("ptb_xl").card, name="made", remotes=(Remote(URL),))


def run(card, root, web, **wanted):
    return download(make(card, root, web), web, **wanted)


def test_an_archive_is_unpacked_and_not_kept_twice(host, web, card, tmp_path):
    assert run(card, tmp_path, web).whole
    assert tree(tmp_path / "made") == UNPACKED
    found = verify(tmp_path / "made", "made")
    assert found.right
    assert found.good == len(MEMBERS)
    assert found.extra == ()


def test_what_was_unpacked_is_not_fetched_again(host, web, card, tmp_path):
    run(card, tmp_path, web)
    host.web.log.clear()
    assert run(card, tmp_path, web).kept == 1
    assert host.bodies("/Images v1.zip") == []


def test_an_archive_may_be_kept(host, web, card, tmp_path):
    run(card, tmp_path, web, keep_archives=True)
    assert tree(tmp_path / "made") == {**UNPACKED, "Images v1.zip": zipped(MEMBERS)}


def test_repair_takes_only_the_damaged_file_out_of_its_archive(host, web, card, tmp_path):
    run(card, tmp_path, web)
    good = tmp_path / "made/Images v1/a.csv"
    before = good.stat().st_mtime_ns
    (tmp_path / "made/Images v1/images/1.png").write_bytes(b"rot")
    assert verify(tmp_path / "made", "made").damaged == ("Images v1/images/1.png",)
    assert repair(card, tmp_path, web).whole
    assert tree(tmp_path / "made") == UNPACKED
    assert good.stat().st_mtime_ns == before


@pytest.mark.parametrize("moment", ["unpack", "move_in", "_note"])
def test_an_unpacking_that_was_cut_is_done_again(host, web, card, tmp_path, monkeypatch, moment):
    from climb_hf.fetch import run as runs

    class Killed(BaseException):
        pass

    place = runs._Job if moment == "_note" else runs
    real = getattr(place, moment)

    def cut(*given, **kept):
        if moment == "_note" and not given[-1][0].archive:
            return real(*given, **kept)
        if moment == "unpack":
            real(*given, **kept)
        raise Killed

    monkeypatch.setattr(place, moment, cut)
    with pytest.raises(Killed):
        run(card, tmp_path, web)
    monkeypatch.undo()
    assert run(card, tmp_path, web).whole
    assert tree(tmp_path / "made") == UNPACKED
    assert verify(tmp_path / "made", "made").extra == ()


def test_a_bad_archive_is_a_failure_of_that_archive(host, web, card, tmp_path):
    host.files["/Images v1.zip"] = zipped({"../../x": b"x"})
    outcome = run(card, tmp_path, web)
    assert not outcome.whole
    assert "would not lie in" in outcome.failed["Images v1.zip"]
    assert not (tmp_path.parent / "x").exists()
    assert set(tree(tmp_path)) == {"made/Images v1.zip"}
