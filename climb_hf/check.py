"""Three checks of arguments that all messages are made by."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from climb_hf.errors import OptionError


def nearest(value: object, allowed: Iterable[object]) -> str:
    """Returns " Did you mean 'x'?" for the closest allowed word, or an empty string."""
    words = {str(word).casefold(): str(word) for word in allowed}
    given = str(value).casefold()
    longer = [word for word in words if len(given) > 2 and word.startswith(given)]
    # Two letters the wrong way round ("aq") are alike by a half.
    close = difflib.get_close_matches(given, words, n=1, cutoff=0.5) or longer
    return f" Did you mean {words[close[0]]!r}?" if close else ""


def check_option(
    name: str, value: Any, allowed: Sequence[Any], error: type[OptionError] = OptionError
) -> Any:
    """Returns `value` if it is one of `allowed`.

    Raises:
        OptionError: (or `error`) names the option, the value, what is allowed, the nearest match.
    """
    if value in allowed:
        return value
    listed = ", ".join(repr(option) for option in allowed)
    raise error(f"{name}={value!r} is not one of: {listed}.{nearest(value, allowed)}")


def check_type(name: str, value: Any, kinds: type | tuple[type, ...]) -> Any:
    """Returns `value` if it is an instance of `kinds`; a bool never passes as a number.

    Raises:
        OptionError: names the option, its value and the type it should have.
    """
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(value, wanted) and not (isinstance(value, bool) and bool not in wanted):
        return value
    listed = " or ".join(kind.__name__ for kind in wanted)
    raise OptionError(f"{name}={value!r} is {type(value).__name__}, but should be {listed}.")


def check_shape(name: str, array: Any, shape: Sequence[int | None]) -> Any:
    """Returns `array` if its shape agrees with `shape`, where None stands for any size.

    Raises:
        OptionError: names the array, the shape it has and the shape it should have.
    """
    actual = tuple(array.shape)
    fits = len(actual) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, actual, strict=True)
    )
    if fits:
        return array
    wanted = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    raise OptionError(f"{name} has shape {actual}, but should have {wanted}.")
