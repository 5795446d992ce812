"""How a check becomes one of the battery."""

from __future__ import annotations

from collections.abc import Callable

from climb_hf.subject import Subject

Check = Callable[[Subject], None]


class Register:
    """A decorator that remembers the checks of one module, in their order."""

    def __init__(self) -> None:
        self.entered: list[Check] = []

    def __call__(self, function: Check) -> Check:
        self.entered.append(function)
        return function
