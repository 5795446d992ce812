"""What answers that know nothing are paid."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset
from PIL import Image

from climb_hf.cli import main
from climb_hf.trainers import scripting
from climb_hf.trainers.audit_rewards import audit_rewards
from climb_hf.trainers.drpo_rewards import answer_f1, answer_format, box_iou_mean, length_cap

ROWS = [
    {"domain": "ecg", "answer": gold, "options": ["normal", "block"], "answer_type": "choice"}
    for gold in ("normal", "normal", "normal", "block")
]


@pytest.fixture
def lines():
    found = audit_rewards([answer_f1, answer_format, length_cap], [0.6, 0.2, 0.2], ROWS)
    return {line["reward"]: line for line in found}


def test_the_constant_answer_gets_the_share_of_the_commonest(lines):
    assert lines["answer_f1"]["constant"] == 0.75


def test_naming_all_options_gets_two_thirds_of_a_choice_of_two(lines):
    assert lines["answer_f1"]["all"] == pytest.approx(2 / 3, abs=1e-4)


def test_the_gold_answer_gets_everything(lines):
    assert {line["gold"] for line in lines.values()} == {1.0}


def test_saying_none_is_paid_for_its_form_and_length_only(lines):
    assert lines["total"]["none"] == pytest.approx(0.2 * 0.5 + 0.2)


def test_what_can_be_had_for_free_counts_constant_and_all_inclusive_answers(lines):
    # The commonest answer: right in 3 of 4, and of full form and length.
    assert lines["total"]["free"] == pytest.approx(0.6 * 0.75 + 0.2 + 0.2)
    # Where no answer is commoner than another, naming both options is what pays: F1 of 2 / 3.
    even = audit_rewards([answer_f1], [1.0], [ROWS[0], ROWS[3]])
    assert even[0]["free"] == even[0]["all"] == pytest.approx(2 / 3, abs=1e-4)


def test_the_gold_answer_has_its_boxes_on_their_images():
    boxes = [{"image": 1, "label": "Mass", "reader": None, "xyxy": [1.0, 2.0, 30.0, 40.0]}]
    mask = Image.new("L", (50, 50))
    mask.paste(7, (4, 4, 20, 20))
    masks = [{"image": 0, "label": None, "reader": None, "mask": mask}]
    rows = [{**ROWS[0], "boxes": boxes}, {**ROWS[3], "masks": masks}]
    rows = [{"boxes": None, "masks": None, **row} for row in rows]
    (line, _) = audit_rewards([box_iou_mean], [1.0], rows)
    assert (line["gold"], line["free"]) == (1.0, 0.0)


# ---- the command --------------------------------------------------------------------------------


@pytest.fixture
def made_rows(monkeypatch):
    monkeypatch.setattr(scripting, "load_questions", lambda *_, **__: Dataset.from_list(ROWS))


def audit(*flags):
    return main(["train", "audit-rewards", "--recipe", "tiny_cpu_drpo", *flags])


FLAGS = ("--domain_column", "domain")


def test_the_command_prints_json(made_rows, capsys):
    assert audit("--json", *FLAGS) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [line["reward"] for line in lines] == ["answer_f1", "answer_format", "total"]
    assert lines[-1]["gold"] == 1.0
    assert lines[-1]["constant"] == pytest.approx(0.8 * 0.75 + 0.2)  # our default weights


def test_the_command_prints_a_table_otherwise(made_rows, capsys):
    assert audit(*FLAGS) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[-2:] == ["gold", "free"] and len(lines) == 3


def test_masks_of_a_source_are_targets_of_the_papers_reward(load_fake, tmp_path, capsys):
    load_fake("busi").make(tmp_path)
    flags = ("--dataset_name", "busi", "--data_dir", str(tmp_path), "--reward_preset", "paper")
    assert main(["train", "audit-rewards", "--recipe", "tiny_cpu_drpo", "--json", *flags]) == 0
    lines = {line["reward"]: line for line in json.loads(capsys.readouterr().out)}
    iou = lines["box_iou_best"]
    assert (iou["gold"], iou["free"]) == (1.0, 0.0)  # no answer without a box earns any of it
    assert lines["total"]["gold"] == 1.0
    # A normal image has no target: its form and answer then are all of the reward, so that saying
    # the commonest class pays more than .6 / 3 + .2 (one in three is right).
    third = lines["answer_f1"]["constant"]
    assert lines["total"]["constant"] > 0.6 * third + 0.2 + 1e-3


@pytest.mark.parametrize("verb", ["sft", "drpo"])
def test_verbs_that_print_no_table_refuse_json(verb, capsys):
    assert main(["train", verb, "--json"]) != 0
    assert f"--json has no effect on `train {verb}`" in capsys.readouterr().err


def test_padding_is_paid_nothing(lines):
    assert lines["total"]["padded"] == 0.0
