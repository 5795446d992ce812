"""docs/series.md: its code runs and its commands have arguments that exist."""

import re
import shlex
from pathlib import Path

import pytest

from climb_hf import hub
from climb_hf.models.tiny import save_tiny

PAGE = Path(__file__).parents[2] / "docs" / "series.md"
MODELS = ("Qwen/Qwen2.5-VL-3B-Instruct", "ddvd233/QoQ-Med-VL-7B")


def blocks(language):
    return re.findall(
        rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks("python"))
    for name in MODELS:
        assert name in code
        code = code.replace(name, str(tmp_path / "tiny"))
    code = code.replace("modality_dropout=0.3", "modality_dropout=0.3, use_cpu=True, bf16=False")
    save_tiny(tmp_path / "tiny")
    names = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 (our own page)
    n_written = names["answer"].shape[1] - names["inputs"]["input_ids"].shape[1]
    assert 1 <= n_written <= 8
    plain = hub.load_processor("runs/plain")
    assert hub.takes_images(plain)
    assert not hub.takes_series(plain)


@pytest.mark.parametrize("script", ["train_sft", "train_drpo"])
def test_commands_of_the_page_are_understood(script, tmp_path):
    import importlib

    from climb_hf.trainers.scripting import parse

    module = importlib.import_module(f"climb_hf.trainers.{script}")
    (command,) = [one for one in commands() if f"climb_hf.trainers.{script}" in one]
    told, training, model = parse(module.make_parser(), [*command[4:], "--use_cpu", "--bf16", "0"])
    assert told.data_dir == "DATA"
    assert model.use_peft
    assert training.modality_dropout == (0.3 if script == "train_drpo" else 0)


def commands():
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line]


def test_recipes_that_the_page_names_exist():
    from climb_hf.trainers.scripting import recipe

    named = re.findall(r"`((?:smollm2|tiny)_\w+)`", PAGE.read_text("utf-8"))
    assert len(named) == 4
    assert all(recipe(one).is_file() for one in named)
