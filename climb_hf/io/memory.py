"""What was read of a file, remembered for as long as the file stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar

from climb_hf.errors import CorruptFileError

Found = TypeVar("Found")


def remember(files: int) -> Callable[[Callable[..., Found]], Callable[..., Found]]:
    """Makes a function of a path remember its answers for so many files.

    The windows of a recording come one after the other, and each needs what the whole file says.
    What is returned is shared, so nobody may change it. Further arguments have to be hashable.
    """

    def wrap(function: Callable[..., Found]) -> Callable[..., Found]:
        @lru_cache(maxsize=files)
        def known(path: Path, state: tuple[int, ...], *arguments: Any) -> Found:
            return function(path, *arguments)

        @wraps(function)
        def call(path: Path, *arguments: Any) -> Found:
            return known(path, state_of(path), *arguments)

        return call

    return wrap


def state_of(path: Path) -> tuple[int, ...]:
    """Returns what is another as soon as a file is: its times and its size.

    Raises:
        CorruptFileError: if there is no such file.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 (Path.stat takes longer than the call itself)
    except OSError as error:
        raise CorruptFileError(f"{path.name} cannot be opened: {error.strerror}.") from error
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size
