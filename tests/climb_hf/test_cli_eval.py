"""`climb-hf eval` over the made ECG sources."""

import json

import pytest

from climb_hf import cli
from climb_hf.loading import load_dataset


@pytest.fixture(scope="module")
def views(ecg_tree):
    """Rows of the test split of both views, and the class names."""
    found = {}
    for task in ("classification", "qa"):
        options = {"data_dir": str(ecg_tree.root), "streaming": True, "decode": False}
        part = load_dataset("climb", "ecg", task=task, **options)["test"]
        found[task] = list(part)
        if task == "classification":
            found["classes"] = part.features["labels"].feature.names
    return found


def scored(tmp_path, lines, ecg_tree, *more):
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    where = ("--config", "ecg", "--data-dir", str(ecg_tree.root))
    return cli.main(["eval", str(path), *where, "--resamples", "20", *more])


def test_right_scores_get_one_and_controls_do_not(tmp_path, capsys, ecg_tree, views):
    lines = []
    for row in views["classification"]:
        right = {name: 0.0 for name in views["classes"]}
        right |= {views["classes"][at]: 1.0 for at in row["labels"]}
        lines.append({"id": row["id"], "scores": right})
    assert scored(tmp_path, lines, ecg_tree, "--json") == 0
    overall = json.loads(capsys.readouterr().out)["overall"]["figures"]
    assert overall["balanced_accuracy"]["value"] == 1
    assert overall["balanced_accuracy"]["constant"] < 0.6


def test_right_answers_get_one(tmp_path, capsys, ecg_tree, views):
    lines = [{"id": row["id"], "answer": f"\\boxed{{{row['answer']}}}"} for row in views["qa"]]
    assert scored(tmp_path, lines, ecg_tree, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["overall"]["figures"]["accuracy"]["value"] == 1
    assert result["answers"]["answered"] == 1


def test_unparsed_answers_are_named_in_the_table(tmp_path, capsys, ecg_tree, views):
    lines = [{"id": row["id"], "answer": "no box"} for row in views["qa"]]
    assert scored(tmp_path, lines, ecg_tree) == 0
    printed = capsys.readouterr().out
    assert "100.0 % unparsed" in printed
    assert "never_right" in printed


def test_two_files_are_compared(tmp_path, capsys, ecg_tree, views):
    lines = [{"id": row["id"], "answer": f"\\boxed{{{row['answer']}}}"} for row in views["qa"]]
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({**lines[0], "answer": "no box"}), "utf-8")
    assert scored(tmp_path, lines, ecg_tree, "--against", str(other), "--json") == 0
    compared = json.loads(capsys.readouterr().out)["compared"]
    assert compared["overall"]["accuracy"]["value"] == 1
    assert compared["overall"]["accuracy"]["differs"] is True


def test_predictions_for_unknown_ids_end_in_one_line(tmp_path, capsys, ecg_tree):
    assert scored(tmp_path, [{"id": "nobody", "answer": "x"}], ecg_tree) == 1
    assert "nobody" in capsys.readouterr().err


def test_a_line_that_is_no_json_is_named(tmp_path, capsys):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"id": "a", "answer": ""}\n{', "utf-8")
    assert cli.main(["eval", str(path), "--config", "ecg"]) == 1
    assert "line 2" in capsys.readouterr().err
