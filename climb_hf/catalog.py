"""Finds sources: the only module that walks `climb_hf.builders`.

A source is a module with `CARD` and `read`. One outside this package joins by `add(module)` or by
an entry point in the group `climb_hf.sources`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any

from climb_hf.card import Modality, SourceCard
from climb_hf.check import check_option
from climb_hf.errors import CardError, ConfigNameError
from climb_hf.io.tree import RawTree
from climb_hf.schema import Example, Fault

ENTRY_POINTS = "climb_hf.sources"
_added: dict[str, ModuleType] = {}


@dataclass(frozen=True)
class Source:
    """A source's card, its reader, and the module they stand in."""

    card: SourceCard
    read: Callable[[RawTree, Mapping[str, Any]], Iterator[Example | Fault]]
    module: ModuleType


def add(module: ModuleType) -> None:
    """Makes a source of another package known for this process.

    Raises:
        CardError: if the module has no card or reader, or its name is taken.
    """
    source = _as_source(module)
    if source.card.name in sources():
        raise CardError(f"a source called {source.card.name!r} is known already.")
    _added[source.card.name] = module
    sources.cache_clear()


@cache
def sources() -> Mapping[str, Source]:
    """Returns every source by name, in alphabetical order."""
    package = importlib.import_module("climb_hf.builders")
    names = [i.name for i in pkgutil.iter_modules(package.__path__) if not i.name.startswith("_")]
    modules = [importlib.import_module(f"climb_hf.builders.{name}") for name in names]
    modules += [point.load() for point in metadata.entry_points(group=ENTRY_POINTS)]
    found: dict[str, Source] = {}
    for module in [*modules, *_added.values()]:
        source = _as_source(module)
        if source.card.name in found:
            raise CardError(f"two sources are called {source.card.name!r}: {module.__name__}.")
        found[source.card.name] = source
    return dict(sorted(found.items()))


def _as_source(module: ModuleType) -> Source:
    card, read = getattr(module, "CARD", None), getattr(module, "read", None)
    if not isinstance(card, SourceCard) or not callable(read):
        raise CardError(f"{module.__name__} is no source: it needs CARD (a SourceCard) and read.")
    return Source(card, read, module)


def get(name: str) -> Source:
    """Returns one source.

    Raises:
        ConfigNameError: if there is none of that name; the message lists what there is.
    """
    known = sources()
    check_option("source", name, tuple(known), ConfigNameError)
    return known[name]


def configs() -> Mapping[str, tuple[str, ...]]:
    """Returns config name -> names of its sources: each source, each modality, and `all`."""
    known = sources()
    made: dict[str, tuple[str, ...]] = {name: (name,) for name in known}
    for modality in Modality:
        members = tuple(name for name, s in known.items() if s.card.modality is modality)
        if members:
            made[str(modality)] = members
    made["all"] = tuple(known)
    return made


def check_config(name: str | None) -> tuple[str, ...]:
    """Returns the names of a config's sources.

    Raises:
        ConfigNameError: if no config is named or it is unknown; the message lists what there is.
    """
    known = configs()
    if name is None:
        listed = ", ".join(repr(config) for config in known)
        raise ConfigNameError(
            f"name a config, e.g. load_dataset('climb', 'ecg'). There are: {listed}."
        )
    check_option("config", name, tuple(known), ConfigNameError)
    return known[name]
