"""The command line: what is printed, what is written, and how errors read."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from climb_hf import cli

SOURCES = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")


def test_list_names_every_source_and_group(capsys):
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in SOURCES)
    assert "ecg: chapman_shaoxing, cpsc, georgia, ptb_xl" in printed


@pytest.mark.parametrize("source", SOURCES)
def test_info_tells_licence_layout_and_proof(capsys, source):
    assert cli.main(["info", source]) == 0
    printed = capsys.readouterr().out
    assert "CC-BY-4.0" in printed
    assert "physionet.org" in printed
    assert "real files of the source were read" in printed


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
        (["preview", "ecgs", "--data-dir", "."], "Did you mean 'ecg'?"),
        (["preview", "ecg", "--data-dir", "nowhere"], "no folder at"),
        (["train", "drpo", "--recipe", "tiny_cpu_drop"], "tiny_cpu_drpo"),
    ],
    ids=["source", "config", "folder", "recipe"],
)
def test_an_error_is_one_line_that_helps(capsys, arguments, said):
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("climb-hf: ")
    assert said in error


def test_a_split_that_is_not_there_names_those_that_are(capsys, ecg_tree):
    arguments = ["preview", "georgia", "--data-dir", str(ecg_tree.root), "--split", "validation"]
    assert cli.main(arguments) == 1
    assert "'validation' is not one of: train, test" in capsys.readouterr().err


def test_no_command_prints_help(capsys):
    assert cli.main([]) == 2
    assert "preview" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from climb_hf import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'datasets', 'torch', 'pandas', 'PIL'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
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
    assert command[command.index("--num_processes") + 1] == "2"
    assert "climb_hf.trainers.train_drpo" in command
    assert command[-2:] == ["--max_steps", "5"]
    assert command[command.index("--config") + 1].endswith("tiny_cpu_drpo.yaml")
