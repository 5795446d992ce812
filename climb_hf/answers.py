"""What a model wrote, as answers: the one parser that rewards and metrics both use."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_BOX = re.compile(r"\\boxed\s*\{")
_LETTER = re.compile(r"\(?([a-z])\)?[.:]?")
_LEADING_LETTER = re.compile(r"\(([a-z])\)\s*|([a-z])[.:)]\s+")
_SEPARATOR = re.compile(r"[,;\n]|\\\\")


@dataclass(frozen=True)
class Answer:
    """The answer found in a text.

    Attributes:
        boxed: content of the last `\\boxed{...}` after any thinking, or None when there is none.
        picks: options named there, in option order, without repeats.
        unknown: parts of the box that name no option.
    """

    boxed: str | None
    picks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def boxed(text: str) -> str | None:
    r"""Returns the content of the last closed `\boxed{...}` of `text`, braces balanced.

    What stands inside `<think>...</think>` is no answer and is left out.
    """
    visible = text.rsplit("</think>", 1)[-1]
    boxes = {match.end() for match in _BOX.finditer(visible)}
    best: tuple[int, int] | None = None
    pending: list[int] = []  # where the content of each open brace begins
    for position, character in enumerate(visible):
        if character == "{":
            pending.append(position + 1)
        elif character == "}" and pending:
            start = pending.pop()
            if start in boxes and (best is None or start > best[0]):
                best = start, position
    return visible[best[0] : best[1]].strip() if best else None


def normalise(text: str) -> str:
    """Returns `text` as it is compared: NFKC, lower case, LaTeX text marks and outer marks off."""
    plain = unicodedata.normalize("NFKC", text)
    plain = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", plain)
    plain = re.sub(r"[\s_]+", " ", plain).strip().lower()
    return plain.strip(" .*'\"`$")


def parse(text: str, options: Sequence[str]) -> Answer:
    """Finds which of `options` a text answers with.

    Options are matched by their words, by "(B)" or "B", or by "(B) words"; case, blanks and
    Unicode form do not matter. Nothing outside the box counts.

    Args:
        text: what the model wrote.
        options: answer options in class order; option i also goes by the i-th letter.
    """
    content = boxed(text)
    if content is None:
        return Answer(None)
    names = {normalise(option): index for index, option in enumerate(options)}
    picked: set[int] = set()
    unknown: list[str] = []
    whole = normalise(content)
    parts = [whole] if whole in names else [normalise(p) for p in _SEPARATOR.split(content)]
    for part in filter(None, parts):
        found = _match(part, names)
        if found:
            picked |= found
        else:
            unknown.append(part)
    return Answer(content, tuple(options[i] for i in sorted(picked)), tuple(unknown))


def _match(part: str, names: dict[str, int]) -> set[int]:
    """Indices of the options that one part of an answer names; empty when it names none."""
    for candidate in (part, part.removeprefix("and ")):
        if candidate in names:
            return {names[candidate]}
        letter = _LETTER.fullmatch(candidate)
        if letter and ord(letter[1]) - ord("a") < len(names):
            return {ord(letter[1]) - ord("a")}
        rest = _LEADING_LETTER.sub("", candidate, count=1)
        if rest in names:
            return {names[rest]}
    pieces = part.split(" and ")
    found = [_match(piece, names) for piece in pieces] if len(pieces) > 1 else []
    return set().union(*found) if found and all(found) else set()


def split_gold(answer: str, options: Sequence[str]) -> tuple[str, ...]:
    """Returns the options that a stored gold `answer` names, in option order.

    Raises:
        ValueError: if a part of `answer` is no option, as gold and options then disagree.
    """
    answered = parse("\\boxed{" + answer + "}", options)
    if answered.unknown or not answered.picks:
        raise ValueError(f"gold answer {answer!r} is not made of the options {list(options)}")
    return answered.picks


def answerable(options: Sequence[str]) -> bool:
    """Returns whether each option, boxed, is read as itself and as nothing else.

    Options that differ in case or blanks only are not, nor is one with half a pair of braces.
    """
    return all(parse(f"\\boxed{{{one}}}", options).picks == (one,) for one in options)


def set_f1(answered: Answer, gold: Sequence[str]) -> float:
    """Returns F1 of the answered set against the gold set, in [0, 1]; no box scores 0.

    A part that names no option counts as a wrong pick.
    """
    n_picked = len(answered.picks) + len(answered.unknown)
    hits = len(set(answered.picks) & set(gold))
    if not hits:
        return 0.0
    return 2 * hits / (n_picked + len(set(gold)))
