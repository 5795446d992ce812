"""A source in words, made from its card alone: facts as plain data, a page, the README's table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from climb_hf.card import Modality, SourceCard
from climb_hf.errors import OptionError
from climb_hf.labels import Labels, vocabulary_of
from climb_hf.overlap import overlaps
from climb_hf.questions import ask
from climb_hf.schema import Example

BEGIN = "<!-- sources: made by `climb-hf card --readme README.md`, not by hand -->"
END = "<!-- end of sources -->"
# Config ids of CLIMB. The paper counts 44; the authors' table has 45 rows, which add up to its
# 4.51 million samples.
N_CLIMB, N_PAPER = 45, 44
_CODE_BYTES = 2  # of a sample that is released as a 16-bit code and stored as such
_FLOAT_BYTES = 4  # of one that is computed
_OWN = ("{one}", "{another}")  # options where each record brings its own
_MANY = 20  # class names that a page still lists


def facts_of(card: SourceCard) -> dict[str, Any]:
    """Returns everything a card states as data that JSON can hold; units are in the names."""
    return {
        "name": card.name,
        "title": card.title,
        "summary": card.summary,
        "modality": str(card.modality),
        "n_records": card.n_records,
        "n_patients": card.n_patients,
        "series": _series(card),
        "window_hu": list(card.window_hu) if card.window_hu else None,
        "mask_legend": {str(code): meaning for code, meaning in card.mask_legend.items()},
        "lesion_codes": list(card.lesion_codes),
        "licence": dict(vars(card.licence)),
        "access": str(card.access),
        "homepage": card.homepage,
        "remotes": [dict(vars(remote)) for remote in card.remotes],
        "release": card.release,
        "card_version": card.version,
        "layouts": [{"name": one.name, "example": one.example} for one in card.layouts],
        "variants": dict(card.variants),
        "label_sets": class_lists(card),
        "questions": questions_of(card),
        "split": {
            "official": card.split.official,
            "origin": card.split.origin or None,
            "fractions": dict(card.split.fractions),
        },
        "options": {
            name: {
                "default": option.default,
                "choices": list(option.choices),
                "kind": option.kind.__name__,
                "meaning": option.meaning,
            }
            for name, option in card.options.items()
        },
        "quirks": list(card.quirks),
        "overlaps": [dict(vars(one)) for one in overlaps(card.name)],
        "proof": str(card.proof),
        "citation": card.citation,
        "cost": cost_of(card),
    }


def _series(card: SourceCard) -> dict[str, Any] | None:
    if not (card.channels and card.rate_hz):
        return None
    return {
        "channels": list(card.channels),
        "rate_hz": card.rate_hz,
        "unit": card.unit if isinstance(card.unit, str) else list(card.units),
        "duration_s": card.duration_s,
    }


def class_lists(card: SourceCard) -> dict[str, list[dict[str, Any]]]:
    """Returns label set -> its class lists, each with vocabulary id, classes and their texts."""
    return {
        label_set: [
            {"vocabulary": words.id, "classes": list(words.names), "texts": list(words.texts)}
            for words in (vocabulary_of(card, name) for name in names)
        ]
        for label_set, names in card.label_sets.items()
    }


def questions_of(card: SourceCard) -> dict[str, str]:
    """Returns style -> the question as it is asked, the default style first; empty where none is.

    Names in braces stand for what each record fills in.
    """
    option = card.options.get("question")
    styles = [option.default, *option.choices] if option else [card.asked]
    if card.own_choices:
        own = Example("", native=_OWN[:1], choices=_OWN)
        made = {style: ask(card, Labels(None), style, example=own) for style in styles}
    else:
        words = vocabulary_of(card, card.label_sets[card.default_label_set][0])
        made = {style: ask(card, Labels(words, words.names[:1]), style) for style in styles}
    return {style: one.prompt[0]["content"] for style, one in made.items() if one is not None}


def row_bytes(card: SourceCard) -> int | None:
    """Returns the bytes of one record's samples as stored, or None where the card does not say.

    That is rate x duration x channels x 2 bytes, before compression.
    """
    if not (card.channels and card.rate_hz and card.duration_s):
        return None
    sample_bytes = _FLOAT_BYTES if card.derivations else _CODE_BYTES
    return len(card.channels) * round(card.rate_hz * card.duration_s) * sample_bytes


def cost_of(card: SourceCard) -> dict[str, int | None]:
    """Returns what the whole source takes: records, bytes to fetch, bytes once built (at most).

    The bytes to fetch are those that the hosts state; None when one of them states none. What is
    there once more is not counted.
    """
    needed = [remote for remote in card.remotes if not remote.again]
    stated = [remote.n_bytes for remote in needed if remote.n_bytes is not None]
    one = row_bytes(card)
    return {
        "records": card.n_records,
        "bytes_to_fetch": sum(stated) if stated and len(stated) == len(needed) else None,
        "bytes_built_at_most": None if one is None else one * card.n_records,
    }


def as_size(n_bytes: int) -> str:
    """Returns a number of bytes for people, in powers of ten as hosts and disks count."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    size, units = n_bytes / 1000, ["kB", "MB", "GB", "TB"]
    while round(size, 1) >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.1f} {units[0]}"


def stated(n_bytes: int | None) -> str:
    """Returns the size of what a host offers, as far as the host states it."""
    return "size not stated by the host" if n_bytes is None else as_size(n_bytes)


# --- Markdown --------------------------------------------------------------------------------


def as_markdown(card: SourceCard) -> str:
    """Returns the page of a source, in Markdown."""
    parts = [f"# {card.title}", f"{card.summary}.", _facts_table(card)]
    parts.append(_section("Class lists", _class_lines(card)))
    for style, asked in questions_of(card).items():
        parts += [f"## The question (`{style}`)", "\n".join(f"> {t}" for t in asked.splitlines())]
    parts.append(_section("Files", _file_lines(card)))
    parts.append(_section("Variants", [f"`{n}`: {text}" for n, text in card.variants.items()]))
    options = [f"`{n}` (default `{o.default!r}`): {o.meaning}" for n, o in card.options.items()]
    parts.append(_section("Options", options))
    parts.append(_section("Worth knowing", list(card.quirks)))
    parts.append(_section("Shared records", overlap_lines(card.name)))
    parts += ["## Cite", card.citation]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts_table(card: SourceCard) -> str:
    cost = cost_of(card)
    facts = {
        "config": f"`{card.name}`, part of `{card.modality}` and `all`",
        "records": f"{card.n_records:,}",
        "patients": f"{card.n_patients:,}" if card.n_patients else "not known",
        "series": series_line(card),
        "licence": licence_line(card),
        "access": f"{card.access}, {card.homepage}",
        "release": card.release,
        "splits": split_line(card),
        "size once built": size_line(cost["bytes_built_at_most"]),
        "proof of the reader": str(card.proof),
    }
    return _table([("what", "value"), *facts.items()])


def series_line(card: SourceCard) -> str:
    """Returns channels, rate, unit and length of a source's series, or "none"."""
    if not (card.channels and card.rate_hz):
        return "none"
    length = f", {round(card.duration_s, 2):g} s" if card.duration_s else ""
    unit = " / ".join(dict.fromkeys(card.units))
    return f"{len(card.channels)} channels, {card.rate_hz:g} Hz, {unit}{length}"


def licence_line(card: SourceCard) -> str:
    """Returns the licence and what may be passed on."""
    data = "may be shared" if card.licence.share_data else "may not be shared"
    derived = "may be shared" if card.licence.share_derived else "may not be shared"
    return f"{card.licence.name}: the data {data}, what is derived from them {derived}"


def split_line(card: SourceCard) -> str:
    """Returns where the splits come from."""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in card.split.fractions.items())
    if card.split.official:
        return f"official: {card.split.origin}; else derived ({shares})"
    return f"derived: {shares}, whole patients, by a stable hash"


def size_line(n_bytes: int | None) -> str:
    """Returns an upper bound in bytes as a phrase."""
    return "not known" if n_bytes is None else f"at most {as_size(n_bytes)}, before compression"


def overlap_lines(name: str) -> list[str]:
    """Returns what a source shares with others or within itself, a line each."""
    return [
        f"{one.shares} {'within it' if one.other == name else f'with {one.other}'}: {one.what} "
        f"({one.source})"
        for one in overlaps(name)
    ]


def _class_lines(card: SourceCard) -> list[str]:
    lines = []
    for label_set, lists in class_lists(card).items():
        mark = " (default)" if label_set == card.default_label_set else ""
        shown = "; ".join(classes_line(one["vocabulary"], one["classes"]) for one in lists)
        lines.append(f"`{label_set}`{mark}: {shown}")
    return lines


def classes_line(vocabulary: str, classes: Sequence[str], many: int = _MANY) -> str:
    """Returns a class list, or its id and size where it has more than `many` names."""
    return ", ".join(classes) if len(classes) <= many else f"{len(classes)} codes of {vocabulary}"


def _file_lines(card: SourceCard) -> list[str]:
    layouts = [f"{one.name}: `{one.example}`" for one in card.layouts]
    return layouts + [f"from {one.url} ({stated(one.n_bytes)})" for one in card.remotes]


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)]) if lines else ""


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def source_table(cards: Iterable[SourceCard]) -> str:
    """Returns the README's table: one row a source, in the order of modalities, then of names."""
    order = list(Modality)
    rows: list[Sequence[str]] = [("source", "modality", "records", "licence", "access", "proof")]
    known = sorted(cards, key=lambda card: (order.index(card.modality), card.name))
    for card in known:
        facts = (
            f"{card.n_records:,}",
            card.licence.name,
            str(card.access),
            card.proof.name.lower().replace("_", " "),
        )
        rows.append((f"`{card.name}`", f"`{card.modality}`", *facts))
    counted = (
        f"{len(known)} of {N_CLIMB} sources are there. The paper counts {N_PAPER}; "
        f"its table has {N_CLIMB} rows, and we count those."
    )
    return f"{_table(rows)}\n\n{counted}"


def with_source_table(text: str, cards: Iterable[SourceCard]) -> str:
    """Returns a README with the table between its two markers made anew.

    Raises:
        OptionError: if the markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise OptionError(
            "the table of sources has no place in it. Put these two lines where it belongs, "
            f"once each: {BEGIN} and {END}"
        )
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{source_table(cards)}\n\n{END}{rest.split(END)[1]}"
