"""Pictures for people: what a row holds, whatever its modality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from climb_hf.errors import OptionError
from climb_hf.frames import as_images
from climb_hf.traces import series_sheet

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from climb_hf.card import SourceCard


def plot(
    row: Mapping[str, Any],
    *,
    width_px: int = 1100,
    title: str | None = None,
    card: SourceCard | None = None,
) -> Picture:
    """Returns a picture of a row: its series, images, frames, graphs and expression.

    An ECG is drawn as a sheet, any other series as traces; an image with its boxes and the outlines
    of its masks; a volume or clip as four frames of it; a connectome as a heat map, a graph of few
    nodes as dots and lines; expression as the largest values of the profile.

    Args:
        row: of a data set of this package, decoded or as stored.
        width_px: of the picture.
        title: a line above; the row's id when None.
        card: of the row's source, which knows the window and the codes of lesions of volumes.

    Raises:
        OptionError: if the row holds nothing that can be drawn.
    """
    title = str(row.get("id", "")) if title is None else title
    parts = list(_parts(row, width_px, title, card))
    if not parts:
        raise OptionError(
            f"row {title!r} holds no series, image, volume, clip, graph or expression to draw."
        )
    return stacked(parts, width_px)


def contact_sheet(
    rows: Sequence[Mapping[str, Any]],
    *,
    width_px: int = 1100,
    cards: Mapping[str, SourceCard] | None = None,
) -> Picture:
    """Returns the pictures of several rows below each other, each titled with its id.

    Args:
        cards: of their sources by name, as `plot` takes them.

    Raises:
        OptionError: if there is no row, or one with nothing to draw.
    """
    if not rows:
        raise OptionError("rows is empty: there is nothing to draw.")
    known = cards or {}
    shown = [plot(row, width_px=width_px, card=known.get(row.get("source", ""))) for row in rows]
    return stacked(shown, width_px)


def drawable(row: Mapping[str, Any]) -> bool:
    """Whether a row holds something that `plot` draws."""
    return any(row.get(column) for column in (*_DRAWN, *_MOVING))


def stacked(pictures: Sequence[Picture], width_px: int) -> Picture:
    """Returns pictures below each other on white."""
    whole = Image.new("RGB", (width_px, sum(one.height for one in pictures)), "white")
    top = 0
    for one in pictures:
        whole.paste(one, (0, top))
        top += one.height
    return whole


def _parts(
    row: Mapping[str, Any], width_px: int, title: str, card: SourceCard | None
) -> Iterator[Picture]:
    if any(row.get(column) for column in _MOVING):
        row, own = as_images(row, card=card), len(row.get("images") or ())
        yield from _frames(row, own, width_px, title)
        row = {**row, "images": row["images"][:own]}
    for column, draw in _DRAWN.items():
        for number, value in enumerate(row.get(column) or []):
            told = title if not number else f"{title} ({number + 1})"
            over = _over(row, number) if column == "images" else {}
            yield draw(value, width_px, told, **over)


def _frames(row: Mapping[str, Any], first: int, width_px: int, title: str) -> Iterator[Picture]:
    """The frames of a row, from one of its images on, two beside each other."""
    from climb_hf.overlays import image_picture

    shown = []
    for at in range(first, len(row["images"])):
        info = row["image_info"][at]
        seconds = "" if info["time_s"] is None else f", {info['time_s']:.1f} s"
        told = f"{title}, frame {info['frame']}{seconds}"
        over = _over(row, at)
        shown.append(image_picture(row["images"][at], width_px=width_px // 2, title=told, **over))
    for at in range(0, len(shown), 2):
        pair = shown[at : at + 2]
        sheet = Image.new("RGB", (width_px, max(one.height for one in pair)), "white")
        for place, one in enumerate(pair):
            sheet.paste(one, (place * (width_px // 2), 0))
        yield sheet


def _over(row: Mapping[str, Any], image: int) -> dict[str, list[Any]]:
    """The boxes and masks of a row that lie over one of its images."""
    columns = {name: row.get(name) or () for name in ("boxes", "masks")}
    return {name: [one for one in own if one["image"] == image] for name, own in columns.items()}


def _series(value: Any, width_px: int, title: str) -> Picture:
    from climb_hf.views import decode

    signal = decode(value) if isinstance(value, Mapping) else value
    return series_sheet(signal, width_px=width_px, title=title)


def _image(value: Any, width_px: int, title: str, **over: Any) -> Picture:
    from climb_hf.overlays import image_picture

    return image_picture(value, width_px=width_px, title=title, **over)


def _graph(value: Any, width_px: int, title: str) -> Picture:
    from climb_hf.network_pictures import graph_picture

    return graph_picture(value, width_px=width_px, title=title)


def _expression(value: Any, width_px: int, title: str) -> Picture:
    from climb_hf.network_pictures import expression_picture

    return expression_picture(value, width_px=width_px, title=title)


_MOVING = ("volumes", "videos")
_DRAWN: dict[str, Callable[..., Any]] = {
    "series": _series,
    "images": _image,
    "graphs": _graph,
    "expression": _expression,
}
