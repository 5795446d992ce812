"""Questions about a record, their options and the gold answer, made from its classes."""

from __future__ import annotations

from dataclasses import dataclass

from climb_hf.card import SourceCard, Vocabulary
from climb_hf.check import check_option
from climb_hf.labels import Labels

STYLES = ("set", "choice")
_ASKED = {
    "set": "Which of these groups of findings does it show? List every group that applies, "
    "separated by commas.",
    "choice": "Which of these groups describes it best? Choose one.",
}
_CLOSING = "Reason step by step, then write the final answer inside \\boxed{}."


@dataclass(frozen=True)
class Question:
    """One question, as the columns of the `qa` view hold it.

    Attributes:
        answer: gold text; several names joined by ", "; `climb_hf.answers` scores it 1.
        answer_type: `set` or `choice`.
    """

    question_id: str
    prompt: tuple[dict[str, str], ...]
    options: tuple[str, ...]
    answer: str
    answer_type: str


def ask(card: SourceCard, labels: Labels, style: str = "set") -> Question | None:
    """Returns the question that a record's classes answer, or None where they answer none.

    Args:
        labels: classes with `normal` exclusive, as a question needs them.
        style: `set` asks for every group, `choice` for one; a record with several classes then
            goes by clinical priority.
    """
    check_option("question", style, STYLES)
    if card.question is None or labels.vocabulary is None or not labels.positive:
        return None
    words = labels.vocabulary
    chosen = labels.positive if style == "set" else _one(labels, words)
    if not chosen:
        return None
    text_of = dict(zip(words.names, words.texts, strict=True))
    return Question(
        question_id=f"{card.question}_{style}/1",
        prompt=({"role": "user", "content": _wording(card.shown, words, style)},),
        options=words.texts,
        answer=", ".join(text_of[name] for name in chosen),
        answer_type=style,
    )


def _one(labels: Labels, words: Vocabulary) -> tuple[str, ...]:
    """The single class of a choice: the only one, else the most pressing known to the list."""
    if labels.single is not None:
        return (labels.single,)
    ranked = [name for name in words.priority if name in labels.positive]
    return tuple(ranked[:1])


def _wording(shown: str, words: Vocabulary, style: str) -> str:
    letters = (chr(ord("A") + index) for index in range(len(words.texts)))
    listed = ", ".join(f"({a}) {text}" for a, text in zip(letters, words.texts, strict=False))
    if len(words.texts) > 26:  # letters run out; names alone are offered
        listed = ", ".join(words.texts)
    return f"{shown} {_ASKED[style]}\nOptions: {listed}.\n{_CLOSING}"
