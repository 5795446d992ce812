"""One of two processes that train on series, images, both and neither; writes its weights' digest.

Run by test_series_training.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from peft import LoraConfig
from test_series_training import dataset, letters  # this file's folder is on the path of a script

from climb_hf.models.tiny_series import tiny_series_vlm
from climb_hf.trainers import DRPOConfig, DRPOTrainer
from climb_hf.trainers.drpo_series import modules_to_save


def main(folder: Path) -> None:
    model, processor = tiny_series_vlm()
    trainer = DRPOTrainer(
        model=model,
        reward_funcs=letters,
        args=DRPOConfig(
            output_dir=str(folder / "run"),
            use_cpu=True,
            bf16=False,
            num_generations=2,
            per_device_train_batch_size=2,  # one question a rank: often one alone has a series
            gradient_accumulation_steps=2,
            max_completion_length=6,
            max_steps=3,
            learning_rate=1e-2,
            beta=0.04,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            ddp_backend="gloo",
        ),
        train_dataset=dataset(sees=True),
        processing_class=processor,
        peft_config=LoraConfig(
            r=4,
            target_modules=r".*language_model.*\.(q|v)_proj",
            modules_to_save=modules_to_save(model),
        ),
    )
    before = tower(trainer)
    trainer.train()
    found = {"num_processes": trainer.accelerator.num_processes}
    found |= {"before": before, "after": tower(trainer)}
    name = f"rank-{trainer.accelerator.process_index}.json"
    (folder / name).write_text(json.dumps(found), encoding="utf-8")
    # As in worker_two_ranks: to end gloo's threads, or the interpreter with them, may abort.
    trainer.accelerator.wait_for_everyone()
    sys.stdout.flush()
    os._exit(0)


def tower(trainer) -> str:
    digest = hashlib.sha256()
    for name, tensor in trainer.accelerator.unwrap_model(trainer.model).named_parameters():
        if "modules_to_save" in name:
            digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
