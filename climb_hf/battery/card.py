"""Checks of the card alone."""

from __future__ import annotations

import re

from climb_hf.battery.registry import Register
from climb_hf.card import Access
from climb_hf.io.tree import matcher
from climb_hf.labels import class_names, tables_of, vocabulary_of
from climb_hf.subject import Subject, require, some

check = Register()
# Licences that let the data be passed on, by how their SPDX names begin.
_FREE = ("CC0", "CC-BY", "ODbL", "ODC", "PDDL", "Apache", "MIT")


@check
def card_is_complete(subject: Subject) -> None:
    """The card says what the source is, where it comes from and whom to cite."""
    card = subject.card
    require(re.search(r"\b(19|20)\d\d\b", card.citation) is not None, "citation names no year.")
    require(card.homepage.startswith("https://"), f"homepage {card.homepage!r} is no address.")
    require(re.fullmatch(r"\d+\.\d+\.\d+", card.version) is not None, "version is not x.y.z.")
    require(bool(card.label_sets) or card.own_choices, "it offers no label set.")
    require(
        not card.channels or bool(card.rate_hz and card.unit),
        "it names channels, but not their rate and unit.",
    )
    unclear = [name for name, option in card.options.items() if not option.meaning.strip()]
    require(not unclear, f"options without a meaning: {some(unclear)}.")


@check
def licence_and_share_flag_agree(subject: Subject) -> None:
    """A licence that lets data be passed on says so, and credentialed data never are."""
    licence, access = subject.card.licence, subject.card.access
    free = licence.name.startswith(_FREE)
    require(not free or licence.share_data, f"{licence.name} lets the data be shared.")
    require(
        access is not Access.CREDENTIALED or not licence.share_data,
        "data that only credentialed people may have may not be shared.",
    )


@check
def remotes_are_well_formed(subject: Subject) -> None:
    """Every place to fetch from is an https address without credentials, named once."""
    urls = [remote.url for remote in subject.card.remotes]
    require(len(set(urls)) == len(urls), "a remote is named twice.")
    for url in urls:
        fits = re.fullmatch(r"https://[\w.-]+(:\d+)?(/[^\s?#@]*)?", url)
        require(fits is not None and ".." not in url, f"{url!r} is no plain https address.")


@check
def layouts_show_how_a_path_looks(subject: Subject) -> None:
    """The example of each layout is a file of that layout, and its marker a file of it too."""
    for layout in subject.card.layouts:
        require(
            all(matcher([pattern])(layout.example) for pattern in (layout.marker, layout.files)),
            f"layout {layout.name!r}: its example {layout.example!r} fits its own patterns not.",
        )


@check
def every_code_gives_known_classes(subject: Subject) -> None:
    """The code tables map to classes of the card's lists and to nothing else."""
    card = subject.card
    for label_set, vocabulary_ids in card.label_sets.items():
        known = {name for v in vocabulary_ids for name in vocabulary_of(card, v).names}
        for rows in tables_of(card).values():
            for code, row in rows.items():
                value = row.get(f"{label_set}:{card.name}", row.get(label_set)) or ""
                wrong = set(filter(None, value.split("+"))) - known
                require(not wrong, f"{code!r} gives {some(wrong)}, no class of {label_set!r}.")


@check
def classes_keep_their_order(subject: Subject) -> None:
    """Integer labels mean the same in every split, and what the maker of the files says."""
    splits, _ = subject.load()
    shown = {subject.class_names(part) for part in splits.values()}
    require(shown == {class_names([subject.card])}, "splits name their classes differently.")
    if subject.knows("classes"):
        wanted, found = tuple(subject.truth("classes")), shown.pop()
        require(found == wanted, f"classes in label order are {found}, expected {wanted}.")
