"""Makes our models known to the Auto classes of transformers.

`import climb_hf` leaves word with the import system; nothing here runs before transformers is
imported. Settings are registered first, as they cost little. The models follow when settings of
ours are first read, which every way of loading one does before it asks for the model's class.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from types import ModuleType

from climb_hf.imports import when_imported
from climb_hf.registration import OFF_SWITCH

_AUTO = "transformers.models.auto."
_registered: list[str] = []
_running: list[Callable[[], None]] = []


def install() -> None:
    """Registers our models, now or as soon as the Auto classes are imported."""
    if not os.environ.get(OFF_SWITCH):
        when_imported(_AUTO + "configuration_auto", _configs_are_loaded)
        when_imported(_AUTO + "modeling_auto", _models_are_loaded)
        when_imported(_AUTO + "processing_auto", _processors_are_loaded)


def register_configs() -> None:
    """Lets `AutoConfig` read our settings; may be called again."""
    from transformers.models.auto.configuration_auto import AutoConfig

    from climb_hf.models import series_config as configs

    for kind in (
        configs.SeriesConfig,
        configs.SeriesLMConfig,
        configs.SeriesQwen2_5_VLConfig,
        configs.SeriesQwen3VLConfig,
    ):
        AutoConfig.register(kind.model_type, kind, exist_ok=True)


def register_models() -> None:
    """Lets the Auto classes load our models; a second call does nothing."""
    if _registered:
        return
    _registered.append("models")  # first, as the modules below make settings themselves
    from transformers import AutoModel

    from climb_hf.models.series import SeriesEncoder

    AutoModel.register(SeriesEncoder.config_class, SeriesEncoder, exist_ok=True)


def register_processors() -> None:
    """Lets `AutoProcessor` load our processors; may be called again."""


# ---- on the import of ... ------------------------------------------------------------------------


def _configs_are_loaded(_: ModuleType) -> None:
    # The settings of transformers' own models cannot be imported while modeling_auto is being
    # imported, which imports configuration_auto first.
    if _AUTO + "modeling_auto" not in sys.modules:
        _or_warn(register_configs)


def _models_are_loaded(_: ModuleType) -> None:
    _or_warn(register_configs)


def _processors_are_loaded(_: ModuleType) -> None:
    _or_warn(register_processors)


def _or_warn(register: Callable[[], None]) -> None:
    """Runs in the middle of somebody's import of transformers, which must not fail for our sake."""
    if register in _running:  # one import leads to the other
        return
    _running.append(register)
    try:
        register()
    except (ImportError, AttributeError) as error:
        warnings.warn(
            f"climb_hf cannot make its models known to this version of transformers ({error}). "
            f"Install transformers>=5.20 to use them, or set {OFF_SWITCH}=1.",
            stacklevel=2,
        )
    finally:
        _running.remove(register)
