"""Loads this checkpoint with climb_hf, which has to be installed: `pip install climb-hf`.

Every checkpoint of a model that takes clinical series has a copy of this file. transformers reads
it where climb_hf has not been imported, if it is told `trust_remote_code=True`; nothing in it but
these imports is run.
"""

try:
    from climb_hf.models.series import SeriesEncoder
    from climb_hf.models.series_config import (
        SeriesConfig,
        SeriesLMConfig,
        SeriesQwen2_5_VLConfig,
        SeriesQwen3VLConfig,
    )
    from climb_hf.models.series_lm import (
        SeriesLMForCausalLM,
        SeriesLMModel,
        SeriesQwen2_5_VLForConditionalGeneration,
        SeriesQwen2_5_VLModel,
        SeriesQwen3VLForConditionalGeneration,
        SeriesQwen3VLModel,
    )
    from climb_hf.models.series_processor import SeriesImageTextProcessor, SeriesTextProcessor
except ImportError as error:
    raise ImportError(
        f"this checkpoint takes clinical series, for which climb_hf has to be installed ({error}). "
        "Run: pip install climb-hf"
    ) from error

__all__ = [
    "SeriesConfig",
    "SeriesEncoder",
    "SeriesImageTextProcessor",
    "SeriesLMConfig",
    "SeriesLMForCausalLM",
    "SeriesLMModel",
    "SeriesQwen2_5_VLConfig",
    "SeriesQwen2_5_VLForConditionalGeneration",
    "SeriesQwen2_5_VLModel",
    "SeriesQwen3VLConfig",
    "SeriesQwen3VLForConditionalGeneration",
    "SeriesQwen3VLModel",
    "SeriesTextProcessor",
]
