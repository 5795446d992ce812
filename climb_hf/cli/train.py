"""`climb-hf train`: starts a training script with accelerate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from climb_hf.cli import shared
from climb_hf.errors import OptionError

TRAINERS = ("sft", "drpo", "audit-rewards")


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "train",
        help="train a model: `train sft ...` for the supervised start, `train drpo ...`",
        description="Starts the training script with accelerate. What is not named here goes to "
        "the script as it is; `climb-hf train drpo --script-help` lists its options.",
    )
    command.add_argument("trainer", choices=TRAINERS)
    command.add_argument("--recipe", help="a run file that climb-hf ships, or a path to one")
    command.add_argument("--num-processes", type=shared.positive, help="one per GPU")
    command.add_argument(
        "--accelerate-config",
        help="file for accelerate launch, or one of climb-hf's: one_gpu, ddp, fsdp2, zero2, zero3",
    )
    command.add_argument("--script-help", action="store_true", help="the script's own options")
    shared.add_json(command)
    command.set_defaults(run=_train, takes_rest=True)


def _train(known: argparse.Namespace) -> int:
    import subprocess

    from climb_hf.optional import need

    need("accelerate", extra="train")
    need("trl", extra="train")
    if known.trainer == "audit-rewards":
        return _audit(known)
    if known.json:
        raise OptionError(
            f"--json has no effect on `train {known.trainer}`, whose script prints no table. "
            "Leave it out; the figures of a run are in trainer_state.json of its checkpoints."
        )
    module = f"climb_hf.trainers.train_{known.trainer}"
    if known.script_help:
        return subprocess.run([sys.executable, "-m", module, "--help"], check=False).returncode
    # The script says itself what went wrong; accelerate's own traceback adds nothing to it.
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]
    if known.accelerate_config:
        launch += ["--config_file", str(_accelerate_config(known.accelerate_config))]
    if known.num_processes:
        launch += ["--num_processes", str(known.num_processes)]
    script = ["-m", module]
    if known.recipe:
        from climb_hf.trainers.scripting import recipe

        script += ["--config", str(recipe(known.recipe))]
    return subprocess.run([*launch, *script, *known.rest], check=False).returncode


def _accelerate_config(named: str) -> Path:
    from climb_hf.trainers.scripting import accelerate_config

    return Path(named) if Path(named).is_file() else accelerate_config(named)


def _audit(known: argparse.Namespace) -> int:
    from climb_hf.trainers.audit_rewards import audit_config

    recipe = ["--config", known.recipe] if known.recipe else []
    lines = audit_config([*recipe, *known.rest])
    if known.json:
        shared.show(lines)
        return 0
    cells = [["" if one is None else str(one)[:24] for one in line.values()] for line in lines]
    shared.table([list(lines[0]), *cells])
    return 0
