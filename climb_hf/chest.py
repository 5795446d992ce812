"""What readers of chest X-rays share: the fourteen findings, and cells of 1, 0, -1 or nothing.

The labellers of CheXpert and MIMIC-CXR write 1 where a report names a finding, 0 where it rules it
out, -1 where it leaves it open, and leave the cell blank where the report does not speak of it.
Here those are positive, negative, uncertain and not labelled; `climb_hf.metrics.vectors` makes
numbers of them by a policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from climb_hf.card import Modality, Option, SplitRule, Vocabulary

# In the order behind CLIMB's integer labels (its Dataset_Info.md; upstream code is alphabetical).
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
    "Pleural Other",
    "Support Devices",
    "No Finding",
)
_SIGNS = {"1": "positive", "0": "negative", "-1": "uncertain"}


def cell_codes(classes: Mapping[str, str]) -> dict[str, str]:
    """Returns code -> class for a table of cells: `Edema=1` gives the class, 0 and -1 none.

    Args:
        classes: column of the table -> class.
    """
    return {
        f"{column}={cell}": name if sign == "positive" else ""
        for column, name in classes.items()
        for cell, sign in _SIGNS.items()
    }


# Both releases' cells; the radiologists' table of MIMIC-CXR-JPG has a name of its own for one.
CHEST14 = Vocabulary(
    "chest14",
    FINDINGS,
    codes=cell_codes({name: name for name in FINDINGS} | {"Airspace Opacity": "Lung Opacity"}),
)
# What the cards of sources with these cells state alike; `SourceCard(..., **CHEST_CELLS)`.
CHEST_CELLS: dict[str, Any] = {
    "modality": Modality.CHEST_XRAY,
    "vocabularies": (CHEST14,),
    "question": "chest_findings",
    "shown": "A chest radiograph is given.",
}
PHOTO_SPLIT = SplitRule(fractions={"train": 0.8, "test": 0.2})
FRONTAL_ONLY = Option(False, "leave out views other than AP and PA", kind=bool)
MERGE_VALIDATION = Option(False, "put the validation part into test, as CLIMB does", kind=bool)


def findings_of(row: Mapping[str, str | None], columns: Iterable[str]) -> dict[str, Any]:
    """Returns `native`, `examined` and `uncertain` of an `Example` for a row of cells.

    A cell that is none of 1, 0, -1 and blank becomes a code that no table knows, and is reported.

    Args:
        row: column -> cell, such as `1.0`.
        columns: those of findings, in the order in which the release has them.
    """
    cells = {name: _plain(row.get(name)) for name in columns}
    signs = {name: _SIGNS.get(cell) for name, cell in cells.items()}
    return {
        "native": tuple(f"{name}={cell}" for name, cell in cells.items() if cell),
        "examined": tuple(f"{name}=1" for name, sign in signs.items() if sign),
        "uncertain": tuple(f"{name}=1" for name, sign in signs.items() if sign == "uncertain"),
    }


def _plain(cell: str | None) -> str:
    """`-1` for the `-1.0` of a table; blank for blanks and NaN."""
    text = (cell or "").strip()
    return "" if text.lower() == "nan" else text.removesuffix(".0")
