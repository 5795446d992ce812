"""Names that are made when they are first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def builder_of(module_name: str) -> Callable[[str], Any]:
    """Returns the module `__getattr__` that makes a source file's `datasets` builder class.

    `climb_hf.builders.<source>.Builder` is then an ordinary `GeneratorBasedBuilder` subclass,
    while listing the sources imports no `datasets`.
    """

    def __getattr__(name: str) -> Any:
        if name != "Builder":
            raise AttributeError(f"module {module_name!r} has no attribute {name!r}")
        module = sys.modules[module_name]
        made = importlib.import_module("climb_hf.builder").builder_for(module)
        setattr(module, name, made)
        return made

    return __getattr__
