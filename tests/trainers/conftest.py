"""A tiny model, tiny data sets and a short way to a trainer."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import hashlib

import pytest

DOMAINS = ("ecg", "ecg", "ecg", "ct")


def question(index: int, n_images: int | None = None, column: str = "images") -> dict:
    """A question with so many images in `images`, or at most one in `image`; None: no column."""
    from PIL import Image

    row = {
        "id": f"made/{index}",
        "prompt": [{"role": "user", "content": f"Question {index}: yes or no?"}],
        "domain": DOMAINS[index % 4],
        "options": ["yes", "no"],
        "answer": "yes",
        "answer_type": "choice",
    }
    if n_images is not None:
        images = [
            Image.new("RGB", (56, 56), (40 * n, 20 * index % 255, 90)) for n in range(n_images)
        ]
        row[column] = images if column == "images" else (images or [None])[0]
    return row


def letters(completions, **kwargs):
    """Share of lower-case letters: varies on random text, and depends on nothing else."""
    texts = [one if isinstance(one, str) else one[0]["content"] for one in completions]
    return [sum(c.islower() for c in text) / max(len(text), 1) for text in texts]


@pytest.fixture
def make_dataset():
    from datasets import Dataset

    def make(n_images=(), n=16, column="images"):
        counts = list(n_images) or [None]
        return Dataset.from_list([question(i, counts[i % len(counts)], column) for i in range(n)])

    return make


@pytest.fixture
def advantages_of():
    """Advantages of one generation: four rollouts for each domain, or one for each of a tuple."""

    def of(trainer, domains):
        rows = []
        for index, domain in enumerate(domains):
            own = domain if isinstance(domain, tuple) else (domain,) * 4
            rows += [{**question(index), "domain": one} for one in own]
        trainer.model.train()
        return trainer._generate_and_score_completions(rows)["advantages"].tolist()

    return of


@pytest.fixture
def lora_tensors():
    def of(trainer):
        named = trainer.accelerator.unwrap_model(trainer.model).named_parameters()
        return {name: p.detach().clone() for name, p in named if "lora_" in name}

    return of


@pytest.fixture
def lora_hash(lora_tensors):
    def of(trainer):
        digest = hashlib.sha256()
        for name, tensor in sorted(lora_tensors(trainer).items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    return of


@pytest.fixture
def make_config(tmp_path):
    def make(cls=None, **options):
        from climb_hf.trainers import DRPOConfig

        defaults = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "bf16": False,
            "num_generations": 4,
            "per_device_train_batch_size": 8,
            "max_completion_length": 8,
            "max_steps": 2,
            "learning_rate": 1e-2,
            "save_strategy": "no",
            "report_to": [],
            "logging_steps": 1,
            "disable_tqdm": True,
        }
        return (cls or DRPOConfig)(**{**defaults, **options})

    return make


@pytest.fixture
def make_trainer(make_config, make_dataset):
    def make(
        rewards=letters,
        dataset=None,
        eval_dataset=None,
        trainer_class=None,
        config=None,
        **options,
    ):
        from peft import LoraConfig

        from climb_hf.models.tiny import tiny_vlm
        from climb_hf.trainers import DRPOTrainer

        model, processor = tiny_vlm()
        return (trainer_class or DRPOTrainer)(
            model=model,
            reward_funcs=rewards,
            args=config or make_config(**options),
            train_dataset=make_dataset() if dataset is None else dataset,
            eval_dataset=eval_dataset,
            processing_class=processor,
            peft_config=LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj"),
        )

    return make
