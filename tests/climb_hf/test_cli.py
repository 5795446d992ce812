"""The command line: what is printed, what is written, and how errors read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from climb_hf import cli
from climb_hf.cli import shared

SOURCES = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")


def test_list_names_every_source_and_group(capsys):
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in SOURCES)
    assert "ecg: chapman_shaoxing, cpsc, georgia, ptb_xl" in printed


def test_list_as_json_holds_the_same_names(capsys):
    assert cli.main(["list", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(SOURCES) <= {one["name"] for one in printed["sources"]}
    assert set(printed["configs"]["ecg"]) == set(SOURCES)


def test_columns_line_up_numbers_to_the_right(capsys):
    shared.table(
        [("NAME", "N", "SHARE", "WHAT"), ("a", "1,234", "5.0%", "b c"), ("bc", "5", "", "")]
    )
    assert capsys.readouterr().out.splitlines() == [
        "NAME      N  SHARE  WHAT",
        "a     1,234   5.0%  b c",
        "bc        5",
    ]


# --- info ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_info_tells_licence_layout_cost_and_proof(capsys, source):
    assert cli.main(["info", source]) == 0
    printed = capsys.readouterr().out
    assert "CC-BY-4.0" in printed
    assert "physionet.org" in printed
    assert "once built: at most" in printed
    assert "real files of the source were read" in printed
    assert "no folder given" in printed


def test_info_tells_what_a_folder_holds(capsys, ecg_tree):
    assert cli.main(["info", "georgia", "--data-dir", str(ecg_tree.root)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    manifest = ecg_tree.manifests["georgia"]
    assert f"{len(manifest['records'])} records by the index" in printed
    assert f"{len(manifest['faults'])} damaged, 0 missing" in printed
    assert all(code in printed for code in manifest["unknown_codes"])


def test_info_as_json_is_the_card_and_the_folder(capsys, ecg_tree):
    assert cli.main(["info", "georgia", "--data-dir", str(ecg_tree.root), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    manifest = ecg_tree.manifests["georgia"]
    assert printed["licence"]["name"] == "CC-BY-4.0"
    assert printed["label_sets"]["climb7"][0]["classes"] == manifest["classes"]
    assert printed["on_disk"]["records"] == len(manifest["records"])
    assert {fault["record"] for fault in printed["on_disk"]["faults"]} == set(manifest["faults"])


def test_info_of_a_source_that_the_environments_folder_lacks_still_tells_the_card(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("CLIMB_DATA_DIR", str(tmp_path))
    assert cli.main(["info", "georgia"]) == 0
    assert "no record of georgia" in " ".join(capsys.readouterr().out.split())


def test_info_keeps_to_the_width_of_the_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["info", "georgia"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and " " in line[16:].strip()] == []


# --- stats -----------------------------------------------------------------------------------


def test_stats_prints_counts_by_source(capsys, ecg_tree):
    assert cli.main(["stats", "ecg", "--data-dir", str(ecg_tree.root), "--signals"]) == 0
    records = capsys.readouterr().out.split("\n\n")[1].splitlines()
    table = {line.split()[0]: line.split()[1] for line in records[2:]}
    made = {name: len(ecg_tree.manifests[name]["records"]) for name in SOURCES}
    assert {name: int(table[name]) for name in SOURCES} == made
    assert int(table["total"]) == sum(made.values())


def test_stats_as_json_is_nothing_but_json(capsys, ecg_tree):
    assert cli.main(["stats", "georgia", "--data-dir", str(ecg_tree.root), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["total"]["records"] == len(ecg_tree.manifests["georgia"]["records"])


def test_stats_draws_a_picture(capsys, ecg_tree, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "deep" / "stats.png"
    arguments = ["stats", "georgia", "--data-dir", str(ecg_tree.root), "--plot", str(path)]
    assert cli.main(arguments) == 0
    assert path.is_file()
    assert f"picture: {path}" in capsys.readouterr().out


# --- card and env ----------------------------------------------------------------------------


def test_card_prints_a_page(capsys):
    assert cli.main(["card", "georgia"]) == 0
    assert capsys.readouterr().out.startswith("# Georgia 12-lead ECG")


def test_card_makes_the_table_of_a_readme_and_then_finds_it_up_to_date(capsys, tmp_path):
    from climb_hf.describe import BEGIN, END

    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{BEGIN}\n{END}\nbelow\n")
    checking = ["card", "--readme", str(readme), "--check"]
    assert cli.main(checking) == 1
    assert "is stale. Run: climb-hf card --readme" in capsys.readouterr().err
    assert cli.main(checking[:-1]) == 0
    assert "| `georgia` | `ecg` | 10,344 |" in readme.read_text()
    assert cli.main(checking) == 0


def test_a_table_changed_by_hand_is_stale(tmp_path):
    from climb_hf.describe import BEGIN, END

    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    cli.main(["card", "--readme", str(readme)])
    readme.write_text(readme.read_text().replace("10,344", "10,345"))
    assert cli.main(["card", "--readme", str(readme), "--check"]) == 1


def test_the_readmes_table_holds_no_source_of_elsewhere(tmp_path):
    from climb_hf import catalog
    from climb_hf.describe import BEGIN, END

    text = Path(catalog.get("georgia").module.__file__).read_text("utf-8")
    (tmp_path / "mine.py").write_text(text.replace('name="georgia"', 'name="mine"'))
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    catalog.add_file(tmp_path / "mine.py")
    try:
        cli.main(["card", "--readme", str(readme)])
    finally:
        catalog.forget("mine")
    assert "`georgia`" in readme.read_text()
    assert "`mine`" not in readme.read_text()


def test_env_tells_versions_extras_and_settings(capsys, monkeypatch):
    from importlib import metadata

    monkeypatch.setenv("CLIMB_DATA_DIR", "some/where")
    assert cli.main(["env", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["versions"]["datasets"] == metadata.version("datasets")
    assert printed["variables"]["CLIMB_DATA_DIR"] == "some/where"
    assert printed["hook"]["in_place"] is True
    assert printed["extras"]["ecg"]["complete"] is True


def test_env_names_the_line_that_completes_an_extra(capsys, monkeypatch):
    from climb_hf.cli import env

    real = env._version
    monkeypatch.setattr(env, "_version", lambda n: {"wfdb": None, "scipy": "1.0"}.get(n, real(n)))
    assert cli.main(["env"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ecg ")]
    assert "wfdb>=4.3 (not installed)" in line
    assert "(found 1.0)" in line
    assert line.endswith("pip install 'climb-hf[ecg]'")


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_env_prints_no_secret(capsys, monkeypatch, form):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    monkeypatch.setenv("CLIMB_DATA_DIR", "https://me:pa55word@host/data")
    assert cli.main(["env", *form]) == 0
    printed = capsys.readouterr().out
    assert "hf_abc" not in printed
    assert "pa55word" not in printed
    assert "host/data" in printed


# --- preview ---------------------------------------------------------------------------------


def test_preview_shows_text_and_a_picture(capsys, ecg_tree, tmp_path):
    out = tmp_path / "deep" / "preview.png"
    arguments = ["preview", "georgia", "--data-dir", str(ecg_tree.root), "--n", "2"]
    assert cli.main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("georgia/E") == 2
    assert "12 channels, 10 s, 500 Hz, mV" in printed
    with Image.open(out) as picture:
        assert picture.width == 1100
        assert picture.height > picture.width * 0.8  # two sheets


def test_preview_of_a_split(capsys, ecg_tree, tmp_path):
    arguments = ["preview", "ptb_xl", "--data-dir", str(ecg_tree.root), "--split", "test"]
    assert cli.main([*arguments, "--out", str(tmp_path / "p.png"), "--n", "1"]) == 0
    assert "ptb_xl/" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "ptbxl"], "Did you mean 'ptb_xl'?"),
        (["info", "ptbxl", "--json"], "Did you mean 'ptb_xl'?"),
        (["info", "ptb_xl", "--data-dir", "nowhere"], "no folder at"),
        (["info", "nowhere.py"], "no source file at"),
        (["stats", "ecgs", "--data-dir", "."], "Did you mean 'ecg'?"),
        (["stats", "ecg", "--data-dir", "nowhere", "--json"], "no folder at"),
        (["stats", "ecg"], "no raw data were named"),
        (["stats", "ecg", "--data-dir", ".", "--plot", "p.bmp"], "png, pdf, svg"),
        (["card", "ptbxl"], "Did you mean 'ptb_xl'?"),
        (["card"], "name a source, or --readme"),
        (["card", "ptb_xl", "--check"], "--check goes with --readme"),
        (["card", "--readme", "nowhere.md"], "cannot be read"),
        (["preview", "ecgs", "--data-dir", "."], "Did you mean 'ecg'?"),
        (["preview", "ecg", "--data-dir", "nowhere"], "no folder at"),
        (["train", "drpo", "--recipe", "tiny_cpu_drop"], "tiny_cpu_drpo"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_that_helps(capsys, monkeypatch, arguments, said):
    monkeypatch.delenv("CLIMB_DATA_DIR", raising=False)
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("climb-hf: ")
    assert said in line
    assert captured.out == ""


@pytest.mark.parametrize("verb", ["info", "stats"])
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_a_folder_without_records_says_what_was_looked_for(capsys, tmp_path, verb, form):
    assert cli.main([verb, "georgia", "--data-dir", str(tmp_path), *form]) == 1
    captured = capsys.readouterr()
    assert "Looked for georgia: training/georgia/g1/E00001.hea" in captured.err
    assert captured.out == ""


def test_a_reader_of_a_pipe_may_leave_early():
    code = "from climb_hf import cli; import sys; sys.exit(cli.main(['info', 'ptb_xl']))"
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{code}" | true; exit ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_a_split_that_is_not_there_names_those_that_are(capsys, ecg_tree):
    arguments = ["preview", "georgia", "--data-dir", str(ecg_tree.root), "--split", "validation"]
    assert cli.main(arguments) == 1
    assert "'validation' is not one of: train, test" in capsys.readouterr().err


def test_no_command_prints_help(capsys):
    assert cli.main([]) == 2
    assert "preview" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"]], ids=" ".join)
def test_it_imports_nothing_heavy(arguments):
    code = (
        f"import sys; from climb_hf import cli\n"
        f"try: cli.main({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'datasets', 'torch', 'wfdb', 'pandas', 'PIL'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reading_counting_and_building_open_no_connection(ecg_tree, tmp_path):
    code = f"""
import socket
tried = []
def refuse(*arguments, **options):
    tried.append(arguments)
    raise OSError("no connection is to be opened")
socket.getaddrinfo = refuse
socket.socket.connect = refuse
from climb_hf import cli
where = ["georgia", "--data-dir", {str(ecg_tree.root)!r}]
for verb, more in [("info", []), ("stats", ["--signals"]), ("build", ["--out", "prepared"])]:
    assert cli.main([verb, *where, *more]) == 0
import climb_hf, datasets
datasets.load_dataset("climb", "georgia", data_dir={str(ecg_tree.root)!r})
climb_hf.load_dataset("climb", "georgia", data_dir="prepared")
assert tried == [], tried
"""
    online = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **online},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_train_launches_the_script_with_what_was_given(monkeypatch):
    commands = []

    def run(command, **kwargs):
        commands.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    given = ["train", "drpo", "--recipe", "tiny_cpu_drpo", "--num-processes", "2"]
    assert cli.main([*given, "--max_steps", "5"]) == 3
    (command,) = commands
    assert command[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert "--quiet" in command  # a failed script is not followed by accelerate's own traceback
    assert command[command.index("--num_processes") + 1] == "2"
    assert "climb_hf.trainers.train_drpo" in command
    assert command[-2:] == ["--max_steps", "5"]
    assert command[command.index("--config") + 1].endswith("tiny_cpu_drpo.yaml")
