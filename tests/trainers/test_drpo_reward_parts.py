"""Rewards of boxes, length and confidence, and what all registered rewards must hold."""

from __future__ import annotations

import json
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from climb_hf.errors import OptionError
from climb_hf.trainers import drpo_reward_parts
from climb_hf.trainers.drpo_advantages import unit_rewards
from climb_hf.trainers.drpo_reward_parts import targets_of
from climb_hf.trainers.drpo_rewards import PRESETS, REWARDS, guard_reward
from climb_hf.trainers.scripting import ScriptArguments, reward_functions

GOLD = [{"image": 0, "label": "mass", "reader": None, "xyxy": [0, 0, 10, 10]}]


def listed(*boxes):
    items = ", ".join(f'{{"bbox_2d": {list(box)}, "label": "mass"}}' for box in boxes)
    return f"```json\n[{items}]\n```"


def iou(name, text, boxes=GOLD, **columns):
    return REWARDS[name]([text], boxes=[boxes], **columns)[0]


@pytest.mark.parametrize(("n", "score"), [(0, 0.0), (1, 0.001), (600, 0.6), (601, 1.0)])
def test_the_released_length_reward_pays_for_length(n, score):
    assert REWARDS["length_released"](["x" * n]) == [pytest.approx(score)]


def test_half_a_box_has_an_iou_of_one_half():
    assert iou("box_iou_best", listed((0, 0, 10, 5))) == pytest.approx(0.5)


def test_a_stray_box_lowers_the_mean_but_not_the_best():
    text = listed((0, 0, 10, 10), (50, 50, 60, 60))
    assert (iou("box_iou_best", text), iou("box_iou_mean", text)) == (1.0, 0.5)


@pytest.mark.parametrize("name", ["box_iou_best", "box_iou_mean"])
def test_a_row_without_target_has_no_iou_and_no_box_scores_nothing(name):
    assert iou(name, listed((0, 0, 1, 1)), boxes=[]) is None
    assert iou(name, "no box") == 0.0


def test_a_mask_counts_by_the_box_around_it():
    mask = Image.new("L", (20, 20))
    mask.paste(255, (0, 0, 10, 10))
    text = listed((0, 0, 10, 10))
    assert iou("box_iou_best", text, boxes=[], masks=[[{"mask": mask}]]) == 1.0


def test_several_masks_and_codes_are_a_target_each():
    codes = Image.new("L", (40, 40))
    codes.paste(1, (0, 0, 10, 10))
    codes.paste(2, (20, 20, 30, 40))
    both = [{"image": 0, "label": None, "mask": codes}]
    assert [one.box for one in targets_of(None, both)] == [(0, 0, 10, 10), (20, 20, 30, 40)]
    # With a label the same pixels are one finding, in the box around both.
    assert [one.box for one in targets_of(None, [{**both[0], "label": "mass"}])] == [(0, 0, 30, 40)]
    text = listed((0, 0, 10, 10), (20, 20, 30, 30))
    assert iou("box_iou_mean", text, boxes=[], masks=[both]) == pytest.approx((1 + 0.5) / 2)


def test_a_mask_as_it_is_stored_is_opened_and_an_empty_one_is_no_target():
    def stored(mask):
        kept = BytesIO()
        mask.save(kept, "PNG")
        return {"bytes": kept.getvalue(), "path": None}

    empty = Image.new("L", (9, 9))
    marked = empty.copy()
    marked.putpixel((3, 4), 255)
    masks = [{"image": 0, "label": "mass", "mask": stored(one)} for one in (empty, marked)]
    assert [one.box for one in targets_of(None, masks)] == [(3, 4, 4, 5)]


def test_masks_of_a_question_are_looked_at_once_and_those_of_the_next_anew(monkeypatch):
    looked = []
    inner = drpo_reward_parts.targets_of

    def counted(*args):
        looked.append(args)
        return inner(*args)

    monkeypatch.setattr(drpo_reward_parts, "targets_of", counted)
    other = [{**GOLD[0], "xyxy": [0, 0, 10, 5]}]
    columns = {"id": ["a"] * 6, "prompts": ["p"] * 3 + ["q"] * 3}
    texts, boxes = [listed((0, 0, 10, 10))] * 6, [GOLD] * 3 + [other] * 3
    expected = [1.0] * 3 + [0.5] * 3
    assert REWARDS["box_iou_best"](texts, boxes=boxes, **columns) == pytest.approx(expected)
    assert len(looked) == 2
    assert REWARDS["box_iou_best"](texts, boxes=boxes) == pytest.approx(expected)  # no ids: each
    assert len(looked) == 8


def placed(*items):
    made = [{"bbox_2d": list(box), "image": image, "label": label} for box, image, label in items]
    return f"```json\n{json.dumps(made)}\n```"


@pytest.mark.parametrize(
    ("image", "label", "score"),
    [(1, "mass", 1.0), (0, "mass", 0.0), (None, "mass", 0.0), (1, "Mass ", 1.0),
     (1, None, 1.0), (1, "cyst", 0.0), ("1", "mass", 0.0), (True, "mass", 0.0)],
)  # fmt: skip
def test_a_box_counts_on_its_image_and_for_its_label(image, label, score):
    gold = [{**GOLD[0], "image": 1}]
    assert iou("box_iou_best", placed(((0, 0, 10, 10), image, label)), boxes=gold) == score


def test_a_target_without_a_label_takes_any():
    gold = [{**GOLD[0], "label": None}]
    assert iou("box_iou_best", placed(((0, 0, 10, 10), 0, "cyst")), boxes=gold) == 1.0


@pytest.mark.parametrize(
    ("written", "score"),
    [
        ([], 0.0),
        ([(0, "mass")], 0.0),
        ([(0, "mass"), (1, "mass")], 0.5),  # (2 - 1) / (3 - 1)
        ([(0, "mass"), (1, "mass"), (2, "mass"), (3, "mass")], 1.0),
        ([(0, "mass"), (0, "mass"), (1, "cyst")], 0.0),
    ],
)
def test_coherence_is_the_share_of_further_views_on_which_a_finding_is_boxed(written, score):
    gold = [{**GOLD[0], "image": image} for image in (0, 1, 2)]
    gold.append({**GOLD[0], "label": "scar"})  # on one view only: asks for nothing
    text = placed(*(((5, 5, 6, 6), image, label) for image, label in written))
    assert REWARDS["view_coherence"]([text], boxes=[gold]) == [score]


def test_coherence_does_not_apply_to_findings_of_one_view():
    assert REWARDS["view_coherence"]([placed(((0, 0, 9, 9), 0, "mass"))], boxes=[GOLD]) == [None]


@pytest.mark.parametrize(("n", "score"), [(0, 1), (2000, 1), (3000, 0.5), (4000, 0), (9000, 0)])
def test_length_is_free_up_to_the_cap_and_then_costs(n, score):
    assert REWARDS["length_cap"](["x" * n]) == [score]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("\\boxed{a b} confidence: 0.8", 0.96),  # 1 - 0.2^2
        ("\\boxed{c d} confidence: 0.8", 0.36),  # 1 - 0.8^2
        ("\\boxed{a b}", 0.0),
        ("\\boxed{a b} confidence: 80", 0.0),
    ],
)
def test_confidence_has_the_brier_score(text, score):
    columns = {"answer": ["a b"], "options": [["a b", "c d"]]}
    reward = REWARDS["calibrated_confidence"]
    assert reward([text], prompts=["State your confidence."], **columns)[0] == pytest.approx(score)
    assert reward([text], prompts=["Which?"], **columns) == [None]


@settings(max_examples=60, deadline=None)
@given(text=st.text() | st.text(alphabet='`json[]{}":,0123456789.e-\\boxed confidence'))
def test_every_reward_takes_any_text_and_keeps_its_bounds(text):
    columns = {"answer": ["a b", None], "options": [["a b", "c d"], None]}
    columns |= {"answer_type": ["choice", None], "boxes": [GOLD, None], "masks": [None, None]}
    columns |= {"prompts": ["State your confidence.", ""]}
    for reward in REWARDS.values():
        values = guard_reward(reward)([text, text], **columns)
        assert len(values) == 2
        assert all(value is None or 0 <= value <= 1 for value in values)


@pytest.mark.parametrize(("preset", "weights"), [
    ("paper", [0.6, 0.2, 0.2]), ("released", [0.5, 0.3, 0.1, 0.1]),
])  # fmt: skip
def test_a_preset_sets_rewards_and_weights(preset, weights):
    training = SimpleNamespace(reward_weights=None)
    functions = reward_functions(ScriptArguments(reward_preset=preset), training)
    assert [one.__name__ for one in functions] == list(PRESETS[preset])
    assert training.reward_weights == weights


@pytest.mark.parametrize(
    ("funcs", "weights", "match"),
    [
        (["answer_f1"], None, r"reward_funcs=\['answer_f1'\] is given too"),
        (None, [1.0, 0.0, 0.0], r"reward_weights=\[1.0, 0.0, 0.0\] is given too"),
        (["answer_f1"], [1.0], r"reward_funcs=.* and reward_weights="),
        (["answer_f1", "answer_format"], None, "reward_funcs="),  # what the default would be
    ],
)
def test_a_preset_beside_what_it_sets_is_refused(funcs, weights, match):
    args = ScriptArguments(reward_preset="paper", reward_funcs=funcs)
    with pytest.raises(OptionError, match=match):
        reward_functions(args, SimpleNamespace(reward_weights=weights))


def test_an_unknown_preset_is_refused():
    with pytest.raises(OptionError, match="released"):
        reward_functions(ScriptArguments(reward_preset="x"), SimpleNamespace(reward_weights=None))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_missing_iou_does_not_make_a_domain_look_harder(preset):
    perfect = np.array([[np.nan if "iou" in name else 1.0 for name in preset]])
    weights = np.array(list(preset.values()))
    assert unit_rewards(perfect, weights, [(0, 1)] * len(preset)) == pytest.approx(1.0)
