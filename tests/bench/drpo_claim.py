"""Does DRPO lift rare domains, at what price, and what do simpler means reach? On the real trainer.

    OMP_NUM_THREADS=1 python tests/bench/drpo_claim.py --out runs/claim --quick
    OMP_NUM_THREADS=1 python tests/bench/drpo_claim.py --out runs/claim --seeds 12 --jobs 2
    ... --control binary | balanced | wrong | pool

Five domains of 60, 25, 10, 4 and 1 % and of unequal difficulty; a small language model, brought by
a supervised start to where every domain is answered by halves; GRPO and its rivals from the same
weights, on the same questions in the same order, seed by seed. Every run is written down when it
ends, and a second call goes on where the first stopped.

A question is a domain and four features of eight values each; its answer one or two of eight
labels, by a linear teacher of the domain, half of which all domains share. The warm start is on the
shared half, with the domain's mark at random. Scores are set-F1 of greedy answers to new questions.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

SHARES = (0.60, 0.25, 0.10, 0.04, 0.01)
LABELS_OF = (3, 4, 5, 6, 8)  # labels that a domain uses: the rare ones are harder
FEATURES, VALUES, LABELS = 4, 8, 8
MARGIN = 0.86  # of the second label to the first, 0.43 standard deviations of a score
SHARED = 0.5
WRONG = 0.6  # share of wrong labels in the control
QUESTIONS, ROLLOUTS, TOKENS = 64, 8, 3
HELD_OUT, EVERY = 200, 20
CONTROLS = ("none", "binary", "balanced", "wrong", "pool")

ARMS: dict[str, dict[str, Any]] = {
    "GRPO": {"domain_scaling": "none"},
    "N^-1/2": {"domain_scaling": "inverse_frequency"},
    "1/N": {"domain_scaling": "inverse_frequency", "drpo_strength": 1.0},
    "DISCO": {"domain_scaling": "disco"},
    "DRPO, one cluster": {"drpo_k_max": 1},
    "DRPO": {},
    "DRPO, strength 1": {"drpo_strength": 1.0},
    "DRPO, by question": {"drpo_difficulty": "question"},
    "DRPO, paper": {"domain_scaling": "drpo_paper", "beta": 1e-4},
    "sqrt sampling": {"domain_scaling": "none", "domain_sampling_power": 0.5},
    "uniform sampling": {"domain_scaling": "none", "domain_sampling_power": 1.0},
    "sqrt sampling + DRPO": {"domain_sampling_power": 0.5},
}
QUICK = ("GRPO", "N^-1/2", "DRPO, one cluster", "DRPO", "DRPO, strength 1", "sqrt sampling + DRPO")
SCORES = ("macro", "rare", "micro", "top")


# ---- task ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """Teachers and questions of one seed."""

    seed: int
    control: str = "none"

    @cached_property
    def shared(self) -> np.ndarray:
        return np.random.default_rng([self.seed, 0]).normal(size=(FEATURES, VALUES, LABELS))

    @cached_property
    def teachers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights of each domain, and the labels that it uses."""
        random = np.random.default_rng([self.seed, 1])
        found = []
        for n in LABELS_OF:
            own = random.normal(size=self.shared.shape)
            weights = math.sqrt(SHARED) * self.shared + math.sqrt(1 - SHARED) * own
            found.append((weights, np.sort(random.choice(LABELS, n, replace=False))))
        return found

    @property
    def shares(self) -> Sequence[float]:
        return (0.2,) * 5 if self.control == "balanced" else SHARES

    def answer(self, domain: int, features: np.ndarray) -> list[int]:
        weights, used = self.teachers[domain]
        return _picked(weights, used, features)

    def rows(self, domains: Sequence[int], stream: int) -> list[dict[str, Any]]:
        """Questions of some domains, with their answers; the rewarded one may be wrong."""
        random = np.random.default_rng([self.seed, stream])
        found = []
        for domain in domains:
            features = random.integers(VALUES, size=FEATURES)
            truth = rewarded = self.answer(domain, features)
            if self.control == "wrong" and domain >= 3 and random.random() < WRONG:
                rewarded = self.answer(domain, random.integers(VALUES, size=FEATURES))
            found.append(
                {
                    "prompt": prompt(domain, features),
                    "domain": f"d{domain}",
                    "answer": words(rewarded),
                    "truth": words(truth),
                }
            )
        return found

    def train_rows(self, n: int) -> list[dict[str, Any]]:
        counts = np.floor(np.array(self.shares) * n).astype(int)
        domains = np.repeat(np.arange(len(counts)), counts)
        return self.rows(np.random.default_rng([self.seed, 2]).permutation(domains).tolist(), 3)

    def warm_rows(self, n: int) -> list[tuple[str, str]]:
        """Questions with the shared teacher's answers, and a domain's mark that says nothing."""
        random = np.random.default_rng([self.seed, 4])
        features = random.integers(VALUES, size=(n, FEATURES))
        marks = random.integers(len(SHARES), size=n).tolist()
        every = np.arange(LABELS)
        return [
            (prompt(mark, own), words(_picked(self.shared, every, own)))
            for mark, own in zip(marks, features, strict=True)
        ]


def _picked(weights: np.ndarray, used: np.ndarray, features: np.ndarray) -> list[int]:
    """The best label of those used, and the second if it is close."""
    scores = weights[np.arange(FEATURES), features].sum(axis=0)[used]
    first, second = np.argsort(-scores, kind="stable")[:2]
    close = scores[first] - scores[second] < MARGIN
    return sorted(int(used[one]) for one in ([first, second] if close else [first]))


def prompt(domain: int, features: np.ndarray) -> str:
    return " ".join([f"d{domain}", *(f"f{at}v{v}" for at, v in enumerate(features.tolist())), "="])


def words(labels: Sequence[int]) -> str:
    return " ".join(f"L{label}" for label in labels)


def set_f1(text: str, answer: str) -> float:
    named, gold = set(text.split()), set(answer.split())
    return 2 * len(named & gold) / (len(named) + len(gold))


def graded(completions: list[str], *, answer: list[str], **kwargs: Any) -> list[float]:
    return [set_f1(text, gold) for text, gold in zip(completions, answer, strict=True)]


def exact(completions: list[str], *, answer: list[str], **kwargs: Any) -> list[float]:
    pairs = zip(completions, answer, strict=True)
    return [float(set(text.split()) == set(gold.split())) for text, gold in pairs]


# ---- model --------------------------------------------------------------------------------------


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<pad>", "<eos>", "<unk>", "="]
    vocabulary += [f"d{n}" for n in range(len(SHARES))] + [f"L{n}" for n in range(LABELS)]
    vocabulary += [f"f{at}v{value}" for at in range(FEATURES) for value in range(VALUES)]
    ids = {word: at for at, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def warm_start(task: Task, folder: Path, steps: int) -> None:
    """Saves a small model that knows the half of the task that all domains share."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(task.seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=32,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    rows = task.warm_rows(steps * 128)
    model.train()
    for start in range(0, len(rows), 128):
        batch = rows[start : start + 128]
        texts = [f"{question} {answer} <eos>" for question, answer in batch]
        ids = tokenizer(texts, padding=True, return_tensors="pt")
        labels = ids["input_ids"].clone()
        # Left-padded: the answer is what stands behind the only "=".
        behind = (ids["input_ids"] == tokenizer.convert_tokens_to_ids("=")).cumsum(dim=1)
        labels[(behind == 0) | (ids["input_ids"] == tokenizer.convert_tokens_to_ids("="))] = -100
        loss = model(**ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def score(model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Mean set-F1 of greedy answers in each domain."""
    import torch

    training = model.training
    model.eval()
    ids = tokenizer([row["prompt"] for row in rows], return_tensors="pt", padding=True)
    with torch.no_grad():
        made = model.generate(
            input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"],
            max_new_tokens=TOKENS,
            do_sample=False,
        )
    texts = answers(tokenizer, made[:, ids["input_ids"].shape[1] :].tolist())
    model.train(training)
    found: dict[str, list[float]] = {}
    for row, text in zip(rows, texts, strict=True):
        found.setdefault(row["domain"], []).append(set_f1(text, row["truth"]))
    return [float(np.mean(found[f"d{n}"])) for n in range(len(SHARES))]


def answers(tokenizer: Any, rows: Any) -> list[str]:
    """Token ids as words with spaces, which this tokenizer's own text lacks."""
    special = {tokenizer.pad_token_id, tokenizer.eos_token_id}
    return [
        " ".join(tokenizer.convert_ids_to_tokens([one for one in row if one not in special]))
        for row in rows
    ]


# ---- one run ------------------------------------------------------------------------------------


def run(arm: str, seed: int, control: str, steps: int, rate: float, warm: int) -> dict[str, Any]:
    """Trains one arm on one seed; returns its scores by step."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
    from transformers.utils import logging as hf_logging

    from climb_hf.trainers import DRPOConfig, DRPOTrainer

    warnings.simplefilter("ignore")
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    logging.getLogger("climb_hf").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    task, begin = Task(seed, control), time.process_time()
    held_out = task.rows([n for n in range(len(SHARES)) for _ in range(HELD_OUT)], 5)
    curve: dict[int, list[float]] = {}

    class Score(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step % EVERY == 0 or state.global_step == state.max_steps:
                model = trainer.accelerator.unwrap_model(trainer.model)
                curve[state.global_step] = score(model, trainer.processing_class, held_out)

    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "warm"
        warm_start(task, start, warm)
        model = AutoModelForCausalLM.from_pretrained(start)
        tokenizer = make_tokenizer()
        curve[0] = score(model, tokenizer, held_out)
        options = {
            "output_dir": folder,
            "use_cpu": True,
            "bf16": False,
            "seed": seed,
            "num_generations": ROLLOUTS,
            "per_device_train_batch_size": QUESTIONS * ROLLOUTS,
            "max_completion_length": TOKENS,
            "max_steps": steps,
            "learning_rate": rate,
            "lr_scheduler_type": "constant",
            "loss_type": "grpo",
            "save_strategy": "no",
            "report_to": [],
            "logging_steps": 1,
            "disable_tqdm": True,
            "gradient_checkpointing": False,
        }
        reward = exact if control == "binary" else graded
        trainer = DRPOTrainer(
            model=model,
            reward_funcs=_spaced(reward, tokenizer),
            args=DRPOConfig(**options, **ARMS[arm]),
            train_dataset=Dataset.from_list(task.train_rows(2000 if control == "pool" else 20_000)),
            processing_class=tokenizer,
            callbacks=[Score()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    ess = [one["drpo/effective_share"] for one in trainer.state.log_history
           if "drpo/effective_share" in one]  # fmt: skip
    return {
        "arm": arm,
        "seed": seed,
        "control": control,
        "curve": {str(step): scores for step, scores in curve.items()},
        "effective_share": float(np.nanmean(ess)) if ess else None,
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def _spaced(reward: Any, tokenizer: Any) -> Any:
    """A reward of token ids."""

    def function(completions: list[str], *, completion_ids: list[list[int]], **columns: Any) -> Any:
        return reward(answers(tokenizer, completion_ids), **columns)

    return function


# ---- many runs ----------------------------------------------------------------------------------


def summary(scores: Sequence[float], shares: Sequence[float]) -> dict[str, float]:
    return {
        "macro": float(np.mean(scores)),
        "rare": float(np.mean(scores[3:])),
        "micro": float(np.dot(scores, shares)),
        "top": float(scores[0]),
    }


def interval(values: Sequence[float]) -> str:
    """Mean and half-width of the 95 % t interval, in points."""
    from scipy.stats import t

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return f"{100 * mean:+.1f}"
    half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
    return f"{100 * mean:+.1f} ± {100 * half:.1f}"


def report(found: Sequence[dict[str, Any]], control: str) -> list[str]:
    """Markdown: GRPO as it is, and each arm against GRPO of the same seeds."""
    shares = Task(0, control).shares
    last = {(one["arm"], one["seed"]): list(one["curve"].values())[-1] for one in found}
    first = {one["seed"]: one["curve"]["0"] for one in found if one["arm"] == "GRPO"}
    seeds = sorted(seed for arm, seed in last if arm == "GRPO")
    own = {key: summary(scores, shares) for key, scores in last.items()}
    warm = np.mean([first[seed] for seed in seeds], axis=0)
    lines = [
        f"control: {control}; {len(seeds)} seeds; warm start "
        + " ".join(f"{value:.2f}" for value in warm),
        "",
        "| arm | " + " | ".join(SCORES) + " | effective share |",
        "|---" * (len(SCORES) + 2) + "|",
        "| GRPO | "
        + " | ".join(f"{np.mean([own['GRPO', seed][one] for seed in seeds]):.3f}" for one in SCORES)
        + " | 1.00 |",
    ]
    for arm in ARMS:
        both = [seed for seed in seeds if (arm, seed) in own]
        if arm == "GRPO" or not both:
            continue
        cells = [
            interval([own[arm, seed][one] - own["GRPO", seed][one] for seed in both])
            for one in SCORES
        ]
        shares_of = [one["effective_share"] for one in found if one["arm"] == arm]
        known = [one for one in shares_of if one is not None]
        lines.append(
            f"| {arm} | {' | '.join(cells)} | {np.mean(known):.2f} |"
            if known
            else f"| {arm} | {' | '.join(cells)} | |"
        )
    return lines


def draw(found: Sequence[dict[str, Any]], control: str, path: Path) -> None:
    """Macro and rare score by step, mean over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shares = Task(0, control).shares
    figure, axes = pyplot.subplots(1, 3, figsize=(15, 5), sharex=True)
    for arm in ARMS:
        runs = [one["curve"] for one in found if one["arm"] == arm]
        if not runs:
            continue
        steps = sorted(map(int, runs[0]))
        for axis, name in zip(axes, ("macro", "rare", "top"), strict=True):
            means = [
                np.mean([summary(run[str(step)], shares)[name] for run in runs]) for step in steps
            ]
            axis.plot(steps, means, label=arm)
            axis.set(title=f"{name} set-F1", xlabel="step")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="six arms, 5 seeds, 100 steps")
    parser.add_argument("--control", choices=CONTROLS, default="none")
    parser.add_argument("--arms", nargs="+", choices=ARMS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--warm-steps", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    arms = args.arms or (QUICK if args.quick else tuple(ARMS))
    steps = 100 if args.quick else args.steps
    args.out.mkdir(parents=True, exist_ok=True)
    stem = f"{args.control}-{steps}-{args.warm_steps}-{args.learning_rate:g}"
    path = args.out / f"{stem}.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {(one["arm"], one["seed"]) for one in found}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    missing = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in done]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        tasks = [
            pool.submit(run, arm, seed, args.control, steps, args.learning_rate, args.warm_steps)
            for arm, seed in missing
        ]
        for task in tasks:
            one = task.result()
            found.append(one)
            with path.open("a") as file:
                file.write(json.dumps(one) + "\n")
            scores = [round(value, 3) for value in list(one["curve"].values())[-1]]
            print(
                f"{one['arm']}, seed {one['seed']}: {scores}, {one['cpu_seconds']} CPU s",
                flush=True,
            )
    wanted = [one for one in found if one["arm"] in arms and one["seed"] in seeds]
    text = "\n".join(report(wanted, args.control))
    print("\n" + text)
    (args.out / f"{stem}.md").write_text(text + "\n")
    draw(wanted, args.control, args.out / f"{stem}.png")


if __name__ == "__main__":
    main()
