"""Runs a function as soon as some module has been imported, without importing it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


def when_imported(name: str, action: Action) -> None:
    """Calls `action` with the module `name`: now if it is loaded, else right after its import."""
    if name in sys.modules:
        action(sys.modules[name])
        return
    if _waiter not in sys.meta_path:
        sys.meta_path.insert(0, _waiter)
    actions = _waiter.waiting.setdefault(name, [])
    if action not in actions:
        actions.append(action)


def forget(name: str, action: Action) -> None:
    """Takes back what `when_imported` was asked for and has not yet done."""
    actions = _waiter.waiting.get(name, [])
    if action in actions:
        actions.remove(action)
    if not actions:
        _waiter.waiting.pop(name, None)
    _waiter.leave_if_done()


class _Waiter(importlib.abc.MetaPathFinder):
    """Sees every import; steps aside for all but the modules that somebody waits for.

    Attributes:
        waiting: what to call, by the name of the module.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, list[Action]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.waiting:
            return None
        actions = self.waiting.pop(fullname)  # so that the search below passes by
        self.leave_if_done()
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenAct(spec.loader, actions)
        return spec

    def leave_if_done(self) -> None:
        """Goes away where nothing is waited for."""
        if not self.waiting and self in sys.meta_path:
            sys.meta_path.remove(self)


class _ThenAct(importlib.abc.Loader):
    """A loader that runs the real one and then the actions."""

    def __init__(self, real: Any, actions: list[Action]) -> None:
        self._real = real
        self._actions = actions

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._real
        self._real.exec_module(module)
        for action in self._actions:
            action(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


_waiter = _Waiter()
