"""`climb-hf eval`: scores predictions of a model against the labels of a config."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from climb_hf.cli import shared

_FACTS = ("id", "source", "domain", "patient_id", "age_years", "sex", "site")
_LABELS = ("labels", "labels_negative", "labels_uncertain")
_QUESTION = ("options", "answer", "answer_type")


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "eval",
        help="scores of predictions, with intervals, controls and named faults",
        description='Scores a file of lines {"id": ..., "scores": {class: number}} of a '
        'classifier, or {"id": ..., "answer": text} of what a model wrote, its answer boxed. '
        "Levels are label, source, domain and overall; intervals are drawn by patient; a constant "
        "predictor and shuffled labels stand beside each figure.",
    )
    command.add_argument("predictions", type=Path, help="a .jsonl file, a prediction in each line")
    command.add_argument("--config", required=True, help="a source, a modality, all, or a .py file")
    command.add_argument("--data-dir", help="folder with the raw files (or CLIMB_DATA_DIR)")
    command.add_argument("--split", default="test", help="default: test")
    command.add_argument(
        "--against", type=Path, metavar="OTHER.jsonl", help="compare with these, by paired draws"
    )
    command.add_argument("--resamples", type=int, default=1000, help="of intervals; default: 1000")
    command.add_argument("--seed", type=int, default=0, help="of the draws; default: 0")
    shared.add_json(command)
    command.set_defaults(run=_eval)


def _eval(known: argparse.Namespace) -> int:
    from climb_hf.errors import OptionError
    from climb_hf.metrics import evaluation, tables

    files = [known.predictions] + ([known.against] if known.against else [])
    given = [_lines(path) for path in files]
    written = {"answer" in one for part in given for one in part}
    if len(written) > 1:
        raise OptionError("some predictions hold `answer` and some `scores`; score them apart.")
    if known.resamples < 0:
        raise OptionError(f"--resamples {known.resamples} is below 0.")
    load = _questions if True in written else _classified
    rows, classes = load(shared.config(known.config), known)
    how = {"n_resamples": known.resamples, "seed": known.seed}
    found = [evaluation.evaluate(rows, part, classes, **how) for part in given]
    compared = evaluation.compare(found[1], found[0]) if known.against else None
    if known.json:
        shared.show(found[0].result | ({"compared": compared} if compared else {}))
        return 0
    print(tables.as_markdown(found[0].result))
    if compared:
        print(f"\nFirst: {known.against}. Second: {known.predictions}.\n")
        print(tables.compared_as_markdown(compared))
    return 0


def _lines(path: Path) -> list[dict[str, Any]]:
    """Predictions of a file, each a JSON object."""
    from climb_hf.errors import CorruptFileError, DataNotFoundError

    if not path.is_file():
        raise DataNotFoundError(f"{path} is not there. Give a .jsonl file of predictions.")
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorruptFileError(f"{path}, line {number} is no JSON: {error}.") from error
        if not isinstance(one, dict):
            raise CorruptFileError(f"{path}, line {number} is no JSON object.")
        found.append(one)
    return found


def _view(
    name: str, known: argparse.Namespace, task: str, columns: Sequence[str]
) -> tuple[Any, Any]:
    """A split of a view, and the same with these columns only."""
    from climb_hf.errors import OptionError
    from climb_hf.loading import load_dataset

    options = {"data_dir": known.data_dir, "streaming": True, "decode": False}
    splits = load_dataset("climb", name, task=task, **options)
    if known.split not in splits:
        raise OptionError(f"--split {known.split!r} is not one of: {', '.join(splits)}.")
    return splits[known.split], splits[known.split].select_columns(list(columns))


def _classified(name: str, known: argparse.Namespace) -> tuple[list[Any], Sequence[str]]:
    """Rows with their labels, and the names of the classes."""
    whole, rows = _view(name, known, "classification", (*_FACTS, *_LABELS))
    return list(rows), whole.features["labels"].feature.names


def _questions(name: str, known: argparse.Namespace) -> tuple[list[Any], None]:
    """Rows with their questions, each told which of its options are not labelled."""
    _, rows = _view(name, known, "qa", (*_FACTS, *_QUESTION))
    unlabelled = dict(_unlabelled(name, known))
    return [{**row, "unlabelled": unlabelled.get(row["id"], ())} for row in rows], None


def _unlabelled(name: str, known: argparse.Namespace) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The id of each row, and the words of the classes that are neither right nor wrong there."""
    from climb_hf import catalog
    from climb_hf.labels import vocabulary_of

    columns = ("id", "source", "vocabulary", "labels", "labels_negative")
    whole, rows = _view(name, known, "classification", columns)
    names = whole.features["labels"].feature.names
    for row in rows:
        if row["vocabulary"] is None:
            continue
        words = vocabulary_of(catalog.get(row["source"]).card, row["vocabulary"])
        decided = {names[at] for at in (*row["labels"], *row["labels_negative"])}
        pairs = zip(words.names, words.texts, strict=True)
        yield row["id"], tuple(text for one, text in pairs if one not in decided)
