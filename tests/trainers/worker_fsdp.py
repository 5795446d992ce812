"""One of two processes whose weights are shared out by FSDP2. Run by test_drpo_distributed.

accelerate leaves FSDP out on CPUs, so it is told that these are GPUs once gloo connects them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from accelerate.state import DistributedType, PartialState
from conftest import letters, question  # this file's folder is on the path of a script
from datasets import Dataset
from peft import LoraConfig

from climb_hf.errors import OptionError
from climb_hf.models.tiny import tiny_vlm
from climb_hf.trainers import DRPOConfig, DRPOTrainer


def trainer_of(folder: Path, n_images: tuple[int, ...]) -> DRPOTrainer:
    model, processor = tiny_vlm()
    args = DRPOConfig(
        output_dir=str(folder / "run"),
        use_cpu=True,
        bf16=False,
        num_generations=4,
        per_device_train_batch_size=6,
        max_completion_length=8,
        max_steps=4,
        save_steps=2,
        learning_rate=1e-2,
        gradient_checkpointing=False,
        report_to=[],
        disable_tqdm=True,
        ddp_backend="gloo",
    )
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    os.environ["FSDP_VERSION"] = "2"
    os.environ["FSDP_AUTO_WRAP_POLICY"] = "TRANSFORMER_BASED_WRAP"
    os.environ["FSDP_STATE_DICT_TYPE"] = "FULL_STATE_DICT"
    rows = [question(i, n_images[i % len(n_images)]) for i in range(24)]
    return DRPOTrainer(
        model=model,
        reward_funcs=letters,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
        peft_config=LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj"),
    )


def ended(trainer: DRPOTrainer) -> dict:
    """What a run came to, weights put together again."""
    named = trainer.model_wrapped.named_parameters()
    whole = {name: one.full_tensor() for name, one in named if "lora_B" in name}
    return {
        "type": str(trainer.accelerator.distributed_type),
        "num_processes": trainer.accelerator.num_processes,
        "lora": {name: one.flatten().tolist() for name, one in sorted(whole.items())},
        "scaler": trainer.domain_scaler.state_dict(),
    }


def main(folder: Path) -> None:
    found = {}
    try:
        trainer_of(folder, (1, 0, 2)).train()
    except OptionError as error:
        found["mixed"] = str(error)
    straight = trainer_of(folder, (1,))
    straight.train()
    found["straight"] = ended(straight)
    resumed = trainer_of(folder, (1,))
    resumed.train(resume_from_checkpoint=str(folder / "run" / "checkpoint-2"))
    found["resumed"] = ended(resumed)
    rank = straight.accelerator.process_index
    (folder / f"straight-{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    straight.accelerator.wait_for_everyone()
    sys.stdout.flush()
    os._exit(0)  # as in worker_two_ranks


if __name__ == "__main__":
    main(Path(sys.argv[1]))
