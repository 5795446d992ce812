"""Two real processes over gloo agree with each other, and with themselves after a resume."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT_S = 120
WORKER = Path(__file__).with_name("worker_two_ranks.py")


def run_two_ranks(folder: Path, resume: str = "", **options: object) -> list[dict]:
    """Runs the worker twice under torchrun; returns what each process wrote down."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_addr", "127.0.0.1", "--master_port", str(port), str(WORKER), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launcher = subprocess.Popen(
        [*command, resume, json.dumps(options)], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        _, errors = launcher.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        launcher.terminate()  # unlike kill, lets it end its two workers
        _, errors = launcher.communicate()
    assert launcher.returncode == 0, errors[-4000:]
    name = "resumed" if resume else "straight"
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_ranks")
    return folder, run_two_ranks(folder)


def test_there_really_are_two(straight):
    _, found = straight
    assert [one["num_processes"] for one in found] == [2, 2]
    assert "gloo" in found[0]["backend"]


def test_both_ranks_come_to_the_same(straight):
    _, (first, second) = straight
    assert first == second


def test_every_question_of_both_ranks_is_counted_once(straight):
    _, (found, _) = straight
    # 4 steps of 12 rollouts, 4 for each question.
    assert sum(one["count"] for one in found["scaler"]["domains"].values()) == 12
    assert len(found["advantages"]) == len(found["domains"]) == 12
    groups = [found["domains"][start : start + 4] for start in range(0, 12, 4)]
    assert all(len(set(group)) == 1 for group in groups)


def test_two_ranks_resume_equal(straight):
    folder, expected = straight
    assert run_two_ranks(folder, str(folder / "run" / "checkpoint-2")) == expected


def test_two_ranks_draw_domains_evenly_and_resume_in_the_second_epoch(tmp_path):
    # 24 rows, 3 questions a step: 8 steps an epoch. Rows of ecg and ct 18 : 6, roots 63.4 : 36.6 %.
    options = {"domain_sampling_power": 0.5, "max_steps": 10, "save_steps": 9}
    first, second = run_two_ranks(tmp_path, **options)
    assert first["num_processes"] == 2
    assert first == second
    counts = {name: one["count"] for name, one in first["scaler"]["domains"].items()}
    assert counts == {"ecg": 19, "ct": 11}
    resumed = run_two_ranks(tmp_path, str(tmp_path / "run" / "checkpoint-9"), **options)
    assert resumed == [first, second]
