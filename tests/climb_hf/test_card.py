"""Cards: the four ECG cards are complete, and a card that contradicts itself is refused."""

from dataclasses import replace

import pytest

from climb_hf import catalog
from climb_hf.card import Layout, Licence, Option, Remote, SplitRule
from climb_hf.errors import CardError, OptionError

SOURCES = ("chapman_shaoxing", "cpsc", "georgia", "ptb_xl")
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Records per release: physionet.org, as the source cards quote it (cpsc: 6,877 + 3,453 Extra).
RECORDS = {"ptb_xl": 21_799, "chapman_shaoxing": 45_152, "georgia": 10_344, "cpsc": 10_330}


@pytest.fixture(params=SOURCES)
def card(request):
    return catalog.get(request.param).card


@pytest.fixture
def georgia():
    return catalog.get("georgia").card


def test_the_catalogue_holds_the_four_ecg_sources():
    assert set(SOURCES) <= set(catalog.sources())


def test_a_card_states_the_records_of_the_release(card):
    assert card.n_records == RECORDS[card.name]


def test_ptb_xl_states_its_patients():
    assert catalog.get("ptb_xl").card.n_patients == 18_869


def test_a_card_cites_by_doi(card):
    assert "doi:10." in card.citation


def test_a_card_names_where_to_fetch_from(card):
    assert card.remotes
    assert card.homepage.startswith("https://physionet.org/")


def test_a_card_tells_leads_rate_unit_and_duration(card):
    assert card.channels == LEADS
    assert (card.rate_hz, card.unit, card.duration_s) == (500.0, "mV", 10.0)


def test_the_default_label_set_is_climb7(card):
    assert card.default_label_set == "climb7"


def test_every_card_offers_the_upstream_and_native_label_sets(card):
    assert {"climb7", "climb7_upstream", "native"} <= set(card.label_sets)


def test_only_ptb_xl_has_superclasses():
    offering = [n for n, s in catalog.sources().items() if "ptbxl_super5" in s.card.label_sets]
    assert offering == ["ptb_xl"]


def test_only_ptb_xl_has_an_official_split(card):
    assert card.split.official == (card.name == "ptb_xl")


def test_every_option_says_what_it_means(card):
    assert all(len(option.meaning) > 10 for option in card.options.values())


def test_every_default_is_allowed(card):
    defaults = {name: option.default for name, option in card.options.items()}
    assert card.check_options({}) == defaults


def test_a_layouts_example_matches_its_own_patterns(card):
    import re

    for layout in card.layouts:
        for pattern in (layout.marker, layout.files):
            parts = layout.example.split("/")
            tails = ["/".join(parts[start:]) for start in range(len(parts))]
            assert any(re.fullmatch(pattern, tail) for tail in tails)


WRONG = {
    "modality-as-text": ({"modality": "ecg"}, "modality='ecg' is not a Modality"),
    "access-unknown": ({"access": "free"}, "access='free' is not a Access"),
    "licence-as-text": ({"licence": "CC-BY-4.0"}, "is not a Licence"),
    "licence-contradicts-itself": ({"licence": Licence("X", False, True)}, "made of the data"),
    "name-in-capitals": ({"name": "Georgia"}, "snake_case"),
    "name-with-hyphen": ({"name": "geor-gia"}, "snake_case"),
    "name-empty": ({"name": ""}, "snake_case"),
    "citation-empty": ({"citation": " "}, "citation is empty"),
    "no-layout": ({"layouts": ()}, "no layout"),
    "pattern-broken": ({"layouts": (Layout("x", "(", "x", "x"),)}, "no pattern"),
    "no-label-set": ({"label_sets": {}}, "no label set"),
    "no-records": ({"n_records": 0}, "n_records"),
    "fractions-below-1": ({"split": SplitRule({"train": 0.8, "test": 0.1})}, "add up to 1"),
    "fractions-above-1": ({"split": SplitRule({"train": 0.8, "test": 0.3})}, "add up to 1"),
    "fraction-of-no-split": ({"split": SplitRule({"train": 0.8, "val": 0.2})}, "val"),
    "official-without-origin": ({"split": SplitRule({"train": 1.0}, official=True)}, "origin"),
    "http-remote": ({"remotes": (Remote("http://x.org/a"),)}, "https"),
    "sha256-short": ({"remotes": (Remote("https://x.org/a", sha256="ab"),)}, "sha256"),
    "sha256-capital": ({"remotes": (Remote("https://x.org/a", sha256="A" * 64),)}, "sha256"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_card_is_refused(georgia, change, said):
    with pytest.raises(CardError, match=said):
        replace(georgia, **change)


def test_a_well_formed_sha256_is_accepted(georgia):
    replace(georgia, remotes=(Remote("https://x.org/a", n_bytes=1, sha256="0a" * 32),))


def test_an_unknown_option_names_the_nearest(georgia):
    with pytest.raises(OptionError, match=r"no option 'questoin'.*Did you mean 'question'\?"):
        georgia.check_options({"questoin": "set"})


def test_an_option_of_another_source_is_unknown(georgia):
    with pytest.raises(OptionError, match="'georgia' has no option 'subset'"):
        georgia.check_options({"subset": "ningbo"})


def test_a_choice_that_is_not_offered_names_the_nearest(georgia):
    with pytest.raises(OptionError, match=r"'choise' is not one of.*Did you mean 'choice'\?"):
        georgia.check_options({"question": "choise"})


@pytest.mark.parametrize("value", [1, "yes", 0.0])
def test_a_switch_takes_a_bool_only(georgia, value):
    with pytest.raises(OptionError, match="should be bool"):
        georgia.check_options({"normal_exclusive": value})


def test_a_number_option_refuses_a_bool(georgia):
    counted = replace(georgia, options={"count": Option(1, "how many of them", kind=int)})
    with pytest.raises(OptionError, match="should be int"):
        counted.check_options({"count": True})


def test_a_source_without_reader_is_refused(georgia):
    from types import ModuleType

    module = ModuleType("half_a_source")
    module.CARD = georgia
    with pytest.raises(CardError, match="half_a_source is no source"):
        catalog.add(module)


def test_a_taken_name_is_refused():
    with pytest.raises(CardError, match="known already"):
        catalog.add(catalog.get("georgia").module)
