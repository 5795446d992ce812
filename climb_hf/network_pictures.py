"""Connectomes, molecule graphs and expression profiles as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from climb_hf.errors import OptionError
from climb_hf.io.tensor import from_tensor
from climb_hf.render import shortened

_INK, _LINE, _DOT, _GREY = (16, 16, 32), (150, 160, 185), (35, 90, 165), (120, 120, 130)
_COLD, _WARM = np.array([33, 102, 172]), np.array([178, 24, 43])
TEXT_PX = 14
MOST_NODES = 3000  # more dots than that are a blot
ROUNDS = 60  # of the layout; few, as it only has to part what is apart
SHOWN_GENES = 40


def graph_picture(stored: Mapping[str, Any], *, width_px: int, title: str) -> Image.Image:
    """Draws a stored graph: each view of its matrix as a heat map, else its nodes and edges.

    Colours run from blue (the largest negative value) over white (zero) to red, by the largest
    absolute value of all views.

    Raises:
        OptionError: if the graph has neither matrix nor edges.
    """
    matrix, edges = from_tensor(stored["matrix"]), from_tensor(stored["edge_index"])
    if matrix is not None:
        return _heat_maps(matrix, width_px, title)
    if edges is None:
        raise OptionError(f"graph {title!r} has neither a matrix nor edges to draw.")
    return _dots_and_lines(int(stored["num_nodes"]), edges, width_px, title)


def expression_picture(stored: Mapping[str, Any], *, width_px: int, title: str) -> Image.Image:
    """Draws the values of a stored profile that are largest by amount, as bars, largest first.

    Raises:
        OptionError: if no value of the profile was measured.
    """
    values = from_tensor(stored["values"])
    if values is None or not np.isfinite(values).any():
        raise OptionError(f"expression {title!r} holds no measured value.")
    size = np.where(np.isfinite(values), np.abs(values), -1.0)
    order = np.argsort(-size, kind="stable")[: min(SHOWN_GENES, int((size >= 0).sum()))]
    row_px, left = TEXT_PX + 6, round(width_px * 0.25)
    picture, draw, font = _canvas(width_px, row_px * len(order), title, stored.get("unit") or "")
    px_per_unit = (width_px - left - 90) / max(float(size[order[0]]), 1e-12)
    for row, index in enumerate(order):
        y = TEXT_PX + 8 + row * row_px
        gene = stored["genes"][index] if stored["genes"] else f"value {index + 1}"
        draw.text((4, y), shortened(gene, font, left - 12), _INK, font)
        bar = max(float(size[index]) * px_per_unit, 1.0)
        colour = tuple(_WARM if values[index] >= 0 else _COLD)
        draw.rectangle([left, y + 2, left + bar, y + TEXT_PX], fill=colour)
        draw.text((left + bar + 6, y), f"{values[index]:.4g}", _GREY, font)
    return picture


def _canvas(width_px: int, height_px: int, title: str, note: str = "") -> tuple[Any, Any, Any]:
    picture = Image.new("RGB", (width_px, height_px + TEXT_PX + 12), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT_PX)
    line = f"{title}   {note}" if note else title
    draw.text((4, 2), shortened(line, font, width_px - 8), _INK, font)
    return picture, draw, font


def _heat_maps(matrix: np.ndarray, width_px: int, title: str) -> Image.Image:
    views, n_nodes, _ = matrix.shape
    side = (width_px - 8 * (views + 1)) // views
    known = np.where(np.isfinite(matrix), matrix, 0.0)
    most = float(np.abs(known).max()) or 1.0
    picture, _, _ = _canvas(width_px, side, title, f"{n_nodes} regions, up to {most:.3g}")
    for view in range(views):
        share = np.abs(known[view])[..., None] / most
        colour = np.where(known[view][..., None] >= 0, _WARM, _COLD)
        pixels = (255 + (colour - 255) * share).round().astype(np.uint8)
        tile = Image.fromarray(pixels, "RGB").resize((side, side), Image.Resampling.NEAREST)
        picture.paste(tile, (8 + view * (side + 8), TEXT_PX + 8))
    return picture


def _dots_and_lines(n_nodes: int, edges: np.ndarray, width_px: int, title: str) -> Image.Image:
    height = round(width_px * 0.6)
    note = f"{n_nodes} nodes, {edges.shape[1]} directed edges"
    picture, draw, _ = _canvas(width_px, height, title, note)
    if n_nodes > MOST_NODES:
        degrees = np.bincount(edges[0], minlength=n_nodes)
        draw.text((4, TEXT_PX + 12), f"too many to draw; median degree {np.median(degrees):g}")
        return picture
    places = _layout(n_nodes, edges) * [width_px - 40, height - 30] + [20, TEXT_PX + 20]
    for first, second in edges[:, edges[0] < edges[1]].T:
        draw.line([*places[first], *places[second]], fill=_LINE)
    radius = 4 if n_nodes < 200 else 2
    for x, y in places:
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=_DOT)
    return picture


def _layout(n_nodes: int, edges: np.ndarray) -> np.ndarray:
    """Places in [0, 1], shape (nodes, 2), by Fruchterman and Reingold's forces (1991).

    Starts on a circle in the order of the nodes, so that the same graph gives the same picture.
    """
    angle = 2 * np.pi * np.arange(n_nodes) / max(n_nodes, 1)
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 0.5
    ideal = 1.0 / np.sqrt(max(n_nodes, 1))
    for step in range(ROUNDS if n_nodes <= 500 else 0):  # the circle serves for larger ones
        apart = places[:, None, :] - places[None, :, :]
        distance = np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), 1e-3)
        force = (apart / distance * (ideal**2 / distance)).sum(axis=1)
        along = places[edges[0]] - places[edges[1]]
        length = np.linalg.norm(along, axis=-1, keepdims=True)
        np.add.at(force, edges[0], -along * length / ideal)
        amount = np.maximum(np.linalg.norm(force, axis=-1, keepdims=True), 1e-9)
        places = places + force / amount * np.minimum(amount, 0.1 * (1 - step / ROUNDS))
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1.0)
