"""Rows as JSON lines with files beside, as CLIMB and QoQ-Med have them, and back without loss.

Upstream's own keys say what upstream reads: `problem`, `answer`, `images`, `segmentation_path`,
`bbox`, `time-series`, `dataset` (style "qoq"), or `images` and `conversations` (style "climb").
What these cannot say stands beside them under `climb_hf`: the columns, by name, in which the row
differs from what the other keys tell. So nothing is said twice, a changed `answer` counts, and a
file that upstream wrote is read too. Keys that nobody knows are kept, in `meta`.

Media lie in `<modality>/<source>/<record>/`, as QoQ-Med's trainer takes domain and data set from
the first two folders.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from climb_hf.card import Modality
from climb_hf.check import check_option
from climb_hf.errors import CorruptFileError, MissingFileError, OptionError
from climb_hf.io import image, video
from climb_hf.io.arrays import open_npy
from climb_hf.io.beside import Beside, Files, codes_of, npy_of
from climb_hf.io.json_records import SPEAKERS, lines_of, turns_of, without_marks
from climb_hf.schema import COLUMNS_MEANING, ImageFile, VideoFile
from climb_hf.views import Signal, as_stored, decode, encode

STYLES = ("qoq", "climb")
FILE = "data.jsonl"
OURS = "climb_hf"
_FACTS = ("rate_hz", "channels", "units")
_SCALARS = (
    *("id", "source", "modality", "domain", "patient_id", "study_id", "split_origin"),
    *("age_years", "sex", "site", "meta", "vocabulary", "label", "text"),
    *("question_id", "answer", "answer_type"),
)
_LABELS = ("label", "labels", "labels_negative", "labels_uncertain")
_KEYS = {
    "qoq": {"problem", "answer", "segmentation_path", "bbox", "time-series", "dataset"},
    "climb": {"conversations"},
}
_KEYS = {style: {*keys, "id", "images", "videos", OURS} for style, keys in _KEYS.items()}
_REPLY = {role: speaker for speaker, role in SPEAKERS.items()}
_Json = dict[str, Any]


def write_jsonl(rows: Iterable[Mapping[str, Any]], folder: str | Path, style: str = "qoq") -> Path:
    """Writes rows as JSON lines, their media as files beside, under paths within the folder.

    Args:
        rows: a loaded data set, or stored rows with class names; columns that they lack are read
            back empty.
        folder: to write into; made if absent.
        style: `qoq` or `climb`.

    Returns:
        Path of the written file, `data.jsonl`; it is there once every row is.

    Raises:
        OptionError: if the file is there already, an id stands twice, or a row holds what no
            column has.
        CorruptFileError: if an image of a row is none.
    """
    check_option("style", style, STYLES)
    folder = Path(folder)
    target, part = folder / FILE, folder / f"{FILE}.part"
    if target.exists():
        raise OptionError(f"{target} is there. Name another folder, or remove that file first.")
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    with part.open("w", encoding="utf-8") as file:
        for row in _plain_rows(rows):
            if row["id"] in seen:
                raise OptionError(f"two rows have the id {row['id']!r}. Give each its own.")
            seen.add(row["id"])
            line = _dumped(_record_of(row, folder, style), row["id"])
            file.write(line + "\n")
    part.replace(target)
    return target


def read_jsonl(
    path: str | Path, style: str = "qoq", series: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yields rows with all stored columns of a JSONL file; `datasets` takes them with
    `disk_features()`.

    Args:
        path: of the file; its media are looked for in its folder.
        style: `qoq` or `climb`.
        series: `rate_hz`, `channels` and `units` of arrays in `time-series` that were not written
            by `write_jsonl`, as such a file does not tell them.

    Raises:
        CorruptFileError: names the line that is no JSON object, lacks a key of its style, or names
            a file outside the folder or one that is not what it should be.
        MissingFileError: names the line and the file that is not there.
        OptionError: if there are arrays in `time-series` and no `series` are given.
    """
    check_option("style", style, STYLES)
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}. Name a JSONL file.")
    seen: dict[str, int] = {}
    for number, record in lines_of(path):
        where = Beside(path.parent, f"line {number} of {path.name}")
        row = _row_of(record, where, style, series)
        nth = seen[row["id"]] = seen.get(row["id"], 0) + 1
        if nth > 1:
            if OURS in record:
                raise CorruptFileError(f"{where.line}: the id {row['id']!r} stood before.")
            row["id"] += f"-{nth}"
        yield row


# ---- rows to records ----------------------------------------------------------------------------


def _plain_rows(rows: Any) -> Iterator[_Json]:
    """Rows with lists for tuples and every column; of a data set undecoded, with class names."""
    named: dict[str, tuple[str, ...]] = {}
    features = getattr(rows, "features", None)
    if features:
        if "label" in features and hasattr(features["label"], "names"):
            named = dict.fromkeys(_LABELS, tuple(features["label"].names))
        rows = rows.with_format(None).cast(as_stored(features))
    empty = _empty()
    for given in rows:
        unknown = sorted(set(given) - set(empty))
        if unknown or not given.get("id") or not given.get("source"):
            wrong = f"columns {', '.join(unknown)}" if unknown else "no id or no source"
            raise OptionError(f"a row has {wrong}; columns are those of disk_features().")
        row = {**empty, **{name: _listed(value) for name, value in given.items()}}
        for column, names in named.items():
            row[column] = _with_names(row[column], names)
        yield row


def _with_names(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_with_names(one, names) for one in value]
    return names[value] if isinstance(value, int) else value


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _listed(one) for name, one in value.items()}
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _empty() -> _Json:
    return {name: None if name in _SCALARS else [] for name in COLUMNS_MEANING}


def _record_of(row: _Json, folder: Path, style: str) -> _Json:
    files = Files(folder, row)
    record: _Json = {"id": row["id"]}
    for column in ("images", "videos"):
        stored = [one["bytes"] for one in row[column]]
        record[column] = [files.put(data, column[:-1]) for data in stored]
    record |= _asked(row, files) if style == "qoq" else _talked(row)
    for key, value in _kept_in(row["meta"]).items():
        if key not in _KEYS[style] or _is_older_form(key, value, record, style):
            record[key] = value
    told = _base(record, Beside(folder, f"row {row['id']}"), style, None, own=True)
    differing = {name: value for name, value in row.items() if value != told[name]}
    record[OURS] = {name: _packed(name, value, files) for name, value in differing.items()}
    return record


def _kept_in(meta: Any) -> _Json:
    """The keys of a line that nobody knew when it was read."""
    kept = meta.get("jsonl") if isinstance(meta, dict) else None
    return kept if isinstance(kept, dict) else {}


def _is_older_form(key: str, value: Any, record: _Json, style: str) -> bool:
    """Whether a key was read as something that is still said, so that its own form can stand."""
    if key == "problem" and isinstance(value, str):
        return without_marks(value) == without_marks(record["problem"])
    if key == "conversations":
        return turns_of({key: value}) == turns_of(record)
    return key == "bbox" and "bbox" not in record


def _marks(row: _Json) -> str:
    return "<image>" * len(row["images"]) + "<video>" * len(row["videos"])


def _asked(row: _Json, files: Files) -> _Json:
    asked = row["prompt"][-1]["content"] if row["prompt"] else ""
    record = {"problem": _marks(row) + asked, "answer": row["answer"] or ""}
    record["dataset"] = row["source"]
    first = [one["mask"]["bytes"] for one in row["masks"] if one["image"] == 0]
    if first:
        whole = first[0] if len(first) == 1 else _union(first)
        record["segmentation_path"] = files.put(whole, "mask")
    boxes = [one["xyxy"] for one in row["boxes"] if one["image"] == 0]
    if boxes:
        record["bbox"] = boxes[0]
    if row["series"]:
        arrays = [files.put(npy_of(decode(one).values), "series") for one in row["series"]]
        record["time-series"] = arrays
    return record


def _talked(row: _Json) -> _Json:
    turns = row["messages"] or [
        *row["prompt"],
        *([{"role": "assistant", "content": row["answer"]}] if row["prompt"] else []),
    ]
    said = [{"from": _REPLY.get(t["role"], "gpt"), "value": t["content"] or ""} for t in turns]
    first = next((turn for turn in said if turn["from"] == "human"), None)
    if first:
        first["value"] = _marks(row) + first["value"]
    return {"explanation": "", "conversations": said}


def _union(masks: list[bytes]) -> bytes:
    """What any of some masks shows, as PNG: upstream takes one mask, and every pixel above 0."""
    from PIL import Image

    shown: Any = None
    for data in masks:
        with Image.open(io.BytesIO(data)) as opened:
            pixels = np.asarray(opened)
        own = (pixels if pixels.ndim == 2 else pixels.any(axis=-1)) > 0
        if shown is not None and own.shape != shown.shape:
            raise OptionError(f"masks of one image are {shown.shape} and {own.shape} px.")
        shown = own if shown is None else shown | own
    return image.png_of(Image.fromarray(shown.astype(np.uint8) * 255))


def _packed(column: str, value: Any, files: Files) -> Any:
    """A column as JSON: bytes become {"$file": path}; samples that follow from values, their place.

    `meta` holds no bytes, so that a name of it is never taken for such a mark.
    """
    if column == "meta":
        return value
    if column == "series":
        return [_packed_series(place, one, files) for place, one in enumerate(value)]
    if isinstance(value, bytes):
        return {"$file": files.put(value, column)}
    if isinstance(value, Mapping):
        return {name: _packed(column, one, files) for name, one in value.items()}
    return [_packed(column, one, files) for one in value] if isinstance(value, list) else value


def _packed_series(place: int, stored: _Json, files: Files) -> _Json:
    # Values in units are what others read; the codes are stored only where these do not give them.
    values = decode(stored).values
    if codes_of(values, stored) == stored["data"]:
        return {**stored, "data": {"$values": files.put(npy_of(values), "series")}}
    return {**stored, "data": {"$file": files.put(stored["data"], "codes")}}


def _dumped(record: _Json, identity: str) -> str:
    try:
        return json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OptionError(f"row {identity} cannot be said in JSON: {error}.") from error


# ---- records to rows ----------------------------------------------------------------------------


def _row_of(
    record: _Json, where: Beside, style: str, series: Mapping[str, Any] | None
) -> dict[str, Any]:
    ours = record.get(OURS, {})
    if not isinstance(ours, dict) or set(ours) - set(COLUMNS_MEANING):
        raise CorruptFileError(f"{where.line}: {OURS} is no object of columns of climb_hf.")
    row = _base(record, where, style, series, own=OURS in record)
    kept = _kept_in(row["meta"])
    try:
        row |= {name: _unpacked(name, value, where) for name, value in ours.items()}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError(f"{where.line}: {OURS} is not as it was: {error!r}.") from error
    before = _kept_in(row["meta"])
    if any(before.get(key, kept) != value for key, value in kept.items()):
        row["meta"] = {**(row["meta"] or {}), "jsonl": {**before, **kept}}
    return row


def _unpacked(column: str, value: Any, where: Beside) -> Any:
    if column == "meta":
        return value
    if column == "series":
        return [_unpacked_series(one, where) for one in value]
    if isinstance(value, dict):
        if set(value) == {"$file"}:
            return where.read(value["$file"], column)
        return {name: _unpacked(column, one, where) for name, one in value.items()}
    return [_unpacked(column, one, where) for one in value] if isinstance(value, list) else value


def _unpacked_series(packed: _Json, where: Beside) -> _Json:
    data = packed["data"]
    if "$file" in data:
        return {**packed, "data": where.read(data["$file"], "series")}
    values = open_npy(where.path(data["$values"], "series"))
    if list(values.shape) != packed["shape"]:
        raise CorruptFileError(
            f"{where.line}: {data['$values']} is {values.shape}, not {packed['shape']}."
        )
    codes = codes_of(values, packed)
    if codes is None:
        raise CorruptFileError(f"{where.line}: {data['$values']} holds other values than it did.")
    return {**packed, "data": codes}


def _base(
    record: _Json, where: Beside, style: str, series: Mapping[str, Any] | None, *, own: bool
) -> _Json:
    """The row that a record tells by upstream's keys alone."""
    row = {**_empty(), "split_origin": "user", "flags": ["patient_unknown"]}
    paths = {key: _paths(record, key, where) for key in ("images", "videos")}
    try:
        shown = [image.load(ImageFile(where.path(name, "images"))) for name in paths["images"]]
        clips = [video.load(VideoFile(where.path(name, "videos"))) for name in paths["videos"]]
    except CorruptFileError as error:
        begin = "" if str(error).startswith(where.line) else f"{where.line}: "
        raise CorruptFileError(f"{begin}{error}") from error
    row["images"], row["image_info"] = [i.as_struct() for i in shown], [i.info() for i in shown]
    row["videos"], row["video_info"] = [c.as_struct() for c in clips], [c.info() for c in clips]
    _say(row, record, where, style)
    if style == "qoq":
        _drawn(row, record, where)
        if not own:
            row["series"] = _arrays(record, where, series)
    row |= _identity(record, [*paths["images"], *paths["videos"]])
    kept = _unknown(record, style)
    if not own:
        kept |= _other_forms(row, record, style)
    row["meta"] = {"jsonl": kept} if kept else None
    return row


def _paths(record: _Json, key: str, where: Beside) -> list[Any]:
    found = record.get(key) or []
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list):
        raise CorruptFileError(f"{where.line}: {key} is {found!r} where a list should be.")
    return found


def _say(row: _Json, record: _Json, where: Beside, style: str) -> None:
    """Fills prompt and answer, or messages where more is said than one question."""
    if style == "climb":
        said = turns_of(record)
        if not said and record.get("conversations") != []:
            raise CorruptFileError(f"{where.line} has no `conversations` of human and gpt.")
        turns = [{"role": role, "content": words} for role, words in said]
        if [role for role, _ in said] != ["user", "assistant"]:
            row["messages"] = turns
            return
        row["prompt"], row["answer"] = turns[:1], turns[1]["content"]
    else:
        asked, answer = record.get("problem"), record.get("answer")
        if not isinstance(asked, str) or not isinstance(answer, str):
            raise CorruptFileError(f"{where.line} has no text as `problem` or as `answer`.")
        row["prompt"] = [{"role": "user", "content": without_marks(asked)}]
        row["answer"] = answer
    row["answer_type"], row["question_id"] = "text", "jsonl/1"


def _drawn(row: _Json, record: _Json, where: Beside) -> None:
    """Fills masks and boxes; a box without any extent is upstream's word for none."""
    nobody = {"image": 0, "label": None, "reader": None}
    if record.get("segmentation_path"):
        data = where.read(record["segmentation_path"], "segmentation_path")
        row["masks"] = [{**nobody, "mask": {"bytes": data, "path": None}}]
    boxes = record.get("bbox") or []
    if not isinstance(boxes, list):
        raise CorruptFileError(f"{where.line}: bbox is {boxes!r} where a list should be.")
    boxes = boxes if boxes and isinstance(boxes[0], list) else [boxes] if boxes else []
    for box in boxes:
        if len(box) != 4 or not all(type(edge) in (int, float) for edge in box):
            raise CorruptFileError(f"{where.line}: bbox holds {box!r} where x1, y1, x2, y2 belong.")
        if box[0] < box[2] and box[1] < box[3]:
            row["boxes"].append({**nobody, "xyxy": [float(edge) for edge in box]})


def _arrays(record: _Json, where: Beside, facts: Mapping[str, Any] | None) -> list[_Json]:
    names = _paths(record, "time-series", where)
    if names and (not facts or any(facts.get(name) is None for name in _FACTS)):
        raise OptionError(
            f"{where.line} has `time-series`, which tell neither rate nor channels. "
            "Pass series={'rate_hz': ..., 'channels': (...), 'units': (...)}."
        )
    found = []
    for name in names:
        values = np.atleast_2d(open_npy(where.path(name, "time-series")))
        known = {fact: (facts or {})[fact] for fact in _FACTS}
        if values.shape[0] != len(known["channels"]) or values.dtype.kind not in "iuf":
            raise CorruptFileError(
                f"{where.line}: {name} is {values.dtype} of shape {values.shape} where "
                f"{len(known['channels'])} channels of numbers belong."
            )
        found.append(encode(Signal(values=values.astype(np.float32), n_valid=None, **known)))
    return found


def _identity(record: _Json, media: list[str]) -> _Json:
    """Who it is: of a file of upstream by the folders of its first medium and by its content."""
    folders = PurePosixPath(media[0]).parts[:-1] if media else ()
    domain = folders[0] if folders else None
    told = record.get("dataset")
    source = told if isinstance(told, str) and told else folders[1] if folders[1:] else "jsonl"
    plain = json.dumps({**record, OURS: None}, sort_keys=True).encode()
    name = record.get("id")
    name = name if isinstance(name, str) and name else hashlib.sha256(plain).hexdigest()[:16]
    return {
        "id": name if name.startswith(f"{source}/") else f"{source}/{name}",
        "source": source,
        "modality": domain if domain in [*Modality] else str(Modality.MULTIMODAL),
        "domain": domain or str(Modality.MULTIMODAL),
    }


def _unknown(record: _Json, style: str) -> _Json:
    """Keys that nobody knows; an empty explanation is what every record of CLIMB has."""
    kept = {key: value for key, value in record.items() if key not in _KEYS[style]}
    if style == "climb" and kept.get("explanation") == "":
        del kept["explanation"]
    return kept


def _other_forms(row: _Json, record: _Json, style: str) -> _Json:
    """Known keys of a file of upstream in a form that we should write otherwise."""
    if style == "climb":
        said = record["conversations"]
        return {} if _talked(row)["conversations"] == said else {"conversations": said}
    kept = {}
    if record["problem"] != _marks(row) + without_marks(record["problem"]):
        kept["problem"] = record["problem"]
    if record.get("bbox") and not row["boxes"]:
        kept["bbox"] = record["bbox"]
    return kept
