"""Gene expression of any file kind as `Profile`: one sample or group of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from climb_hf.check import check_option
from climb_hf.io.tensor import as_tensor
from climb_hf.schema import MediaFile

READERS: dict[str, Callable[[MediaFile], Profile]] = {}


@dataclass(frozen=True)
class Profile:
    """Expression values of one sample or sample group.

    Attributes:
        genes: an id per value, each once.
        names: a name per value, or empty; several ids may share one.
        values: float32, shape (genes,); NaN where nothing was measured.
        unit: of the values, such as TPM; None where the release does not say.
        group: the sample or group that they were measured in.
        words: what the profile says in words, by the names in the card's sentence.
    """

    genes: tuple[str, ...]
    values: np.ndarray
    names: tuple[str, ...] = ()
    unit: str | None = None
    group: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> Mapping[str, str]:
        """Returns what the profile says in words."""
        return self.words

    def as_struct(self) -> dict[str, Any]:
        """Returns the profile as the struct that is stored."""
        values = as_tensor(np.asarray(self.values, dtype="<f4"))
        return {
            "genes": list(self.genes),
            "names": list(self.names),
            "values": values,
            "unit": self.unit,
            "group": self.group,
        }


def load(file: MediaFile) -> Profile:
    """Opens what a reader pointed at.

    Raises:
        CorruptFileError: if the file is not what its name says.
        DependencyError: if the package that reads it is not installed.
    """
    check_option("reader", file.reader, tuple(READERS))
    return READERS[file.reader](file)
