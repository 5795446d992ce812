"""The configs for `accelerate launch` that ship, by accelerate's own reading of them."""

from __future__ import annotations

import subprocess

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from climb_hf.cli import main
from climb_hf.errors import OptionError
from climb_hf.trainers.scripting import accelerate_config, recipe

NAMES = sorted(path.stem for path in accelerate_config("ddp").parent.glob("*.yaml"))


def launched(name, *flags):
    """The arguments of a launch with a config, as accelerate completes them from it."""
    given = ["--config_file", str(accelerate_config(name)), *flags, "train_drpo.py"]
    return _validate_launch_command(launch_command_parser().parse_args(given))[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_one_that_accelerate_knows(name):
    found = yaml.safe_load(accelerate_config(name).read_text(encoding="utf-8"))
    known = {action.dest for action in launch_command_parser()._actions}
    inner = [*found.get("fsdp_config", ()), *found.get("deepspeed_config", ())]
    assert set(inner) <= known


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one_gpu", {"num_processes": 1, "use_fsdp": False, "use_deepspeed": False}),
        ("ddp", {"num_processes": 8, "multi_gpu": True, "use_fsdp": False}),
        ("fsdp2", {"use_fsdp": True, "fsdp_version": 2, "use_deepspeed": False}),
        ("zero2", {"use_deepspeed": True, "zero_stage": 2, "use_fsdp": False}),
        ("zero3", {"use_deepspeed": True, "zero_stage": 3, "zero3_init_flag": True}),
    ],
)
def test_accelerate_reads_what_the_name_says(name, expected):
    args = launched(name)
    assert {key: getattr(args, key) for key in expected} == expected
    assert args.mixed_precision == "bf16"


def test_the_number_of_processes_can_be_given():
    assert launched("ddp", "--num_processes", "2").num_processes == 2


def test_names_are_those_that_the_command_says(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(name in said for name in NAMES)


def test_the_command_takes_a_name_or_a_file(monkeypatch, tmp_path):
    commands = []

    def run(command, **kwargs):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    own = tmp_path / "own.yaml"
    own.write_text("{}")
    for named in ("fsdp2", str(own)):
        assert main(["train", "drpo", "--accelerate-config", named]) == 0
    given = [one[one.index("--config_file") + 1] for one in commands]
    assert given == [str(accelerate_config("fsdp2")), str(own)]


def test_an_unknown_name_lists_those_there_are_and_recipes_are_kept_apart():
    with pytest.raises(OptionError, match=r"ddp, fsdp2, one_gpu, zero2, zero3.*mean 'zero3'"):
        accelerate_config("zero4")
    with pytest.raises(OptionError, match="no recipe 'ddp'"):
        recipe("ddp")
