"""Videos as they were released: their bytes, and what their streams say of themselves.

Nothing is encoded again. A part is cut out at key frames, by copying packets; frames are decoded
when they are asked for, those in between only as far as the format needs.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io.files import refuse_pointer
from climb_hf.io.memory import remember
from climb_hf.optional import need
from climb_hf.schema import VideoFile

_AGAIN = "Fetch the file again."
_CONTAINERS = {"avi": "avi", "matroska,webm": "matroska", "asf": "asf", "gif": "gif"}


@dataclass(frozen=True)
class RawVideo:
    """One clip. Sizes are those of the upright picture, in px.

    Attributes:
        fps: frames per second, the mean where they vary.
        start_s, stop_s: the part of the recording that it shows; None for the whole of it.
    """

    data: bytes
    fps: float
    n_frames: int
    height: int
    width: int
    start_s: float | None = None
    stop_s: float | None = None

    def as_struct(self) -> dict[str, Any]:
        """Returns the clip as the struct that is stored."""
        return {"bytes": self.data, "path": None}

    def info(self) -> dict[str, Any]:
        """Returns its entry of the column `video_info`."""
        names = ("fps", "n_frames", "height", "width", "start_s", "stop_s")
        return {name: getattr(self, name) for name in names}


def load(file: VideoFile) -> RawVideo:
    """Takes the bytes of a video, or of the part that is meant, and reads its streams' headers.

    A part begins with the first key frame within it, so that each frame of a recording lies in
    one of the parts that follow each other; one without a key frame begins with that before it.

    Raises:
        CorruptFileError: if it is not there, empty, cut short or no video, or ends before the part.
        DependencyError: if PyAV is not installed.
    """
    try:
        refuse_pointer(file.path)
        data = file.path.read_bytes() if file.start_s is None and file.stop_s is None else None
    except OSError as error:
        raise CorruptFileError(f"cannot read {file.path.name}: {error.strerror}.") from error
    if data is None:
        start_s = file.start_s or 0.0
        data, start_s, stop_s = _part(file.path, start_s, file.stop_s)
        return _described(data, file.path.name, start_s, stop_s)
    return _described(data, file.path.name, None, None)


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Any]:
    """The container of a file or of bytes, and its video stream.

    Raises:
        CorruptFileError: if it cannot be opened or decoded, or holds no video.
    """
    av = need("av", extra="video")
    try:
        with av.open(str(source) if isinstance(source, Path) else io.BytesIO(source)) as container:
            if not container.streams.video:
                raise CorruptFileError(f"{name} holds no video. {_AGAIN}")
            yield container
    except (av.error.FFmpegError, ValueError) as error:
        why = getattr(error, "strerror", None) or error  # the whole text would name the folder too
        raise CorruptFileError(f"{name} cannot be read as a video: {why}. {_AGAIN}") from error


def _described(data: bytes, name: str, start_s: float | None, stop_s: float | None) -> RawVideo:
    if not data:
        raise CorruptFileError(f"{name} is empty. {_AGAIN}")
    with _opened(data, name) as container:
        stream = container.streams.video[0]
        first = next(container.decode(stream), None)
        if first is None:
            raise CorruptFileError(f"{name} holds no frame. {_AGAIN}")
        turned = int(getattr(first, "rotation", 0)) % 180 != 0
        height, width = (first.width, first.height) if turned else (first.height, first.width)
        rate = stream.average_rate or stream.guessed_rate or Fraction(0)
        n_frames = stream.frames
    found = len(times(data, name))
    if found < _WHOLE * n_frames or _riff_is_cut(data):
        raise CorruptFileError(
            f"{name} holds {found} frames where its header says {n_frames}: it is cut short. "
            f"{_AGAIN}"
        )
    return RawVideo(data, float(rate), found, height, width, start_s, stop_s)


def _riff_is_cut(data: bytes) -> bool:
    """Whether an AVI file is shorter than it says; one of over 1 GB says so of its parts only."""
    return data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)


def _packets(container: Any) -> Iterator[Any]:
    """The packets of the video that have a time; the last of a stream is empty."""
    for packet in container.demux(container.streams.video[0]):
        if packet.size and packet.pts is not None:
            yield packet


def times(source: Path | bytes, name: str = "the video") -> tuple[float, ...]:
    """Returns the time of each frame in seconds, in their order; none is decoded.

    Raises:
        CorruptFileError: if it cannot be read as a video.
    """
    with _opened(source, name) as container:
        found = sorted(float(packet.pts * packet.time_base) for packet in _packets(container))
    return tuple(found)


@remember(files=128)
def key_times(path: Path) -> tuple[float, ...]:
    """Returns the time of each key frame in seconds, in their order; none is decoded.

    An MP4 file has a table of them; of other files all packets are read.

    Raises:
        CorruptFileError: if it cannot be read as a video.
    """
    refuse_pointer(path)
    with _opened(path, path.name) as container:
        stream = container.streams.video[0]
        table = [entry.timestamp for entry in stream.index_entries if entry.is_keyframe]
        keys = (packet for packet in _packets(container) if packet.is_keyframe)
        if "mp4" not in container.format.name or not table:
            return tuple(sorted(float(one.pts * one.time_base) for one in keys))
        first = next(keys, None)
        if first is None:
            raise CorruptFileError(f"{path.name} holds no frame. {_AGAIN}")
        # The table has when frames are decoded; how long after it one is shown holds for all.
        return tuple(float((at - table[0] + first.pts) * stream.time_base) for at in table)


def _part(path: Path, start_s: float, stop_s: float | None) -> tuple[bytes, float, float]:
    """Packets from one key frame to before another, in a file of their own, and its times."""
    end_s = float("inf") if stop_s is None else stop_s
    if end_s <= start_s:
        raise OptionError(f"a part of {path.name} from {start_s} s to {end_s} s has no length.")
    av = need("av", extra="video")
    buffer = io.BytesIO()
    with _opened(path, path.name) as container:
        stream = container.streams.video[0]
        begin, end = _key_frames(container, start_s, end_s, path.name)
        kind = _CONTAINERS.get(container.format.name, "mp4")
        with av.open(buffer, "w", format=kind) as made:
            target = made.add_stream_from_template(stream)
            first = None
            seek = int(begin / stream.time_base)
            container.seek(seek, stream=stream, backward=True)
            for packet in _packets(container):
                at = float(packet.pts * packet.time_base)
                if packet.is_keyframe and at >= end - _HALF_TICK:
                    break
                if first is None and (not packet.is_keyframe or at < begin - _HALF_TICK):
                    continue
                if first is None:
                    first = packet.dts if packet.dts is not None else packet.pts
                    offset = packet.pts
                packet.pts -= offset
                packet.dts = None if packet.dts is None else packet.dts - offset
                packet.stream = target
                made.mux(packet)
    return buffer.getvalue(), begin, end


_WHOLE = 0.9  # share of the frames of its header that a video must hold: some lack a few
_HALF_TICK = 1e-4  # s; times of key frames are compared as they were read


def _key_frames(container: Any, start_s: float, end_s: float, name: str) -> tuple[float, float]:
    """When the part begins, and the key frame or the end of the video before which it ends."""
    stream = container.streams.video[0]
    container.seek(int(start_s / stream.time_base), stream=stream, backward=True)
    before, within, after, last = None, None, None, 0.0
    for packet in _packets(container):
        at = float(packet.pts * packet.time_base)
        last = max(last, at + float((packet.duration or 0) * packet.time_base))
        if not packet.is_keyframe:
            continue
        if at < start_s - _HALF_TICK:
            before = at
        elif at < end_s - _HALF_TICK and within is None:
            within = at
        elif at >= end_s - _HALF_TICK:
            after = at
            break
    begin = within if within is not None else before
    if begin is None or last <= start_s:
        raise CorruptFileError(
            f"{name} ends at {last:.2f} s, before the part from {start_s:.2f} s that is wanted."
        )
    return begin, last if after is None else after


def frames(data: bytes, at_s: Sequence[float], name: str = "the video") -> list[Image.Image]:
    """Returns the frames shown at given times, upright, in the order of `at_s`.

    Args:
        data: of the clip.
        at_s: seconds from its beginning.

    Raises:
        CorruptFileError: if it cannot be decoded, or ends before one of the times.
        DependencyError: if PyAV is not installed.
    """
    found: dict[float, Image.Image] = {}
    with _opened(data, name) as container:
        stream = container.streams.video[0]
        for wanted in sorted(set(at_s)):
            found[wanted] = _frame_at(container, stream, wanted, name)
    return [found[wanted] for wanted in at_s]


def _frame_at(container: Any, stream: Any, wanted: float, name: str) -> Image.Image:
    """The last frame that begins at or before a time."""
    start = float((stream.start_time or 0) * stream.time_base)
    if stream.frames != 1:
        container.seek(int((wanted + start) / stream.time_base), stream=stream, backward=True)
    shown, last = None, 0.0
    for frame in container.decode(stream):
        begins = float(frame.pts * frame.time_base) - start if frame.pts is not None else last
        if begins > wanted + _HALF_TICK and shown is not None:
            break
        shown, last = frame, begins
    length = 1.0 / float(stream.average_rate or 1)
    if shown is None or wanted > last + 2 * length:
        raise CorruptFileError(
            f"{name} ends at {last:.2f} s, and a frame at {wanted:.2f} s is wanted."
        )
    picture = shown.to_image()
    turned = int(getattr(shown, "rotation", 0)) % 360
    return picture.rotate(turned, expand=True) if turned else picture
