"""The script that tests DRPO's claim: its task, its tables, its curves and a run of one step."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "bench" / "drpo_claim.py"


@pytest.fixture(scope="module")
def claim():
    spec = importlib.util.spec_from_file_location("drpo_claim", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["drpo_claim"] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["drpo_claim"]


def a_run(arm, seed, scores, share=None):
    curve = {"0": [0.5] * 5, "20": [0.5] * 5, "100": scores}
    return {"arm": arm, "seed": seed, "curve": curve, "effective_share": share}


# ---- task ---------------------------------------------------------------------------------------


def test_the_domains_have_the_shares_of_the_protocol(claim):
    rows = claim.Task(seed=1).train_rows(1000)
    counts = [sum(row["domain"] == f"d{n}" for row in rows) for n in range(5)]
    assert counts == [600, 250, 100, 40, 10]
    balanced = claim.Task(seed=1, control="balanced").train_rows(1000)
    assert {sum(row["domain"] == f"d{n}" for row in balanced) for n in range(5)} == {200}


def test_wrong_labels_are_in_rare_domains_only_and_never_in_the_score(claim):
    domains = [n for n in range(5) for _ in range(200)]
    right = claim.Task(seed=2).rows(domains, 5)
    wrong = claim.Task(seed=2, control="wrong").rows(domains, 5)
    assert all(row["answer"] == row["truth"] for row in right)
    changed = [sum(row["answer"] != row["truth"] for row in wrong[i : i + 200]) / 200
               for i in range(0, 1000, 200)]  # fmt: skip
    assert changed[:3] == [0, 0, 0]
    # 0.6 of the labels are another question's, which is sometimes the same.
    assert all(0.3 < one < 0.65 for one in changed[3:])


def test_a_score_is_the_f1_of_two_sets(claim):
    assert claim.set_f1("L1 L2", "L2 L1") == 1
    assert claim.set_f1("L1", "L1 L2") == pytest.approx(2 / 3)
    assert claim.set_f1("L3 L3", "L1") == 0


# ---- tables and curves --------------------------------------------------------------------------


def test_an_arm_is_compared_with_grpo_of_its_own_seeds(claim):
    found = [a_run("GRPO", seed, [0.8, 0.6, 0.5, 0.4, 0.2]) for seed in (0, 1, 2)]
    found[2]["curve"]["100"] = [0.0] * 5  # a seed that DRPO did not run
    found += [a_run("DRPO", 0, [0.8, 0.6, 0.5, 0.5, 0.3], 0.5)]
    found += [a_run("DRPO", 1, [0.8, 0.6, 0.5, 0.7, 0.5], 0.7)]
    lines = claim.report(found, "none")
    (line,) = [one for one in lines if one.startswith("| DRPO |")]
    # Rare: +10 and +30 points. The t quantile of one degree of freedom is 12.706, the standard
    # error of two values is half of their distance: 10.
    assert line.split(" | ")[1:] == [
        "2", "+8.0 ± 50.8", "+20.0 ± 127.1", "+1.0 ± 6.4", "+0.0 ± 0.0", "0.60 |"
    ]  # fmt: skip
    (line,) = [one for one in lines if one.startswith("| GRPO |")]
    assert line.split(" | ")[1:3] == ["3", f"{(0.5 + 0.5 + 0) / 3:.3f}"]


def test_any_arm_can_be_what_others_are_compared_with(claim):
    found = [a_run("GRPO", 0, [0.5] * 5), a_run("DRPO", 0, [0.6] * 5)]
    (line,) = [one for one in claim.report(found, "none", "DRPO") if one.startswith("| GRPO |")]
    assert line.split(" | ")[2:6] == ["-10.0"] * 4
    (line,) = claim.report(found, "none", "DISCO")
    assert "no run of 'DISCO'" in line


def test_the_band_is_the_t_interval_of_the_mean(claim):
    values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    # Student's quantile for two degrees of freedom is 4.303; the standard deviations are 1 and 0.
    assert claim.half_width(values) == pytest.approx([4.303 / math.sqrt(3), 0], abs=1e-3)
    assert np.isnan(claim.half_width(values[:1])).all()


def test_the_curves_are_a_small_png(claim, tmp_path):
    pytest.importorskip("matplotlib")
    found = [a_run(arm, seed, [0.1 * seed] * 5) for arm in claim.ARMS for seed in range(3)]
    claim.draw(found, "none", claim.DRAWN, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
        assert image.width >= 600
    assert (tmp_path / "curves.png").stat().st_size < 150_000


# ---- runs ---------------------------------------------------------------------------------------


def test_every_arm_is_a_configuration_that_the_trainer_takes(claim, tmp_path):
    from climb_hf.trainers import DRPOConfig

    for options in claim.ARMS.values():
        DRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to=[], **options)
    assert set(claim.DRAWN) <= set(claim.ARMS)


def test_a_run_scores_each_domain_before_and_after_training(claim, monkeypatch):
    for name, value in {"QUESTIONS": 4, "ROLLOUTS": 4, "HELD_OUT": 3}.items():
        monkeypatch.setattr(claim, name, value)
    made = claim.run("DRPO", 0, "none", steps=1, rate=1e-3, warm=1)
    assert list(made["curve"]) == ["0", "1"]
    assert all(len(scores) == 5 for scores in made["curve"].values())
    assert all(0 <= one <= 1 for scores in made["curve"].values() for one in scores)


def test_a_generation_that_teaches_nothing_has_no_share(claim):
    shares = [{"drpo/effective_share": one} for one in (0.5, None, math.nan, 0.7)]
    assert claim.mean_share([*shares, {"loss": 0.1}]) == pytest.approx(0.6)
    assert claim.mean_share([{"loss": 0.1}]) is None


def test_a_report_runs_nothing(claim, tmp_path):
    pytest.importorskip("matplotlib")
    found = [a_run(arm, seed, [0.1 * seed] * 5) for arm in ("GRPO", "DRPO") for seed in range(3)]
    path = tmp_path / "none-100-60-0.001.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in found))
    before = path.read_text()
    told = [sys.executable, str(SCRIPT), "--out", str(tmp_path), "--quick", "--report"]
    ran = subprocess.run(told, capture_output=True, text=True, check=True)
    assert "| DRPO | 3 | +0.0 ± 0.0 |" in ran.stdout
    assert path.read_text() == before
    assert {one.name for one in tmp_path.glob("*.*g")} == {"curves.png"}
    assert (tmp_path / "none-100-60-0.001.md").read_text().strip() in ran.stdout
