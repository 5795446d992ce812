"""Optional packages: imported when used, and named with their install line when absent."""

from __future__ import annotations

import importlib
from types import ModuleType

from climb_hf.errors import DependencyError


def need(module: str, extra: str) -> ModuleType:
    """Imports `module`, which the extra `extra` of climb-hf installs.

    Raises:
        DependencyError: if it cannot be imported; the message holds the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"{module!r} is needed here and could not be imported ({error}). "
            f"Install it with: pip install 'climb-hf[{extra}]'"
        ) from error
