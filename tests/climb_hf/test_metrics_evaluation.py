"""The evaluation: figures derived by hand, from the paper, and by scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from climb_hf.errors import OptionError
from climb_hf.metrics.evaluation import compare, evaluate
from climb_hf.metrics.metric import clinical_metric
from climb_hf.metrics.tables import as_markdown, compared_as_markdown

FIVE = ("a", "b", "c", "d", "e")


def row(at, labels, classes=FIVE, *, negative=None, source="x", **more):
    others = [name for name in classes if name not in labels]
    return {
        "id": f"{source}/{at}",
        "source": source,
        "domain": source,
        "patient_id": str(at),
        "labels": list(labels),
        "labels_negative": others if negative is None else list(negative),
        "labels_uncertain": [],
        **more,
    }


def balanced(n_each=10, **more):
    return [row(at, [FIVE[at % 5]], **more) for at in range(5 * n_each)]


def said(rows, text):
    return [{"id": one["id"], "answer": text(one)} for one in rows]


def value(entry, name):
    return entry["figures"][name]["value"]


def quick(rows, predictions, classes=FIVE, **more):
    return evaluate(rows, predictions, classes, **{"n_resamples": 0, **more}).result


# ---- golden figures -----------------------------------------------------------------------------


def test_a_constant_on_five_balanced_classes_scores_068_in_the_papers_way_and_020_in_truth():
    rows = balanced()
    overall = quick(rows, said(rows, lambda _: "\\boxed{a}"))["overall"]
    # One label is right for a fifth of the rows, four are right for four fifths.
    assert value(overall, "paper_balanced_accuracy") == pytest.approx((0.2 + 4 * 0.8) / 5) == 0.68
    assert value(overall, "balanced_accuracy") == pytest.approx(0.20)
    # F1 of the label answered is 2 * 0.2 / 1.2; the paper's rows of a collapse print .067.
    assert value(overall, "macro_f1") == pytest.approx(0.0667, abs=5e-5)


@pytest.mark.parametrize(
    ("n_classes", "accuracy", "f1"), [(2, 0.5, 0.333), (3, 0.5556, 0.1667)], ids=["two", "three"]
)
def test_the_papers_collapsed_rows_are_those_of_a_constant(n_classes, accuracy, f1):
    names = FIVE[:n_classes]
    rows = [row(at, [names[at % n_classes]], names) for at in range(6 * n_classes)]
    overall = quick(rows, said(rows, lambda _: "\\boxed{a}"), names)["overall"]
    assert value(overall, "paper_balanced_accuracy") == pytest.approx(accuracy, abs=5e-5)
    assert value(overall, "macro_f1") == pytest.approx(f1, abs=5e-4)


def test_a_domain_is_the_mean_of_its_sources_and_overall_that_of_domains():
    rows, right = [], []
    for source, domain, hits in (("p", "one", 10), ("q", "one", 5), ("r", "two", 2)):
        made = [row(at, [FIVE[at % 2]], ("a", "b"), source=source) for at in range(10)]
        rows += [{**one, "domain": domain} for one in made]
        right += [at < hits for at in range(10)]
    answers = []
    for one, hit in zip(rows, right, strict=True):
        gold = one["labels"][0]
        other = "b" if gold == "a" else "a"
        answers.append({"id": one["id"], "answer": f"\\boxed{{{gold if hit else other}}}"})
    result = quick(rows, answers, ("a", "b"))
    assert value(result["sources"]["q"], "accuracy") == 0.5
    assert value(result["domains"]["one"], "accuracy") == pytest.approx(0.75)
    assert value(result["overall"], "accuracy") == pytest.approx((0.75 + 0.2) / 2)


def test_overall_is_the_papers_arithmetic_of_its_eight_domains():
    # GRPO in Table 2 of arXiv 2506.00711: accuracies of the domains, and .609 overall.
    table = (0.703, 0.466, 0.646, 0.524, 0.670, 0.520, 0.631, 0.715)
    rows, answers = [], []
    for at, accuracy in enumerate(table):
        made = [row(n, ["a" if n < 500 else "b"], ("a", "b"), source=f"d{at}") for n in range(1000)]
        rows += made
        for n, one in enumerate(made):
            gold = one["labels"][0]
            wrong = "b" if gold == "a" else "a"
            text = gold if n < round(1000 * accuracy) else wrong
            answers.append({"id": one["id"], "answer": f"\\boxed{{{text}}}"})
    result = quick(rows, answers, ("a", "b"), subgroups=())
    assert value(result["overall"], "paper_balanced_accuracy") == pytest.approx(0.609, abs=5e-4)


# ---- against scikit-learn -----------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(8, 60))
def test_figures_of_one_right_class_agree_with_scikit_learn(seed, n_classes, n):
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    names, gold = FIVE[:n_classes], generator.integers(0, n_classes, n)
    scores = np.round(generator.random((n, n_classes)), 1)  # rounded, so that there are ties
    rows = [row(at, [names[one]], names) for at, one in enumerate(gold)]
    given_ = [{"id": f"x/{at}", "scores": list(one)} for at, one in enumerate(scores)]
    overall = quick(rows, given_, names, subgroups=())["overall"]
    picked, present = scores.argmax(axis=1), np.unique(gold)
    expected = {
        "accuracy": metrics.accuracy_score(gold, picked),
        "balanced_accuracy": metrics.recall_score(gold, picked, labels=present, average="macro"),
        "macro_f1": metrics.f1_score(gold, picked, labels=present, average="macro"),
        "brier": np.mean(
            [
                metrics.brier_score_loss(gold == c, scores[:, c], pos_label=True)
                for c in range(n_classes)
            ]
        ),
    }
    if len(present) > 1:
        both = [c for c in present]
        expected["auc"] = np.mean([metrics.roc_auc_score(gold == c, scores[:, c]) for c in both])
    assert {name: value(overall, name) for name in expected} == pytest.approx(expected)


@settings(max_examples=12, deadline=None)
@given(
    hnp.arrays(int, st.tuples(st.integers(4, 40), st.just(3)), elements=st.integers(-1, 1)),
    st.integers(0, 2**32 - 1),
)
def test_labels_agree_with_scikit_learn_over_the_rows_that_are_labelled(truth, seed):
    metrics = pytest.importorskip("sklearn.metrics")
    names = ("a", "b", "c")
    truth[:2] = [[1, 1, 1], [0, 0, 0]]  # several can be right, and each label has both values
    scores = np.round(np.random.default_rng(seed).random(truth.shape), 1)
    rows = [
        row(
            at,
            [n for n, t in zip(names, one, strict=True) if t == 1],
            names,
            negative=[n for n, t in zip(names, one, strict=True) if t == 0],
        )
        for at, one in enumerate(truth)
    ]
    given_ = [{"id": f"x/{at}", "scores": list(one)} for at, one in enumerate(scores)]
    source = quick(rows, given_, names, subgroups=())["sources"]["x"]
    halves = []
    for at, name in enumerate(names):
        known = truth[:, at] >= 0
        gold, score = truth[known, at], scores[known, at]
        line = source["labels"][name]
        assert value(line, "auc") == pytest.approx(metrics.roc_auc_score(gold, score))
        assert value(line, "f1") == pytest.approx(metrics.f1_score(gold, score >= 0.5))
        assert value(line, "accuracy") == pytest.approx(metrics.accuracy_score(gold, score >= 0.5))
        halves.append(metrics.balanced_accuracy_score(gold, score >= 0.5))
    assert value(source, "balanced_accuracy") == pytest.approx(np.mean(halves))


def test_not_labelled_is_no_negative():
    rows = [row(0, ["a"], negative=["b"]), row(1, ["b"], negative=[]), row(2, [], negative=["b"])]
    scores = [{"id": one["id"], "scores": [0.9, 0.9, 0, 0, 0]} for one in rows]
    source = quick(rows, scores)["sources"]["x"]
    assert list(source["labels"]) == ["a", "b"]
    assert source["labels"]["a"]["n"] == 1
    assert value(source["labels"]["b"], "specificity") == 0  # of two negatives, both answered


def test_calibration_error_of_a_sure_and_half_right_model_is_a_half():
    rows = [row(at, ["ab"[at % 2]], ("a", "b")) for at in range(10)]
    scores = [{"id": one["id"], "scores": {"a": 1.0, "b": 0.0}} for one in rows]
    overall = quick(rows, scores, ("a", "b"))["overall"]
    assert value(overall, "ece") == pytest.approx(0.5)


# ---- intervals, controls, subgroups -------------------------------------------------------------


def noisy(rows, seed=0, signal=0.5):
    generator = np.random.default_rng(seed)
    made = []
    for one in rows:
        scores = generator.random(5)
        scores[FIVE.index(one["labels"][0])] += signal
        made.append({"id": one["id"], "scores": list(scores / 2)})
    return made


def test_patients_with_many_rows_widen_the_interval():
    rows = balanced(20)
    clustered = [{**one, "patient_id": str(at // 20)} for at, one in enumerate(rows)]
    answers = [
        {"id": one["id"], "answer": f"\\boxed{{{one['labels'][0] if at < 60 else 'a'}}}"}
        for at, one in enumerate(rows)
    ]
    widths = []
    for shown in (rows, clustered):
        line = evaluate(shown, answers, FIVE, subgroups=()).result["overall"]["figures"]["accuracy"]
        widths.append(line["high"] - line["low"])
    assert widths[1] > 2 * widths[0]


def test_the_same_seed_gives_the_same_result_whatever_the_order_of_predictions():
    rows = balanced()
    results = [
        evaluate(rows, order, FIVE, n_resamples=50, seed=3).result
        for order in (noisy(rows), noisy(rows)[::-1])
    ]
    assert results[0] == results[1]


def test_controls_stand_beside_each_figure():
    rows = balanced(40)
    figures = quick(rows, noisy(rows, signal=2))["overall"]["figures"]
    assert figures["auc"]["value"] == 1
    assert 0.45 <= figures["auc"]["shuffled"] <= 0.55
    assert figures["auc"]["constant"] == 0.5
    assert figures["paper_balanced_accuracy"]["constant"] == pytest.approx(0.68)


def test_subgroups_by_sex_age_and_site():
    rows = [
        {**one, "sex": "female" if at < 25 else None, "age_years": 64.9, "site": "s"}
        for at, one in enumerate(balanced())
    ]
    answers = said(rows, lambda one: f"\\boxed{{{one['labels'][0] if one['sex'] else 'a'}}}")
    groups = quick(rows, answers)["subgroups"]
    assert value(groups["sex"]["female"], "accuracy") == 1
    assert value(groups["sex"]["unknown"], "accuracy") == 0.2
    assert list(groups["age"]) == ["40-64"]
    assert groups["site"]["s"]["n"] == 50


def test_paired_intervals_see_what_a_better_model_adds():
    rows = balanced(20)
    first, second = (
        evaluate(rows, noisy(rows, signal=signal), FIVE, n_resamples=200, subgroups=())
        for signal in (0.1, 0.9)
    )
    assert compare(first, second)["overall"]["auc"]["differs"] is True
    assert compare(first, first)["overall"]["auc"] == {
        "value": 0,
        "low": 0,
        "high": 0,
        "differs": False,
    }
    assert "* |" in compared_as_markdown(compare(first, second))


def test_results_of_other_rows_are_not_compared():
    rows = balanced()
    first = evaluate(rows, noisy(rows), FIVE, n_resamples=0)
    second = evaluate(rows[:-5], noisy(rows[:-5]), FIVE, n_resamples=0)
    with pytest.raises(OptionError, match="different rows"):
        compare(first, second)


# ---- what is named ------------------------------------------------------------------------------


def kinds(result):
    return {one["kind"] for one in result["faults"]}


def test_a_collapse_is_named():
    rows = balanced()
    assert kinds(quick(rows, said(rows, lambda _: "\\boxed{a}"))) == {"collapse"}


def test_a_sound_model_has_no_faults():
    rows = balanced()
    assert quick(rows, noisy(rows, signal=1.0))["faults"] == []


def test_unparsed_abstained_and_missing_rows_are_counted_and_wrong():
    rows = [row(at, ["ab"[at % 2]], ("a", "b")) for at in range(4)]
    texts = ["\\boxed{a}", "it is b", "\\boxed{I don't know}"]
    answers = [{"id": f"x/{at}", "answer": text} for at, text in enumerate(texts)]
    result = quick(rows, answers, ("a", "b"))
    shares = {"answered": 0.25, "abstained": 0.25, "unparsed": 0.25, "missing": 0.25}
    assert result["answers"] == shares
    assert value(result["overall"], "accuracy") == 0.25
    assert value(result["overall"], "specificity") == 0.25  # b is rejected once in four rows
    assert "unanswered" in kinds(result)


def test_answers_that_never_match_a_label_are_named():
    rows = balanced()
    assert {"never_right", "unanswered"} <= kinds(quick(rows, said(rows, lambda _: "\\boxed{z}")))


def test_one_class_only_has_no_auc_and_says_so():
    rows = [row(at, ["a"]) for at in range(4)]
    result = quick(rows, [{"id": one["id"], "scores": [1, 0, 0, 0, 0]} for one in rows])
    assert value(result["overall"], "auc") is None
    assert "one_class" in kinds(result)


def test_a_source_without_labels_is_named_and_moves_no_mean():
    bare = [row(at, [], negative=[], source="bare") for at in range(3)]
    rows = balanced() + bare
    answers = said(rows, lambda one: f"\\boxed{{{(one['labels'] or ['a'])[0]}}}")
    result = quick(rows, answers)
    assert kinds(result) == {"no_labels"}
    assert value(result["overall"], "accuracy") == 1
    assert value(result["sources"]["bare"], "accuracy") is None


def test_logits_are_ranked_but_not_called_calibrated():
    rows = balanced()
    logits = [{**one, "scores": [9 * s for s in one["scores"]]} for one in noisy(rows, signal=2)]
    result = quick(rows, logits)
    assert value(result["overall"], "auc") == 1
    assert value(result["overall"], "ece") is None
    assert kinds(result) == {"no_probabilities"}


BAD = {
    "no predictions": ([], "no predictions"),
    "unknown id": ([{"id": "x/999", "answer": ""}], "x/999"),
    "twice": ([{"id": "x/0", "answer": ""}] * 2, "twice"),
    "neither": ([{"id": "x/0"}], "`answer` or `scores`"),
    "too few": ([{"id": "x/0", "scores": [1]}], "1 scores for 5"),
    "no number": ([{"id": "x/0", "scores": {"a": "high"}}], "no number"),
    "unknown class": ([{"id": "x/0", "scores": {"zebra": 1}}], "zebra"),
}


@pytest.mark.parametrize(("predictions", "message"), BAD.values(), ids=BAD)
def test_predictions_that_do_not_fit_are_refused(predictions, message):
    with pytest.raises(OptionError, match=message):
        quick(balanced(), predictions)


def test_no_rows_are_refused():
    with pytest.raises(OptionError, match="no rows"):
        quick([], [])


def test_question_rows_are_scored_by_their_own_options():
    rows = [
        {
            "id": "q/0",
            "source": "q",
            "options": ["yes", "no"],
            "answer": "no",
            "answer_type": "choice",
        },
        {
            "id": "q/1",
            "source": "q",
            "options": ["yes", "no"],
            "answer": "yes",
            "answer_type": "choice",
        },
        {"id": "q/2", "source": "q", "options": [], "answer": "12", "answer_type": "number"},
    ]
    answers = [{"id": "q/0", "answer": "\\boxed{(B)}"}, {"id": "q/1", "answer": "\\boxed{no}"}]
    result = quick(rows, answers, None)
    assert result["n_rows"] == 2
    assert value(result["overall"], "balanced_accuracy") == 0.5


def test_an_option_of_a_question_that_nobody_looked_for_is_no_negative():
    rows = [
        {
            "id": f"q/{at}",
            "source": "q",
            "options": ["a", "b", "c"],
            "answer": "a",
            "answer_type": "set",
            "unlabelled": ["a", "b"],
        }
        for at in range(2)
    ]
    labels = quick(rows, said(rows, lambda _: "\\boxed{a, b}"), None)["sources"]["q"]["labels"]
    assert list(labels) == ["a", "c"]  # what the answer holds is positive, whatever was looked for
    assert value(labels["c"], "specificity") == 1


def test_the_result_is_json_and_a_table():
    rows = balanced()
    result = evaluate(rows, noisy(rows), FIVE, n_resamples=20).result
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    table = as_markdown(result).splitlines()
    assert {line.count("|") for line in table if line.startswith("|")} == {9}


# ---- as a metric of `evaluate` ------------------------------------------------------------------


def test_the_metric_of_evaluate_adds_batches_and_gives_the_same_figures():
    pytest.importorskip("evaluate")
    rows = balanced()
    made = noisy(rows)
    metric = clinical_metric(rows, FIVE, n_resamples=0)
    for one in made:
        metric.add_batch(predictions=[one["scores"]], references=[one["id"]])
    found = metric.compute()
    assert found["auc"] == value(quick(rows, made)["overall"], "auc")
    assert found["evaluation"]["n_rows"] == 50


def test_the_metric_of_evaluate_takes_written_answers_of_a_part_of_the_rows():
    pytest.importorskip("evaluate")
    metric = clinical_metric(balanced(), FIVE, answers=True, n_resamples=0)
    found = metric.compute(predictions=["\\boxed{a}", "no box"], references=["x/0", "x/1"])
    assert found["accuracy"] == 0.5
    assert found["evaluation"]["answers"]["unparsed"] == 0.5
