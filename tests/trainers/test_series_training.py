"""Training on series: through generation, log-probabilities and loss, beside images and without."""

import numpy as np
import pytest
import torch
from peft import LoraConfig
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration
from trl import GRPOTrainer

from climb_hf import Signal, hub
from climb_hf.errors import OptionError
from climb_hf.models.series_lm import SERIES_MODULES
from climb_hf.models.tiny_series import tiny_series_config, tiny_series_lm, tiny_series_vlm
from climb_hf.trainers import DRPOConfig, DRPOTrainer
from climb_hf.trainers.drpo_series import modules_to_save, takes_series, with_blocks
from climb_hf.trainers.modality_dropout import with_dropout
from climb_hf.trainers.sft_series import SeriesCollator, SeriesSFTConfig, SeriesSFTTrainer
from climb_hf.trainers.vllm_pictures import drawn_run
from climb_hf.views import Series, encode

BUILDERS = {
    "qwen2_5_vl": tiny_series_vlm,
    "qwen3_vl": tiny_series_vlm,
    "llama": tiny_series_lm,
}
LEADS = ("I", "II", "V1", "V5")


def signal(seed, seconds=2.0):
    values = np.random.default_rng(seed).normal(size=(len(LEADS), round(100 * seconds)))
    return Signal(values.astype(np.float32), 100.0, LEADS, ("mV",) * len(LEADS))


def row(index, sees):
    """Series, neither, both with two series, an image: one after the other."""
    n_series = (1, 0, 2, 0)[index % 4]
    made = {
        "id": f"made/{index}",
        "prompt": [{"role": "user", "content": f"Question {index}: yes or no?"}],
        "domain": ("ecg", "text", "both", "image")[index % 4],
        "series": [encode(signal(10 * index + at, 2.0 + at)) for at in range(n_series)],
    }
    if sees:
        shade = Image.new("RGB", (56, 56), (20 * index % 255, 90, 40))
        made["images"] = [shade] * (0, 0, 1, 1)[index % 4]
    return made


def dataset(sees, n=8):
    from datasets import Dataset, List
    from datasets import Image as ImageFeature

    from climb_hf.schema import disk_features

    made = Dataset.from_list([row(index, sees) for index in range(n)])
    made = made.cast_column("series", disk_features()["series"])
    return made.cast_column("images", List(ImageFeature())) if sees else made


def letters(completions, **kwargs):
    texts = [one[0]["content"] for one in completions]
    return [sum(c.islower() for c in text) / max(len(text), 1) for text in texts]


@pytest.fixture
def make(tmp_path):
    def trainer(family="qwen2_5_vl", data=None, model=None, lora=True, **options):
        own, processor = model or BUILDERS[family](family=family)
        named = {
            name: options.pop(name)
            for name in ("rollout_func", "trainer_class", "eval_dataset")
            if name in options
        }
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "bf16": False,
            "num_generations": 2,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 4,
            "max_completion_length": 6,
            "max_steps": 2,
            "learning_rate": 1e-2,
            "save_strategy": "no",
            "report_to": [],
            "logging_steps": 1,
            "disable_tqdm": True,
            "shuffle_dataset": False,
        }
        kind = named.pop("trainer_class", DRPOTrainer)
        config = LoraConfig(
            r=4,
            target_modules=r".*language_model.*\.(q|v)_proj",
            modules_to_save=modules_to_save(own),
        )
        return kind(
            model=own,
            reward_funcs=letters,
            args=DRPOConfig(**{**defaults, **options}),
            train_dataset=dataset("vl" in family) if data is None else data,
            processing_class=processor,
            peft_config=config if lora else None,
            **named,
        )

    return trainer


def weights(trainer):
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


# ---- DRPO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", list(BUILDERS))
def test_rows_with_series_images_both_and_neither_train(make, family):
    # Micro-batches of two rows, log-probabilities of the old and the reference model in chunks of
    # two: some hold series, some images, some nothing.
    trainer = make(family, num_iterations=2, beta=0.04)
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    moved = {name for name, old in before.items() if not torch.equal(after[name], old)}
    assert all(tensor.isfinite().all() for tensor in after.values())
    for part in SERIES_MODULES:
        assert any(part in name for name in moved)
    trained = ("lora_", "modules_to_save")
    assert all(any(word in name for word in trained) for name in moved)
    assert any("lora_" in name for name in moved)


def generated(trainer, n=4):
    """One generation of two completions a row, shuffled and split as in training."""
    trainer.model.train()
    rows = [one for index in range(n) for one in [trainer.train_dataset[index]] * 2]
    trainer.current_gradient_accumulation_steps = 4
    trainer._prepare_inputs(rows)
    return trainer._buffered_inputs


def log_probabilities(trainer, batch, series=None):
    """What the loss is made of."""
    seen = []
    parent = GRPOTrainer

    def listen(self, *args, **kwargs):
        made = parent_method(self, *args, **kwargs)
        seen.append(made[0].detach())
        return made

    parent_method = parent._get_per_token_logps_and_entropies
    parent._get_per_token_logps_and_entropies = listen
    try:
        given = dict(batch)
        if series is not None:
            given["time_series"] = series
        trainer._compute_loss(trainer.model, given)
    finally:
        parent._get_per_token_logps_and_entropies = parent_method
    return seen[-1]


@pytest.mark.parametrize("family", list(BUILDERS))
def test_the_loss_sees_the_series_that_the_completion_was_generated_with(make, family):
    trainer = make(family, num_iterations=2, beta=0.04)
    with torch.no_grad():
        model = trainer.accelerator.unwrap_model(trainer.model)
        for name, parameter in model.named_parameters():
            if "time_series_projector" in name and "size" in name:
                parameter.mul_(20)  # so that a series of another row would show
    for batch in generated(trainer):
        mask = batch["completion_mask"].bool()
        own = log_probabilities(trainer, batch)
        # Before any update the old model and the reference are the model itself.
        for kept in ("old_per_token_logps", "ref_per_token_logps"):
            assert torch.allclose(own[mask], batch[kept][mask], atol=1e-4)
        others = [[[*map(flipped, pieces)] for pieces in series] for series in batch["time_series"]]
        changed = (log_probabilities(trainer, batch, others) - own).abs().amax(dim=1) > 1e-4
        assert changed.tolist() == [bool(series) for series in batch["time_series"]]


def flipped(piece):
    from dataclasses import replace

    return replace(piece, values=piece.values[:, ::-1].copy())


def test_what_is_in_the_reference_model_is_the_fresh_tower(make):
    trainer = make(num_iterations=1, beta=0.04, max_steps=2)
    trainer.train()
    kl = [line["kl"] for line in trainer.state.log_history if "kl" in line]
    # An adapter's second factor starts at zero: nothing differs before the first update.
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[1] > 1e-6


def test_damping_asks_again_for_log_probabilities_with_series(make):
    trainer = make(domain_scaling="drpo_paper", beta=0.04, max_steps=1)
    trainer.train()
    assert "kl" in trainer.state.log_history[0]


def test_evaluation_and_the_table_of_completions_take_series(make, tmp_path):
    import pandas as pd

    trainer = make(
        log_completions=True,
        max_steps=1,
        eval_dataset=dataset(True, 4),
        per_device_eval_batch_size=2,
    )
    trainer.train()
    assert "eval_reward" in trainer.evaluate()
    table = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("run/completions/*.parquet"))
    kinds = {part["type"] for prompt in table["prompt"] for part in prompt[0]["content"]}
    assert "time_series" in kinds


def test_decoded_columns_and_stored_ones_train_alike(make):
    kept = []
    for data in (dataset(False), dataset(False).cast_column("series", Series())):
        trainer = make("llama", data=data, max_steps=1)
        trainer.train()
        kept.append(weights(trainer))
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in kept[0].items())


def test_unused_columns_may_be_removed(make):
    trainer = make("llama", remove_unused_columns=True, max_steps=1)
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    assert any("time_series" in n and not torch.equal(after[n], old) for n, old in before.items())


def test_what_a_run_saved_answers_alike_on_another_day(make, tmp_path):
    model, processor = tiny_series_vlm()
    model.save_pretrained(tmp_path / "run" / "base")
    processor.save_pretrained(tmp_path / "run" / "base")
    trainer = make(model=(model, processor))
    trainer.train()
    trainer.save_model(str(tmp_path / "run"))
    trained = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().eval()
    loaded, its_processor = hub.load_for_inference(tmp_path / "run", device="cpu")
    assert torch.equal(logits(loaded, its_processor), logits(trained, processor))


def test_a_model_may_be_named_by_its_folder(tmp_path, make):
    model, processor = tiny_series_vlm()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    trainer = DRPOTrainer(
        str(tmp_path / "model"), letters, make().args, train_dataset=dataset(True, 4)
    )
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    assert any("time_series" in n and not torch.equal(after[n], old) for n, old in before.items())
    with pytest.raises(OptionError, match="rollout_func cannot be used with series"):
        DRPOTrainer(
            str(tmp_path / "model"),
            letters,
            make().args,
            train_dataset=dataset(True, 4),
            rollout_func=lambda prompts, trainer: {},
        )


def logits(model, processor):
    blocks = [
        {"type": "time_series", "time_series": signal(1)},
        {"type": "text", "text": "yes or no?"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": blocks}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        return model(**inputs).logits


@pytest.mark.slow
def test_two_processes_that_hold_different_modalities_agree(tmp_path):
    import json
    import socket
    import subprocess
    import sys
    from pathlib import Path

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    worker = Path(__file__).with_name("worker_series_ranks.py")
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    subprocess.run([sys.executable, *launch, str(worker), str(tmp_path)], check=True, timeout=300)
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first["num_processes"] == 2
    assert first == second
    assert first["after"] != first["before"]


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [["id", "prompt", "domain", "series"], ["prompt", "domain"]])
def test_vllm_stops_a_run_with_a_model_that_takes_series(make, columns):
    with pytest.raises(OptionError, match="vLLM takes token ids and images, and no series"):
        make("llama", data=dataset(False).select_columns(columns), use_vllm=True)


def test_vllm_gives_way_where_the_user_says_so(make, caplog):
    trainer = make("llama", use_vllm=True, vllm_with_series="transformers", max_steps=1)
    assert "generated with transformers instead" in caplog.text
    trainer.train()


def test_vllm_gets_pictures_and_a_model_without_the_tower_where_the_user_says_so(make, caplog):
    options = {"use_vllm": True, "vllm_with_series": "picture"}
    # vLLM is not installed, and TRL says so once all is ready for it.
    with pytest.raises(ImportError, match="vLLM"):
        make(**options)
    assert "recordings are drawn as pictures" in caplog.text
    args = make(max_steps=1).args  # a run that does without vLLM shows that the rest trains
    lora = LoraConfig(target_modules=r".*q_proj", modules_to_save=list(SERIES_MODULES))
    model, processor = tiny_series_vlm()
    named = {"processing_class": processor, "peft_config": lora, "eval_dataset": dataset(True, 2)}
    plain, drawn, named = drawn_run(model, args, dataset(True), (), named)
    assert type(plain) is Qwen2_5_VLForConditionalGeneration
    assert plain.name_or_path == f"{args.output_dir}/base"  # what vLLM is told to load
    assert [len(one["images"]) for one in drawn] == [1, 0, 1, 1] * 2  # its own image stays
    assert "series" not in drawn.column_names + named["eval_dataset"].column_names
    assert not lora.modules_to_save
    trainer = DRPOTrainer(plain, letters, args, drawn, **named)
    trainer.train()
    trainer.save_model(args.output_dir)
    assert not takes_series(hub.load_for_inference(args.output_dir, device="cpu")[1])


def test_a_stream_cannot_be_drawn(make):
    stream = dataset(True).to_iterable_dataset()
    with pytest.raises(OptionError, match="the rows are a stream"):
        model, processor = tiny_series_vlm()
        drawn_run(model, make().args, stream, (), {"processing_class": processor})


def test_series_are_not_drawn_for_a_model_without_eyes(make):
    with pytest.raises(OptionError, match="takes no images, so series cannot be drawn"):
        make("llama", use_vllm=True, vllm_with_series="picture")


def test_an_unknown_choice_for_vllm_is_refused(make):
    with pytest.raises(OptionError, match="vllm_with_series='sheet'"):
        make("llama", use_vllm=True, vllm_with_series="sheet")


def test_rollouts_of_somebody_else_are_refused(make):
    with pytest.raises(OptionError, match="rollout_func cannot be used with series"):
        make("llama", rollout_func=lambda prompts, trainer: {})


def test_a_model_that_takes_no_series_is_warned_of(make, caplog):
    from climb_hf.models.tiny import tiny_vlm

    trainer = make(model=tiny_vlm(), data=dataset(True), max_steps=1)
    trainer.train()
    assert "the model takes no series" in caplog.text


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"channels": ["I", "II", "V1", "V55"]}, "series 0 of row 'made/0': channel 'V55'"),
        ({"rate_hz": 0.0}, "series 0 of row 'made/0': .*rate_hz=0.0"),
    ],
)
def test_a_bad_series_is_named_with_its_row(make, bad, match):
    from datasets import Dataset

    from climb_hf.schema import disk_features

    rows = [row(index, False) for index in range(4)]
    rows[0]["series"] = [{**rows[0]["series"][0], **bad}]
    data = Dataset.from_list(rows).cast_column("series", disk_features()["series"])
    with pytest.raises(OptionError, match=match):
        make("llama", data=data).train()


def test_blocks_open_the_first_user_message():
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which?"}]
    made = with_blocks(prompt, 2, 1)
    assert [part["type"] for part in made[1]["content"]] == [
        "time_series",
        "time_series",
        "image",
        "text",
    ]
    kinds = [[part["type"] for part in one["content"]] for one in with_blocks(prompt, 0, 1)]
    assert kinds == [["text"], ["image", "text"]]


def test_blocks_that_are_there_stay():
    content = [{"type": "text", "text": "Here:"}, {"type": "time_series"}]
    prompt = [{"role": "user", "content": content}]
    assert [part["type"] for part in with_blocks(prompt, 1, 0)[0]["content"]] == [
        "text",
        "time_series",
    ]
    with pytest.raises(OptionError, match="1 blocks of type 'time_series' for 2 series"):
        with_blocks(prompt, 2, 0)


@pytest.mark.parametrize("prompt", ["Which?", [{"role": "system", "content": "Be brief."}]])
def test_a_prompt_without_room_for_series_is_refused(prompt):
    with pytest.raises(OptionError, match=r"plain text|no user message"):
        with_blocks(prompt, 1, 0)


def test_modules_to_save_are_those_that_the_model_has():
    assert modules_to_save(tiny_series_lm()[0], ["lm_head"]) == ["lm_head", *SERIES_MODULES]
    assert modules_to_save(torch.nn.Linear(2, 2)) is None


@pytest.mark.parametrize("family", list(BUILDERS))
def test_the_scripts_train_the_tower_in_full_and_adapt_the_language_model(family):
    from peft import get_peft_model
    from trl import ModelConfig

    from climb_hf.trainers.scripting import lora_config

    model, _ = BUILDERS[family](family=family)
    peft = get_peft_model(model, lora_config(ModelConfig(use_peft=True), model))
    trained = {name for name, one in peft.named_parameters() if one.requires_grad}
    adapted = {name for name in trained if "lora_" in name}
    assert adapted
    assert all("language_model" in name for name in adapted)
    whole = {name.split(".modules_to_save")[0].split(".")[-1] for name in trained - adapted}
    assert whole == set(SERIES_MODULES)


def test_a_composed_model_is_kept_beside_its_adapter(tmp_path):
    from types import SimpleNamespace

    from climb_hf.models.compose import from_backbone
    from climb_hf.models.tiny import save_tiny
    from climb_hf.trainers.scripting import ScriptArguments, keep_base

    stock = save_tiny(tmp_path / "stock")
    model, processor = from_backbone(stock, series_config=tiny_series_config())
    run = SimpleNamespace(output_dir=str(tmp_path / "run"), should_save=True)
    keep_base(model, processor, ScriptArguments(), run)
    loaded = hub.load_model(tmp_path / "run" / "base").eval()
    its_processor = hub.load_processor(tmp_path / "run" / "base")
    assert torch.equal(logits(loaded, its_processor), logits(model, processor))


# ---- supervised ---------------------------------------------------------------------------------


def answered(data, key="completion"):
    said = [{"role": "assistant", "content": "yes"}]
    if key == "completion":
        return data.add_column("completion", [said] * len(data))
    return data.map(lambda one: {"messages": [*one["prompt"], *said]}, remove_columns="prompt")


def supervised(tmp_path, family, data, eval_dataset=None, **options):
    model, processor = BUILDERS[family](family=family)
    defaults = {
        "output_dir": str(tmp_path),
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    named = {"train_dataset": data, "eval_dataset": eval_dataset, "processing_class": processor}
    return SeriesSFTTrainer(model, SeriesSFTConfig(**{**defaults, **options}), **named)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llama"])
@pytest.mark.parametrize("key", ["completion", "messages"])
def test_supervised_training_takes_mixed_rows(tmp_path, family, key):
    trainer = supervised(tmp_path, family, answered(dataset("vl" in family), key))
    before = weights(trainer)
    trainer.train()
    after = weights(trainer)
    assert any("time_series" in n and not torch.equal(after[n], old) for n, old in before.items())


def test_a_text_that_is_cut_is_refused_and_not_shifted(tmp_path):
    data = answered(dataset(False))
    with pytest.raises(OptionError, match="places for tokens of series"):
        supervised(tmp_path, "llama", data, max_length=4).train()


def test_answers_are_learnt_and_placeholders_are_not():
    _, processor = tiny_series_lm()
    data = answered(dataset(False, 4))
    for only in (True, False):
        collator = SeriesCollator(processor, completion_only_loss=only)
        batch = collator([data[index] for index in range(4)])
        learnt = batch["labels"] != -100
        assert not learnt[batch["input_ids"] == processor.time_series_token_id].any()
        text = processor.batch_decode(
            [ids[on] for ids, on in zip(batch["input_ids"], learnt, strict=True)]
        )
        assert all("yes" in one for one in text)
        assert any("Question" in one for one in text) == (not only)
    # 1 + 0 + 2 + 0 series; one of 2 s, then one of 2 s and one of 3 s.
    assert batch["series_lengths"].tolist() == [200, 200, 300]


def test_a_model_learns_to_say_which_lead_carries_a_pulse(tmp_path):
    from datasets import Dataset

    rng = np.random.default_rng(0)

    def rows(n):
        made = []
        for index in range(n):
            values = rng.normal(0, 1, (2, 100)).astype(np.float32)
            values[index % 2, 40:60] += 4
            one = Signal(values, 100.0, ("V1", "V5"), ("mV",) * 2)
            made.append((one, ("yes", "no")[index % 2]))
        return made

    def told(series, answer):
        prompt = [{"role": "user", "content": "Does V1 carry it?"}]
        return {
            "prompt": prompt,
            "completion": [{"role": "assistant", "content": answer}],
            "series": [encode(series)],
        }

    from trl import SFTConfig

    config = tiny_series_config(patch_samples=10, patches_per_token=10)
    model, processor = tiny_series_lm(series_config=config)
    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=16,
        max_steps=140,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        max_grad_norm=1.0,
    )
    data = Dataset.from_list([told(*one) for one in rows(16 * 140)])
    SeriesSFTTrainer(model, args, train_dataset=data, processing_class=processor).train()
    held_out = rows(40)

    def right(with_series):
        chats = []
        for one, _ in held_out:
            blocks = [{"type": "time_series", "time_series": one}] if with_series else []
            text = {"type": "text", "text": "Does V1 carry it?"}
            chats.append([{"role": "user", "content": [*blocks, text]}])
        inputs = processor.apply_chat_template(
            chats,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            processor_kwargs={"padding": True},
        )
        written = model.eval().generate(**inputs, max_new_tokens=3, do_sample=False)
        said = processor.batch_decode(
            written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return np.mean([a.strip() == b for a, (_, b) in zip(said, held_out, strict=True)])

    assert right(True) > 0.9
    assert right(False) <= 0.5  # one answer for all, or none


# ---- modality dropout ---------------------------------------------------------------------------


def both(index, **more):
    """A row with a series and an image, whose prompt has blocks for them."""
    blocks = [{"type": "time_series"}, {"type": "image"}, {"type": "text", "text": "Which?"}]
    made = {**row(2, True), "id": f"made/{index}", "prompt": [user(blocks)], **more}
    return {**made, "series": made["series"][:1]}


def user(content):
    return {"role": "user", "content": content}


def kinds(chat):
    return [part["type"] for part in chat[0]["content"]]


def media(one):
    """Which of the two a row has."""
    return bool(one["series"]), bool(one["images"])


@pytest.mark.parametrize(
    ("medium", "kept"),
    [("series", {(False, True)}), ("images", {(True, False)}),
     ("either", {(False, True), (True, False)})],
)  # fmt: skip
def test_one_of_two_media_goes_with_its_places(medium, kept):
    made = [with_dropout(both(at), 1.0, medium, seed=0, time=0) for at in range(20)]
    assert {media(one) for one in made} == kept
    for one in made:
        has_series, has_images = media(one)
        places = ["time_series"] * has_series + ["image"] * has_images
        assert kinds(one["prompt"]) == [*places, "text"]


def test_dropout_leaves_rows_with_one_medium_and_other_rows_alone():
    for index in (0, 1, 3):  # series, neither, an image
        one = row(index, True)
        assert with_dropout(one, 1.0, "either", seed=0, time=0) == one
    assert with_dropout(both(0), 0.0, "either", seed=0, time=0) == both(0)


def test_about_the_share_is_dropped_anew_each_time():
    def lost(time, seed=0):
        rows = (with_dropout(both(at), 0.3, "series", seed, time) for at in range(400))
        return [not one["series"] for one in rows]

    # Four standard deviations of a binomial of 400 draws at 0.3.
    assert abs(sum(lost(0)) - 120) < 4 * (400 * 0.3 * 0.7) ** 0.5
    assert lost(0) == lost(0)
    assert lost(0) != lost(1)
    assert lost(0) != lost(0, seed=1)


def test_dropout_needs_an_id_to_agree_on():
    with pytest.raises(OptionError, match="needs a column `id`"):
        with_dropout(both(0, id=None), 0.5, "either", seed=0, time=0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"modality_dropout": 1.5}, "modality_dropout=1.5 should be from 0 to 1"),
        ({"modality_dropout_medium": "audio"}, "modality_dropout_medium='audio'"),
    ],
)
@pytest.mark.parametrize("kind", [DRPOConfig, SeriesSFTConfig])
def test_options_of_dropout_are_checked(kind, options, match, tmp_path):
    with pytest.raises(OptionError, match=match):
        kind(str(tmp_path), use_cpu=True, bf16=False, **options)


def test_dropout_where_nothing_could_be_dropped_is_refused(make, tmp_path):
    with pytest.raises(OptionError, match="takes no images"):
        make("llama", modality_dropout=0.3)
    with pytest.raises(OptionError, match="takes no images"):
        supervised(tmp_path, "llama", answered(dataset(False)), modality_dropout=0.3)


def test_rollouts_of_a_question_lose_the_same_and_the_loss_sees_what_they_saw(make):
    rows = [both(index, domain="both") for index in range(8)]
    trainer = make(
        data=rows_as_data(rows), modality_dropout=1.0, num_iterations=2, beta=0.04, max_steps=8
    )
    processor = trainer.processing_class
    batches = generated(trainer, n=4)
    lost = {}
    for batch in batches:
        for at, ids in enumerate(batch["prompt_ids"]):
            n_series = int((ids == processor.time_series_token_id).sum() > 0)
            n_images = int((ids == processor.image_token_id).sum() > 0)
            assert n_series + n_images == 1
            assert n_series == bool(batch["time_series"][at])
            assert n_images == batch["num_images"][at]
            lost.setdefault(tuple(ids.tolist()), []).append(n_series)
        # The reference model is the model itself before any update: it was shown the same.
        mask = batch["completion_mask"].bool()
        seen = log_probabilities(trainer, batch)
        for kept in ("old_per_token_logps", "ref_per_token_logps"):
            assert torch.allclose(seen[mask], batch[kept][mask], atol=1e-4)
    assert {one for group in lost.values() for one in group} == {0, 1}  # either of them went
    drawn = [media(one) for one in trainer.drop_media([rows[0]] * 4)]
    assert len(set(drawn)) == 1
    trainer.model.eval()
    assert media(trainer.drop_media(rows)[0]) == (True, True)


def rows_as_data(rows):
    from datasets import Dataset, List
    from datasets import Image as ImageFeature

    from climb_hf.schema import disk_features

    made = Dataset.from_list(rows).cast_column("series", disk_features()["series"])
    return made.cast_column("images", List(ImageFeature()))


def test_a_stopped_run_drops_alike_when_it_goes_on(make, tmp_path):
    data = rows_as_data([both(index, domain="both") for index in range(8)])
    options = {"data": data, "modality_dropout": 0.5, "max_steps": 4, "save_strategy": "steps"}
    whole = make(**options, save_steps=2)
    whole.train()
    again = make(**options, save_steps=2)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(again)[name], tensor)


def test_supervised_dropout_moves_on_with_the_epoch_and_spares_evaluation(tmp_path):
    data = answered(rows_as_data([both(index) for index in range(8)]))
    trainer = supervised(
        tmp_path, "qwen2_5_vl", data, eval_dataset=data, modality_dropout=0.5, max_steps=4
    )
    seen = []
    collate = trainer.data_collator.torch_call

    def listen(examples):
        batch = collate(examples)
        epoch = int(trainer.data_collator._epoch)
        token = trainer.processing_class.time_series_token_id
        heard = (batch["input_ids"] == token).any(dim=1).tolist()
        seen.extend((epoch, one["id"], has) for one, has in zip(examples, heard, strict=True))
        return batch

    trainer.data_collator.torch_call = listen
    trainer.train()
    first, second = ({name: has for at, name, has in seen if at == epoch} for epoch in (0, 1))
    assert set(first) == set(second)
    assert len(first) == 8
    assert first != second
    batch = next(iter(trainer.get_eval_dataloader()))
    assert len(batch["series_lengths"]) == len(batch["image_grid_thw"]) == 4


@pytest.mark.parametrize("share", [0.5, pytest.param(0.0, marks=pytest.mark.slow)])
def test_a_model_answers_with_a_medium_missing_where_it_was_trained_to(share, tmp_path):
    # Series and image tell the same. Whoever always has both learns from the image alone.
    rng = np.random.default_rng(0)

    def told(index):
        values = rng.normal(0, 1, (2, 100)).astype(np.float32)
        values[0, 40:60] += (5, -5)[index % 2]
        shade = np.clip(rng.normal((40, 215)[index % 2], 20, (28, 28, 3)), 0, 255)
        series = Signal(values, 100.0, ("V1", "V5"), ("mV",) * 2)
        return {
            "id": f"made/{index}",
            "prompt": [user("Does V1 go up?")],
            "completion": [{"role": "assistant", "content": ("yes", "no")[index % 2]}],
            "series": [encode(series)],
            "images": [Image.fromarray(shade.astype(np.uint8))],
        }

    config = tiny_series_config(patch_samples=10, patches_per_token=10)
    model, processor = tiny_series_vlm(series_config=config, image_size=28)
    args = SeriesSFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=16,
        max_steps=60,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        max_grad_norm=1.0,
        modality_dropout=share,
    )
    data = rows_as_data([told(index) for index in range(16 * 60)])
    SeriesSFTTrainer(model, args, train_dataset=data, processing_class=processor).train()
    held_out = [told(index) for index in range(40)]

    def right(with_series, with_images):
        said = hub.generate(
            model,
            processor,
            [one["prompt"] for one in held_out],
            [one["images"] * with_images for one in held_out],
            3,
            [one["series"] * with_series for one in held_out],
        )
        asked = zip(said, held_out, strict=True)
        return np.mean([text.strip() == one["completion"][0]["content"] for text, one in asked])

    assert right(True, True) > 0.9
    assert right(False, True) > 0.9
    assert right(False, False) <= 0.5
    if share:
        assert right(True, False) > 0.9
    else:
        assert right(True, False) < 0.7
