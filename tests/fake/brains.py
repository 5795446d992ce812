"""Connectivity matrices that makers of brain graphs share."""

from __future__ import annotations

import numpy as np


def correlations(rng: np.random.Generator, n_regions: int, n_volumes: int = 60) -> np.ndarray:
    """A correlation matrix, float64, of regions in a few networks that go together."""
    return np.corrcoef(series(rng, n_regions, n_volumes))


def series(rng: np.random.Generator, n_regions: int, n_volumes: int) -> np.ndarray:
    """Signals of shape (regions, volumes): a network's common signal and each region's own."""
    networks = rng.normal(size=(4, n_volumes))
    sign = np.where(rng.random(n_regions) < 0.2, -1.0, 1.0)
    own = rng.normal(0, 1.2, (n_regions, n_volumes))
    return sign[:, None] * networks[np.arange(n_regions) % 4] + own
