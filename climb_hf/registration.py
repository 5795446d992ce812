"""Makes `datasets.load_dataset("climb", ...)` reach our builder.

`datasets` has no plug-in point, so one private function is wrapped: the one that turns a path into
a module (`datasets.load.dataset_module_factory`), for exactly the path "climb". This is the only
file that touches a private name of `datasets`. Nothing is imported before the user does: when
`datasets` is not loaded yet, a one-shot import hook waits for it. CLIMB_HF_NO_HOOK=1 turns it off.
"""

from __future__ import annotations

import functools
import os
import sys
from types import ModuleType
from typing import Any

from climb_hf.errors import RegistrationError
from climb_hf.imports import forget, when_imported

NAME = "climb"
OFF_SWITCH = "CLIMB_HF_NO_HOOK"
_TARGET = "datasets.load"
_SYMBOLS = ("dataset_module_factory", "DatasetModule", "load_dataset_builder")


def register() -> None:
    """Makes the name "climb" known, now or as soon as `datasets` is imported."""
    if not os.environ.get(OFF_SWITCH):
        when_imported(_TARGET, _wrap)


def unregister() -> None:
    """Takes the name back: "climb" then means what it means to plain `datasets`."""
    forget(_TARGET, _wrap)
    for module in _holders():
        original = getattr(module.dataset_module_factory, "climb_hf_original", None)
        if original is not None:
            module.dataset_module_factory = original  # type: ignore[attr-defined]


def is_registered() -> bool:
    """Whether `datasets` is loaded and its `load_dataset("climb", ...)` reaches our builder."""
    load = sys.modules.get(_TARGET)
    return hasattr(getattr(load, "dataset_module_factory", None), "climb_hf_original")


def _holders() -> list[ModuleType]:
    """The loaded modules that hold the function: `datasets.inspect` keeps a reference too."""
    loaded = (sys.modules.get(name) for name in (_TARGET, "datasets.inspect"))
    return [m for m in loaded if m is not None and hasattr(m, "dataset_module_factory")]


def _wrap(load: ModuleType) -> None:
    from climb_hf import views

    views.register()  # what was saved decoded can then be read, whatever is loaded first
    absent = [name for name in _SYMBOLS if not hasattr(load, name)]
    if absent:
        raise RegistrationError(
            f"this version of datasets has no {_TARGET}.{absent[0]}, so load_dataset('climb') "
            "cannot be made to work. Use climb_hf.load_dataset, which needs no such place, or "
            f"set {OFF_SWITCH}=1 to import climb_hf without it."
        )
    original = load.dataset_module_factory
    if hasattr(original, "climb_hf_original"):
        return

    @functools.wraps(original)
    def dataset_module_factory(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path == NAME:
            from climb_hf.builder import CACHE_NAME, code_digest
            from climb_hf.prepared import folder_meant

            prepared = folder_meant(kwargs.get("data_dir")) is not None
            module = "climb_hf.prepared_builder" if prepared else "climb_hf.builder"
            return load.DatasetModule(module, code_digest(), {"dataset_name": CACHE_NAME})
        return original(path, *args, **kwargs)

    dataset_module_factory.climb_hf_original = original  # type: ignore[attr-defined]
    for module in _holders():
        module.dataset_module_factory = dataset_module_factory  # type: ignore[attr-defined]
