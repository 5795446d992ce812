"""The table of what sources share."""

from __future__ import annotations

import csv
from importlib import resources

import pytest

from climb_hf import catalog, cli, overlaps
from climb_hf.describe import as_markdown, facts_of
from climb_hf.overlap import KINDS

# Ids of CLIMB whose sources are in the table and may come later.
LATER = {"mimic_iv", "lc25000", "busi", "cbis_ddsm", "brain_tumor"}


def rows():
    file = resources.files("climb_hf.vocabularies") / "overlaps.csv"
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


@pytest.mark.parametrize(
    ("first", "second", "shares"),
    [
        ("covid19_cxr", "coronahack", "images"),
        ("isic2020", "ham10000", "collection"),
        ("mimic_cxr", "mimic_iv", "patients"),
        ("tuab", "tuev", "patients"),
    ],
)
def test_both_sides_of_an_overlap_are_told(first, second, shares):
    for one, other in ((first, second), (second, first)):
        assert shares in [known.shares for known in overlaps(one) if known.other == other]


def test_a_source_may_overlap_with_itself():
    (known,) = overlaps("aptos2019")
    assert known.other == "aptos2019"
    assert "grades" in known.what


def test_a_source_without_an_entry_has_none():
    assert overlaps("proteins") == ()


def test_every_entry_is_of_sources_and_says_where_it_is_from():
    known = {*catalog.sources(), *LATER}
    for row in rows():
        assert {row["first"], row["second"]} <= known
        assert row["shares"] in KINDS
        assert row["what"] and row["source"]


def test_no_pair_stands_in_the_table_twice():
    pairs = [frozenset((row["first"], row["second"])) for row in rows()]
    assert len(set(pairs)) == len(pairs)


def test_info_tells_of_overlaps(capsys):
    assert cli.main(["info", "coronahack"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "overlaps images with covid19_cxr" in told
    assert "patients within it" in told


def test_cards_and_facts_tell_of_overlaps():
    card = catalog.get("tuev").card
    assert [one["other"] for one in facts_of(card)["overlaps"]] == ["tuab"]
    assert "## Shared records" in as_markdown(card)
