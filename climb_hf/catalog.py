"""Finds sources: the only module that walks `climb_hf.builders`.

A source is a module with `CARD` and `read`. One outside this package joins by `add(module)`, by
`add_file("my_source.py")`, or by an entry point in the group `climb_hf.sources`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from climb_hf.card import Modality, SourceCard
from climb_hf.check import check_option
from climb_hf.errors import CardError, ConfigNameError, DataNotFoundError
from climb_hf.io.tree import RawTree
from climb_hf.schema import Example, Fault

ENTRY_POINTS = "climb_hf.sources"
_OF_FILE = "climb_source_"  # how names of modules begin that were made from a file
_added: dict[str, ModuleType] = {}
_standing_in: dict[str, Source] = {}


@dataclass(frozen=True)
class Source:
    """A source's card, its reader, and the module they stand in."""

    card: SourceCard
    read: Callable[[RawTree, Mapping[str, Any]], Iterator[Example | Fault]]
    module: ModuleType


def add(module: ModuleType) -> None:
    """Makes a source of another package known for this process, and those that it forks.

    A process that is spawned imports the module by its name; where it has none, use `add_file`.

    Raises:
        CardError: if the module has no card or reader, or its name is taken.
    """
    source = _as_source(module)
    taken = sources().get(source.card.name)
    if taken is not None:
        raise CardError(
            f"a source called {source.card.name!r} is known already, from {_place(taken.module)}. "
            f"Give the one in {_place(module)} another name."
        )
    _added[source.card.name] = module
    sources.cache_clear()


def add_file(file: str | os.PathLike[str]) -> str:
    """Makes a source known that stands in one file, for this process; returns its name.

    The file is imported, so its code runs. To add the same file again changes nothing.

    Raises:
        DataNotFoundError: if there is no such file.
        CardError: if it is no source, or its name is taken.
    """
    path = Path(file).expanduser().resolve()
    known = next((m for m in _added.values() if getattr(m, "__file__", None) == str(path)), None)
    if known is not None:
        return _as_source(known).card.name
    if path.suffix != ".py" or not path.is_file():
        raise DataNotFoundError(f"no source file at {path}: it should be a .py with CARD and read.")
    # A name of its own, so that no other module is hidden; pickled readers find it by it.
    name = f"{_OF_FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DataNotFoundError(f"{path} cannot be imported as a Python module.")
    module = importlib.util.module_from_spec(spec)
    with ExitStack() as undo:
        sys.modules[name] = module
        undo.callback(sys.modules.pop, name)
        spec.loader.exec_module(module)
        add(module)
        undo.pop_all()
    return _as_source(module).card.name


def forget(name: str) -> None:
    """Takes back what `add` or `add_file` made known; a source of this package stays."""
    module = _added.pop(name, None)
    if module is not None:
        sys.modules.pop(module.__name__, None)
        sources.cache_clear()


def files_of(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the files of those sources that were added to this process by `add_file`."""
    return tuple(place for place in places_of(names) if place.endswith(".py"))


def places_of(names: Iterable[str]) -> tuple[str, ...]:
    """Returns where those sources stand that were added to this process: a file, or a module."""
    added = [_added[name] for name in names if name in _added]
    return tuple(str(m.__file__) if m.__name__.startswith(_OF_FILE) else m.__name__ for m in added)


def add_places(places: Iterable[str]) -> None:
    """Adds the sources of another process to this one, where they are not known yet.

    Raises:
        CardError: if one stands in a module that this process cannot import.
    """
    for place in places:
        if place.endswith(".py"):
            add_file(place)
        elif place not in [module.__name__ for module in _added.values()]:
            add(_imported(place))


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CardError(
            f"this process cannot import {name}, which another one added as a source by "
            "catalog.add: put it into a .py file of its own and use catalog.add_file, or install "
            f"its package. ({error})"
        ) from error


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
            first = _place(found[source.card.name].module)
            raise CardError(
                f"two sources are called {source.card.name!r}: {first} and {_place(module)}. "
                "Rename one of them."
            )
        found[source.card.name] = source
    return dict(sorted({**found, **_standing_in}.items()))


@contextmanager
def standing_in(source: Source) -> Iterator[None]:
    """Lets `source` answer to its name while this is open, in place of the one there is.

    For checks: of a part of a source, or of one that is broken on purpose. Only this process and
    those that it forks see it.
    """
    name = source.card.name
    before = _standing_in.get(name)
    _standing_in[name] = source
    sources.cache_clear()
    try:
        yield
    finally:
        del _standing_in[name]
        if before is not None:
            _standing_in[name] = before
        sources.cache_clear()


def _place(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _as_source(module: ModuleType) -> Source:
    card, read = getattr(module, "CARD", None), getattr(module, "read", None)
    if not isinstance(card, SourceCard) or not callable(read):
        raise CardError(f"{_place(module)} is no source: it needs CARD (a SourceCard) and read.")
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
