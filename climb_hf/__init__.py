"""CLIMB's clinical data sets and DRPO training in the Hugging Face ecosystem.

Importing this package makes `datasets.load_dataset("climb", "ecg")` work, and the Auto classes of
transformers load models that take series; see `climb_hf.registration` and `climb_hf.models.auto`
for how, and for the switch that turns both off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from climb_hf import registration
from climb_hf._version import __version__
from climb_hf.models import auto

if TYPE_CHECKING:
    from climb_hf.export import export_backbone
    from climb_hf.frames import as_images
    from climb_hf.images import resize, to_rgb
    from climb_hf.loading import gene_list, load_dataset, load_report
    from climb_hf.metrics.vectors import multi_hot
    from climb_hf.mixing import mixture
    from climb_hf.models.compose import from_backbone
    from climb_hf.models.series import SeriesEncoder
    from climb_hf.models.series_config import SeriesConfig
    from climb_hf.overlap import overlaps
    from climb_hf.pictures import plot
    from climb_hf.pyg import to_pyg
    from climb_hf.render import ecg_sheet
    from climb_hf.views import Series, Signal, range_scaled

_LAZY = {
    "load_dataset": "climb_hf.loading",
    "load_report": "climb_hf.loading",
    "Series": "climb_hf.views",
    "Signal": "climb_hf.views",
    "SeriesConfig": "climb_hf.models.series_config",
    "SeriesEncoder": "climb_hf.models.series",
    "as_images": "climb_hf.frames",
    "ecg_sheet": "climb_hf.render",
    "export_backbone": "climb_hf.export",
    "from_backbone": "climb_hf.models.compose",
    "gene_list": "climb_hf.loading",
    "mixture": "climb_hf.mixing",
    "multi_hot": "climb_hf.metrics.vectors",
    "overlaps": "climb_hf.overlap",
    "plot": "climb_hf.pictures",
    "range_scaled": "climb_hf.views",
    "resize": "climb_hf.images",
    "to_pyg": "climb_hf.pyg",
    "to_rgb": "climb_hf.images",
}
__all__ = [
    "Series",
    "SeriesConfig",
    "SeriesEncoder",
    "Signal",
    "__version__",
    "as_images",
    "ecg_sheet",
    "export_backbone",
    "from_backbone",
    "gene_list",
    "load_dataset",
    "load_report",
    "mixture",
    "multi_hot",
    "overlaps",
    "plot",
    "range_scaled",
    "resize",
    "to_pyg",
    "to_rgb",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'climb_hf' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


registration.register()
auto.install()
