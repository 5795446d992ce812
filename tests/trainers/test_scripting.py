"""What the entry scripts share, at its public edge, on rows made by hand."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pil
from trl import ModelConfig

from climb_hf.errors import ClimbError, DataNotFoundError, OptionError
from climb_hf.hub import load_model, load_processor, rendered
from climb_hf.models.tiny import save_tiny, tiny_vlm
from climb_hf.models.tiny_series import tiny_series_lm, tiny_series_vlm
from climb_hf.trainers import scripting
from climb_hf.trainers.scripting import ScriptArguments
from climb_hf.views import Signal, encode

TEXT = Value("string")
MESSAGES = List({"role": TEXT, "content": TEXT})


def qa_rows(n_images, **columns):
    """Question rows, the i-th with n_images[i] images."""
    n = len(n_images)
    rows = {
        "id": [f"made/{i}" for i in range(n)],
        "source": ["made"] * n,
        "domain": ["ecg"] * n,
        "prompt": [[{"role": "user", "content": f"Question {i}?"}] for i in range(n)],
        "options": [["yes", "no"]] * n,
        "answer": ["yes"] * n,
        "answer_type": ["choice"] * n,
        "images": [[Pil.new("RGB", (60, 60), (9, 9, i))] * k for i, k in enumerate(n_images)],
        **columns,
    }
    kinds = {name: TEXT for name in rows}
    kinds |= {"prompt": MESSAGES, "options": List(TEXT), "images": List(Image())}
    return Dataset.from_dict(rows, features=Features(kinds))


@pytest.fixture(scope="module")
def pair():
    return tiny_vlm(image_size=56)


def model_args(**options):
    return ModelConfig(**{"model_name_or_path": "tiny", **options})


# ---- command line -------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["train_sft", "train_drpo"])
def test_a_recipe_by_name_and_a_flag_above_it(script, tmp_path):
    import importlib

    parser = importlib.import_module(f"climb_hf.trainers.{script}").make_parser()
    name = f"tiny_cpu_{script.removeprefix('train_')}"
    argv = [f"--config={name}", "--max_steps", "7", "--output_dir", str(tmp_path)]
    script_args, training_args, model = scripting.parse(parser, argv)
    assert training_args.max_steps == 7
    assert model.model_name_or_path
    assert script_args.dataset_name == "ecg"


RUNS = sorted(
    path.stem
    for path in scripting.recipe("tiny_cpu_sft").parent.glob("*.yaml")
    if "model_name_or_path" in path.read_text()
)


@pytest.mark.parametrize("name", RUNS)
def test_every_run_recipe_has_known_keys_only(name):
    import yaml

    from climb_hf.trainers import train_drpo, train_sft

    text = scripting.recipe(name).read_text()
    # A recipe's head says which script it is for, and any script takes the keys of its own only.
    script = train_sft if "train_sft --config" in text else train_drpo
    known = {action.dest for action in script.make_parser()._actions}
    assert set(yaml.safe_load(text)) <= known


def test_an_unknown_recipe_lists_those_there_are():
    with pytest.raises(OptionError, match=r"tiny_cpu_drpo.*Did you mean 'tiny_cpu_sft'"):
        scripting.recipe("tiny_cpu_sf")


def test_an_error_of_ours_ends_a_script_with_one_line(monkeypatch):
    def main(*_):
        raise ClimbError("what to do next")

    parser = SimpleNamespace(parse_args_and_config=lambda argv: ())
    monkeypatch.setattr("sys.argv", ["train_drpo"])
    with pytest.raises(SystemExit, match="ClimbError: what to do next"):
        scripting.run(lambda: parser, main)


def test_resume_means_the_last_checkpoint_or_a_path(tmp_path, caplog):
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")

    def resume(wanted, folder=tmp_path):
        args = SimpleNamespace(resume_from_checkpoint=wanted, output_dir=str(folder))
        return scripting.resume_from(args)

    assert resume(None) is None
    assert resume("false") is None
    assert resume("latest") == resume("true") == str(tmp_path / "checkpoint-10")
    assert resume(str(tmp_path / "checkpoint-2")) == str(tmp_path / "checkpoint-2")
    with caplog.at_level(logging.WARNING):
        assert resume("latest", tmp_path / "new") is None
    assert "starts from the beginning" in caplog.text
    with pytest.raises(DataNotFoundError, match="holds checkpoint-10, checkpoint-2"):
        resume(str(tmp_path / "checkpoint-3"))


# ---- questions ----------------------------------------------------------------------------------


def test_questions_of_made_ecgs_come_with_sheets(ecg_tree):
    args = ScriptArguments(
        dataset_name="georgia", data_dir=str(ecg_tree.root / "georgia"), image_width_px=224
    )
    rows = scripting.load_questions(args, "train", max_samples=3)
    assert len(rows) == 3
    assert "series" not in rows.column_names
    row = rows[0]
    assert row["images"][0].width == 224
    assert row["prompt"][0]["role"] == "user"
    assert row["answer"]


def test_images_of_any_mode_reach_a_model_in_rgb(tmp_path, load_fake):
    load_fake("aptos2019").make(tmp_path / "raw" / "aptos2019", n=6)
    deep = np.linspace(0, 4000, 40 * 32).astype(np.uint16).reshape(32, 40)
    for file in tmp_path.rglob("train_images/*.png"):
        Pil.fromarray(deep).save(file)
    args = ScriptArguments(dataset_name="aptos2019", data_dir=str(tmp_path / "raw"))
    for series_as in ("signal", "picture"):
        (image,) = scripting.load_questions(args, "train", series_as=series_as)[0]["images"]
        assert (image.mode, image.getextrema()) == ("RGB", ((0, 255),) * 3)


def test_a_suffix_is_added_to_every_question_and_changes_nothing_else(ecg_tree):
    shared = {"dataset_name": "georgia", "data_dir": str(ecg_tree.root / "georgia")}
    told = ScriptArguments(prompt_suffix="State your confidence.", **shared)
    plain, longer = (
        scripting.load_questions(args, "train", max_samples=3, series_as="signal")
        for args in (ScriptArguments(**shared), told)
    )
    for before, after in zip(plain["prompt"], longer["prompt"], strict=True):
        assert after[-1]["content"] == before[-1]["content"] + "\nState your confidence."
        assert after[:-1] == before[:-1]
    assert set(longer.column_names) == set(plain.column_names)
    assert longer.remove_columns("prompt")[:] == plain.remove_columns("prompt")[:]


def test_the_style_of_the_question_reaches_the_source(ecg_tree):
    args = ScriptArguments(
        dataset_name="ecg", data_dir=str(ecg_tree.root), question="choice", image_width_px=224
    )
    rows = scripting.load_questions(args, "train", max_samples=8)
    assert set(rows["answer_type"]) == {"choice"}


def test_a_split_that_is_not_there_is_named_with_those_that_are(ecg_tree):
    args = ScriptArguments(dataset_name="georgia", data_dir=str(ecg_tree.root / "georgia"))
    with pytest.raises(OptionError, match=r"split='dev' is not one of: 'train'"):
        scripting.load_questions(args, "dev")


@pytest.mark.parametrize("given", ["{nonsense", "[1]"])
def test_options_that_are_no_json_object_are_refused(given):
    with pytest.raises(OptionError, match="dataset_options"):
        scripting.load_questions(ScriptArguments(dataset_options=given), "train")


def test_samples_do_not_depend_on_the_order_of_rows():
    rows = qa_rows([0] * 20)
    turned = rows.select(range(19, -1, -1))
    drawn = scripting.draw_samples(rows, 6, seed=1)
    assert set(drawn["id"]) == set(scripting.draw_samples(turned, 6, seed=1)["id"])
    assert set(drawn["id"]) != set(scripting.draw_samples(rows, 6, seed=2)["id"])
    assert scripting.draw_samples(rows, 99) is rows
    with pytest.raises(OptionError, match="0 rows"):
        scripting.draw_samples(rows, 0)


def test_only_ecgs_without_an_image_are_drawn():
    from climb_hf.schema import disk_features

    wave = Signal(np.zeros((1, 500), "float32"), 50.0, ("II",), ("mV",))
    rows = {
        "id": ["a", "b", "c"],
        "modality": ["ecg", "eeg", "ecg"],
        "images": [[], [], [Pil.new("RGB", (30, 30))]],
        "series": [[encode(wave)]] * 3,
    }
    kinds = {name: disk_features()[name] for name in rows}
    dataset = Dataset.from_dict(rows, features=Features(kinds))
    drawn = scripting.with_images(dataset, width_px=200)
    assert drawn.column_names == ["id", "modality", "images"]
    assert [[one.width for one in images] for images in drawn["images"]] == [[200], [], [30]]


def test_completions_hold_the_boxed_answer(caplog):
    rows = qa_rows([1, 0, 1], answer=["yes", None, "yes, no"])
    with caplog.at_level(logging.WARNING):
        made = scripting.with_completions(rows)
    assert made.column_names == ["prompt", "images", "completion"]
    assert made["completion"][1] == [{"role": "assistant", "content": "\\boxed{yes, no}"}]
    assert "1 rows have no answer" in caplog.text


def test_a_share_of_the_answers_can_be_bare_whatever_the_order_of_rows():
    rows = qa_rows([0] * 400)
    made = scripting.with_completions(rows, boxed_share=0.3, seed=1)
    texts = [one[0]["content"] for one in made["completion"]]
    assert set(texts) == {"yes", "\\boxed{yes}"}
    # 400 draws of 0.3: the standard deviation of the share is 0.023
    assert texts.count("\\boxed{yes}") / 400 == pytest.approx(0.3, abs=0.08)
    turned = rows.select(range(399, -1, -1))
    again = scripting.with_completions(turned, boxed_share=0.3, seed=1)
    assert [one[0]["content"] for one in again["completion"]] == texts[::-1]
    with pytest.raises(OptionError, match=r"boxed_share=1.5"):
        scripting.with_completions(rows, boxed_share=1.5)


def test_a_text_model_loses_images_and_says_so(pair, caplog):
    rows = qa_rows([1, 0, 2])
    assert scripting.fit_to(pair[1], rows) is rows
    with caplog.at_level(logging.WARNING):
        fitted = scripting.fit_to(pair[1].tokenizer, rows)
    assert "images" not in fitted.column_names
    assert "2 of 3 questions lose their images" in caplog.text


def test_long_questions_are_left_out_never_cut(pair, caplog):
    processor = pair[1]
    rows = qa_rows([0, 1, 2])
    lengths = []
    for row in rows:
        text = rendered(processor, row["prompt"], len(row["images"]))
        media = {"images": [row["images"]]} if row["images"] else {}
        lengths.append(len(processor(text=[text], **media)["input_ids"][0]))
    assert lengths == sorted(set(lengths))
    assert len(scripting.filter_long(rows, processor, lengths[2])) == 3
    with caplog.at_level(logging.WARNING):
        kept = scripting.filter_long(rows, processor, lengths[1])
    assert kept["id"] == ["made/0", "made/1"]
    assert "1 of 3 questions have more than" in caplog.text
    with pytest.raises(OptionError, match="each of 3 questions"):
        scripting.filter_long(rows, processor, 3)


# ---- model --------------------------------------------------------------------------------------


def test_no_model_named_says_what_to_give():
    with pytest.raises(OptionError, match="Qwen/Qwen2"):
        scripting.load_model_and_processor(model_args(model_name_or_path=None))


def test_an_adapter_is_merged_before_training_goes_on(tmp_path):
    from peft import LoraConfig, get_peft_model

    base = save_tiny(tmp_path / "base", image_size=56)
    config = LoraConfig(target_modules=r".*language_model.*v_proj", init_lora_weights=False)
    adapted = get_peft_model(load_model(base), config).eval()
    adapted.save_pretrained(tmp_path / "sft")
    ids = torch.tensor([[5, 6, 7]])
    args = model_args(model_name_or_path=str(tmp_path / "sft"))
    merged, processor = scripting.load_model_and_processor(args)
    with torch.no_grad():
        same = torch.allclose(merged(ids).logits, adapted(ids).logits, atol=1e-5)
    assert same
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert processor.image_processor is not None


def test_a_text_only_model_loads_with_its_tokenizer(tmp_path, pair):
    folder = save_text_model(tmp_path / "text", pair[1].tokenizer)
    args = model_args(model_name_or_path=str(folder))
    model, tokenizer = scripting.load_model_and_processor(args)
    assert type(model).__name__ == "Qwen2ForCausalLM"
    assert not hasattr(tokenizer, "image_processor")
    assert tokenizer.padding_side == "left"
    texts = scripting.generate_answers(model, tokenizer, qa_rows([1, 0]), max_new_tokens=2)
    assert len(texts) == 2


def test_a_language_model_is_given_an_encoder_of_series_by_its_seed(tmp_path, pair):
    folder = save_text_model(tmp_path / "text", pair[1].tokenizer)
    args = model_args(model_name_or_path=str(folder))

    def given(**options):
        return scripting.load_model_and_processor(args, **options)

    model, processor = given(series_encoder="fresh", seed=3)
    assert scripting.series_as_of(ScriptArguments(series_as="signal"), processor) == "signal"
    drawn = model.model.time_series_encoder.state_dict()
    same, other = (given(series_encoder="fresh", seed=seed)[0] for seed in (3, 4))
    for again, alike in ((same, True), (other, False)):
        weights = again.model.time_series_encoder.state_dict()
        assert alike == all(torch.equal(weights[name], one) for name, one in drawn.items())
    # A tower that was trained elsewhere takes the place of a fresh one.
    model.model.time_series_encoder.save_pretrained(tmp_path / "tower")
    kept = given(series_encoder=str(tmp_path / "tower"), seed=4)[0].model.time_series_encoder
    assert all(torch.equal(kept.state_dict()[name], one) for name, one in drawn.items())


def test_a_model_that_takes_series_is_given_no_second_encoder():
    args = model_args(model_name_or_path="tiny_series")
    with pytest.raises(OptionError, match="takes series already"):
        scripting.load_model_and_processor(args, series_encoder="fresh")


def save_text_model(folder, tokenizer):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    text_tokenizer = type(tokenizer).from_pretrained(save_tokenizer(folder, tokenizer))
    text_tokenizer.chat_template = template
    text_tokenizer.save_pretrained(folder)
    assert not hasattr(load_processor(folder), "image_processor")
    return folder


def save_tokenizer(folder, tokenizer):
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("wanted", [None, ["all-linear"], ["q_proj", "v_proj"]])
def test_lora_goes_to_the_language_model_only(pair, wanted):
    from peft import get_peft_model

    args = model_args(use_peft=True, lora_target_modules=wanted)
    model = tiny_vlm(image_size=56)[0]
    adapted = get_peft_model(model, scripting.lora_config(args, model))
    names = [name for name, _ in adapted.named_parameters() if "lora_A" in name]
    per_layer = 2 if wanted == ["q_proj", "v_proj"] else 7
    assert len(names) == 2 * per_layer
    assert all("language_model" in name for name in names)


def test_lora_off_unknown_layers_and_patterns(pair):
    assert scripting.lora_config(model_args(), pair[0]) is None
    wrong = model_args(use_peft=True, lora_target_modules=["query"])
    with pytest.raises(OptionError, match="down_proj"):
        scripting.lora_config(wrong, pair[0])
    pattern = model_args(use_peft=True, lora_target_modules=[r".*visual.*\.qkv"])
    assert scripting.lora_config(pattern, pair[0]).target_modules == r".*visual.*\.qkv"


def test_lora_of_a_text_model(tmp_path, pair):
    from peft import get_peft_model

    model = load_model(save_text_model(tmp_path / "text", pair[1].tokenizer))
    adapted = get_peft_model(model, scripting.lora_config(model_args(use_peft=True), model))
    assert sum("lora_A" in name for name, _ in adapted.named_parameters()) == 7


def test_known_rewards_get_our_weights_unless_told():
    training_args = SimpleNamespace(reward_weights=None)
    functions = scripting.reward_functions(ScriptArguments(), training_args)
    assert [one.__name__ for one in functions] == ["answer_f1", "answer_format"]
    assert training_args.reward_weights == [0.8, 0.2]
    told = SimpleNamespace(reward_weights=[1.0])
    scripting.reward_functions(ScriptArguments(reward_funcs=["answer_f1"]), told)
    assert told.reward_weights == [1.0]


def test_weights_of_closed_sources_are_not_published(monkeypatch):
    from climb_hf import catalog

    licence = SimpleNamespace(name="no-derivatives", share_derived=False)
    source = SimpleNamespace(card=SimpleNamespace(name="georgia", licence=licence))
    monkeypatch.setattr(catalog, "get", lambda name: source)
    args = ScriptArguments(dataset_name="georgia")
    public = SimpleNamespace(push_to_hub=True, hub_private_repo=None)
    with pytest.raises(OptionError, match=r"georgia \(no-derivatives\)"):
        scripting.check_push(args, public)
    private = {"push_to_hub": True, "hub_private_repo": True, "hub_strategy": "end"}
    scripting.check_push(args, SimpleNamespace(**private))
    scripting.check_push(args, SimpleNamespace(push_to_hub=False))


# ---- series ----------------------------------------------------------------------------------


def test_a_model_meets_series_as_it_can_unless_told(pair):
    hearing = tiny_series_vlm()[1]
    assert scripting.series_as_of(ScriptArguments(), pair[1]) == "picture"
    assert scripting.series_as_of(ScriptArguments(), hearing) == "signal"
    assert scripting.series_as_of(ScriptArguments(series_as="picture"), hearing) == "picture"
    with pytest.raises(OptionError, match="takes no series"):
        scripting.series_as_of(ScriptArguments(series_as="signal"), pair[1])
    with pytest.raises(OptionError, match="takes no images"):
        scripting.series_as_of(ScriptArguments(series_as="both"), tiny_series_lm()[1])


def series_rows(seconds):
    """Question rows, the i-th with a series of seconds[i] at 100 Hz, or none for 0."""
    from climb_hf.schema import disk_features

    rng = np.random.default_rng(0)

    def one(length):
        values = rng.normal(0, 1, (2, 100 * length)).astype("float32")
        return [encode(Signal(values, 100.0, ("V1", "V5"), ("mV",) * 2))] if length else []

    rows = qa_rows([0] * len(seconds)).add_column("series", [one(length) for length in seconds])
    return rows.cast_column("series", disk_features()["series"])


def test_the_tokens_of_series_count_towards_the_length_of_a_question():
    processor = tiny_series_lm()[1]
    # One token a second at the tiny encoder's settings.
    bare = len(processor(text=[rendered(processor, qa_rows([0])[0]["prompt"], 0)])["input_ids"][0])
    rows = series_rows([0, 2, 9])
    assert scripting.filter_long(rows, processor, bare + 2)["id"] == ["made/0", "made/1"]
    assert len(scripting.filter_long(rows, processor, bare + 9)) == 3


def test_a_model_without_series_loses_them_and_says_so(pair, caplog):
    rows = series_rows([2, 0, 3])
    assert "series" in scripting.fit_to(tiny_series_lm()[1], rows).column_names
    fitted = scripting.fit_to(pair[1], rows)
    assert "series" not in fitted.column_names
    assert "2 of 3 questions lose their series" in caplog.text


def test_series_that_no_sheet_is_drawn_of_are_counted(caplog):
    rows = series_rows([2, 0, 3]).add_column("modality", ["eeg", "eeg", "ecg"])
    drawn = scripting.with_images(rows, width_px=200)
    assert [len(one["images"]) for one in drawn] == [0, 0, 1]
    assert "1 of 3 questions have series that no sheet is drawn of" in caplog.text


def test_answers_depend_on_the_series_and_not_on_the_batch():
    pair = tiny_series_vlm()
    rows = series_rows([2, 0, 3, 2])
    one_by_one = scripting.generate_answers(*pair, rows, batch_size=1, max_new_tokens=6)
    assert scripting.generate_answers(*pair, rows, batch_size=4, max_new_tokens=6) == one_by_one
    without = scripting.generate_answers(*pair, rows.remove_columns("series"), max_new_tokens=6)
    assert without[1] == one_by_one[1]
    assert without != one_by_one


# ---- answers ------------------------------------------------------------------------------------


def test_answers_keep_the_order_of_the_rows_in_any_batch_size(pair):
    rows = qa_rows([0, 1, 2, 0, 1])
    one_by_one = scripting.generate_answers(*pair, rows, batch_size=1, max_new_tokens=4)
    assert scripting.generate_answers(*pair, rows, batch_size=3, max_new_tokens=4) == one_by_one
    assert len(one_by_one) == 5


def test_frames_are_taken_when_a_row_is_read(load_fake, tmp_path, monkeypatch):
    pytest.importorskip("nibabel")
    from climb_hf.trainers import script_frames

    load_fake("kits23").make(tmp_path / "kits23", n=4)
    asked = []
    real = script_frames.as_images
    monkeypatch.setattr(
        script_frames, "as_images", lambda row, n, **how: asked.append(n) or real(row, n, **how)
    )
    given = ScriptArguments(dataset_name="kits23", data_dir=str(tmp_path), n_frames=3)
    rows = scripting.load_questions(given, "train")
    assert asked == []
    first = rows[0]
    assert [one.mode for one in first["images"]] == ["RGB"] * 3
    assert "volumes" not in first
    assert {box["image"] for box in first["boxes"]} <= {0, 1, 2}
    assert first["boxes"][0]["image"] == 0  # the slice with the largest tumour comes first
    assert asked == [3]
    told = scripting.with_completions(rows)
    assert (len(told[0]["images"]), set(told[0])) == (
        3,
        {"prompt", "completion", "images", "source"},
    )


def test_a_model_without_images_loses_frames_and_is_told_of_them(load_fake, tmp_path, caplog):
    pytest.importorskip("nibabel")
    load_fake("kits23").make(tmp_path / "kits23", n=4)
    given = ScriptArguments(dataset_name="kits23", data_dir=str(tmp_path))
    rows = scripting.load_questions(given, "train")
    shown = scripting.fit_to(object(), rows)
    assert "images" not in shown[0]
    assert f"{len(rows)} of {len(rows)} questions lose their images" in caplog.text
