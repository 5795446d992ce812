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


GREY = (120, 120, 120)


def over_row(boxes=(), masks=(), n_images=1):
    """A grey image of 40 x 20 px, drawn at 400 x 200, with what lies over it."""
    images = [Image.new("RGB", (40, 20), GREY) for _ in range(n_images)]
    where = {"image": 0, "label": "lesion", "reader": None}
    return {
        "id": "i/1",
        "images": images,
        "boxes": [{**where, **one} for one in boxes],
        "masks": [{**where, **one} for one in masks],
    }


def coloured(row):
    """Where a picture of 400 px differs from grey, below what is written above it."""
    return (np.asarray(climb_hf.plot(row, width_px=400))[-200:] != GREY).any(axis=2)


def test_a_box_is_drawn_where_it_lies():
    found = coloured(over_row(boxes=[{"xyxy": [10.0, 4.0, 30.0, 16.0]}]))
    rows, columns = found.nonzero()
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (100, 40, 299, 159)
    assert not found[45:155, 105:295].any()


def test_a_mask_is_outlined_and_not_filled():
    pixels = np.zeros((20, 40), np.uint8)
    pixels[4:16, 10:30] = 255
    found = coloured(over_row(masks=[{"mask": Image.fromarray(pixels)}]))
    rows, columns = found.nonzero()
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (100, 40, 299, 159)
    assert not found[45:155, 105:295].any()


def test_each_code_of_a_mask_has_a_colour_of_its_own():
    codes = np.zeros((20, 40), np.uint8)
    codes[2:8, 2:12], codes[10:18, 20:38] = 3, 7
    row = over_row(masks=[{"mask": Image.fromarray(codes), "label": None}])
    pixels = np.asarray(climb_hf.plot(row, width_px=400))[-200:]
    first, second = pixels[20:80, 20:120], pixels[100:180, 200:380]
    colours = [{tuple(c) for c in part.reshape(-1, 3)} - {GREY} for part in (first, second)]
    assert [len(one) for one in colours] == [1, 1]
    assert colours[0] != colours[1]


def test_what_lies_over_another_image_is_not_drawn():
    other = [{"xyxy": [10.0, 4.0, 30.0, 16.0], "image": 1}]
    both = np.asarray(climb_hf.plot(over_row(boxes=other, n_images=2), width_px=400))
    first = np.asarray(climb_hf.plot(over_row(), width_px=400))
    assert np.array_equal(both[: len(first)], first)
    assert (both[-200:] != GREY).any()


def test_16_bit_grey_is_drawn_as_grey():
    deep = Image.fromarray(np.linspace(0, 3000, 800).astype(np.uint16).reshape(20, 40))
    drawn = np.asarray(climb_hf.plot({"id": "i/1", "images": [deep]}, width_px=400))[-200:]
    assert (drawn.min(), drawn.max()) == (0, 255)
    assert drawn.mean() == pytest.approx(127.5, abs=2)


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


def test_a_volume_is_drawn_as_frames_with_its_lesion_outlined():
    nibabel = pytest.importorskip("nibabel")
    codes = np.zeros((40, 30, 8), np.uint8)
    codes[10:20, 10:20, 5] = 1
    volume = nibabel.Nifti1Image(np.full(codes.shape, 40, np.int16), np.eye(4))
    mask = nibabel.Nifti1Image(codes, np.eye(4))
    row = {
        "id": "v/1",
        "volumes": [{"bytes": volume.to_bytes(), "path": None}],
        "volume_masks": [
            {
                "volume": 0,
                "label": "lesion",
                "reader": None,
                "mask": {"bytes": mask.to_bytes(), "path": None},
            }
        ],
    }
    assert drawable(row)
    shown = np.asarray(climb_hf.plot(row, width_px=400)).astype(int)
    red = np.argwhere((shown[..., 0] - shown[..., 2] > 100) & (shown[..., 0] > 150))
    # The first of two columns of two frames; above them stand a title and the name of the mask.
    assert len(red) > 0
    assert red[:, 1].max() < 200
    assert red[:, 0].max() < shown.shape[0] / 2
    bare = climb_hf.plot({**row, "volume_masks": []}, width_px=400)
    assert bare.width == 400


def test_a_clip_is_drawn_as_frames(load_fake, tmp_path):
    pytest.importorskip("av")
    load_fake("made_videos").write_video(tmp_path / "a.mp4", [1], 20)
    row = {"id": "c/1", "videos": [{"bytes": (tmp_path / "a.mp4").read_bytes(), "path": None}]}
    shown = climb_hf.plot(row, width_px=400)
    one = 200 + (shown.height - 400) // 2  # a square frame and the title above it
    assert (shown.width, shown.height) == (400, 2 * one)
    assert one - 200 < 40
