"""Videos: bytes as released, parts cut at key frames without decoding, frames at their times."""

from __future__ import annotations

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io import video
from climb_hf.schema import VideoFile

av = pytest.importorskip("av")
N, FPS, GOP = 100, 25, 20
KINDS = {"a.mp4": "libx264", "a.mov": "libx264", "a.avi": "mjpeg", "a.wmv": "wmv2", "a.gif": "gif"}
PIXELS = {"mjpeg": "yuvj420p", "gif": "rgb8"}


def write(path, codec="libx264", n=N, fps=FPS, pts=None, tag=None):
    """Frame i of n is of the grey 2 i."""
    with av.open(str(path), "w") as made:
        stream = made.add_stream(codec, rate=fps)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = PIXELS.get(codec, "yuv420p")
        stream.codec_context.gop_size = GOP
        if codec == "libx264":
            stream.options = {"sc_threshold": "0", "bf": "0"}
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 2 * i, np.uint8), "rgb24")
            if pts:
                frame.pts, frame.time_base = pts[i], pts[-1]
            made.mux(stream.encode(frame))
        made.mux(stream.encode())
    return path


def greys(pictures):
    return [float(np.asarray(picture).mean()) / 2 for picture in pictures]


@pytest.mark.parametrize("name", KINDS)
def test_a_video_is_taken_byte_by_byte_and_described(name, tmp_path):
    path = write(tmp_path / name, KINDS[name])
    row = video.load(VideoFile(path))
    assert row.data == path.read_bytes()
    assert (row.n_frames, row.height, row.width, row.start_s) == (N, 48, 64, None)
    assert row.fps == pytest.approx(FPS, rel=0.01)


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_their_times(name, tmp_path):
    row = video.load(VideoFile(write(tmp_path / name, KINDS[name])))
    wanted = [70, 3, 40]  # in any order
    found = greys(video.frames(row.data, [i / FPS + 0.005 for i in wanted]))
    assert np.allclose(found, wanted, atol=16 if name == "a.gif" else 2)  # a GIF has few greys


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.wmv"])
def test_parts_that_follow_each_other_hold_each_frame_once(name, tmp_path):
    path = write(tmp_path / name, KINDS[name])
    parts = [video.load(VideoFile(path, k * 1.0, k + 1.0)) for k in range(4)]
    assert sum(part.n_frames for part in parts) == N
    first = greys(frame for part in parts for frame in video.frames(part.data, [0.0]))
    assert np.allclose(first, [round(part.start_s * FPS) for part in parts], atol=2)
    assert [part.stop_s for part in parts[:-1]] == [part.start_s for part in parts[1:]]


def test_a_part_within_one_group_of_pictures_begins_before_it(tmp_path):
    part = video.load(VideoFile(write(tmp_path / "a.mp4"), 0.9, 1.1))
    assert (part.start_s, part.stop_s, part.n_frames) == (0.8, 1.6, GOP)


def test_a_part_beyond_the_end_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match=r"ends at 4\.00 s"):
        video.load(VideoFile(write(tmp_path / "a.mp4"), 9.0, 10.0))
    with pytest.raises(OptionError, match="has no length"):
        video.load(VideoFile(tmp_path / "a.mp4", 2.0, 1.0))


def test_a_frame_past_the_end_is_refused(tmp_path):
    row = video.load(VideoFile(write(tmp_path / "a.mp4")))
    with pytest.raises(CorruptFileError, match=r"ends at 3\.96 s"):
        video.frames(row.data, [5.0])


def test_frames_of_uneven_length_are_shown_until_the_next(tmp_path):
    from fractions import Fraction

    at = [0, 1, 2, 12, 13, 30]  # tenths of a second
    path = write(tmp_path / "a.mp4", n=6, fps=10, pts=[*at, Fraction(1, 10)])
    row = video.load(VideoFile(path))
    assert np.allclose(video.times(path), [i / 10 for i in at])
    assert np.allclose(greys(video.frames(row.data, [0.7, 1.25, 0.0])), [2, 3, 0], atol=2)


@pytest.mark.parametrize("data", [b"", b"no video at all", b"\0\0\0\x18ftypmp42" + bytes(60)])
def test_what_is_no_video_is_named(data, tmp_path):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"a\.mp4"):
        video.load(VideoFile(tmp_path / "a.mp4"))


def test_a_video_that_is_cut_short_is_named(tmp_path):
    path = write(tmp_path / "a.mp4")  # its index comes last
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CorruptFileError, match=r"a\.mp4"):
        video.load(VideoFile(path))


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_key_frames_are_told_without_decoding(name, tmp_path):
    path = write(tmp_path / name, KINDS[name])
    with av.open(str(path)) as container:
        shown = [float(f.pts * f.time_base) for f in container.decode(video=0) if f.key_frame]
    assert np.allclose(video.key_times(path), np.array(shown) - min(shown), atol=1e-6)


def test_packets_out_of_order_are_shown_in_order(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as made:
        stream = made.add_stream("libx264", rate=25, options={"bf": "3", "b_strategy": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i in range(50):
            grey = np.full((64, 64, 3), 4 * i, np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        made.mux(stream.encode())
    with av.open(str(tmp_path / "a.mp4")) as container:
        packed = [one.pts for one in container.demux(video=0) if one.size]
    assert packed != sorted(packed)
    row = video.load(VideoFile(tmp_path / "a.mp4"))
    assert np.allclose(video.times(row.data), np.arange(50) / 25)
    shown = [np.asarray(one).mean() / 4 for one in video.frames(row.data, [0.4, 0.04, 1.2])]
    assert np.allclose(shown, [10, 1, 30], atol=1)


def test_what_is_wrong_with_a_file_is_told_without_its_folder(tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(CorruptFileError, match=r"cut.mp4 cannot be read as a video: Inv") as told:
        video.key_times(path)
    assert str(tmp_path) not in str(told.value)
