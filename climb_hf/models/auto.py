"""Makes our models known to the Auto classes of transformers.

`import climb_hf` leaves word with the import system; nothing here runs before the Auto classes are
imported. The modules of our settings and of our processors then register what they hold, which
costs little. The models follow when settings of ours are first read, as every way of loading one
does before it asks for the model's class.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from types import ModuleType

from climb_hf.imports import when_imported
from climb_hf.registration import OFF_SWITCH

_AUTO = "transformers.models.auto."
_registered: list[str] = []


def install() -> None:
    """Registers our models, now or as soon as the Auto classes are imported."""
    if not os.environ.get(OFF_SWITCH):
        when_imported(_AUTO + "configuration_auto", _configs_are_loaded)
        when_imported(_AUTO + "modeling_auto", _models_are_loaded)
        when_imported(_AUTO + "processing_auto", _processors_are_loaded)


def register_models() -> None:
    """Lets the Auto classes load our models; a second call does nothing."""
    if _registered:
        return
    _registered.append("models")  # first, as the modules below make settings themselves
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        PreTrainedModel,
    )

    from climb_hf.models import series_lm
    from climb_hf.models.series import SeriesEncoder

    AutoModel.register(SeriesEncoder.config_class, SeriesEncoder, exist_ok=True)
    model: type[PreTrainedModel]
    headless = (
        series_lm.SeriesLMModel,
        series_lm.SeriesQwen2_5_VLModel,
        series_lm.SeriesQwen3VLModel,
    )
    for model in headless:
        AutoModel.register(model.config_class, model, exist_ok=True)
    whole = (
        series_lm.SeriesLMForCausalLM,
        series_lm.SeriesQwen2_5_VLForConditionalGeneration,
        series_lm.SeriesQwen3VLForConditionalGeneration,
    )
    # Scripts load multimodal models by the one, and TRL all that it does not know by the other.
    for model in whole:
        AutoModelForImageTextToText.register(model.config_class, model, exist_ok=True)
        AutoModelForCausalLM.register(model.config_class, model, exist_ok=True)


# ---- on the import of the Auto classes ----------------------------------------------------------


def _configs_are_loaded(_: ModuleType) -> None:
    # The settings of transformers' own models cannot be imported while modeling_auto is being
    # imported, which imports configuration_auto first.
    if _AUTO + "modeling_auto" not in sys.modules:
        _import_or_warn("climb_hf.models.series_config")


def _models_are_loaded(_: ModuleType) -> None:
    _import_or_warn("climb_hf.models.series_config")


def _processors_are_loaded(_: ModuleType) -> None:
    _import_or_warn("climb_hf.models.series_processor")


def _import_or_warn(name: str) -> None:
    """Imports a module that registers what it holds.

    This runs in the middle of somebody's import of transformers, which must not fail for our sake.
    """
    try:
        importlib.import_module(name)
    except (ImportError, AttributeError) as error:
        warnings.warn(
            f"climb_hf cannot make its models known to this version of transformers ({error}). "
            f"Install transformers>=5.20 to use them, or set {OFF_SWITCH}=1.",
            stacklevel=2,
        )
