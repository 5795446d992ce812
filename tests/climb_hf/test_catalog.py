"""Configs: every source, every modality that has one, and all."""

from types import ModuleType

import pytest

from climb_hf import catalog
from climb_hf.card import Modality
from climb_hf.errors import CardError, ConfigNameError

ECG = ("chapman_shaoxing", "cpsc", "georgia", "ptb_xl")


def test_sources_are_in_alphabetical_order():
    assert list(catalog.sources()) == sorted(catalog.sources())


@pytest.mark.parametrize("name", ECG)
def test_a_source_is_a_config_of_its_own(name):
    assert catalog.configs()[name] == (name,)


def test_a_modality_is_a_config_of_its_sources():
    assert catalog.configs()["ecg"] == ECG


def test_a_modality_is_a_config_where_a_source_has_it():
    had = {str(source.card.modality) for source in catalog.sources().values()}
    assert {name for name in Modality if name in catalog.configs()} == had


def test_all_is_every_source():
    assert catalog.configs()["all"] == tuple(catalog.sources())


def test_no_config_lists_what_there_is():
    with pytest.raises(ConfigNameError) as caught:
        catalog.check_config(None)
    assert all(repr(name) in str(caught.value) for name in ("ecg", "all", *ECG))


def test_an_unknown_config_names_the_nearest():
    with pytest.raises(ConfigNameError, match="Did you mean 'ptb_xl'"):
        catalog.check_config("ptbxl")


def test_an_unknown_source_lists_what_there_is():
    with pytest.raises(ConfigNameError, match="'georgia'"):
        catalog.get("nowhere")


@pytest.mark.parametrize("name", ECG)
def test_a_sources_module_is_named_as_its_card(name):
    assert catalog.get(name).module.__name__ == f"climb_hf.builders.{name}"


@pytest.mark.parametrize("name", ECG)
def test_a_source_makes_an_ordinary_builder(name):
    datasets = pytest.importorskip("datasets")
    made = catalog.get(name).module.Builder
    assert issubclass(made, datasets.GeneratorBasedBuilder)
    assert list(made.builder_configs) == [name]


def test_a_builder_class_is_made_once():
    module = catalog.get("georgia").module
    assert module.Builder is module.Builder


def test_a_source_module_has_no_other_surprises():
    with pytest.raises(AttributeError, match="no attribute 'Bilder'"):
        _ = catalog.get("georgia").module.Bilder


def test_a_builder_of_one_source_loads(ecg_tree, tmp_path):
    made = catalog.get("georgia").module.Builder(data_dir=ecg_tree.root, cache_dir=tmp_path)
    made.download_and_prepare()
    n_rows = sum(part.num_rows for part in made.as_dataset().values())
    assert n_rows == len(ecg_tree.manifests["georgia"]["records"])


@pytest.fixture
def guest():
    """A source from outside the package; it is gone after the test."""
    from dataclasses import replace

    module = ModuleType("guest_source")
    module.CARD = replace(catalog.get("georgia").card, name="guest")
    module.read = catalog.get("georgia").read
    module.__file__ = catalog.get("georgia").module.__file__
    yield module
    catalog._added.pop("guest", None)
    catalog.sources.cache_clear()


def test_a_source_from_outside_joins_its_modality(guest):
    catalog.add(guest)
    assert catalog.get("guest").card is guest.CARD
    assert "guest" in catalog.configs()["ecg"]


def test_a_module_without_a_card_is_no_source():
    with pytest.raises(CardError, match="needs CARD"):
        catalog.add(ModuleType("empty"))
