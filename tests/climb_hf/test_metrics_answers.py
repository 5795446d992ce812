"""Scores of written answers: hand-computed cases."""

import math

import numpy as np
import pytest

from climb_hf.errors import OptionError
from climb_hf.metrics.answers import as_markdown, bootstrap_mean, evaluate_answers, wilson

OPTIONS = ["normal", "conduction disturbance", "other"]


def row(answer, source="ptb_xl", answer_type="set", **more):
    made = {"options": OPTIONS, "answer": answer, "answer_type": answer_type, "source": source}
    return {**made, **more}


def test_scores_of_four_answers():
    texts = [
        "\\boxed{normal}",  # exact, F1 1
        "\\boxed{normal, other}",  # one of two right, F1 2/3
        "normal",  # no box
        "\\boxed{gibberish}",  # boxed, nothing right
    ]
    overall = evaluate_answers(texts, [row("normal")] * 4)[0]
    assert overall["n"] == 4
    assert overall["boxed"] == 0.75
    assert overall["exact"] == 0.25
    assert overall["f1"] == pytest.approx((1 + 2 / 3) / 4)
    assert overall["f1_low"] <= overall["f1"] <= overall["f1_high"]


def test_right_set_with_an_unknown_part_is_not_exact():
    line = evaluate_answers(["\\boxed{normal, gibberish}"], [row("normal")])[0]
    assert line["exact"] == 0
    assert line["f1"] == pytest.approx(2 / 3)


def test_one_line_per_value_of_each_column():
    rows = [row("normal", "cpsc", sex="female"), row("other", "georgia", sex=None)]
    lines = evaluate_answers(["\\boxed{normal}"] * 2, rows, ("source", "sex"))
    seen = [(line["column"], line["value"], line["n"], line["exact"]) for line in lines]
    assert seen == [
        ("all", "all", 2, 0.5),
        ("source", "cpsc", 1, 1.0),
        ("source", "georgia", 1, 0.0),
        ("sex", "female", 1, 1.0),
        ("sex", "unknown", 1, 0.0),
    ]


def test_numbers_and_free_text_are_left_out():
    rows = [row("normal"), row("12.5", answer_type="number")]
    assert evaluate_answers(["\\boxed{normal}", "\\boxed{12.5}"], rows)[0]["n"] == 1


def test_no_rows_give_nan_and_a_table():
    lines = evaluate_answers([], [])
    assert lines[0]["n"] == 0
    assert math.isnan(lines[0]["f1"])
    assert "| all | 0 | - |" in as_markdown(lines)


def test_wilson_against_published_example():
    # 10 of 20: Newcombe 1998 (Statistics in Medicine 17, method 3) gives 0.299 to 0.701
    assert wilson(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)


def test_bootstrap_agrees_with_the_normal_interval_and_repeats():
    values = np.random.default_rng(3).random(400)
    low, high = bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.005)
    assert bootstrap_mean(values) == (low, high)


def test_counts_and_columns_are_checked():
    with pytest.raises(OptionError, match="1 texts were given for 2 rows"):
        evaluate_answers(["x"], [row("normal")] * 2)
    with pytest.raises(OptionError, match="no column 'site'"):
        evaluate_answers(["x"], [row("normal")], ("site",))
