"""Training with domain-aware rewards: `from climb_hf.trainers import DRPOConfig, DRPOTrainer`.

Names load on first use, as trl and torch take seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from climb_hf.trainers.drpo_config import DRPOConfig
    from climb_hf.trainers.drpo_rewards import (
        answer_f1,
        answer_format,
        check_reward,
        reward_by_name,
    )
    from climb_hf.trainers.drpo_rules import Rule, ScalingOptions, register_rule
    from climb_hf.trainers.drpo_scaling import DomainScaler
    from climb_hf.trainers.drpo_testing import check_rule
    from climb_hf.trainers.drpo_trainer import DRPOTrainer
    from climb_hf.trainers.sft_series import SeriesSFTConfig, SeriesSFTTrainer

__all__ = [
    "DRPOConfig",
    "DRPOTrainer",
    "DomainScaler",
    "Rule",
    "ScalingOptions",
    "SeriesSFTConfig",
    "SeriesSFTTrainer",
    "answer_f1",
    "answer_format",
    "check_reward",
    "check_rule",
    "register_rule",
    "reward_by_name",
]

_MODULES = {
    "DRPOConfig": "drpo_config",
    "DRPOTrainer": "drpo_trainer",
    "DomainScaler": "drpo_scaling",
    "Rule": "drpo_scaling",
    "ScalingOptions": "drpo_scaling",
    "SeriesSFTConfig": "sft_series",
    "SeriesSFTTrainer": "sft_series",
    "answer_f1": "drpo_rewards",
    "answer_format": "drpo_rewards",
    "check_reward": "drpo_rewards",
    "check_rule": "drpo_testing",
    "register_rule": "drpo_scaling",
    "reward_by_name": "drpo_rewards",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
