"""Pictures for people, made from what `climb_hf.render` draws for models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from climb_hf.errors import OptionError
from climb_hf.traces import series_sheet
from climb_hf.views import Signal

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def contact_sheet(signals: Sequence[tuple[str, Signal]], *, width_px: int = 1100) -> Picture:
    """Returns the pictures of several records below each other, each titled with its id.

    Args:
        signals: (title, signal) pairs.
        width_px: of the picture.

    Raises:
        OptionError: if there is nothing to draw.
    """
    if not signals:
        raise OptionError("signals is empty: there is nothing to draw.")
    sheets = [series_sheet(signal, width_px=width_px, title=title) for title, signal in signals]
    whole = Image.new("RGB", (width_px, sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole
