"""The demo's own figures, and the whole of it behind the `slow` marker."""

from __future__ import annotations

import json

import pytest

from climb_hf.trainers import demo


def _steps(rewards, spread=0.1):
    return [{"reward": reward, "reward_std": spread} for reward in rewards]


def test_a_clear_rise_is_told():
    # First fifth 0.0, 0.2 (mean 0.1), last fifth 0.8, 1.0 (mean 0.9); both variances are 0.02, so
    # the standard error is sqrt(0.02 / 2 + 0.02 / 2) = 0.1414, with 2 degrees of freedom
    # (t = 4.303): 0.8 +- 0.6085.
    found = demo.rise(_steps([0.0, 0.2, *[0.5] * 6, 0.8, 1.0]))
    assert found["rise"] == pytest.approx(0.8)
    assert found["rise_interval_95"] == pytest.approx([0.1915, 1.4085], abs=1e-3)
    assert found["rewards_rise"].startswith("yes")


def test_noise_is_no_rise():
    found = demo.rise(_steps([0.4, 0.6, *[0.5] * 6, 0.45, 0.6]))
    assert found["rewards_rise"].startswith("no: the interval does not exclude zero")


def test_a_fall_is_no_rise():
    assert demo.rise(_steps([0.9, 0.8, *[0.5] * 6, 0.1, 0.0]))["rewards_rise"].startswith("no")


def test_rewards_that_never_vary_say_so():
    found = demo.rise(_steps([0.0] * 10, spread=0.0))
    assert "do not vary" in found["rewards_rise"]


def _line(share, low, high):
    return {"exact": share, "exact_low": low, "exact_high": high}


def test_the_signal_is_used_only_where_the_interval_lies_above_both_others():
    model, low, high = _line(0.7, 0.6, 0.8), _line(0.3, 0.2, 0.4), _line(0.55, 0.45, 0.65)
    used = demo.signal_use(model, low, low)
    assert used["signal_is_used"].startswith("yes")
    assert used["accuracy_interval_95"]["series_removed"] == [0.3, 0.2, 0.4]
    removed = demo.signal_use(model, high, low)["signal_is_used"]
    assert removed.startswith("not shown") and removed.endswith("that of the series removed")
    majority = demo.signal_use(model, low, high)["signal_is_used"]
    assert majority.startswith("not shown") and majority.endswith("that of the majority class")


@pytest.mark.slow
def test_the_whole_demo(ecg_tree, tmp_path):
    report = demo.run(str(ecg_tree.root), tmp_path / "demo")
    assert json.loads((tmp_path / "demo" / "report.json").read_text()) == report
    assert set(report["held_out"]) == {"start", "supervised", "drpo"}
    sources = {line["value"] for line in report["held_out"]["drpo"]}
    assert sources <= {"all", "ptb_xl", "chapman_shaoxing", "georgia", "cpsc"}
    assert "Results" in (tmp_path / "demo" / "drpo" / "README.md").read_text()
    assert report["answer"]["said"]
    shown = report["signal"]["accuracy_interval_95"]
    assert set(shown) == {"with_series", "series_removed", "majority_class"}
    assert all(low <= share <= high for share, low, high in shown.values())
