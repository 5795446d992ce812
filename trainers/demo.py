"""The whole path in minutes: raw ECG files to a DRPO-trained checkpoint that answers.

    python -m climb_hf.trainers.demo --data-dir path/to/raw/files --out runs/demo

A tiny random model that takes series is built, taught to answer from ECGs as signals
(`train_sft`), trained with DRPO (`train_drpo`), and asked the held-out questions at the start and
after each stage. At the end it is asked once more without the series, which shows whether it uses
them. On made ECGs this shows that the path works, not that a tiny model can read a real one.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import ClimbError, DataNotFoundError

logger = logging.getLogger(__name__)

CONFIG = "ecg"
HELD_OUT = "test"
ANSWER_TOKENS = 32
QUESTION = "choice"  # one finding of several: its accuracy compares with that of the majority class
SCORED = ("source", "options", "answer", "answer_type")
STAGES = ("start", "supervised", "drpo")
NOTE = (
    "The supervised start boxes seven answers in ten on purpose (recipe tiny_series_sft), for DRPO "
    "to teach the rest. Made ECGs follow their classes; real ones are harder to read."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo, or with `--ask` loads a checkpoint and answers one held-out question."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder with raw files of ECG sources")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--ask", type=Path, help="only load this checkpoint and let it answer")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    _quiet_bars()
    try:
        if args.ask:
            logger.info("%s", json.dumps(ask(args.ask, args.data_dir)))
        else:
            run(args.data_dir, args.out)
    except ClimbError as error:
        logger.error("%s: %s", type(error).__name__, error)
        return 1
    return 0


def _quiet_bars() -> None:
    """Leaves progress bars to terminals: in a file each of their steps would be a line."""
    import datasets
    import transformers

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()


def run(data_dir: str, out: Path) -> dict[str, Any]:
    """Runs every stage and writes `report.json`.

    Args:
        data_dir: folder with raw files.
        out: folder for checkpoints and report.

    Returns:
        The report.

    Raises:
        DataNotFoundError: if no question can be made from the files, or none is held out.
    """
    begin = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    folders = {stage: out / stage for stage in STAGES}
    train, held_out = _questions(data_dir, "train"), _questions(data_dir, HELD_OUT)
    logger.info("1/5 data: %d questions to train on, %d held out", len(train), len(held_out))
    _write_start(folders["start"], train)
    tables = {"start": _evaluate(folders["start"], held_out)}
    logger.info("2/5 supervised start")
    _launch("sft", data_dir, folders["start"], folders["supervised"])
    tables["supervised"] = _evaluate(folders["supervised"], held_out)
    logger.info("3/5 DRPO")
    _launch("drpo", data_dir, folders["supervised"], folders["drpo"])
    tables["drpo"] = _evaluate(folders["drpo"], held_out)
    logger.info("4/5 rewards, and the same questions without their series")
    without = _evaluate(folders["drpo"], held_out.remove_columns("series"))
    history = _history(folders["drpo"])
    report = {
        "data_dir": str(data_dir),
        "questions": {"train": len(train), HELD_OUT: len(held_out)},
        "sources": _sources(data_dir),
        "held_out": tables,
        "signal": signal_use(tables["drpo"][0], without[0], _majority(train, held_out)),
        "drpo": {**rise(history), "domains": _domains(history)},
        "note": NOTE,
        "checkpoint": str(folders["drpo"]),
        "model_card": str(folders["drpo"] / "README.md"),
    }
    logger.info("5/5 the checkpoint, loaded in a new process, answers one question")
    report["answer"] = _ask_in_new_process(folders["drpo"], data_dir)
    report["seconds"] = round(time.monotonic() - begin, 1)
    (out / "report.json").write_text(json.dumps(report, indent=1))
    _show(report, train, out)
    return report


# ---- data ---------------------------------------------------------------------------------------


def _questions(data_dir: str, split: str) -> Any:
    from climb_hf.trainers.scripting import ScriptArguments, load_questions

    args = ScriptArguments(dataset_name=CONFIG, data_dir=data_dir, question=QUESTION)
    rows = load_questions(args, split, series_as="signal")
    if len(rows) == 0:
        raise DataNotFoundError(f"no question of split {split!r} could be made from {data_dir}.")
    return rows


def _sources(data_dir: str) -> list[dict[str, Any]]:
    """What was read of each source and what was left out."""
    from climb_hf.loading import load_dataset, load_report

    reports = load_report(load_dataset("climb", CONFIG, data_dir=data_dir, task="qa", decode=False))
    return [
        {
            "source": report.source,
            "records": report.good,
            "without_question": report.not_questions,
            **{kind: report.count(kind) for kind in ("damaged", "missing", "copy")},
        }
        for report in reports
    ]


# ---- stages -------------------------------------------------------------------------------------


def _write_start(folder: Path, train: Any) -> None:
    from climb_hf.models.tiny_series import tiny_series_lm

    prompts = [message["content"] for message in train[0]["prompt"]]
    answers = ["\\boxed{" + answer + "}" for answer in train["answer"]]
    for part in tiny_series_lm(prompts + answers):
        part.save_pretrained(folder)


def _launch(trainer: str, data_dir: str, model: Path, out: Path) -> None:
    """Runs a training script as a user does; what it prints goes into a log beside its output."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["-m", f"climb_hf.trainers.train_{trainer}", "--config", f"tiny_series_{trainer}"]
    command += ["--data_dir", str(data_dir), "--dataset_name", CONFIG]
    command += ["--model_name_or_path", str(model), "--output_dir", str(out)]
    command += ["--score_answers", "true", "--eval_split", HELD_OUT]  # for the model card
    log = out.with_suffix(".log")
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "\n".join(log.read_text().splitlines()[-15:])
        raise ClimbError(f"train_{trainer} ended with status {done.returncode}. {log}:\n{tail}")


def _evaluate(folder: Path, held_out: Any) -> list[dict[str, Any]]:
    from climb_hf.hub import load_for_inference
    from climb_hf.metrics.answers import evaluate_answers
    from climb_hf.trainers.scripting import fit_to, generate_answers

    model, processor = load_for_inference(folder, device="cpu")
    rows = fit_to(processor, held_out)
    texts = generate_answers(model, processor, rows, 16, ANSWER_TOKENS)
    return evaluate_answers(texts, rows.select_columns(list(SCORED)))


def ask(folder: Path, data_dir: str) -> dict[str, str]:
    """Loads a checkpoint and lets it answer the first held-out question."""
    from climb_hf.hub import answer, load_for_inference
    from climb_hf.trainers.scripting import fit_to

    model, processor = load_for_inference(folder, device="cpu")
    row = fit_to(processor, _questions(data_dir, HELD_OUT))[0]
    said = answer(model, processor, row["prompt"], (), ANSWER_TOKENS, row["series"])
    return {"id": row["id"], "gold": row["answer"], "said": said}


def _majority(train: Any, held_out: Any) -> dict[str, Any]:
    """The score of the answer that is most frequent in training, given to every question."""
    from climb_hf.metrics.answers import evaluate_answers

    most = Counter(train["answer"]).most_common(1)[0][0]
    texts = ["\\boxed{" + most + "}"] * len(held_out)
    return evaluate_answers(texts, held_out.select_columns(list(SCORED)))[0]


def _ask_in_new_process(folder: Path, data_dir: str) -> dict[str, str]:
    command = [sys.executable, "-m", "climb_hf.trainers.demo", "--ask", str(folder)]
    command += ["--data-dir", str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClimbError(f"the checkpoint does not load in a new process:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


# ---- figures ------------------------------------------------------------------------------------


def _history(folder: Path) -> list[dict[str, Any]]:
    """The log lines of the DRPO run, from its last checkpoint."""
    from transformers.trainer_utils import get_last_checkpoint

    state = Path(get_last_checkpoint(str(folder)) or folder) / "trainer_state.json"
    return [line for line in json.loads(state.read_text())["log_history"] if "reward" in line]


def rise(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compares the mean reward of the last fifth of the steps with that of the first fifth.

    Args:
        history: log lines, one a step, with `reward` and `reward_std`.

    Returns:
        Both means, their difference, its 95 % interval (Welch's, steps taken as independent) and
        a sentence that says whether the interval excludes zero.
    """
    from scipy import stats

    rewards = np.array([line["reward"] for line in history], dtype=float)
    n_steps = max(len(rewards) // 5, 2)
    first, last = rewards[:n_steps], rewards[-n_steps:]
    test = stats.ttest_ind(last, first, equal_var=False)
    low, high = (float(value) for value in test.confidence_interval(0.95))
    spread = float(np.mean([line.get("reward_std", math.nan) for line in history]))
    if np.ptp(rewards) == 0 or not (math.isfinite(low) and math.isfinite(high)):
        verdict = "no: the rewards do not vary, so nothing could be learned from them"
    elif low > 0:
        verdict = "yes: the interval excludes zero"
    else:
        verdict = (
            f"no: the interval does not exclude zero; within a group rewards vary by {spread:.3f} "
            f"and there were {len(rewards)} steps"
        )
    return {
        "reward_first_fifth": float(first.mean()),
        "reward_last_fifth": float(last.mean()),
        "rise": float(last.mean() - first.mean()),
        "rise_interval_95": [low, high],
        "rewards_rise": verdict,
        "reward_per_step": [round(float(value), 4) for value in rewards],
    }


def signal_use(
    with_series: Mapping[str, Any], without: Mapping[str, Any], majority: Mapping[str, Any]
) -> dict[str, Any]:
    """Says whether a model uses the series: whether it answers better with them than without.

    Args:
        with_series: a line of `evaluate_answers`: the model asked as usual.
        without: the same model and questions, the series removed.
        majority: the most frequent answer given to every question.

    Returns:
        The accuracy of each with its 95 % interval, and a sentence: yes only where the interval of
        the first lies above the two others.
    """
    lines = {"with_series": with_series, "series_removed": without, "majority_class": majority}
    figures = ("exact", "exact_low", "exact_high")
    shown = {key: [float(line[name]) for name in figures] for key, line in lines.items()}
    above = [with_series["exact_low"] > other["exact_high"] for other in (without, majority)]
    if all(above):
        verdict = "yes: its interval lies above those of the series removed and the majority class"
    else:
        names = ("the series removed", "the majority class")
        missed = [name for name, is_above in zip(names, above, strict=True) if not is_above]
        verdict = f"not shown: its interval does not lie above that of {' and '.join(missed)}"
    return {"accuracy_interval_95": shown, "signal_is_used": verdict}


def _domains(history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean of each `drpo/<figure>/<domain>` over the run, by domain."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in history:
        for key, value in line.items():
            parts = key.split("/")
            if parts[0] == "drpo" and len(parts) == 3:
                found.setdefault(parts[2], {}).setdefault(parts[1], []).append(value)
    return {
        domain: {figure: round(float(np.nanmean(v)), 4) for figure, v in figures.items()}
        for domain, figures in sorted(found.items())
    }


def _show(report: Mapping[str, Any], train: Any, out: Path) -> None:
    counted = Counter(train["source"])
    logger.info("\nset-F1 on held-out questions (95 % interval), by source")
    head = ("source", "train", "held out", *STAGES, "DRPO weight")
    rows = [head]
    tables = {
        stage: {line["value"]: line for line in lines}
        for stage, lines in report["held_out"].items()
    }
    for value, line in tables["start"].items():
        scores = [_score(tables[stage][value]) for stage in STAGES]
        weight = report["drpo"]["domains"].get(value, {}).get("weight")
        n_train = counted[value] if value != "all" else len(train)
        shown = "" if weight is None else f"{weight:.2f}"
        rows.append((value, str(n_train), str(line["n"]), *scores, shown))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        logger.info("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    signal = report["signal"]
    logger.info("\naccuracy on held-out questions (95 % interval), all sources, after DRPO")
    for name, (share, low, high) in signal["accuracy_interval_95"].items():
        logger.info("%-15s %.2f [%.2f, %.2f]", name.replace("_", " "), share, low, high)
    logger.info("Is the signal used? %s.", signal["signal_is_used"])
    drpo = report["drpo"]
    low, high = drpo["rise_interval_95"]
    logger.info(
        "\nDRPO's mean reward: %.3f in the first fifth, %.3f in the last; rise %.3f [%.3f, %.3f]\n"
        "Do rewards rise? %s.\n%s",
        drpo["reward_first_fifth"],
        drpo["reward_last_fifth"],
        drpo["rise"],
        low,
        high,
        drpo["rewards_rise"],
        NOTE,
    )
    answer = report["answer"]
    logger.info("\nasked %(id)s: answered %(said)s (gold: %(gold)s)", answer)
    logger.info("checkpoint  %s\nmodel card  %s", report["checkpoint"], report["model_card"])
    logger.info("report      %s\n%.0f s in all", out / "report.json", report["seconds"])


def _score(line: Mapping[str, Any]) -> str:
    return f"{line['f1']:.2f} [{line['f1_low']:.2f}, {line['f1_high']:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
