"""What DRPO adds to a step of GRPO: the tiny model on a CPU, all windows full.

    OMP_NUM_THREADS=1 python tests/bench/drpo_step.py [--questions 64 512] [--steps 6] [--rounds 3]

TRL's `GRPOTrainer` and `DRPOTrainer` by several rules take turns in one run. Seconds are those that
the process used (with one thread), so that others on the machine count little. Whole steps differ
by more than what is measured, so that what DRPO adds is also timed by itself: the time inside our
overrides of TRL's methods, less the time inside those methods.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging as hf_logging
from trl import GRPOConfig, GRPOTrainer

from climb_hf.models.tiny import tiny_vlm
from climb_hf.trainers import DRPOConfig, DRPOTrainer

ROLLOUTS, WINDOW, TOKENS = 8, 512, 16
DOMAINS = [f"domain_{n}" for n in range(9)]
SEAMS = ("_generate_and_score_completions", "_calculate_rewards")
ARMS: dict[str, dict[str, Any] | None] = {
    "GRPO (TRL)": None,
    "none": {"domain_scaling": "none"},
    "drpo": {},
    "drpo, by question": {"drpo_difficulty": "question"},
    "drpo_paper, no damping": {"domain_scaling": "drpo_paper", "drpo_kl_damping": False},
}


def letters(completions: list[Any], **kwargs: Any) -> list[float]:
    """A graded reward that differs between random texts."""
    return [sum(c.islower() for c in one[0]["content"]) / TOKENS / 4 for one in completions]


def rows(n: int) -> Dataset:
    return Dataset.from_list(
        [
            {
                "id": f"made/{index}",
                "prompt": [{"role": "user", "content": f"Question {index}: yes or no?"}],
                "domain": DOMAINS[index % len(DOMAINS)],
            }
            for index in range(n)
        ]
    )


class Clock(TrainerCallback):
    """Seconds of each optimizer step but the first."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begin = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._begin = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step > 1:
            self.seconds.append(time.process_time() - self._begin)


@contextlib.contextmanager
def seams_timed(inside: dict[str, float]) -> Iterator[None]:
    """Adds up the seconds inside TRL's methods and inside our overrides of them."""
    kept = [(kind, name, kind.__dict__[name]) for kind in (GRPOTrainer, DRPOTrainer)
            for name in SEAMS]  # fmt: skip

    def timed(kind: type, method: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            begin = time.process_time()
            try:
                return method(self, *args, **kwargs)
            finally:
                inside[kind.__name__] += time.process_time() - begin

        return call

    for kind, name, method in kept:
        setattr(kind, name, timed(kind, method))
    try:
        yield
    finally:
        for kind, name, method in kept:
            setattr(kind, name, method)


def run(arm: dict[str, Any] | None, questions: int, steps: int, folder: str) -> tuple[Any, float]:
    """Seconds of each step, and the seconds that DRPO added to one on average."""
    device_batch = 512
    options = {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": False,
        "num_generations": ROLLOUTS,
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": questions * ROLLOUTS // device_batch,
        "max_completion_length": TOKENS,
        "max_steps": steps + 1,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
    }
    model, processor = tiny_vlm()
    kind, config = (GRPOTrainer, GRPOConfig) if arm is None else (DRPOTrainer, DRPOConfig)
    trainer = kind(
        model=model,
        reward_funcs=letters,
        args=config(**options, **(arm or {})),
        train_dataset=rows(questions * 2),
        processing_class=processor,
        peft_config=LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj"),
    )
    if arm is not None:
        random = np.random.default_rng(0)
        for domain in DOMAINS:
            trainer.domain_scaler.observe(random.random((WINDOW, ROLLOUTS)), [domain] * WINDOW)
    clock, inside = Clock(), defaultdict(float)
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    with seams_timed(inside):
        trainer.train()
    added = (inside["DRPOTrainer"] - inside["GRPOTrainer"]) / (steps + 1)
    return clock.seconds, 0.0 if arm is None else added


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    hf_logging.set_verbosity_error()
    logging.getLogger("climb_hf").setLevel(logging.ERROR)
    print(
        f"tiny model, {ROLLOUTS} rollouts of {TOKENS} tokens, windows of {WINDOW} full, one thread"
    )
    print("| questions | arm | step, CPU s | against GRPO | added by DRPO, CPU ms | of the step |")
    print("|---|---|---|---|---|---|")
    for questions in args.questions:
        times: dict[str, list[float]] = defaultdict(list)
        added: dict[str, list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(args.rounds):
                for name, arm in ARMS.items():
                    seconds, more = run(arm, questions, args.steps, folder)
                    times[name] += seconds
                    added[name].append(more)
        base = statistics.median(times["GRPO (TRL)"])
        for name in ARMS:
            own, more = statistics.median(times[name]), statistics.median(added[name])
            print(
                f"| {questions} | {name} | {own:.3f} | {own / base - 1:+.1%} | {1000 * more:.1f} | "
                f"{more / base:.2%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
