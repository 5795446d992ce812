"""Questions: what is asked, of whom, and that their own gold answer scores 1."""

import itertools
from dataclasses import replace

import pytest

from climb_hf import catalog
from climb_hf.answers import parse, set_f1, split_gold
from climb_hf.errors import OptionError
from climb_hf.labels import CLIMB7, Labels, classify, vocabulary
from climb_hf.questions import STYLES, ask

CARD = catalog.get("georgia").card
NAMES = CLIMB7.names


def labelled(*names):
    return Labels(CLIMB7, positive=tuple(n for n in NAMES if n in names))


def subsets():
    return [c for size in range(1, 8) for c in itertools.combinations(NAMES, size)]


def test_a_set_question_scores_1_for_every_subset_of_classes():
    for names in subsets():
        asked = ask(CARD, labelled(*names), "set")
        gold = split_gold(asked.answer, asked.options)
        assert set_f1(parse("\\boxed{" + asked.answer + "}", asked.options), gold) == 1.0
        assert len(gold) == len(names)


def test_options_are_in_class_order_and_lettered():
    asked = ask(CARD, labelled("mi"))
    assert asked.options == CLIMB7.texts
    text = asked.prompt[0]["content"]
    for letter, option in zip("ABCDEFG", CLIMB7.texts, strict=True):
        assert f"({letter}) {option}" in text


@pytest.mark.parametrize("style", STYLES)
def test_a_question_asks_for_a_boxed_answer(style):
    asked = ask(CARD, labelled("mi"), style)
    assert [turn["role"] for turn in asked.prompt] == ["user"]
    assert "\\boxed{}" in asked.prompt[0]["content"]
    assert asked.answer_type == style
    assert style in asked.question_id


def test_a_question_does_not_ask_for_bounding_boxes():
    text = ask(CARD, labelled("mi")).prompt[0]["content"].lower()
    assert "json" not in text
    assert "bounding" not in text


# Clinical priority of the source card, section 0.3: mi > afib > cd > hyp > sttc > other > normal.
PRIORITY = ("mi", "afib", "cd", "hyp", "sttc", "other", "normal")


@pytest.mark.parametrize("first", range(7), ids=PRIORITY)
def test_a_choice_goes_by_clinical_priority(first):
    asked = ask(CARD, labelled(*PRIORITY[first:]), "choice")
    assert split_gold(asked.answer, asked.options) == (CLIMB7.texts[NAMES.index(PRIORITY[first])],)


def test_no_positive_class_is_no_question():
    assert ask(CARD, Labels(CLIMB7)) is None


def test_no_vocabulary_is_no_question():
    assert ask(CARD, Labels(None)) is None


def test_a_source_without_template_asks_nothing():
    assert ask(replace(CARD, question=None, shown=""), labelled("mi")) is None


def test_an_unknown_style_names_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'choice'"):
        ask(CARD, labelled("mi"), "choices")


def test_a_choice_among_native_codes_without_a_single_one_is_no_question():
    found = classify(CARD, ["164889003", "59118001"], label_set="native")
    assert ask(CARD, found, "choice") is None


@pytest.mark.parametrize(
    ("source", "codes"),
    [("georgia", ["164889003", "67741000119109"]), ("ptb_xl", ["PRC(S)", "NST_", "LAO/LAE"])],
    ids=["snomed", "scp"],
)
def test_native_questions_score_1_too(source, codes):
    card = catalog.get(source).card
    asked = ask(card, classify(card, codes, label_set="native"))
    assert set(split_gold(asked.answer, asked.options)) == {
        vocabulary(card.code_tables[0]).texts[vocabulary(card.code_tables[0]).names.index(code)]
        for code in codes
    }


def test_more_options_than_letters_are_offered_by_name():
    asked = ask(CARD, classify(CARD, ["164889003"], label_set="native"))
    assert len(asked.options) == 142
    assert "(A)" not in asked.prompt[0]["content"]
