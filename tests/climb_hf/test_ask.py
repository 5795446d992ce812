"""`climb-hf ask`: a question to a saved checkpoint, and its text taken apart."""

import json

import numpy as np
import pytest
from PIL import Image

from climb_hf import cli
from climb_hf.cli.ask import RESEARCH, parts, question_with
from climb_hf.models.tiny import save_tiny
from climb_hf.models.tiny_series import tiny_series_vlm

QUESTION = "Which finding?"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("composed")
    for part in tiny_series_vlm(image_size=56):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A WFDB record, written by wfdb, and a picture."""
    import wfdb

    folder = tmp_path_factory.mktemp("files")
    signal = np.random.default_rng(0).normal(size=(300, 2))
    wfdb.wrsamp(
        "rec", 100, ["mV", "mV"], ["I", "V1"], p_signal=signal, fmt=["16"] * 2, write_dir=folder
    )
    Image.new("RGB", (70, 70), "white").save(folder / "x.png")
    return folder


def ask(*arguments):
    return cli.main(["ask", *map(str, arguments)])


def test_the_record_and_the_picture_reach_the_model(checkpoint, files, capsys):
    from climb_hf.hub import answer, load_for_inference

    given = ["--series", files / "rec.hea", "--image", files / "x.png", "--max-new-tokens", 8]
    assert ask(checkpoint, *given, "--json", QUESTION) == 0
    shown = json.loads(capsys.readouterr().out)
    model, processor = load_for_inference(checkpoint, device="cpu")
    with Image.open(files / "x.png") as picture:
        expected = answer(
            model, processor, question_with(QUESTION, ()), [picture], 8, series=[files / "rec.hea"]
        )
    assert shown["text"] == expected
    assert shown["note"] == RESEARCH


def test_parts_stand_under_headings_of_their_own(checkpoint, monkeypatch, capsys):
    text = '<think>Maybe.</think>ST is up. [{"bbox_2d": [1, 2, 3, 4]}] So \\boxed{(B) MI}'
    monkeypatch.setattr("climb_hf.hub.answer", lambda *_, **__: text)
    assert ask(checkpoint, "--option", "Normal", "--option", "MI", QUESTION) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [one.splitlines()[0] for one in blocks[:-1]] == [
        "Thinking",
        "Reasoning",
        "Boxes",
        "Answer",
        "Options named",
    ]
    said = [one.splitlines()[2] for one in blocks[:-1]]
    assert said[0] == "Maybe."
    assert said[1].split() == ["ST", "is", "up.", "So"]
    assert json.loads(said[2]) == [{"bbox_2d": [1, 2, 3, 4]}]
    assert said[3:] == ["(B) MI", "MI"]
    assert blocks[-1] == RESEARCH


def test_a_question_is_worded_as_in_training():
    from climb_hf import questions

    options = ("Normal", "MI")
    trained = questions._wording("An ECG.", options, "choice")
    assert trained == question_with(f" An ECG. {questions._ASKED['choice']} ", options)


@pytest.mark.parametrize(
    ("text", "thinking", "reasoning", "answer"),
    [
        ("Plain words.", None, "Plain words.", None),
        ("<think>cut \\boxed{A}", "cut \\boxed{A}", "", None),
        ("a \\boxed{A} b \\boxed{B", None, "a", "A"),
        ("a \\boxed{A} b \\boxed{B}", None, "a \\boxed{A} b", "B"),
        ("\\boxed{A}", None, "", "A"),
    ],
)
def test_a_text_is_taken_apart(text, thinking, reasoning, answer):
    found = parts(text)
    assert [found[key] for key in ("thinking", "reasoning", "answer")] == [
        thinking,
        reasoning,
        answer,
    ]


@pytest.mark.parametrize("text", ["see [1] and [2, 3]", "[", "[[1, 2, 3]]", '[{"bbox_2d": "x"}]'])
def test_other_brackets_are_no_boxes(text):
    found = parts(text)
    assert found["boxes"] is None
    assert found["reasoning"] == text


def test_series_for_a_model_without_a_series_side_are_refused(tmp_path, files, capsys):
    save_tiny(tmp_path, image_size=56)
    assert ask(tmp_path, "--series", files / "rec.hea", QUESTION) == 1
    assert "takes no series. Take a model made by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "kind"), [("none.hea", "DataNotFoundError"), ("bad.hea", "CorruptFileError")]
)
def test_a_header_that_cannot_be_read_is_named(checkpoint, tmp_path, capsys, name, kind):
    (tmp_path / "bad.hea").write_text("this is no header\n")
    assert ask(checkpoint, "--series", tmp_path / name, QUESTION) == 1
    printed = capsys.readouterr().err
    assert kind in printed
    assert name in printed


@pytest.mark.parametrize(
    ("name", "kind"), [("none.png", "DataNotFoundError"), ("bad.png", "CorruptFileError")]
)
def test_a_picture_that_cannot_be_read_is_named(checkpoint, tmp_path, capsys, name, kind):
    (tmp_path / "bad.png").write_text("no picture")
    assert ask(checkpoint, "--image", tmp_path / name, QUESTION) == 1
    printed = capsys.readouterr().err
    assert kind in printed
    assert name in printed


def test_a_checkpoint_that_is_not_there_is_named(tmp_path, capsys):
    assert ask(tmp_path / "nowhere", QUESTION) == 1
    assert "nowhere holds no model" in capsys.readouterr().err


def test_a_blank_question_is_refused(checkpoint, capsys):
    assert ask(checkpoint, " ") == 1
    assert "there is no question" in capsys.readouterr().err
