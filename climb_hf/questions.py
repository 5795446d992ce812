"""Questions about a record, their options and the gold answer, made from its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from climb_hf.card import SourceCard, Vocabulary
from climb_hf.check import check_option
from climb_hf.labels import Labels
from climb_hf.schema import Example

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


def ask(
    card: SourceCard,
    labels: Labels,
    style: str = "set",
    *,
    example: Example | None = None,
    content: Mapping[str, str] | None = None,
) -> Question | None:
    """Returns the question that a record's classes answer, or None where they answer none.

    Args:
        labels: classes with `normal` exclusive, as a question needs them.
        style: `set` asks for every group, `choice` for one; a record with several classes then
            goes by clinical priority.
        example: the record, for the `choices` of its own where its source has no class list.
        content: words for the {names} in the card's sentence, from the opened media; None leaves
            them as they are, for when only it matters whether there is a question.
    """
    check_option("question", style, STYLES)
    if card.question is None:
        return None
    options, chosen = _offered(example, labels, style)
    if not chosen:
        return None
    shown = card.shown if content is None else card.shown.format_map(_Words(content))
    return Question(
        question_id=f"{card.question}_{style}/1",
        prompt=({"role": "user", "content": _wording(shown, options, style)},),
        options=options,
        answer=", ".join(chosen),
        answer_type=style,
    )


class _Words(dict[str, str]):
    """Content by name; a name that no medium gives stays as it is, for a check to find."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def _offered(
    example: Example | None, labels: Labels, style: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is offered, and which of it is right; nothing is right where no question is asked."""
    if example is not None and example.choices:
        right = tuple(one for one in example.choices if one in example.native)
        return example.choices, right if len(right) == 1 or style == "set" else ()
    words = labels.vocabulary
    if words is None or not labels.positive:
        return (), ()
    picked = labels.positive if style == "set" else _one(labels, words)
    text_of = dict(zip(words.names, words.texts, strict=True))
    return words.texts, tuple(text_of[name] for name in picked)


def _one(labels: Labels, words: Vocabulary) -> tuple[str, ...]:
    """The single class of a choice: the only one, else the most pressing known to the list."""
    if labels.single is not None:
        return (labels.single,)
    ranked = [name for name in words.priority if name in labels.positive]
    return tuple(ranked[:1])


def _wording(shown: str, options: tuple[str, ...], style: str) -> str:
    letters = (chr(ord("A") + index) for index in range(len(options)))
    listed = ", ".join(f"({a}) {text}" for a, text in zip(letters, options, strict=False))
    if len(options) > 26:  # letters run out; names alone are offered
        listed = ", ".join(options)
    return f"{shown} {_ASKED[style]}\nOptions: {listed}.\n{_CLOSING}"
