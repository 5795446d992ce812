"""Two real processes over gloo agree with each other, with one, and with a resumed run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from climb_hf.trainers.drpo_scaling import DomainScaler
from climb_hf.trainers.scripting import accelerate_config

TIMEOUT_S = 120
WORKER = Path(__file__).with_name("worker_two_ranks.py")


def torchrun(port: int) -> list[str]:
    command = ["-m", "torch.distributed.run", "--nproc_per_node", "2"]
    return [*command, "--master_addr", "127.0.0.1", "--master_port", str(port)]


def accelerate(port: int) -> list[str]:
    command = ["-m", "accelerate.commands.launch", "--config_file", str(accelerate_config("ddp"))]
    command += ["--num_processes", "2", "--mixed_precision", "no"]
    return [*command, "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]


def run_two_ranks(
    folder: Path, resume: str = "", launch=torchrun, worker=WORKER, **options: object
) -> list[dict]:
    """Launches the worker as two processes; returns what each of them wrote down."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, *launch(port), str(worker), str(folder), resume]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launcher = subprocess.Popen(
        [*command, json.dumps(options)], env=environment, stderr=subprocess.PIPE, text=True
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


def in_one_process(generations: list[dict], scaler: DomainScaler) -> list[list[float]]:
    """The weights that one process comes to, with the rows of each generation turned round."""
    found = []
    for one in generations:
        vectors = np.array(one["rewards"]).reshape(-1, 4)[::-1]
        weights = scaler.step(vectors, one["domains"][::4][::-1])
        found.append(np.repeat(weights[::-1], 4).tolist())
    return found


def test_two_processes_come_to_the_bits_of_one(straight):
    _, (found, _) = straight
    alone = DomainScaler(length=4)
    expected = in_one_process(found["generations"], alone)
    assert [one["weights"] for one in found["generations"]] == expected
    assert found["scaler"] == alone.state_dict()
    assert len({weight for one in expected for weight in one}) > 2


def test_groups_straddle_the_ranks_and_a_rank_lacks_a_domain(straight):
    _, (found, _) = straight
    shares = [(one["ids"][:6], one["ids"][6:]) for one in found["generations"]]
    assert all(set(first) & set(second) for first, second in shares)
    domains = [(set(one["domains"][:6]), set(one["domains"][6:])) for one in found["generations"]]
    assert any(first != second for first, second in domains)


def test_every_question_of_both_ranks_is_counted_once(straight):
    _, (found, _) = straight
    # 4 steps of 12 rollouts, 4 for each question.
    assert sum(one["count"] for one in found["scaler"]["domains"].values()) == 12
    assert len(found["advantages"]) == len(found["domains"]) == 12
    groups = [found["domains"][start : start + 4] for start in range(0, 12, 4)]
    assert all(len(set(group)) == 1 for group in groups)


def same_end(resumed: list[dict], expected: list[dict]) -> bool:
    """Whether a resumed run came to the same; it generated the last steps only."""
    for one, whole in zip(resumed, expected, strict=True):
        n = len(one["generations"])
        if not 0 < n < len(whole["generations"]):
            return False
        if one != {**whole, "generations": whole["generations"][-n:]}:
            return False
    return True


def test_two_ranks_resume_equal(straight):
    folder, expected = straight
    assert same_end(run_two_ranks(folder, str(folder / "run" / "checkpoint-2")), expected)


def test_a_last_step_of_fewer_rows_agrees_and_resumes_under_accelerate(tmp_path):
    # 22 rows: 7 generations of 3 questions an epoch, which are 3 steps of 2 and a last one of 1.
    options = {"rows": 22, "gradient_accumulation_steps": 2, "steps_per_generation": 1}
    options |= {"max_steps": 6, "save_steps": 3}
    first, second = run_two_ranks(tmp_path, launch=accelerate, **options)
    assert first == second
    assert first["num_processes"] == 2
    assert [len(one["domains"]) for one in first["generations"]] == [12] * 11  # 7 and 4
    alone = DomainScaler(length=4)
    expected = in_one_process(first["generations"], alone)
    assert [one["weights"] for one in first["generations"]] == expected
    resumed = run_two_ranks(
        tmp_path, str(tmp_path / "run" / "checkpoint-3"), launch=accelerate, **options
    )
    assert same_end(resumed, [first, second])


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    return run_two_ranks(tmp_path_factory.mktemp("fsdp"), worker=WORKER.with_name("worker_fsdp.py"))


def test_weights_shared_out_by_fsdp_train_and_resume(sharded):
    for one in sharded:
        straight, resumed = one["straight"], one["resumed"]
        assert (straight["type"], straight["num_processes"]) == ("DistributedType.FSDP", 2)
        assert any(any(values) for values in straight["lora"].values())  # they began at 0
        assert resumed == straight
    assert sharded[0] == sharded[1]


def test_rows_that_leave_a_shared_out_tower_alone_are_refused_on_every_process(sharded):
    assert all("rows of a batch hold no images" in one["mixed"] for one in sharded)
    assert all("ddp.yaml or zero2.yaml" in one["mixed"] for one in sharded)


def test_two_ranks_draw_domains_evenly_and_resume_in_the_second_epoch(tmp_path):
    # 24 rows, 3 questions a step: 8 steps an epoch. Rows of ecg and ct 18 : 6, roots 63.4 : 36.6 %.
    options = {"domain_sampling_power": 0.5, "max_steps": 10, "save_steps": 9}
    first, second = run_two_ranks(tmp_path, **options)
    assert first["num_processes"] == 2
    assert first == second
    counts = {name: one["count"] for name, one in first["scaler"]["domains"].items()}
    assert counts == {"ecg": 19, "ct": 11}
    resumed = run_two_ranks(tmp_path, str(tmp_path / "run" / "checkpoint-9"), **options)
    assert same_end(resumed, [first, second])
