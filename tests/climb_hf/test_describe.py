"""Words made from cards: facts, pages, and the README's table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from climb_hf import catalog
from climb_hf.card import Licence, Modality, Remote
from climb_hf.describe import (
    BEGIN,
    END,
    as_markdown,
    as_size,
    cost_of,
    facts_of,
    licence_line,
    row_bytes,
    series_line,
    source_table,
    with_source_table,
)
from climb_hf.errors import OptionError

CARDS = [source.card for source in catalog.sources().values()]


@pytest.fixture
def card():
    """An ECG card: 12 leads, 500 Hz, 10 s."""
    return catalog.get("georgia").card


@pytest.mark.parametrize("one", CARDS, ids=lambda card: card.name)
def test_the_facts_of_every_source_are_json(one):
    facts = json.loads(json.dumps(facts_of(one)))
    assert facts["name"] == one.name
    assert facts["licence"]["share_data"] is one.licence.share_data
    assert set(facts["label_sets"]) == set(one.label_sets)


@pytest.mark.parametrize("one", CARDS, ids=lambda card: card.name)
def test_the_page_of_every_source_tells_what_a_user_needs(one):
    page = as_markdown(one)
    told = (one.title, one.licence.name, one.homepage, one.citation, str(one.proof))
    assert [text for text in told if text not in page] == []


@pytest.mark.parametrize("one", [c for c in CARDS if c.question], ids=lambda card: card.name)
def test_every_source_that_asks_shows_its_question(one):
    asked = next(iter(facts_of(one)["questions"].values()))
    assert asked.startswith(one.shown.split("{")[0])
    assert "Options:" in asked


def test_a_row_takes_rate_times_length_times_channels_times_two_bytes(card):
    assert row_bytes(card) == 500 * 10 * 12 * 2
    assert row_bytes(replace(card, duration_s=None)) is None


def test_the_bytes_to_fetch_are_known_only_where_every_host_states_them(card):
    known, unknown = Remote("https://a.org/a", n_bytes=5), Remote("https://a.org/b")
    assert cost_of(replace(card, remotes=(known, known)))["bytes_to_fetch"] == 10
    assert cost_of(replace(card, remotes=(known, unknown)))["bytes_to_fetch"] is None
    assert cost_of(replace(card, remotes=()))["bytes_to_fetch"] is None


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2_615_880_000, "2.6 GB"),
        (3 * 10**15, "3000.0 TB"),
    ],
)
def test_sizes_read_as_disks_are_sold(n_bytes, shown):
    assert as_size(n_bytes) == shown


def test_units_that_differ_are_all_named(card):
    mixed = replace(card, channels=("a", "b", "c"), unit=("g", "g", "deg/s"), derivations=())
    assert series_line(mixed) == "3 channels, 500 Hz, g / deg/s, 10 s"


def test_a_licence_that_forbids_sharing_says_so(card):
    closed = replace(card, licence=Licence("Own-1.0", share_data=False, share_derived=False))
    assert licence_line(closed).count("may not be shared") == 2


# --- the table -------------------------------------------------------------------------------


def test_the_table_has_a_row_a_source_by_modality_and_name(card):
    cards = [
        replace(card, name=name, modality=modality)
        for name, modality in [("b", Modality.EEG), ("c", Modality.ECG), ("a", Modality.ECG)]
    ]
    rows = [line.split("|")[1].strip() for line in source_table(cards).splitlines()[2:5]]
    assert rows == ["`a`", "`c`", "`b`"]
    assert "3 of 45 sources" in source_table(cards)


def test_a_cell_cannot_break_the_table(card):
    odd = replace(card, licence=Licence("A|B", share_data=True, share_derived=True))
    line = source_table([odd]).splitlines()[2]
    assert line.replace("\\|", "").count("|") == 7


def test_only_what_is_between_the_markers_changes(card):
    text = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    made = with_source_table(text, [card])
    assert made.startswith(f"above\n{BEGIN}\n")
    assert made.endswith(f"\n{END}\nbelow\n")
    assert "old" not in made
    assert with_source_table(made, [card]) == made


@pytest.mark.parametrize(
    "text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}{END}{END}"]
)
def test_a_readme_without_its_two_markers_is_refused(card, text):
    with pytest.raises(OptionError, match="once each"):
        with_source_table(text, [card])
