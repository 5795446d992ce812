"""Rollouts by vLLM are TRL's; here is what has to hold for them before a run, and in one."""

from __future__ import annotations

import importlib.util
from typing import Any

from climb_hf.errors import DependencyError, OptionError

INSTALL = "pip install 'trl[vllm]'"
NEVER = -100.0  # the least that vLLM takes for a bias of a token's logit
_PLACEHOLDERS = ("image_token_id", "video_token_id")


def check_vllm(args: Any) -> None:
    """Checks that a run which asks for vLLM can have it.

    Raises:
        DependencyError: if vLLM is not installed; it names the command that installs it.
        OptionError: if the mode is unknown.
    """
    if not args.use_vllm:
        return
    if args.vllm_mode not in ("colocate", "server"):
        raise OptionError(
            f"vllm_mode={args.vllm_mode!r} should be 'colocate' (vLLM on the GPUs that train) or "
            "'server' (a `vllm serve` of its own, reached by vllm_server_base_url)."
        )
    if importlib.util.find_spec("vllm") is None:
        raise DependencyError(
            "use_vllm=True needs vLLM, which is not installed here, also where it runs as a server "
            f"(TRL's client is part of it): {INSTALL}. Or leave use_vllm out: transformers then "
            "generates, more slowly."
        )


class VLLMRollouts:
    """Stands before TRL's `GRPOTrainer` and checks that vLLM is there.

    Where it runs in this process, no placeholder of an image is ever sampled: it would have no
    image behind it. TRL sees to that where transformers generates.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        train_dataset: Any = None,
        *others: Any,
        **named: Any,
    ) -> None:
        check_vllm(args)
        super().__init__(  # type: ignore[call-arg]
            model, reward_funcs, args, train_dataset, *others, **named
        )
        if not args.use_vllm or args.vllm_mode != "colocate":
            return
        config = self.model.config  # type: ignore[attr-defined]
        found = {getattr(config, name, None) for name in _PLACEHOLDERS} - {None}
        engine = self.vllm_generation  # type: ignore[attr-defined]
        told = engine.generation_kwargs
        bias = {**dict.fromkeys(found, NEVER), **(told.get("logit_bias") or {})}
        engine.generation_kwargs = {**told, "logit_bias": bias}
