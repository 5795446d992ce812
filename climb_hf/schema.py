"""The one schema of all sources: what a reader hands over, and the columns that are stored.

`Example` and its parts use the standard library only; `disk_features` and `features_for` import
`datasets` inside the call, so that listing sources stays instant. Every column's meaning, unit and
nullability is in `COLUMNS_MEANING`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.card import Modality
from climb_hf.check import check_option

if TYPE_CHECKING:
    from datasets import Features

SCHEMA_VERSION = "1.0.0"
SPLITS = ("train", "validation", "test")
TASKS = ("classification", "qa")
FLAGS = (
    "patient_unknown",
    "age_capped",
    "invalid_samples",
    "flat_channel",
    "asymmetric_matrix",
    "padded",
    "cropped",
    "resampled",
    "gain_corrected",
    "duplicate_signal",
    "irregular_spacing",
    "constant_image",
    "mask_resized",
    "box_clipped",
)


@dataclass(frozen=True)
class SeriesFile:
    """Where a series lies and how to open it; `climb_hf.io.signal` does so when it is needed.

    Attributes:
        path: the file that names the series (a WFDB header, or a MATLAB file).
        reader: name of the reader in `climb_hf.io.signal`.
        signal: the file that holds the samples, where the reader knows it.
        mend: whether the header must be corrected (its names, its dialect) before it is read.
        gain: gain to use in place of the header's, in units of adu per mV; None keeps it.
        start_s, stop_s: the part of the recording that is meant; None means to its end. What lies
            before 0 s or after the recording was never there: it is padded where lengths are fixed.
        whole: whether the recording keeps its own length, whatever the card says.
        part: which piece of the file is meant, such as a row number; None means all of it.
        facts: what the index knows and the file does not say, such as `channels` and `rate_hz`.
    """

    path: Path
    reader: str
    signal: Path | None = None
    mend: bool = False
    gain: float | None = None
    start_s: float = 0.0
    stop_s: float | None = None
    whole: bool = False
    part: Any = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MediaFile:
    """Where a graph or an expression profile lies and how to open it, when it is needed.

    Attributes:
        path: the file.
        reader: name of the reader in `climb_hf.io.graph` or `climb_hf.io.expression`.
        part: which piece of the file is meant: a row number, the name of a column; None: all of it.
        facts: what the index knows and the file does not say.
        beside: other files that are read with it, by what they hold.
    """

    path: Path
    reader: str
    part: Any = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageFile:
    """Where an image lies; `climb_hf.io.image` takes the bytes of a JPEG or PNG as they are.

    Attributes:
        path: the image, or what it lies in: a zip archive, a .npy or .npz file of images.
        view: what it shows of a study, such as `PA`; None where the release does not say.
        key: name of the image within the archive, or of the array within the .npz file; None where
            `path` is the image.
        form: what a DICOM file becomes: `uint8` or `uint16` (as it is shown, in 8 or 16 bits of
            grey) or `raw` (values as they are stored). Other files do not heed it.
        frame: of a video, of a DICOM file with several or of an array, counted from 0.
        crop: x1, y1, x2, y2 in px of the upright image: only that part is stored, as PNG.
    """

    path: Path
    view: str | None = None
    key: str | None = None
    form: str = "uint8"
    window: tuple[float, float] | None = None
    frame: int | None = None
    crop: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Box:
    """A rectangle that somebody drew.

    Attributes:
        label: what it shows, as the release names it.
        xyxy: x1, y1, x2, y2 in px of the image as it is stored.
        image: which of the record's images it lies in.
        reader: who drew it, where the release tells readers apart.
    """

    label: str | None
    xyxy: tuple[float, float, float, float]
    image: int = 0
    reader: str | None = None


@dataclass(frozen=True)
class MaskFile:
    """Where a mask lies: an image file whose bright pixels are meant, or which holds codes.

    Attributes:
        path: the mask, or a zip archive that it lies in, or the table that holds its outline, or a
            JSON file of run lengths (`climb_hf.io.rle`).
        label: what it shows; None where its pixels hold codes, explained by the card.
        image: which of the record's images it lies over.
        reader: who drew it, where the release tells readers apart.
        key: name of the mask within the archive, or `<image>/<label>` within the JSON file; None
            where `path` is the mask.
        codes: released code -> stored code, any other becomes 0; None takes them as they are.
        crop: as that of its image.
        above: a pixel is meant from the next shade on; other than 0 for masks that lost some of
            their shades to compression.
        outline: corners (x, y) in px of the image, in place of pixels.
    """

    path: Path
    label: str | None = None
    image: int = 0
    reader: str | None = None
    key: str | None = None
    codes: Mapping[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    above: int = 0
    outline: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class VolumeFile:
    """Where a volume lies; `climb_hf.io.volume` stores it as NIfTI.

    Attributes:
        path: a NIfTI or MetaImage file, or the folder of a DICOM series.
        files: of the DICOM series, in any order; empty for the other kinds.
        name: what it shows of a study, such as a phase; None where there is one only.
        slices: first and last + 1 of the axial slices that are meant, counted from the feet to the
            head; None means all, and a NIfTI file then goes into the row as it is.
    """

    path: Path
    files: tuple[Path, ...] = ()
    name: str | None = None
    slices: tuple[int, int] | None = None


@dataclass(frozen=True)
class VolumeMaskFile:
    """Where a mask in three dimensions lies: a NIfTI or MetaImage file of the volume's grid.

    Attributes:
        label: what it shows; None where it holds codes, explained by the card.
        volume: which of the record's volumes it lies over.
        reader: who drew it, where the release tells readers apart.
        slices: as those of its volume.
    """

    path: Path
    label: str | None = None
    volume: int = 0
    reader: str | None = None
    slices: tuple[int, int] | None = None


@dataclass(frozen=True)
class VideoFile:
    """Where a video lies; `climb_hf.io.video` takes its bytes as they are.

    Attributes:
        start_s, stop_s: the part that is meant, in seconds; it is cut at key frames, without
            decoding. None means to the end.
    """

    path: Path
    start_s: float | None = None
    stop_s: float | None = None


@dataclass(frozen=True)
class Example:
    """One record as its reader found it: facts of the index, media as references.

    Attributes:
        record: identifier within the source, from names in the release.
        native: the release's own codes, complete, in the release's order.
        examined: codes that the annotators looked for; None means every code of the table.
        uncertain: codes that they looked for and left undecided.
        votes: how many raters gave each native code; codes of one class are added up.
        targets: numbers to predict: (name, value, unit).
        messages: a released conversation, (role, content) a turn; roles are `user`, `assistant`.
        choices: what the record's own question offers, for sources without a class list; `native`
            then holds the right one.
        recording: the record that a window was cut from; its windows stay in one split.
        group: what else stays in one split, such as the study that a sample belongs to.
        split: the official split, when the release has one.
        signature: equal for records that may hold the same signal or image; they are then
            compared byte by byte, and equal ones stay in one split.
    """

    record: str
    native: tuple[str, ...] = ()
    examined: tuple[str, ...] | None = None
    uncertain: tuple[str, ...] = ()
    patient_id: str | None = None
    study_id: str | None = None
    recording: str | None = None
    group: str | None = None
    split: str | None = None
    signature: str | None = None
    age_years: float | None = None
    sex: str | None = None
    site: str | None = None
    flags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    votes: Mapping[str, float] = field(default_factory=dict)
    targets: tuple[tuple[str, float, str | None], ...] = ()
    choices: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    series: tuple[SeriesFile, ...] = ()
    images: tuple[ImageFile, ...] = ()
    boxes: tuple[Box, ...] = ()
    masks: tuple[MaskFile, ...] = ()
    volumes: tuple[VolumeFile, ...] = ()
    volume_masks: tuple[VolumeMaskFile, ...] = ()
    videos: tuple[VideoFile, ...] = ()
    graphs: tuple[MediaFile, ...] = ()
    expression: tuple[MediaFile, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that its media are read from, each once, in their order."""
        found: list[Path | None] = []
        for series in self.series:
            found += [series.path, series.signal]
        found += [image.path for image in self.images]
        found += [mask.path for mask in self.masks if mask.outline is None]
        for volume in self.volumes:
            found += volume.files or (volume.path,)
        found += [mask.path for mask in self.volume_masks]
        found += [video.path for video in self.videos]
        for medium in (*self.graphs, *self.expression):
            found += [medium.path, *medium.beside.values()]
        return tuple(dict.fromkeys(path for path in found if path is not None))


@dataclass(frozen=True)
class Fault:
    """A record that could not be handed over, and why.

    Attributes:
        kind: `missing` (no file of it is there), `damaged`, `copy` (the id was seen before), or
            `left out` (an option says so).
    """

    record: str
    kind: str
    reason: str
    path: str = ""


# column: (unit, shape or meaning, what absent means)
COLUMNS_MEANING = {
    "id": "<source>/<record>[/<window>]; unique and the same in every config; never null",
    "source": "config id of the source; never null",
    "modality": "one of the 16 of climb_hf.card.Modality; never null",
    "domain": "what DRPO groups by; the modality unless a run says otherwise; never null",
    "patient_id": "the release's id; null when unknown, and flags then hold patient_unknown",
    "study_id": "study, visit, exam, stay or admission; null when the release has none",
    "split_origin": "official, derived or user; never null",
    "age_years": "years; a capped age holds the cap and flags hold age_capped; null when unknown",
    "sex": "female, male or other; null when unknown",
    "site": "hospital, site or device group; null when unknown",
    "flags": "closed list, climb_hf.schema.FLAGS; empty when nothing is to be said",
    "meta": "native fields of the source under their own names, as JSON; null when none",
    "vocabulary": "id of the class list that the names belong to; null without labels",
    "label": "the class, when exactly one is right; null for several, none or unlabelled",
    "labels": "positive classes",
    "labels_negative": "classes examined and absent",
    "labels_uncertain": "classes examined and undecided; in none of the three = not labelled",
    "label_weights": "votes or soft labels: {label, weight}",
    "native_labels": "the release's own codes, complete",
    "targets": "numbers to predict: {name, value, unit}",
    "series": "raw samples, shape (channels, time), physical = (raw - offset) / gain, in units",
    "images": "bytes as released",
    "image_info": "one per image: height and width in px, mode, view, frame, time_s",
    "boxes": "{image, label, reader, xyxy in px of that image}",
    "masks": "{image, label, reader, mask}",
    "volumes": "NIfTI bytes with affine in mm (RAS)",
    "volume_info": "one per volume: name, frame_of_reference, irregular_spacing",
    "volume_masks": "{volume, label, reader, mask}",
    "videos": "bytes of a clip, not decoded",
    "video_info": "one per clip: fps, n_frames, height, width in px, start_s, stop_s",
    "graphs": "num_nodes, node_names and tensors; a tensor not given is null",
    "expression": "{genes, names, values, unit, group}: an id and a name per value, or none asked",
    "events": "{time_h from the start of the window, name, value, text, unit}",
    "text": "report or summary; null when none",
    "messages": "a released conversation: {role, content}",
    "question_id": "template id and version; null when not a question",
    "prompt": "conversation up to the answer: {role, content}; empty when not a question",
    "options": "answer options in class order",
    "answer": "gold text; several names joined by ', '; null when not a question",
    "answer_type": "choice, set, number or text; null when not a question",
}

_IMAGES = ("images", "image_info", "boxes", "masks")
MEDIA_OF: Mapping[Modality, tuple[str, ...]] = {
    Modality.ECG: ("series",),
    Modality.EEG: ("series",),
    Modality.GAIT: ("series",),
    Modality.GENE_EXPRESSION: ("expression",),
    Modality.BRAIN_GRAPH: ("graphs",),
    Modality.MOLECULE_GRAPH: ("graphs",),
    Modality.CHEST_XRAY: _IMAGES,
    Modality.MAMMOGRAPHY: _IMAGES,
    Modality.DERMOSCOPY: _IMAGES,
    Modality.FUNDUS: _IMAGES,
    Modality.PATHOLOGY: _IMAGES,
    Modality.MRI: _IMAGES,
    Modality.CT: (*_IMAGES, "volumes", "volume_info", "volume_masks"),
    Modality.ULTRASOUND: (*_IMAGES, "videos", "video_info"),
    Modality.ENDOSCOPY: (*_IMAGES, "videos", "video_info"),
    Modality.MULTIMODAL: (*_IMAGES, "series", "events", "text", "messages"),
}
_QA_IDENTITY = ("id", "source", "modality", "domain", "patient_id", "age_years", "sex", "site")
_LABEL_LISTS = ("labels", "labels_negative", "labels_uncertain")


def _groups() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The four column groups of the stored schema: identity, labels, media, question."""
    from datasets import Image, Json, List, Nifti, Value, Video

    text, whole, real, double = Value("string"), Value("int32"), Value("float32"), Value("float64")
    tensor = {"data": Value("binary"), "dtype": text, "shape": List(whole)}
    identity = {
        **{name: text for name in ("id", "source", "modality", "domain", "patient_id")},
        **{name: text for name in ("study_id", "split_origin")},
        "age_years": real,
        "sex": text,
        "site": text,
        "flags": List(text),
        "meta": Json(),
    }
    labels = {
        "vocabulary": text,
        "label": text,
        **{name: List(text) for name in _LABEL_LISTS},
        "label_weights": List({"label": text, "weight": real}),
        "native_labels": List(text),
        "targets": List({"name": text, "value": real, "unit": text}),
    }
    series = {
        **tensor,
        "rate_hz": double,
        "channels": List(text),
        "units": List(text),
        "gain": List(double),
        "offset": List(double),
        "invalid": whole,
        "start_s": double,
        "n_valid": whole,
    }
    size = {"height": whole, "width": whole}
    where = {"image": whole, "label": text, "reader": text}
    media = {
        "series": List(series),
        "images": List(Image()),
        "image_info": List({**size, "mode": text, "view": text, "frame": whole, "time_s": real}),
        "boxes": List({**where, "xyxy": List(real, length=4)}),
        "masks": List({**where, "mask": Image()}),
        "volumes": List(Nifti()),
        "volume_info": List(
            {"name": text, "frame_of_reference": text, "irregular_spacing": Value("bool")}
        ),
        "volume_masks": List({"volume": whole, "label": text, "reader": text, "mask": Nifti()}),
        "videos": List(Video(decode=False)),
        "video_info": List(
            {"fps": real, "n_frames": whole, **size, "start_s": double, "stop_s": double}
        ),
        "graphs": List(
            {
                "num_nodes": whole,
                "node_names": List(text),
                **{name: tensor for name in ("edge_index", "edge_attr", "x", "y", "matrix")},
            }
        ),
        "expression": List(
            {
                "genes": List(text),
                "names": List(text),
                "values": tensor,
                "unit": text,
                "group": text,
            }
        ),
        "events": List({"time_h": real, "name": text, "value": real, "text": text, "unit": text}),
        "text": text,
        "messages": List({"role": text, "content": text}),
    }
    question = {
        "question_id": text,
        "prompt": List({"role": text, "content": text}),
        "options": List(text),
        "answer": text,
        "answer_type": text,
    }
    return identity, labels, media, question


def disk_features() -> Features:
    """Returns the stored schema, 40 columns, the same for every file of every source."""
    from datasets import Features

    identity, labels, media, question = _groups()
    return Features({**identity, **labels, **media, **question})


def features_for(
    modalities: Iterable[Modality], classes: Sequence[str], task: str = "classification"
) -> Features:
    """Returns the columns that a config shows: a projection of the stored schema.

    Args:
        modalities: of the config's sources.
        classes: the ordered union of their class names, laid over the label columns.
        task: `classification` (identity, labels, media) or `qa` (identity, media, question).

    Raises:
        OptionError: if `task` is neither.
    """
    from datasets import ClassLabel, Features, List

    check_option("task", task, TASKS)
    identity, labels, media, question = _groups()
    shown = {column for modality in modalities for column in MEDIA_OF[Modality(modality)]}
    if task == "qa":
        shown |= {"series", *_IMAGES}
        kept = {name: kind for name, kind in media.items() if name in shown}
        return Features({**{name: identity[name] for name in _QA_IDENTITY}, **kept, **question})
    kept = {name: kind for name, kind in media.items() if name in shown}
    one = ClassLabel(names=list(classes))
    named = {**labels, "label": one, **{name: List(one) for name in _LABEL_LISTS}}
    return Features({**identity, **named, **kept})
