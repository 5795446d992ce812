"""What a model sees of a volume or a clip: which slices, which way up, with which masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from climb_hf import catalog, frames
from climb_hf.errors import OptionError

nibabel = pytest.importorskip("nibabel")
LESION = {
    "window_hu": (50.0, 200.0),
    "mask_legend": {1: "organ", 2: "tumour"},
    "lesion_codes": (2,),
}
SHAPE = (20, 16, 10)  # right to left is not known from these


def volume_in(orientation, values):
    """A volume given in RAS, as a file of other axes holds it."""
    ras = nibabel.Nifti1Image(values, np.diag([0.7, 0.8, 2.0, 1.0]))
    start = nibabel.orientations.io_orientation(ras.affine)
    end = nibabel.orientations.axcodes2ornt(orientation)
    return ras.as_reoriented(nibabel.orientations.ornt_transform(start, end))


def stored(image):
    return {"bytes": image.to_bytes(), "path": None}


@pytest.fixture
def phantom():
    """Bright at the patient's right front, below the middle (RAS indices)."""
    values = np.zeros(SHAPE, dtype=np.int16)
    values[16:19, 12:15, :] = 100
    values += np.arange(10, dtype=np.int16)[None, None, :]
    return values


@pytest.fixture
def card():
    return replace(catalog.get("isic2020").card, **LESION)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "IPL", "SAR", "PIR"])
def test_slices_are_shown_as_radiologists_look_at_them(axes, phantom):
    row = frames.as_images({"volumes": [stored(volume_in(axes, phantom))]}, window=(50, 200))
    assert [info["frame"] for info in row["image_info"]] == [1, 3, 6, 8]
    first = np.asarray(row["images"][0])
    assert first.shape == (16, 20)
    rows, columns = np.nonzero(first > first.min())
    assert (rows.min(), rows.max()) == (1, 3)  # the front is at the top
    assert (columns.min(), columns.max()) == (1, 3)  # the patient's right is on the left
    levels = [np.asarray(image).min() for image in row["images"]]
    assert levels == sorted(levels)  # from the feet to the head


def test_the_slice_with_the_largest_lesion_comes_first_with_its_mask_and_boxes(phantom, card):
    codes = np.zeros(SHAPE, dtype=np.uint8)
    codes[:, :, 2] = 1  # the organ, larger than any lesion
    codes[4:10, 3:8, 7], codes[12:14, 3:8, 7], codes[4:6, 3:5, 3] = 2, 2, 2
    mask = {"volume": 0, "label": None, "reader": "R1", "mask": stored(volume_in("IPL", codes))}
    volume = stored(volume_in("IPL", phantom))
    row = frames.as_images({"volumes": [volume], "volume_masks": [mask]}, card=card)
    assert [info["frame"] for info in row["image_info"]] == [7, 1, 3, 8]
    shown = np.asarray(row["masks"][0]["mask"]) > 0
    assert np.array_equal(shown, (codes[:, :, 7] == 2).T[::-1, ::-1])
    assert sorted(box["xyxy"] for box in row["boxes"] if box["image"] == 0) == [
        [6.0, 8.0, 8.0, 13.0],
        [10.0, 8.0, 16.0, 13.0],
    ]
    assert [one["image"] for one in row["masks"]] == [0, 2]
    assert {one["label"] for one in (*row["masks"], *row["boxes"])} == {"tumour"}
    assert {one["reader"] for one in row["boxes"]} == {"R1"}


def test_the_card_knows_the_window(phantom, card):
    volume = stored(volume_in("RAS", phantom))
    by_card = frames.as_images({"volumes": [volume]}, card=card)["images"]
    by_hand = frames.as_images({"volumes": [volume]}, window=(50.0, 200.0))["images"]
    assert [image.tobytes() for image in by_card] == [image.tobytes() for image in by_hand]
    assert np.asarray(by_card[0]).max() == round((101 + 50) / 200 * 255)


def test_images_that_a_row_has_stay_in_front(phantom):
    before = {"images": [Image.new("L", (3, 2))], "image_info": [{"frame": None}]}
    row = frames.as_images({**before, "volumes": [stored(volume_in("RAS", phantom))]}, 2)
    assert [image.size for image in row["images"]] == [(3, 2), (20, 16), (20, 16)]
    assert before["images"][0].size == (3, 2)
    assert len(before["images"]) == 1


def test_frames_of_a_clip_have_their_times(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.avi"), "w") as made:
        stream = made.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuvj420p"
        for i in range(20):
            grey = np.full((24, 32, 3), i * 10, np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        made.mux(stream.encode())
    clip = {"bytes": (tmp_path / "a.avi").read_bytes(), "path": None}
    row = frames.as_images({"videos": [clip]}, 4)
    assert [info["frame"] for info in row["image_info"]] == [2, 7, 12, 17]
    assert np.allclose([info["time_s"] for info in row["image_info"]], [0.2, 0.7, 1.2, 1.7])
    found = [np.asarray(image).mean() / 10 for image in row["images"]]
    assert np.allclose(found, [2, 7, 12, 17], atol=0.3)


@given(st.integers(1, 1000), st.integers(1, 40))
def test_frames_are_spread_evenly(n, n_frames):
    chosen = frames.spread(n, n_frames)
    assert len(chosen) == min(n, n_frames)
    assert 0 <= chosen[0] <= chosen[-1] < n
    gaps = np.diff([-0.5, *chosen, n - 0.5])
    assert gaps.max() <= max(n / min(n, n_frames) + 1, 1.5)


def test_a_montage_lays_images_in_rows():
    images = [Image.new("L", (4, 3), shade) for shade in (10, 20, 30)]
    sheet = np.asarray(frames.montage(images, columns=2))
    assert sheet.shape == (6, 8, 3)
    assert (sheet[0, 0, 0], sheet[0, 5, 0], sheet[4, 1, 0], sheet[5, 7, 0]) == (10, 20, 30, 0)


def test_what_makes_no_sense_is_refused(phantom):
    volume = stored(volume_in("RAS", phantom))
    with pytest.raises(OptionError, match="n_frames=0"):
        frames.as_images({"volumes": [volume]}, 0)
    with pytest.raises(OptionError, match="width"):
        frames.as_images({"volumes": [volume]}, window=(40, 0))
    with pytest.raises(OptionError, match="at least one"):
        frames.montage([])
