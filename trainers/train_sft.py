"""Supervised start: teaches a model to write boxed answers.

    accelerate launch trainers/train_sft.py --config trainers/recipes/tiny_cpu_sft.yaml \\
        --data_dir path/to/raw/files --output_dir runs/sft

`--config` also takes the name of a recipe (`--config tiny_cpu_sft`); a flag has precedence over it.
"""

from __future__ import annotations

from typing import Any


def make_parser() -> Any:
    """Returns the parser: `ScriptArguments`, `SeriesSFTConfig` and `trl.ModelConfig`."""
    from trl import ModelConfig, TrlParser

    from climb_hf.trainers.scripting import ScriptArguments
    from climb_hf.trainers.sft_series import SeriesSFTConfig

    return TrlParser((ScriptArguments, SeriesSFTConfig, ModelConfig), prog="train_sft")


def main(script_args: Any, training_args: Any, model_args: Any) -> None:
    """Trains on the answers of the question view, and saves model, processor and card.

    Args:
        script_args: `ScriptArguments`.
        training_args: `SeriesSFTConfig`; the loss is on the answers only.
        model_args: `trl.ModelConfig`.
    """
    from climb_hf.trainers import scripting
    from climb_hf.trainers.sft_series import SeriesSFTTrainer

    scripting.check_push(script_args, training_args)
    model, processor = scripting.load_model_and_processor(
        model_args,
        trust_remote_code=training_args.trust_remote_code,
        series_encoder=script_args.series_encoder,
        seed=training_args.seed,
    )
    train, held_out = scripting.load_splits(script_args, training_args, processor)
    training_args.completion_only_loss = True
    # What is too long is left out beforehand: TRL cuts at max_length, through images if need be.
    limit = training_args.max_length
    training_args.max_length = None

    def prepared(rows: Any) -> Any:
        rows = scripting.with_completions(
            scripting.fit_to(processor, rows),
            boxed_share=script_args.boxed_share,
            seed=training_args.seed,
        )
        return scripting.filter_long(rows, processor, limit)

    if model_args.use_peft:
        scripting.keep_base(model, processor, script_args, training_args)
    trainer = SeriesSFTTrainer(
        model=model,
        args=training_args,
        train_dataset=prepared(train),
        eval_dataset=prepared(held_out) if training_args.do_eval else None,
        processing_class=processor,
        peft_config=scripting.lora_config(model_args, model),
    )
    trainer.train(resume_from_checkpoint=scripting.resume_from(training_args))
    sources = sorted(set(train["source"]))
    scripting.finish(trainer, script_args, model_args, sources=sources, held_out=held_out)


if __name__ == "__main__":
    from climb_hf.trainers.scripting import run

    run(make_parser, main)
