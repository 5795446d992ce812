"""Time and memory of a DRPO step with series, beside the same step without them.

    python -m tests.bench.series_step [--model FOLDER] [--steps 12] [--leads 12] [--seconds 10]

Both runs ask the same questions of the same model, a tiny one or the folder of any that
`climb_hf.from_backbone` takes; in one the rows have a series, in the other the column is gone. Each
runs in a process of its own, one after the other, so that its memory is its own. The rows with
series have longer prompts as well: a third run writes as many words more as the series have tokens,
which tells what the encoder costs from what longer prompts cost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
MODES = ("none", "words", "series")
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def rows(mode: str, processor: Any, leads: int, seconds: float, n: int) -> list[dict[str, Any]]:
    import numpy as np

    from climb_hf import Signal
    from climb_hf.views import encode

    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.3, (leads, round(500 * seconds))).astype(np.float32)
    signal = Signal(values, 500.0, LEADS[:leads], ("mV",) * leads)
    (piece,) = processor.prepare_one(signal)
    n_tokens = processor.series_config.token_count(piece.values.shape[1])
    more = " yes" * n_tokens if mode == "words" else ""
    made = []
    for index in range(n):
        question = f"Question {index}: is it normal?{more}"
        row = {"prompt": [{"role": "user", "content": question}], "domain": "ecg"}
        made.append({**row, "series": [encode(signal)]} if mode == "series" else row)
    return made


def varied(completions: list[Any], **kwargs: Any) -> list[float]:
    return [len(set(one[0]["content"])) / 50 for one in completions]


def run(mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """Trains so many steps; returns the seconds of each but the first, and the memory."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback

    import climb_hf
    from climb_hf.models.tiny_series import tiny_series_lm
    from climb_hf.trainers import DRPOConfig, DRPOTrainer
    from climb_hf.trainers.drpo_series import modules_to_save

    on_gpu = torch.cuda.is_available()
    if args.model:
        dtype = torch.bfloat16 if on_gpu else torch.float32
        model, processor = climb_hf.from_backbone(args.model, dtype=dtype)
    else:
        model, processor = tiny_series_lm()
    parts = (model.model.time_series_encoder, model.model.time_series_projector)
    tower = sum(one.numel() for part in parts for one in part.parameters())

    class Clock(TrainerCallback):
        times: list[float] = []  # noqa: RUF012

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        trainer = DRPOTrainer(
            model=model,
            reward_funcs=varied,
            args=DRPOConfig(
                output_dir=folder,
                use_cpu=not on_gpu,
                bf16=on_gpu,
                num_generations=args.generations,
                per_device_train_batch_size=args.generations,
                max_completion_length=args.new_tokens,
                generation_kwargs={"min_new_tokens": args.new_tokens},
                max_steps=args.steps + 1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_strategy="no",
            ),
            train_dataset=Dataset.from_list(rows(mode, processor, args.leads, args.seconds, 8)),
            processing_class=processor,
            peft_config=LoraConfig(
                r=8,
                target_modules=r".*language_model.*\.(q|v)_proj",
                modules_to_save=modules_to_save(model),
            ),
            callbacks=[Clock()],
        )
        loaded = memory_mb(on_gpu)
        before = {name: one.detach().clone() for name, one in trainer.model.named_parameters()}
        trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = {name for name, old in before.items() if not torch.equal(after[name].cpu(), old.cpu())}
    seconds = [b - a for a, b in zip(Clock.times, Clock.times[1:], strict=False)]
    return {
        "mode": mode,
        "step_s": statistics.median(seconds),
        "least_s": min(seconds),
        "greatest_s": max(seconds),
        "loaded_mb": loaded,
        "peak_mb": memory_mb(on_gpu),
        "tower_weights": tower,
        "tower_moved": sum("time_series" in name and "modules_to_save" in name for name in moved),
        "base_moved": sum("lora_" not in n and "modules_to_save" not in n for n in moved),
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
    }


def memory_mb(on_gpu: bool) -> float:
    """Most memory so far: of the GPU where there is one, else of the process."""
    if on_gpu:
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a language model; none: a tiny one")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--generations", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--leads", type=int, default=12, choices=range(1, 13), metavar="1..12")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(run(args.only, args)))
        return
    found = []
    for mode in MODES:
        command = [sys.executable, "-m", "tests.bench.series_step", *sys.argv[1:], "--only", mode]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"device: {found[0]['device']}, {os.environ['OMP_NUM_THREADS']} thread(s)")
    print(
        f"a step: {args.generations} generations of {args.new_tokens} tokens, {args.steps} steps; "
        f"a series: {args.leads} leads of {args.seconds:g} s; encoder and projector: "
        f"{found[0]['tower_weights']:,} weights"
    )
    print(f"{'rows with':<10}{'s a step':>10}{'least':>8}{'most':>8}{'peak MB':>9}", end="")
    print(f"{'over load':>11}{'tower moved':>13}{'base moved':>12}")
    for one in found:
        print(
            f"{one['mode']:<10}{one['step_s']:>10.3f}{one['least_s']:>8.3f}"
            f"{one['greatest_s']:>8.3f}{one['peak_mb']:>9.0f}"
            f"{one['peak_mb'] - one['loaded_mb']:>11.0f}{one['tower_moved']:>13}"
            f"{one['base_moved']:>12}"
        )


if __name__ == "__main__":
    main()
