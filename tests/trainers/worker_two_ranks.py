"""One of two processes: trains, and writes down what it came to. Run by test_drpo_distributed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from conftest import letters, question  # this file's folder is on the path of a script
from datasets import Dataset
from peft import LoraConfig

from climb_hf.models.tiny import tiny_vlm
from climb_hf.trainers import DRPOConfig, DRPOTrainer


class Recording(DRPOTrainer):
    """Writes down what all processes were rewarded with, and the weights that came of it."""

    generations: list[dict]

    def _observe(self, scored):
        weights = super()._observe(scored)
        self.generations.append(
            {
                "rewards": scored.rewards.tolist(),
                "domains": scored.domains,
                "ids": scored.ids,
                "weights": weights.tolist(),
            }
        )
        return weights


def main(folder: Path, resume: str | None, options: dict) -> None:
    model, processor = tiny_vlm()
    rows = options.pop("rows", 24)
    trainer = Recording(
        model=model,
        reward_funcs=letters,
        args=DRPOConfig(
            output_dir=str(folder / "run"),
            use_cpu=True,
            bf16=False,
            num_generations=4,
            per_device_train_batch_size=6,  # 12 rollouts of 3 questions: the second straddles ranks
            max_completion_length=8,
            learning_rate=1e-2,
            save_strategy="steps",
            report_to=[],
            disable_tqdm=True,
            ddp_backend="gloo",
            **{"max_steps": 4, "save_steps": 2, **options},
        ),
        train_dataset=Dataset.from_list([question(i, i % 3) for i in range(rows)]),
        processing_class=processor,
        peft_config=LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj"),
    )
    trainer.generations = []
    trainer.train(resume_from_checkpoint=resume)
    digest = hashlib.sha256()
    for name, tensor in trainer.accelerator.unwrap_model(trainer.model).named_parameters():
        if "lora_" in name:
            digest.update(tensor.detach().numpy().tobytes())
    found = {
        "num_processes": trainer.accelerator.num_processes,
        "backend": str(trainer.accelerator.state.backend),
        "scaler": trainer.domain_scaler.state_dict(),
        "lora": digest.hexdigest(),
        "advantages": list(trainer._logs["advantages"]),
        "domains": list(trainer._logs["extra"]["domain"]),
        "generations": trainer.generations,
    }
    name = f"{'resumed' if resume else 'straight'}-{trainer.accelerator.process_index}.json"
    (folder / name).write_text(json.dumps(found), encoding="utf-8")
    # All is written down and nobody waits for anybody. To end gloo's threads, or the interpreter
    # with them, aborts one run in ten ("terminate called without an active exception").
    trainer.accelerator.wait_for_everyone()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    given, checkpoint, more = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    main(given, checkpoint or None, more)
