"""The one answer parser: what counts as an answer, and that gold answers score 1."""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climb_hf.answers import Answer, boxed, normalise, parse, set_f1, split_gold
from climb_hf.labels import CLIMB7, PTBXL_SUPER5, vocabulary

OPTIONS = CLIMB7.texts
NORMAL, CD, MI, STTC, OTHER, AFIB, HYP = OPTIONS


def picks(content):
    return parse("\\boxed{" + content + "}", OPTIONS).picks


BOXES = {
    "plain": (r"so \boxed{a}", "a"),
    "nested-braces": (r"\boxed{\text{a {b} c}}", r"\text{a {b} c}"),
    "blank-before-brace": (r"\boxed {a}", "a"),
    "last-wins": (r"\boxed{a} no: \boxed{b}", "b"),
    "box-in-box": (r"\boxed{\boxed{a}}", "a"),
    "unclosed": (r"\boxed{a", None),
    "unclosed-after-closed": (r"\boxed{a} or \boxed{b", "a"),
    "no-box": ("a", None),
    "empty-text": ("", None),
    "empty-box": (r"\boxed{}", ""),
    "thought-only": (r"<think>\boxed{a}</think> a", None),
    "thought-then-answer": (r"<think>\boxed{a}</think> \boxed{b}", "b"),
    "thought-without-opening": (r"\boxed{a}</think>\boxed{b}", "b"),
    "two-thoughts": (r"<think>x</think>\boxed{a}<think>y</think>\boxed{b}", "b"),
}


@pytest.mark.parametrize(("text", "content"), BOXES.values(), ids=BOXES)
def test_the_box(text, content):
    assert boxed(text) == content


NAMED = {
    "words": (MI, (MI,)),
    "capitals": (MI.upper(), (MI,)),
    "letter": ("C", (MI,)),
    "small-letter": ("c", (MI,)),
    "letter-in-brackets": ("(C)", (MI,)),
    "letter-with-dot": ("C.", (MI,)),
    "letter-and-words": ("(C) myocardial infarction", (MI,)),
    "letter-dot-words": ("C. myocardial infarction", (MI,)),
    "latex-text": (r"\text{myocardial infarction}", (MI,)),
    "latex-bold": (r"\textbf{(C) myocardial infarction}", (MI,)),
    "markdown-bold": ("**myocardial infarction**", (MI,)),
    "full-stop": ("myocardial infarction.", (MI,)),
    "full-width": ("ｍｙｏｃａｒｄｉａｌ　ｉｎｆａｒｃｔｉｏｎ", (MI,)),
    "full-width-letter": ("Ｃ", (MI,)),
    "no-break-space": ("myocardial\u00a0infarction", (MI,)),
    "underscore": ("myocardial_infarction", (MI,)),
    "two-by-comma": (f"{MI}, {AFIB}", (MI, AFIB)),
    "two-letters": ("F, C", (MI, AFIB)),
    "two-by-and": (f"{MI} and {AFIB}", (MI, AFIB)),
    "three-with-and": (f"{CD}, {MI}, and {AFIB}", (CD, MI, AFIB)),
    "by-line": (f"{MI}\n{AFIB}", (MI, AFIB)),
    "by-semicolon": (f"{MI}; {AFIB}", (MI, AFIB)),
    "repeated": (f"{MI}, C, (C)", (MI,)),
}


@pytest.mark.parametrize(("content", "found"), NAMED.values(), ids=NAMED)
def test_an_option_is_recognised(content, found):
    assert picks(content) == found


@pytest.mark.parametrize("content", ["H", "(Z)", "heart", "infarction", "", "  ", "A B"])
def test_what_names_no_option_picks_none(content):
    assert picks(content) == ()


def test_an_unknown_part_is_kept():
    assert parse(r"\boxed{C, pneumonia}", OPTIONS).unknown == ("pneumonia",)


def test_an_unknown_part_counts_as_a_wrong_pick():
    # 1 of 2 named right, 1 of 1 gold found: F1 = 2 * 1 / (2 + 1)
    assert set_f1(parse(r"\boxed{C, pneumonia}", OPTIONS), [MI]) == pytest.approx(2 / 3)


def test_listing_everything_does_not_pay():
    everything = parse("\\boxed{" + ", ".join(OPTIONS) + "}", OPTIONS)
    assert set_f1(everything, [MI]) == pytest.approx(2 / 8)


@pytest.mark.parametrize("text", ["", MI, r"\boxed{}", r"\boxed{nonsense}", r"\boxed{" + MI])
def test_no_named_option_scores_0(text):
    assert set_f1(parse(text, OPTIONS), [MI]) == 0.0


def test_without_a_box_there_is_no_answer_at_all():
    assert parse(f"The answer is {MI}.", OPTIONS) == Answer(None)


def test_a_wrong_gold_answer_is_an_error():
    with pytest.raises(ValueError, match="not made of the options"):
        split_gold("pneumonia", OPTIONS)


subsets = st.sets(st.sampled_from(OPTIONS), min_size=1)


@given(subsets, st.randoms(use_true_random=False))
def test_a_gold_answer_scores_1_in_any_order(gold, random):
    written = sorted(gold)
    random.shuffle(written)
    answered = parse("<think>?</think> \\boxed{" + ", ".join(written) + "}", OPTIONS)
    assert set(answered.picks) == gold
    assert answered.unknown == ()
    assert set_f1(answered, sorted(gold)) == 1.0


@given(subsets, subsets)
def test_another_subset_scores_what_the_formula_says_and_less_than_1(gold, other):
    score = set_f1(parse("\\boxed{" + ", ".join(other) + "}", OPTIONS), sorted(gold))
    assert score == pytest.approx(2 * len(gold & other) / (len(gold) + len(other)))
    assert (score == 1.0) == (gold == other)


@given(subsets)
def test_letters_and_words_say_the_same(gold):
    letters = ", ".join("ABCDEFG"[OPTIONS.index(option)] for option in gold)
    assert set(picks(letters)) == gold


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["\\boxed{", "{", "}", "</think>", "<think>", "A", ",", " and ", "\\text{", "(", ")"]
        )
        | st.text(max_size=8)
    ).map("".join)
)
def test_the_parser_never_raises(text):
    answered = parse(text, OPTIONS)
    assert 0.0 <= set_f1(answered, [MI]) <= 1.0
    assert set(answered.picks) <= set(OPTIONS)


@given(st.text())
def test_compared_text_has_no_outer_blanks(text):
    compared = normalise(text)
    assert compared == compared.strip()


@pytest.mark.parametrize("words", [CLIMB7, PTBXL_SUPER5], ids=lambda words: words.id)
def test_every_pair_of_a_class_list_comes_back(words):
    for pair in itertools.combinations(words.texts, 2):
        assert split_gold(", ".join(pair), words.texts) == pair


@pytest.mark.parametrize("table", ["snomed_ecg", "scp_ecg"])
def test_every_native_name_comes_back_alone(table):
    texts = vocabulary(table).texts
    wrong = [text for text in texts if split_gold(text, texts) != (text,)]
    assert wrong == []


def test_a_degenerate_completion_is_parsed_in_time():
    # 4,000 boxes that never close: what a model in a loop writes within 8,000 tokens.
    start = time.perf_counter()
    assert boxed("\\boxed{" * 4000) is None
    assert time.perf_counter() - start < 1.0
