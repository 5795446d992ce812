"""DRPO: reinforcement learning from the answers, weighted by domain.

    accelerate launch trainers/train_drpo.py --config trainers/recipes/tiny_cpu_drpo.yaml \\
        --model_name_or_path runs/sft --data_dir path/to/raw/files --output_dir runs/drpo

`--config` also takes the name of a recipe (`--config tiny_cpu_drpo`); a flag has precedence over
it. From an install: `accelerate launch -m climb_hf.trainers.train_drpo ...`.
"""

from __future__ import annotations

from typing import Any


def make_parser() -> Any:
    """Returns the parser of the script: `ScriptArguments`, `DRPOConfig` and `trl.ModelConfig`."""
    from trl import ModelConfig, TrlParser

    from climb_hf.trainers.drpo_config import DRPOConfig
    from climb_hf.trainers.scripting import ScriptArguments

    return TrlParser((ScriptArguments, DRPOConfig, ModelConfig), prog="train_drpo")


def main(script_args: Any, training_args: Any, model_args: Any) -> None:
    """Trains with DRPO on the question view, and saves adapter or model, processor and card.

    Args:
        script_args: `ScriptArguments`.
        training_args: `climb_hf.trainers.DRPOConfig`.
        model_args: `trl.ModelConfig`; a folder with an adapter is merged and trained on.
    """
    from climb_hf.trainers import scripting
    from climb_hf.trainers.drpo_trainer import DRPOTrainer
    from climb_hf.trainers.drpo_vllm import check_vllm
    from climb_hf.trainers.vllm_pictures import plain_for_vllm, wants_pictures

    scripting.check_push(script_args, training_args)
    if training_args.vllm_with_series == "stop":  # else the trainer sees whether vLLM is needed
        check_vllm(training_args)
    rewards = scripting.reward_functions(script_args, training_args)
    resume = scripting.resume_from(training_args)
    model, processor = scripting.load_model_and_processor(
        model_args,
        trust_remote_code=training_args.trust_remote_code,
        series_encoder=script_args.series_encoder,
        seed=training_args.seed,
    )
    if wants_pictures(training_args, processor):
        model, processor = plain_for_vllm(model, processor, training_args)
    train, held_out = scripting.load_splits(script_args, training_args, processor)

    def prepared(rows: Any) -> Any:
        rows = scripting.fit_to(processor, rows)
        return scripting.filter_long(rows, processor, script_args.max_prompt_length)

    if model_args.use_peft:
        scripting.keep_base(model, processor, script_args, training_args)
    trainer = DRPOTrainer(
        model=model,
        args=training_args,
        reward_funcs=rewards,
        train_dataset=prepared(train),
        eval_dataset=prepared(held_out) if training_args.do_eval else None,
        processing_class=processor,
        peft_config=scripting.lora_config(model_args, model),
    )
    trainer.train(resume_from_checkpoint=resume)
    scripting.finish(
        trainer,
        script_args,
        model_args,
        sources=sorted(set(train["source"])),
        held_out=held_out,
        max_new_tokens=training_args.max_completion_length,
    )


if __name__ == "__main__":
    from climb_hf.trainers.scripting import run

    run(make_parser, main)
