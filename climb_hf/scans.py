"""What sources of CT and ultrasound state alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from climb_hf.card import Licence, Modality, Vocabulary

# `SourceCard(..., **CT)`
CT: dict[str, Any] = {"modality": Modality.CT, "asked": "choice"}
ULTRASOUND: dict[str, Any] = {"modality": Modality.ULTRASOUND, "asked": "choice"}
STANFORD = Licence(
    "Stanford University Dataset Research Use Agreement", share_data=False, share_derived=False
)


def as_named(identity: str, names: Iterable[str]) -> Vocabulary:
    """Returns a class list whose readers give the classes themselves, in place of codes."""
    names = tuple(names)
    return Vocabulary(identity, names, codes={name: name for name in names})
