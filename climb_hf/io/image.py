"""Images as they were released: the bytes of a JPEG or PNG, and what its header says of it.

Nothing is decoded, resized or encoded again, but for DICOM files (`climb_hf.io.dicom`) and where
only a part of an image is wanted.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import ExifTags, Image, ImageOps

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import refuse_pointer
from climb_hf.schema import ImageFile, MaskFile

# Kind, as Pillow calls it -> endings of the names that such a file may have.
ENDINGS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",)}
ARRAY_ENDINGS = (".npy", ".npz")
DICOM_ENDINGS = (".dcm", ".dicom")
VIDEO_ENDINGS = (".avi", ".mp4", ".mov", ".wmv")
_AGAIN = "Fetch the file again."
_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations that turn an image by a quarter
# A marker with its segment: neither a stuffed zero nor a restart, which lie within a scan.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_END_OF_IMAGE = 0xD9
# Pillow decodes a whole PNG to look for an orientation, so it looks only where one may be.
_MAY_TURN = (b"eXIf", b"tiff:Orientation", b"Raw profile type")
_KEPT = 2  # an image and the mask over it, while their parts are cut
_decoded: dict[bytes, Image.Image] = {}  # by digest, what was decoded last


@dataclass(frozen=True)
class RawImage:
    """One image. Sizes are those of the upright image, in px.

    Attributes:
        data: the file's bytes.
        mode: of its pixels, as Pillow names it: `L`, `RGB`, `P`, `I;16`, ...
        view: what it shows of a study, or None.
        frame: of a file with several, or None.
        flags: of `climb_hf.schema.FLAGS`, what is to be said of it.
        meta: what its file says of how the pixels are meant, under the standard's names.
    """

    data: bytes
    height: int
    width: int
    mode: str
    view: str | None = None
    frame: int | None = None
    flags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def as_struct(self) -> dict[str, Any]:
        """Returns the image as the struct that is stored."""
        return {"bytes": self.data, "path": None}

    def info(self) -> dict[str, Any]:
        """Returns its entry of the column `image_info`."""
        size = {"height": self.height, "width": self.width}
        return {**size, "mode": self.mode, "view": self.view, "frame": self.frame, "time_s": None}


def load(file: ImageFile) -> RawImage:
    """Takes the bytes of a JPEG or PNG and reads its header; of all else a PNG is made.

    That is a DICOM file, a frame of a video, or an entry of an array of images.

    Raises:
        CorruptFileError: if it is not there, empty, cut short, of another kind than its name says
            or of one that is not taken, or if the part that is wanted lies outside it.
        DependencyError: if a DICOM file needs a decoder that is not installed.
    """
    whole = _of_array(file) if file.path.suffix in ARRAY_ENDINGS else _of_file(file)
    return _part(file, whole) if file.crop else whole


def _of_file(file: ImageFile) -> RawImage:
    name, data = file.key or file.path.name, bytes_of(file)
    if not data:
        raise CorruptFileError(f"{name} is empty. {_AGAIN}")
    if is_dicom(name, data):
        from climb_hf.io import dicom

        return dicom.load(file, data)
    if name.lower().endswith(VIDEO_ENDINGS):
        return _of_video(file, name, data)
    return _as_released(file, name, data)


def _of_array(file: ImageFile) -> RawImage:
    from climb_hf.io.arrays import pixels_of

    number = file.frame or 0
    picture = Image.fromarray(pixels_of(file.path, file.key, number))
    return _as_png(picture, file, number)


def _of_video(file: ImageFile, name: str, data: bytes) -> RawImage:
    """A frame of a video; one that is not there is none of another number."""
    from climb_hf.io import video

    at = video.times(data, name)
    number = file.frame or 0
    if number >= len(at):
        raise CorruptFileError(
            f"{name} has {len(at)} frames, and frame {number} (counted from 0) is asked for. "
            "Fetch the video and its table of one release."
        )
    (picture,) = video.frames(data, [at[number] - at[0]], name)
    return _as_png(picture, file, number)


def _as_png(picture: Image.Image, file: ImageFile, frame: int) -> RawImage:
    height, width, mode = picture.height, picture.width, picture.mode
    return RawImage(png_of(picture), height, width, mode, view=file.view, frame=frame)


def is_dicom(name: str, data: bytes) -> bool:
    """Whether a file has to be read as DICOM, by its content or else by its name."""
    return data[128:132] == b"DICM" or name.lower().endswith(DICOM_ENDINGS)


def _as_released(file: ImageFile, name: str, data: bytes) -> RawImage:
    try:
        with Image.open(io.BytesIO(data)) as header:
            kind = "JPEG" if header.format == "MPO" else str(header.format)
            (width, height), mode = header.size, header.mode
            turned = _orientation(header, data) in _ON_ITS_SIDE
    except Image.DecompressionBombError as error:
        raise CorruptFileError(f"{name} says that it is of an absurd size: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise CorruptFileError(
            f"{name} is no image, or nothing but the beginning of one: its {len(data)} bytes begin "
            f"with {data[:8]!r}. {_AGAIN}"
        ) from error
    _check_kind(name, kind)
    if not _IS_WHOLE[kind](data):
        raise CorruptFileError(f"{name} is cut short: a {kind} has an end mark. {_AGAIN}")
    height, width = (width, height) if turned else (height, width)
    return RawImage(data, height, width, mode, file.view)


def _part(file: ImageFile, whole: RawImage) -> RawImage:
    """A rectangle of an image, as PNG, pixel by pixel."""
    x1, y1, x2, y2 = file.crop or (0, 0, whole.width, whole.height)
    if not (0 <= x1 < x2 <= whole.width and 0 <= y1 < y2 <= whole.height):
        raise CorruptFileError(
            f"{file.key or file.path.name} is {whole.width} x {whole.height} px, and the part "
            f"{file.crop} does not lie in it. Fetch the image and its table of one release."
        )
    part = upright(file, whole.data).crop((x1, y1, x2, y2))
    return replace(whole, data=png_of(part), height=y2 - y1, width=x2 - x1, mode=part.mode)


def upright(file: ImageFile | MaskFile, data: bytes) -> Image.Image:
    """Returns the decoded image, turned as its orientation says.

    The last two are kept, as the parts of an image and of its mask follow each other.

    Raises:
        CorruptFileError: if it cannot be decoded.
    """
    digest = hashlib.sha256(data).digest()
    if digest not in _decoded:
        try:
            with warnings.catch_warnings():  # a region of a slide is large by nature
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data)) as opened:
                    turned = ImageOps.exif_transpose(opened)
                    turned.load()
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise CorruptFileError(
                f"{file.key or file.path.name} cannot be decoded: {error}. {_AGAIN}"
            ) from error
        while len(_decoded) >= _KEPT:
            del _decoded[next(iter(_decoded))]
        _decoded[digest] = turned
    return _decoded[digest]


def png_of(image: Image.Image) -> bytes:
    """Returns an image as the bytes of a PNG."""
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def bytes_of(file: ImageFile | MaskFile) -> bytes:
    """Returns the bytes of an image, out of its archive where it lies in one.

    Raises:
        CorruptFileError: if they cannot be read.
    """
    try:
        if file.key is not None:
            with zipfile.ZipFile(file.path) as archive:
                return archive.read(file.key)
        refuse_pointer(file.path)
        return file.path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"cannot read {file.path.name}: {error.strerror}.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError) as error:
        raise CorruptFileError(
            f"{file.key} cannot be read from {file.path.name}: {error}. Fetch the archive again."
        ) from error


def _check_kind(name: str, kind: str) -> None:
    if kind not in ENDINGS:
        raise CorruptFileError(
            f"{name} is a {kind} file, and images are taken as JPEG or PNG. Convert it, or fetch "
            "the release's own file."
        )
    ending = name[name.rfind(".") :].lower()
    known = [one for endings in ENDINGS.values() for one in endings]
    if ending not in ENDINGS[kind]:
        named = "another kind" if ending in known else "no image"
        raise CorruptFileError(
            f"{name} is a {kind} file by its content and {named} by its name. Rename it to end in "
            f"{ENDINGS[kind][0]}, or fetch the release's own file."
        )


def _orientation(header: Image.Image, data: bytes) -> int:
    if header.format == "PNG" and not any(word in data for word in _MAY_TURN):
        return 1
    return header.getexif().get(ExifTags.Base.Orientation, 1)


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end mark comes after the scans; that of a thumbnail lies within a segment."""
    at = 2
    while found := _MARKER.search(data, at):
        at = found.end()
        if data[at - 1] == _END_OF_IMAGE:
            return True
        at += int.from_bytes(data[at : at + 2])
    return False


def _png_is_whole(data: bytes) -> bool:
    """Whether its chunks lead to the last one, and that one is complete."""
    at = 8
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            return at <= len(data)
    return False


_IS_WHOLE: dict[str, Callable[[bytes], bool]] = {"JPEG": _jpeg_is_whole, "PNG": _png_is_whole}
