"""Pictures of rows of every modality: something is drawn, and what is drawn follows the row."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import climb_hf
from climb_hf.errors import OptionError
from climb_hf.io.tensor import as_tensor
from climb_hf.pictures import contact_sheet, drawable
from climb_hf.views import Signal, encode


def series_row(scale=1.0, channels=("MLII", "V5")):
    time = np.arange(1000) / 100
    values = np.stack([np.sin(time * (i + 1) * scale) for i in range(len(channels))])
    signal = Signal(values.astype(np.float32), 100.0, channels, ("mV",) * len(channels))
    return {"id": "s/1", "series": [signal]}


def image_row(shade=90):
    buffer = io.BytesIO()
    Image.new("L", (40, 20), shade).save(buffer, format="PNG")
    return {"id": "i/1", "images": [{"bytes": buffer.getvalue(), "path": None}]}


def graph(**tensors):
    names = ("edge_index", "edge_attr", "x", "y", "matrix")
    return {"num_nodes": 6, "node_names": [], **{n: as_tensor(tensors.get(n)) for n in names}}


def molecule_row(last=5):
    edges = np.array([[0, 1, 2, 3, 4, last, 1, 2, 3, 4, 5, 0][:6], [1, 2, 3, 4, 5, 0]], np.int32)
    both = np.concatenate([edges, edges[::-1]], axis=1)
    return {"id": "m/1", "graphs": [graph(edge_index=both)]}


def connectome_row(sign=1.0):
    matrix = np.zeros((2, 6, 6), np.float32)
    matrix[:, 0, 1] = sign
    return {"id": "b/1", "graphs": [graph(matrix=matrix)]}


def genes_row(top=9.0):
    values = as_tensor(np.array([1.0, top, np.nan, -2.0], np.float32))
    profile = {"genes": ["A", "B", "C", "D"], "values": values, "unit": "TPM", "group": "g1"}
    return {"id": "e/1", "expression": [profile]}


ROWS = {
    "series": (series_row(), series_row(2.0)),
    "ecg": (series_row(channels=("I", "II")), series_row(2.0, ("I", "II"))),
    "image": (image_row(), image_row(200)),
    "molecule": (molecule_row(), molecule_row(2)),
    "connectome": (connectome_row(), connectome_row(-1.0)),
    "genes": (genes_row(), genes_row(3.0)),
}


@pytest.mark.parametrize(("row", "other"), ROWS.values(), ids=ROWS)
def test_what_is_drawn_follows_the_row(row, other):
    first, again, second = climb_hf.plot(row), climb_hf.plot(row), climb_hf.plot(other)
    assert first.width == 1100
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != second.tobytes()


def test_a_stored_series_is_drawn_as_the_decoded_one():
    row = series_row()
    stored = {**row, "series": [encode(row["series"][0])]}
    assert climb_hf.plot(stored).tobytes() == climb_hf.plot(row).tobytes()


def test_a_connectome_is_red_where_it_is_positive_and_blue_where_not():
    pixels = [np.asarray(climb_hf.plot(connectome_row(sign))).astype(int) for sign in (1.0, -1.0)]
    red, blue = ((p[..., 0] - p[..., 2]) for p in pixels)
    assert red.max() > 100
    assert blue.min() < -100


def test_rows_stand_below_each_other():
    rows = [series_row(), genes_row()]
    assert contact_sheet(rows).height == sum(climb_hf.plot(row).height for row in rows)


def test_a_row_without_media_is_refused():
    row = {"id": "t/1", "series": [], "text": "words"}
    assert not drawable(row)
    with pytest.raises(OptionError, match="'t/1' holds no series"):
        climb_hf.plot(row)


def test_a_graph_of_many_nodes_says_so():
    edges = np.array([[0, 1], [1, 0]], np.int32)
    row = {"id": "m/2", "graphs": [{**graph(edge_index=edges), "num_nodes": 50_000}]}
    assert climb_hf.plot(row).width == 1100


def test_a_graph_without_anything_is_refused():
    with pytest.raises(OptionError, match="neither a matrix nor edges"):
        climb_hf.plot({"id": "m/3", "graphs": [graph()]})
