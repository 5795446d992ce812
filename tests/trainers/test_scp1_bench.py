"""The script that trains on real signals runs, on a made set that two levels tell apart."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "bench" / "scp1_composed.py"
HEAD = "@timeStamps false\n@classLabel true negativity positivity\n@data\n"


@pytest.fixture(scope="module")
def bench():
    pytest.importorskip("sklearn")
    spec = importlib.util.spec_from_file_location("scp1_composed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def write_trials(path, n, seed):
    """Two channels of half a second whose level has the sign of the class."""
    rng = np.random.default_rng(seed)
    lines = []
    for at in range(n):
        values = rng.normal(size=(2, 128)) + (30.0 if at % 2 else -30.0)
        told = ":".join(",".join(f"{one:.2f}" for one in row) for row in values)
        lines.append(f"{told}:{'positivity' if at % 2 else 'negativity'}")
    path.write_text(HEAD + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def right(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trials")
    write_trials(folder / "SelfRegulationSCP1_TRAIN.ts", 24, seed=0)
    write_trials(folder / "SelfRegulationSCP1_TEST.ts", 20, seed=1)
    settings = bench.Settings(
        tower_steps=20, tower_lr=3e-3, steps=30, lr=3e-3, batch=8, drpo_steps=1
    )
    return bench.run(folder, (0,), settings)


def test_what_two_levels_tell_apart_is_answered_right(right):
    assert np.mean(right["aligned"]) >= 0.9
    assert np.mean(right["linear"]) >= 0.9


def test_one_step_of_drpo_does_not_lose_it(right):
    assert np.mean(right["DRPO"]) >= 0.9


def test_without_series_answers_are_right_by_chance(right):
    assert np.mean(right["series zeroed"]) == 0.5
