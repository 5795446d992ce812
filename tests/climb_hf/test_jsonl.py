"""Rows as JSON lines of CLIMB and QoQ-Med, and back."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from climb_hf.errors import CorruptFileError, MissingFileError, OptionError
from climb_hf.jsonl import read_jsonl, write_jsonl
from climb_hf.loading import load_dataset
from climb_hf.schema import disk_features

STYLES = ("qoq", "climb")


def picture(width=8, height=6, shade=90, kind="PNG", mode="L"):
    buffer = io.BytesIO()
    Image.new("L", (width, height), shade).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def mask_of(*boxes, size=(8, 6)):
    pixels = np.zeros(size[::-1], np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def empty_row(**known):
    features = disk_features()
    lists = {name: [] if type(kind).__name__ == "List" else None for name, kind in features.items()}
    return {
        **lists,
        **{"id": "made/1", "source": "made", "modality": "ultrasound", "domain": "ultrasound"},
        "split_origin": "derived",
        **known,
    }


def stored(data):
    return {"bytes": data, "path": None}


def info_of(data):
    with Image.open(io.BytesIO(data)) as image:
        known = {"height": image.height, "width": image.width, "mode": image.mode}
    return {**known, "view": None, "frame": None, "time_s": None}


def series_of(codes, gain=200.0, offset=0.0, invalid=-32768):
    n = len(codes)
    return {
        "data": codes.tobytes(),
        "dtype": codes.dtype.str,
        "shape": list(codes.shape),
        "rate_hz": 500.0,
        "channels": [f"c{i}" for i in range(n)],
        "units": ["mV"] * n,
        "gain": [gain] * n,
        "offset": [offset] * n,
        "invalid": invalid,
        "start_s": 1.5,
        "n_valid": codes.shape[1],
    }


def lines_in(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write_lines(folder, *records):
    path = folder / "theirs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


# ---- there and back -----------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8"), max_size=20)
reals = st.floats(width=32, allow_nan=False, allow_infinity=False)
roles = st.sampled_from(["user", "assistant", "tool"])
marked = st.builds("<image>\n{}<video>".format, words)
turns = st.lists(st.fixed_dictionaries({"role": roles, "content": words | marked}), max_size=3)
images = st.builds(
    picture,
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 255),
    st.sampled_from(["PNG", "JPEG"]),
    st.sampled_from(["L", "RGB"]),
)
kinds = st.sampled_from(["<i2", "<i4", "<f4", "|i1"])


@st.composite
def arrays(draw):
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5)))
    kind = np.dtype(draw(kinds))
    data = draw(st.binary(min_size=kind.itemsize * 15, max_size=kind.itemsize * 15))
    flat = np.frombuffer(data, kind)[: shape[0] * shape[1]]
    gain, offset = draw(st.sampled_from([(1.0, 0.0), (200.0, 3.0), (0.001, -7.5)]))
    return series_of(flat.reshape(shape), gain, offset, draw(st.sampled_from([None, -32768, 0])))


@st.composite
def rows(draw):
    pictures = draw(st.lists(images, max_size=2))
    places = st.integers(0, 1)
    names = st.none() | words
    where = {"image": places, "label": names, "reader": names}
    box = st.fixed_dictionaries({**where, "xyxy": st.lists(reals, min_size=4, max_size=4)})
    drawn = st.builds(picture, st.just(5), st.just(4), st.integers(0, 255), st.just("PNG"))
    mask = st.fixed_dictionaries({**where, "mask": st.builds(stored, drawn)})
    return empty_row(
        id="made/" + draw(words),
        modality=draw(st.sampled_from(["ct", "multimodal"])),
        images=[stored(data) for data in pictures],
        image_info=[info_of(data) for data in pictures],
        boxes=draw(st.lists(box, max_size=3)),
        masks=draw(st.lists(mask, max_size=3)),
        series=draw(st.lists(arrays(), max_size=2)),
        volumes=draw(st.lists(st.builds(stored, st.binary(max_size=9)), max_size=2)),
        messages=draw(turns),
        prompt=draw(turns),
        answer=draw(names),
        options=draw(st.lists(words, max_size=3)),
        labels=draw(st.lists(words, max_size=3)),
        age_years=draw(st.none() | reals),
        patient_id=draw(names),
        meta=draw(st.none() | st.dictionaries(words | st.just("jsonl"), words | st.integers())),
    )


@pytest.mark.parametrize("style", STYLES)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(row=rows())
def test_a_row_comes_back_as_it_was(tmp_path_factory, style, row):
    folder = tmp_path_factory.mktemp("out")
    path = write_jsonl([row], folder, style)
    assert list(read_jsonl(path, style)) == [row]


LOADED = {"busi": "PIL", "ptb_xl": "wfdb", "vital": "PIL", "kits23": "nibabel", "covid_blues": "av"}


@pytest.mark.parametrize("name", LOADED)
def test_a_loaded_source_comes_back_as_it_was(made, tmp_path, name):
    pytest.importorskip(LOADED[name])
    table = load_dataset("climb", name, data_dir=str(made(name).root), split="train", decode=False)
    table = table.select(range(min(len(table), 4)))
    names = table.features["label"].names
    for style in STYLES:
        found = list(read_jsonl(write_jsonl(table, tmp_path / style, style), style))
        assert len(found) == len(table)
        for row, wanted in zip(found, table, strict=True):
            label = wanted.pop("label")
            assert row["label"] == (None if label is None else names[label])
            for column in ("labels", "labels_negative", "labels_uncertain"):
                assert row[column] == [names[one] for one in wanted.pop(column)]
            assert {column: row[column] for column in wanted} == wanted
            disk_features().encode_example(row)


def test_a_decoded_table_is_written_as_an_undecoded_one(made, tmp_path):
    pytest.importorskip("wfdb")
    for name in ("ptb_xl", "busi"):
        how = {"data_dir": str(made(name).root), "split": "train", "task": "qa"}
        written = [
            write_jsonl(load_dataset("climb", name, decode=d, **how), tmp_path / f"{name}{d}")
            for d in (True, False)
        ]
        assert written[0].read_bytes() == written[1].read_bytes()


# ---- what others read ---------------------------------------------------------------------------


def asked(**known):
    image = picture()
    return empty_row(
        images=[stored(image)],
        image_info=[info_of(image)],
        prompt=[{"role": "user", "content": "What is it?"}],
        answer="Benign",
        **known,
    )


def test_qoq_reads_question_answer_and_where_it_comes_from(tmp_path):
    (record,) = lines_in(write_jsonl([asked()], tmp_path))
    assert record["problem"] == "<image>What is it?"
    assert (record["answer"], record["dataset"]) == ("Benign", "made")
    # The trainer takes domain and data set from the first two folders.
    assert record["images"][0].split("/")[:2] == ["ultrasound", "made"]
    assert (tmp_path / record["images"][0]).read_bytes() == picture()


def test_climb_reads_a_conversation(tmp_path):
    (record,) = lines_in(write_jsonl([asked()], tmp_path, "climb"))
    assert record["conversations"] == [
        {"from": "human", "value": "<image>What is it?"},
        {"from": "gpt", "value": "Benign"},
    ]
    assert record["explanation"] == ""


def test_one_mask_is_the_file_and_of_several_what_any_of_them_shows(tmp_path):
    nobody = {"image": 0, "label": "lesion", "reader": None}
    drawn = [mask_of((1, 1, 3, 3)), mask_of((5, 2, 7, 4))]
    for number in (1, 2):
        row = asked(masks=[{**nobody, "mask": stored(data)} for data in drawn[:number]])
        path = write_jsonl([row], tmp_path / str(number))
        (record,) = lines_in(path)
        with Image.open(path.parent / record["segmentation_path"]) as shown:
            found = np.asarray(shown) > 0
        assert found.sum() == 4 * number
        assert list(read_jsonl(path)) == [row]


def test_upstream_is_given_one_box_and_we_keep_all(tmp_path):
    nobody = {"image": 0, "label": None, "reader": None}
    row = asked(boxes=[{**nobody, "xyxy": [0.0, 1.0, 2.0, 3.0 + i]} for i in range(3)])
    path = write_jsonl([row], tmp_path)
    assert lines_in(path)[0]["bbox"] == [0.0, 1.0, 2.0, 3.0]
    assert next(read_jsonl(path))["boxes"] == row["boxes"]


def test_series_are_arrays_in_units_that_need_no_pickle(tmp_path):
    codes = np.array([[0, 200, -32768], [100, -100, 50]], "<i2")
    path = write_jsonl([asked(series=[series_of(codes)])], tmp_path)
    (name,) = lines_in(path)[0]["time-series"]
    values = np.load(tmp_path / name, allow_pickle=False)
    np.testing.assert_array_equal(values, np.array([[0, 1, np.nan], [0.5, -0.5, 0.25]], "<f4"))
    # The codes follow from the values, so they are not stored once more.
    assert len(list(tmp_path.rglob("*.*"))) == len(["data.jsonl", "image", "series"])


def test_a_changed_answer_counts(tmp_path):
    path = write_jsonl([asked()], tmp_path)
    path.write_text(path.read_text("utf-8").replace("Benign", "Malignant"), "utf-8")
    assert next(read_jsonl(path))["answer"] == "Malignant"


def test_ids_that_are_paths_stay_in_the_folder(tmp_path):
    rows = [
        empty_row(id=f"made/{name}", volumes=[stored(b"x")]) for name in ("../../a", "/b", "..")
    ]
    path = write_jsonl(rows, tmp_path / "out")
    assert [row["id"] for row in read_jsonl(path)] == [row["id"] for row in rows]
    assert [found.name for found in tmp_path.iterdir()] == ["out"]


def test_ids_that_become_alike_as_folders_are_kept_apart(tmp_path):
    rows = [
        empty_row(id=f"made/{name}", volumes=[stored(name.encode())]) for name in ("a/b", "a_b")
    ]
    assert list(read_jsonl(write_jsonl(rows, tmp_path))) == rows


# ---- what others wrote --------------------------------------------------------------------------

THEIRS = {
    "problem": "<image>\nIs there a lesion? Choose from: Yes, No",
    "answer": "Yes",
    "images": ["derm/isic/a.png"],
    "videos": [],
    "segmentation_path": "derm/isic/a_mask.png",
    "bbox": [1, 1, 3, 3],
    "dataset": "isic",
}


@pytest.fixture
def theirs(tmp_path):
    """A folder with the media of THEIRS."""
    folder = tmp_path / "derm" / "isic"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(picture())
    (folder / "a_mask.png").write_bytes(mask_of((1, 1, 3, 3)))
    return tmp_path


def test_a_file_of_qoq_is_read(theirs):
    (row,) = read_jsonl(write_lines(theirs, THEIRS))
    question = "Is there a lesion? Choose from: Yes, No"
    assert row["prompt"] == [{"role": "user", "content": question}]
    assert (row["answer"], row["source"], row["domain"]) == ("Yes", "isic", "derm")
    assert row["images"] == [stored(picture())]
    assert row["image_info"] == [info_of(picture())]
    assert row["masks"][0]["mask"] == stored(mask_of((1, 1, 3, 3)))
    assert row["boxes"][0]["xyxy"] == [1.0, 1.0, 3.0, 3.0]
    disk_features().encode_example(row)


def test_a_file_of_climb_is_read(theirs):
    talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A nevus"}]
    record = {"images": ["derm/isic/a.png"], "explanation": "", "conversations": talk}
    longer = {"images": [], "conversations": talk * 2, "explanation": "as it is round"}
    first, second = read_jsonl(write_lines(theirs, record, longer), "climb")
    assert first["prompt"] == [{"role": "user", "content": "What?"}]
    assert (first["answer"], first["messages"]) == ("A nevus", [])
    assert (first["source"], first["domain"]) == ("isic", "derm")
    assert [turn["role"] for turn in second["messages"]] == ["user", "assistant"] * 2
    assert second["meta"]["jsonl"]["explanation"] == "as it is round"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"hospital": {"ward": [3]}, "explanation": ""},
        {"problem": "First look <image> then say."},
        {"bbox": [0, 0, 0, 0]},
    ],
)
def test_what_upstream_wrote_is_written_again_as_it_was(theirs, more):
    record = {**THEIRS, **more}
    (row,) = read_jsonl(write_lines(theirs, record))
    path = write_jsonl([row], theirs / "again")
    (again,) = lines_in(path)
    files = ("images", "segmentation_path")
    same = {key: value for key, value in record.items() if key not in files}
    assert {key: again[key] for key in same} == same
    assert list(read_jsonl(path)) == [row]


def test_a_key_added_to_our_own_file_is_kept(tmp_path):
    path = write_jsonl([asked(meta={"scanner": "A"})], tmp_path)
    (record,) = lines_in(path)
    (row,) = read_jsonl(write_lines(tmp_path, {**record, "note": "seen"}))
    assert row["meta"] == {"scanner": "A", "jsonl": {"note": "seen"}}


def test_several_boxes_of_others_are_kept(theirs):
    (row,) = read_jsonl(write_lines(theirs, {**THEIRS, "bbox": [[1, 1, 3, 3], [4, 0, 6, 2]]}))
    assert [box["xyxy"] for box in row["boxes"]] == [[1.0, 1.0, 3.0, 3.0], [4.0, 0.0, 6.0, 2.0]]


def test_arrays_of_others_need_to_be_explained(theirs):
    values = np.arange(16, dtype="<f4").reshape(2, 8)
    np.save(theirs / "ecg.npy", values)
    path = write_lines(theirs, {**THEIRS, "time-series": "ecg.npy"})
    with pytest.raises(OptionError, match=r"line 1 of theirs\.jsonl.*series="):
        list(read_jsonl(path))
    facts = {"rate_hz": 250.0, "channels": ("I", "II"), "units": ("mV", "mV")}
    (series,) = next(read_jsonl(path, series=facts))["series"]
    assert (series["rate_hz"], series["shape"]) == (250.0, [2, 8])
    assert series["data"] == values.tobytes()
    with pytest.raises(CorruptFileError, match="1 channels"):
        list(read_jsonl(path, series={**facts, "channels": ("I",), "units": ("mV",)}))


def test_equal_lines_get_ids_of_their_own(theirs):
    rows = list(read_jsonl(write_lines(theirs, THEIRS, THEIRS)))
    assert len({row["id"] for row in rows}) == 2


def test_masks_of_one_image_that_differ_in_size_are_refused(tmp_path):
    nobody = {"image": 0, "label": None, "reader": None}
    drawn = [mask_of((1, 1, 3, 3)), mask_of((1, 1, 3, 3), size=(9, 6))]
    row = asked(masks=[{**nobody, "mask": stored(data)} for data in drawn])
    with pytest.raises(OptionError, match="masks of one image"):
        write_jsonl([row], tmp_path)


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/hosts", "a/../../b.png", "..\\a.png", "c:/a.png", "", 5, "a\0b"]
)
@pytest.mark.parametrize("key", ["images", "segmentation_path", "climb_hf"])
def test_a_path_that_leads_elsewhere_is_refused(theirs, name, key):
    if key == "segmentation_path" and not name:
        pytest.skip("an empty path is upstream's word for none")
    value = {"images": [name], "climb_hf": {"volumes": [{"bytes": {"$file": name}}]}}.get(key, name)
    with pytest.raises(CorruptFileError, match=r"line 2 of theirs\.jsonl"):
        list(read_jsonl(write_lines(theirs, THEIRS, {**THEIRS, key: value})))


@pytest.mark.parametrize("name", ["gone.png", "derm", "a" * 5000])
def test_an_image_that_is_not_there_is_named(theirs, name):
    path = write_lines(theirs, THEIRS, {**THEIRS, "images": [name]})
    with pytest.raises(MissingFileError, match=rf"line 2 of theirs\.jsonl: images names '{name}'"):
        list(read_jsonl(path))


@pytest.mark.parametrize("line", ['{"problem": ', "[]", "nul", '"text"', "\x00", "\xff"])
def test_a_broken_line_is_named_by_its_number(theirs, line):
    path = write_lines(theirs, THEIRS)
    path.write_bytes(path.read_bytes() + b"\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(CorruptFileError, match=r"line 3 of theirs\.jsonl"):
        list(read_jsonl(path))


@pytest.mark.parametrize(
    "change",
    [
        {"problem": None},
        {"answer": 3},
        {"images": 7},
        {"images": {"a": 1}},
        {"bbox": [1, 2]},
        {"bbox": ["a", 1, 2, 3]},
        {"bbox": 4},
        {"climb_hf": []},
        {"climb_hf": {"colour": 1}},
        {"climb_hf": {"series": 4}},
        {"climb_hf": {"series": [{"data": {}}]}},
    ],
)
def test_a_key_of_the_wrong_kind_is_named_with_its_line(theirs, change):
    path = write_lines(theirs, THEIRS, {**THEIRS, **change})
    with pytest.raises(CorruptFileError, match=r"line 2 of theirs\.jsonl"):
        list(read_jsonl(path))


def test_a_file_of_the_other_style_is_refused(theirs):
    with pytest.raises(CorruptFileError, match="conversations"):
        list(read_jsonl(write_lines(theirs, THEIRS), "climb"))


def test_an_image_cut_short_is_named_with_its_line(theirs):
    (theirs / "derm/isic/a.png").write_bytes(picture()[:-5])
    with pytest.raises(CorruptFileError, match=r"line 1 of theirs\.jsonl: a\.png is cut short"):
        list(read_jsonl(write_lines(theirs, THEIRS)))


def test_nothing_is_unpickled(theirs):
    np.save(theirs / "bad.npy", np.array([{"a": 1}], object), allow_pickle=True)
    facts = {"rate_hz": 1.0, "channels": ("a",), "units": ("mV",)}
    path = write_lines(theirs, {**THEIRS, "time-series": ["bad.npy"]})
    with pytest.raises(CorruptFileError, match=r"bad\.npy"):
        list(read_jsonl(path, series=facts))


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(OptionError, match="two rows have the id"):
        write_jsonl([empty_row(), empty_row()], tmp_path / "twice")
    assert not (tmp_path / "twice" / "data.jsonl").exists()
    with pytest.raises(OptionError, match="colour"):
        write_jsonl([empty_row(colour=1)], tmp_path / "column")
    with pytest.raises(OptionError, match="cannot be said in JSON"):
        write_jsonl([empty_row(age_years=float("nan"))], tmp_path / "nan")
    path = write_jsonl([empty_row()], tmp_path / "once")
    with pytest.raises(OptionError, match="is there"):
        write_jsonl([empty_row()], path.parent)
    with pytest.raises(OptionError, match="style"):
        write_jsonl([], tmp_path, "coco")
    with pytest.raises(MissingFileError, match="no file"):
        next(read_jsonl(Path(tmp_path, "none.jsonl")))
