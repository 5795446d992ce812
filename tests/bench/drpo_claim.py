"""Does DRPO lift rare domains, at what price, and what do simpler means reach? On the real trainer.

    OMP_NUM_THREADS=1 python tests/bench/drpo_claim.py --out runs/claim --quick --jobs 2
    OMP_NUM_THREADS=1 python tests/bench/drpo_claim.py --out runs/claim --seeds 12 --jobs 2
    ... --control binary | balanced | wrong | pool
    ... --report [--against "sqrt sampling"]     # tables and curves of what was run, no new run

Five domains of 60, 25, 10, 4 and 1 % and of unequal difficulty; a small language model, brought by
a supervised start to where every domain is answered by halves; GRPO and its rivals from the same
weights, on the same questions in the same order, seed by seed. Every run is written down when it
ends, and a second call goes on where the first stopped. The tables are Markdown; `curves.png` (with
a control, `curves-<control>.png`) has the score of each domain by step, seeds as a band.

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
SCORES = ("macro", "rare", "micro", "top")
DRAWN = ("GRPO", "DRPO", "DRPO, strength 1", "sqrt sampling", "sqrt sampling + DRPO")


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


def quiet() -> None:
    """For a worker process: nothing but errors, as runs are told of in one line each."""
    from transformers.utils import logging as hf_logging

    warnings.simplefilter("ignore")
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    logging.getLogger("climb_hf").setLevel(logging.ERROR)


def run(arm: str, seed: int, control: str, steps: int, rate: float, warm: int) -> dict[str, Any]:
    """Trains one arm on one seed; returns its scores by step."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback

    from climb_hf.trainers import DRPOConfig, DRPOTrainer

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
    return {
        "arm": arm,
        "seed": seed,
        "control": control,
        "curve": {str(step): scores for step, scores in curve.items()},
        "effective_share": mean_share(trainer.state.log_history),
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def mean_share(log_history: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean effective share over the generations in which any question teaches something."""
    logged = [one.get("drpo/effective_share") for one in log_history]
    # Where none does, the log says None or NaN.
    known = [one for one in logged if one is not None and not math.isnan(one)]
    return float(np.mean(known)) if known else None


def _spaced(reward: Any, tokenizer: Any) -> Any:
    """A reward of token ids."""

    def function(completions: list[str], *, completion_ids: list[list[int]], **columns: Any) -> Any:
        return reward(answers(tokenizer, completion_ids), **columns)

    return function


# ---- many runs ----------------------------------------------------------------------------------


def run_all(
    missing: Sequence[tuple[str, int]], settings: tuple[Any, ...], path: Path, jobs: int
) -> list[dict[str, Any]]:
    """Runs arms on seeds; each run is written down when it and those before it have ended."""
    found = []
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=quiet) as pool:
        for task in [pool.submit(run, arm, seed, *settings) for arm, seed in missing]:
            one = task.result()
            found.append(one)
            with path.open("a") as file:
                file.write(json.dumps(one) + "\n")
            scores = [round(value, 3) for value in last(one)]
            print(
                f"{one['arm']}, seed {one['seed']}: {scores}, {one['cpu_seconds']} CPU s",
                flush=True,
            )
    return found


def summary(scores: Sequence[float], shares: Sequence[float]) -> dict[str, float]:
    return {
        "macro": float(np.mean(scores)),
        "rare": float(np.mean(scores[3:])),
        "micro": float(np.dot(scores, shares)),
        "top": float(scores[0]),
    }


def half_width(values: Any) -> Any:
    """Half of the 95 % t interval of a mean, over the first axis; NaN for a single value."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return np.full(np.shape(values)[1:], np.nan)
    return t.ppf(0.975, n - 1) * np.std(values, axis=0, ddof=1) / math.sqrt(n)


def interval(values: Sequence[float]) -> str:
    """Mean and half-width of the 95 % t interval, in points."""
    mean, half = 100 * float(np.mean(values)), 100 * float(half_width(values))
    return f"{mean:+.1f}" if math.isnan(half) else f"{mean:+.1f} ± {half:.1f}"


def report(found: Sequence[dict[str, Any]], control: str, against: str = "GRPO") -> list[str]:
    """Markdown: one arm as it is, and each other arm minus that one, paired by seed."""
    shares = Task(0, control).shares
    own = {(one["arm"], one["seed"]): summary(last(one), shares) for one in found}
    ess: dict[str, list[float]] = {}
    for one in found:
        ess.setdefault(one["arm"], []).extend(x for x in [one["effective_share"]] if x is not None)
    seeds = sorted(seed for arm, seed in own if arm == against)
    if not seeds:
        return [f"control: {control}; no run of {against!r} to compare with"]
    warm = np.mean([one["curve"]["0"] for one in found if one["arm"] == against], axis=0)
    lines = [
        f"control: {control}; {against} as it is, the others minus {against} of the same seeds, in "
        f"points; warm start {' '.join(f'{value:.2f}' for value in warm)}",
        "",
        f"| arm | seeds | {' | '.join(SCORES)} | effective share |",
        "|---" * (len(SCORES) + 3) + "|",
    ]
    for arm in (against, *(one for one in ARMS if one != against)):
        both = [seed for seed in seeds if (arm, seed) in own]
        if not both:
            continue
        if arm == against:
            cells = [f"{np.mean([own[arm, seed][one] for seed in both]):.3f}" for one in SCORES]
        else:
            cells = [
                interval([own[arm, seed][one] - own[against, seed][one] for seed in both])
                for one in SCORES
            ]
        share = "1.00" if not ess[arm] else f"{np.mean(ess[arm]):.2f}"
        lines.append(f"| {arm} | {len(both)} | {' | '.join(cells)} | {share} |")
    return lines


def last(one: Mapping[str, Any]) -> list[float]:
    """Scores of the domains at a run's end."""
    return one["curve"][max(one["curve"], key=int)]


def draw(found: Sequence[dict[str, Any]], control: str, arms: Sequence[str], path: Path) -> None:
    """Score of each domain by step: mean over seeds, its 95 % t interval as a band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shares = Task(0, control).shares
    titles = [f"domain of {share:.0%} of the questions" for share in shares] + ["mean of domains"]
    figure, axes = pyplot.subplots(2, 3, figsize=(10, 6), sharex=True, sharey=True)
    for arm in arms:
        runs = [one["curve"] for one in found if one["arm"] == arm]
        if not runs:
            continue
        steps = sorted(map(int, runs[0]))
        curves = np.array([[run[str(step)] for step in steps] for run in runs])
        curves = np.concatenate([curves, curves.mean(axis=2, keepdims=True)], axis=2)
        means, halves = curves.mean(axis=0), half_width(curves)
        for at, axis in enumerate(axes.flat):
            (line,) = axis.plot(steps, means[:, at], label=f"{arm} ({len(runs)} seeds)")
            low, high = means[:, at] - halves[:, at], means[:, at] + halves[:, at]
            axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
            axis.set_title(titles[at], fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    for axis in axes[:, 0]:
        axis.set_ylabel("set-F1, held out")
    axes.flat[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="100 steps: 25 CPU minutes")
    parser.add_argument("--control", choices=CONTROLS, default="none")
    parser.add_argument("--arms", nargs="+", choices=ARMS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--warm-steps", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="run nothing, report what was run")
    parser.add_argument("--against", choices=ARMS, default="GRPO", help="arm to compare with")
    parser.add_argument("--draw", nargs="+", choices=ARMS, default=DRAWN, help="arms in the curves")
    args = parser.parse_args()
    arms = args.arms or tuple(ARMS)
    steps = 100 if args.quick else args.steps
    args.out.mkdir(parents=True, exist_ok=True)
    stem = f"{args.control}-{steps}-{args.warm_steps}-{args.learning_rate:g}"
    path = args.out / f"{stem}.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if not args.report:
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        done = {(one["arm"], one["seed"]) for one in found}
        missing = [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in done]
        settings = (args.control, steps, args.learning_rate, args.warm_steps)
        found += run_all(missing, settings, path, args.jobs)
        found = [one for one in found if one["arm"] in arms and one["seed"] in seeds]
    text = "\n".join(report(found, args.control, args.against))
    print("\n" + text)
    (args.out / f"{stem}.md").write_text(text + "\n")
    name = "curves.png" if args.control == "none" else f"curves-{args.control}.png"
    draw(found, args.control, args.draw, args.out / name)


if __name__ == "__main__":
    main()
