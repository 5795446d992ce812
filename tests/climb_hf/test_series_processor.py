"""Series in a chat: what a block may hold, how text and series keep in step, what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from climb_hf import Signal
from climb_hf.errors import ClimbError, DataNotFoundError, OptionError
from climb_hf.models.series_config import PLACEHOLDER
from climb_hf.models.series_input import SERIES_INPUTS
from climb_hf.models.series_processor import SeriesTextProcessor
from climb_hf.models.tiny import tiny_vlm
from climb_hf.models.tiny_series import tiny_series_config, tiny_series_lm, tiny_series_vlm
from climb_hf.views import encode

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
BUILDERS = {"vlm": tiny_series_vlm, "lm": tiny_series_lm}


@pytest.fixture(scope="module", params=list(BUILDERS))
def processor(request):
    return BUILDERS[request.param]()[1]


@pytest.fixture(scope="module")
def seeing():
    return tiny_series_vlm()[1]


def signal(seconds=4.0, seed=0, channels=LEADS):
    values = np.random.default_rng(seed).normal(size=(len(channels), round(250 * seconds)))
    return Signal(values.astype(np.float32), 250.0, tuple(channels), ("mV",) * len(channels))


def block(value, **facts):
    return {"type": "time_series", "time_series": value, **facts}


def text(words):
    return {"type": "text", "text": words}


def asked(*blocks):
    return [{"role": "user", "content": list(blocks)}]


def tokenized(processor, chats, **options):
    return processor.apply_chat_template(
        chats, tokenize=True, return_dict=True, return_tensors="pt", **options
    )


def places(processor, inputs):
    return (inputs["input_ids"] == processor.time_series_token_id).sum(dim=1).tolist()


# ---- what a block may hold ----------------------------------------------------------------------


def test_a_signal_a_stored_series_and_an_array_are_one(processor):
    one = signal()
    facts = {"rate_hz": 250, "channels": list(LEADS), "units": "mV"}
    ways = [
        block(one),
        block(encode(one)),
        block(one.values, **facts),
        block(torch.from_numpy(one.values), **facts),
        block(one.values.tolist(), **facts),
    ]
    made = [tokenized(processor, asked(way, text("Which?"))) for way in ways]
    for other in made[1:]:
        assert other.keys() == made[0].keys()
        assert all(torch.equal(other[name], made[0][name]) for name in made[0])


def test_a_row_of_our_column_is_taken_as_it_is(processor, tmp_path):
    from datasets import Dataset

    from climb_hf.schema import disk_features
    from climb_hf.views import Series

    kind = disk_features()["series"]
    stored = Dataset.from_list([{"series": [encode(signal())]}]).cast_column("series", kind)
    decoded = stored.cast_column("series", Series())
    made = [
        tokenized(processor, asked(*map(block, rows[0]["series"]), text("?")))
        for rows in (stored, decoded)
    ]
    assert torch.equal(made[0]["series_values"], made[1]["series_values"])


def test_a_wfdb_header_is_read_by_its_path(processor, real_data):
    pytest.importorskip("wfdb")
    header = real_data / "ecg/challenge-2021/training/ningbo/g10/JS20001.hea"
    ways = [block(header), block(str(header)), {"type": "time_series", "path": str(header)}]
    made = [tokenized(processor, asked(way, text("?"))) for way in ways]
    assert places(processor, made[0]) == [10]  # 10 s, a token each
    assert made[0]["series_values"].shape == (1, 12, 1000)
    assert all(torch.equal(one["series_values"], made[0]["series_values"]) for one in made)


def test_empty_keys_of_a_table_are_no_series(processor):
    # A table gives every block of a column every key.
    row = {"type": "text", "text": "Which?", "time_series": None, "path": None}
    assert "series_values" not in tokenized(processor, asked(row))


# ---- text and series keep in step ---------------------------------------------------------------


def test_series_stand_where_their_blocks_stood(processor):
    chats = asked(text("one"), block(signal(2)), text("two"), block(signal(3)), text("three"))
    shown = processor.apply_chat_template(chats, tokenize=False)
    assert f"one{PLACEHOLDER}two{PLACEHOLDER}three" in shown
    made = tokenized(processor, chats)
    assert made["series_lengths"].tolist() == [200, 300]
    decoded = processor.tokenizer.decode(made["input_ids"][0])
    assert f"one{PLACEHOLDER * 2}two{PLACEHOLDER * 3}three" in decoded


def test_rows_of_a_batch_keep_their_series(processor):
    chats = [
        asked(text("none")),
        asked(block(signal(2)), text("one")),
        asked(block(signal(1, 1, ("V1",))), block(signal(4)), text("two")),
    ]
    made = tokenized(processor, chats, processor_kwargs={"padding": True})
    assert places(processor, made) == [0, 2, 5]
    assert made["series_lengths"].tolist() == [200, 100, 400]
    assert (made["series_channels"] != -1).sum(dim=1).tolist() == [12, 1, 12]


def test_a_batch_without_series_has_none_of_their_inputs(processor):
    made = tokenized(processor, asked(text("Which?")))
    assert not set(made) & set(SERIES_INPUTS)


def test_images_and_series_stand_in_one_message(seeing):
    image = {"type": "image", "image": Image.new("RGB", (56, 56), "red")}
    made = tokenized(seeing, asked(block(signal(2)), image, text("?"), block(signal(1))))
    ids = made["input_ids"][0]
    kinds = [PLACEHOLDER] * 2 + ["<|image_pad|>"] * 4 + [PLACEHOLDER]
    wanted = seeing.tokenizer.convert_tokens_to_ids(kinds)
    marked = [one for one in ids.tolist() if one in set(wanted)]
    assert marked == wanted
    # To the positions of the family a series is text.
    assert made["mm_token_type_ids"][0][ids == seeing.time_series_token_id].tolist() == [0] * 3
    assert made["pixel_values"].shape == (16, 3 * 2 * 14 * 14)


def test_padding_is_on_the_left(processor):
    assert processor.tokenizer.padding_side == "left"
    chats = [asked(text("a")), asked(block(signal(9)), text("a much longer question"))]
    mask = tokenized(processor, chats, processor_kwargs={"padding": True})["attention_mask"]
    assert mask[0, 0] == 0
    assert mask[:, -1].tolist() == [1, 1]


def test_the_side_can_be_chosen_for_one_call(processor):
    made = processor(text=["a", "a b c d e"], padding=True, padding_side="right")
    assert made["attention_mask"][0][-1] == 0
    assert processor.tokenizer.padding_side == "left"


def test_without_a_tensor_type_ids_are_lists_and_series_still_tensors(processor):
    # So TRL tells what it has to pad from what it hands on.
    made = processor.apply_chat_template(
        [asked(block(signal()), text("?"))], tokenize=True, return_dict=True
    )
    assert isinstance(made["input_ids"], list)
    assert all(isinstance(made[name], torch.Tensor) for name in SERIES_INPUTS)


def test_texts_with_placeholders_are_taken_too(processor):
    made = processor(text=f"{PLACEHOLDER}?", series=signal(), return_tensors="pt")
    assert places(processor, made) == [4]
    both = processor(
        text=["a", f"{PLACEHOLDER}?"], series=[[], [signal()]], padding=True, return_tensors="pt"
    )
    assert places(processor, both) == [0, 4]


def test_series_may_come_beside_empty_blocks(processor):
    empty = {"type": "time_series"}
    made = tokenized(processor, asked(empty, text("?")), processor_kwargs={"series": [[signal()]]})
    assert places(processor, made) == [4]


# ---- what is refused ----------------------------------------------------------------------------


def test_two_series_and_one_placeholder_are_refused(processor):
    with pytest.raises(OptionError, match=r"text 0 has 1 placeholders .* and 2 series"):
        processor(text=f"{PLACEHOLDER}?", series=[signal(), signal()])


def test_a_placeholder_without_series_is_refused(processor):
    with pytest.raises(OptionError, match=r"text 0 has 1 placeholders .* and 0 series"):
        tokenized(processor, asked({"type": "time_series"}, text("?")))
    with pytest.raises(OptionError, match=r"text 0 has 2 placeholders .* and 1 series"):
        tokenized(processor, asked(block(signal()), text(f"written by a user: {PLACEHOLDER}")))


@pytest.mark.parametrize("series", [[[signal()]], [signal(), signal()], {"a": 1}])
def test_a_batch_needs_a_list_of_series_for_each_text(processor, series):
    with pytest.raises(OptionError, match="series should be a list of 2 lists"):
        processor(text=[PLACEHOLDER, PLACEHOLDER], series=series)


FACTS = {"rate_hz": 250.0, "channels": ["I", "II"], "units": "mV"}
GOOD = np.ones((2, 500), dtype=np.float32)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (block(GOOD * np.nan, **FACTS), "no valid sample"),
        (block(GOOD[:, :0], **FACTS), "no valid sample"),
        (block(GOOD.T, **FACTS), "swapped"),
        (block(GOOD, **{**FACTS, "rate_hz": 0.0}), "rate_hz=0.0"),
        (block(GOOD, **{**FACTS, "channels": ["I", "V77"]}), "channel 'V77'.*Did you mean 'V7'"),
        (block(GOOD), "without rate_hz and channels"),
        (block(encode(signal(31))), "lasts 31 s, longer than max_seconds=30"),
        (block({"data": b"", "shape": [2]}), "without 'dtype'"),
    ],
)
def test_a_series_that_cannot_be_used_is_refused(processor, bad, match):
    with pytest.raises(ClimbError, match=match):
        tokenized(processor, asked(bad, text("?")))


def test_a_path_to_nothing_is_refused(processor, tmp_path):
    with pytest.raises(DataNotFoundError, match=r"absent\.hea is not there"):
        tokenized(processor, asked(block(str(tmp_path / "absent")), text("?")))


def test_a_text_that_was_cut_within_its_series_is_refused(processor):
    with pytest.raises(OptionError, match=r"keeps \d+ of its 20 places"):
        processor(text=f"{PLACEHOLDER}?", series=signal(20), truncation=True, max_length=9)


def test_a_long_series_becomes_windows_or_its_start(caplog):
    for too_long, n_places, n_pieces in (("window", 7, 3), ("truncate", 3, 1)):
        config = tiny_series_config(max_seconds=3, too_long=too_long)
        _, processor = tiny_series_lm(series_config=config)
        made = tokenized(processor, asked(block(signal(7)), text("?")))
        assert places(processor, made) == [n_places]
        assert len(made["series_lengths"]) == n_pieces
    assert "only its start is used" in caplog.text


def test_windows_reach_the_model_in_step():
    config = tiny_series_config(max_seconds=3, too_long="window")
    model, processor = tiny_series_lm(series_config=config)
    chats = [asked(block(signal(7)), text("?")), asked(block(signal(2)), block(signal(4)))]
    inputs = tokenized(processor, chats, processor_kwargs={"padding": True})
    assert inputs["series_lengths"].tolist() == [300, 300, 100, 200, 300, 100]
    assert (
        model.generate(**inputs, max_new_tokens=2, num_return_sequences=2, do_sample=True).shape[0]
        == 4
    )


@pytest.mark.parametrize("way", ["images", "block"])
def test_a_text_model_refuses_images(way):
    _, processor = tiny_series_lm()
    image = Image.new("RGB", (56, 56))
    with pytest.raises(OptionError, match="takes text and series"):
        if way == "images":
            processor(images=[[image]], text=["a"])
        else:
            tokenized(processor, asked({"type": "image", "image": image}, text("?")))


@pytest.mark.parametrize("given", ["yes or no?", ["yes", "no?"]])
def test_a_text_model_takes_its_text_first(given):
    _, processor = tiny_series_lm()
    assert processor(given)["input_ids"] == processor(text=given)["input_ids"]


def test_a_tokenizer_without_the_placeholder_is_refused():
    with pytest.raises(OptionError, match="does not know"):
        SeriesTextProcessor(tiny_vlm()[1].tokenizer, tiny_series_config())


# ---- saving -------------------------------------------------------------------------------------


def test_it_is_saved_with_its_settings(processor, tmp_path):
    from transformers import AutoProcessor

    processor(text="a b c d e f", truncation=True, max_length=2)  # must not be saved with it
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is type(processor)
    assert loaded.series_config.to_dict() == processor.series_config.to_dict()
    chats = asked(block(signal(3)), text("Which?"))
    one, other = tokenized(processor, chats), tokenized(loaded, chats)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    stored = json.loads((tmp_path / "processor_config.json").read_text())
    assert stored["series_config"]["channels"] == processor.series_config.channels
