"""The checks that every source has to pass; `climb_hf.testing` runs them.

A check takes a `Subject`, looks at the source from outside, and raises `CheckFailedError` with what
it found and expected, or `NotApplicable` where there is nothing to look at. `CHECKS` lists them in
the order in which they are run, the cheap ones first.
"""

from __future__ import annotations

from climb_hf.battery import card, harm, index, loading, media, rows, volumes
from climb_hf.battery.registry import Check

CHECKS: dict[str, Check] = {
    function.__name__: function
    for module in (card, index, rows, media, volumes, loading, harm)
    for function in module.check.entered
}
