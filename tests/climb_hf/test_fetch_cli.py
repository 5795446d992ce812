"""`climb-hf download | verify | repair`, and every command of docs/download.md."""

import importlib
import io
import json
import re
import shlex
import sys
import zipfile
from pathlib import Path

import pytest

from climb_hf import catalog, cli, collect
from climb_hf.cli import download as command
from climb_hf.fetch.web import Web

STANDINS = Path(__file__).parents[1] / "standins"
if str(STANDINS) not in sys.path:
    sys.path.append(str(STANDINS))
Files = importlib.import_module("files").Files
PAGE = Path(__file__).parents[2] / "docs" / "download.md"
RELEASE = "/files/ptb-xl/1.0.3/"


@pytest.fixture
def host(made, monkeypatch):
    """PhysioNet with a made release of a source, and a host of one archive."""
    root = made("ptb_xl").root / "ptb_xl"
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("train_graph.json", "{}")
    served = Files({"/dataset/ppi.zip": body.getvalue()})
    served.sums(RELEASE, {path.relative_to(root).as_posix(): path.read_bytes() for path in files})
    origins = dict.fromkeys(("https://physionet.org", "https://data.dgl.ai"), served.url)
    monkeypatch.setattr(command, "_web", lambda: Web(origins, pause=lambda _: None))
    monkeypatch.setenv("PHYSIONET_USERNAME", "me")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "plantedSecret42")
    monkeypatch.delenv("CLIMB_DATA_DIR", raising=False)
    yield served
    served.close()


def commands():
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_the_commands_of_the_page_run(host, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(commands()) == 6
    for line in commands():
        words = shlex.split(line, comments=True)
        assert words[0] == "climb-hf"
        assert cli.main(words[1:]) == 0, capsys.readouterr()
    assert (tmp_path / "raw/ppi/ppi/train_graph.json").is_file()
    printed = capsys.readouterr()
    assert "plantedSecret42" not in printed.out + printed.err


def test_what_is_downloaded_is_what_the_source_reads(host, made, tmp_path):
    assert cli.main(["download", "ptb_xl", "--to", str(tmp_path)]) == 0
    source = [catalog.get("ptb_xl")]
    got = collect.locate(source, tmp_path)["ptb_xl"]
    wanted = collect.locate(source, made("ptb_xl").root)["ptb_xl"]
    assert [path.removeprefix("ptb-xl/") for path, _, _ in got.files] == [
        path for path, _, _ in wanted.files
    ]


def test_a_dry_run_tells_the_plan_and_writes_nothing(host, tmp_path, capsys):
    assert cli.main(["download", "ptb_xl", "--to", str(tmp_path), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "CC-BY-4.0" in text
    assert "to fetch" in text
    assert "challenge-2021" in text
    assert list(tmp_path.iterdir()) == []


def test_json_holds_the_plan_and_what_came(host, tmp_path, capsys):
    assert cli.main(["download", "ppi", "--to", str(tmp_path), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["fetched"] == ["ppi.zip"]
    assert facts["bytes"] == len(host.files["/dataset/ppi.zip"])
    assert cli.main(["verify", "ppi", "--to", str(tmp_path), "--json"]) == 0
    (verdict,) = json.loads(capsys.readouterr().out)
    assert verdict["good"] == 1
    assert verdict["missing"] == verdict["damaged"] == verdict["extra"] == []


def test_verify_ends_with_1_where_a_file_is_damaged_and_repair_mends_it(host, tmp_path, capsys):
    cli.main(["download", "ppi", "--to", str(tmp_path)])
    damaged = tmp_path / "ppi/ppi/train_graph.json"
    damaged.write_text("[]")
    assert cli.main(["verify", "ppi", "--to", str(tmp_path)]) == 1
    assert "damaged ppi/train_graph.json" in capsys.readouterr().out
    assert cli.main(["repair", "ppi", "--to", str(tmp_path)]) == 0
    assert damaged.read_text() == "{}"


def test_one_source_of_a_group_that_fails_does_not_stop_the_others(host, tmp_path, capsys):
    words = ["download", "ecg", "--to", str(tmp_path), "--limit", "2"]
    assert cli.main(words) == 1  # of the four, the stand-in has one
    text = capsys.readouterr().out
    assert "ptb_xl: " in text
    assert (tmp_path / "ptb_xl/.climb/manifest.json").is_file()
    assert "not there (404)" in text


BAD = {
    "an unknown config": (["download", "ptbxl", "--to", "x"], "ConfigNameError"),
    "no folder": (["download", "ppi"], "--to <folder>"),
    "nothing fetched yet": (["verify", "ppi", "--to", "x"], "has no manifest"),
    "nothing to repair": (["repair", "ppi", "--to", "x"], "has no manifest"),
    "an unknown remote": (["download", "ppi", "--to", "x", "--remote", "kaggle"], "no address"),
    "terms not accepted": (["download", "vindr_mammo", "--to", "x"], "--accept-licence"),
    "too many at once": (["download", "ppi", "--to", "x", "--jobs", "99"], "jobs=99"),
}


@pytest.mark.parametrize(("words", "told"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line(host, tmp_path, monkeypatch, capsys, words, told):
    host.sums("/files/vindr-mammo/1.0.0/", {"a.csv": b"id\n"})
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_wrong_credentials_are_one_clear_line_without_them(host, tmp_path, capsys):
    host.users = {"me": "another word"}
    assert cli.main(["download", "ptb_xl", "--to", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "AccessError" in printed.err
    assert "PHYSIONET_PASSWORD" in printed.err
    assert "plantedSecret42" not in printed.out + printed.err


def test_info_says_how_a_source_is_fetched_and_on_what_that_was_tried(capsys):
    assert cli.main(["info", "ptb_xl"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "1.0.3/ (size not stated by the host; download: PhysioNet)" in text
    assert "once more; download: PhysioNet" in text
    assert "not against the hosts" in text
