"""What readers of chest X-rays share: the fourteen findings, and cells of 1, 0, -1 or nothing.

The labellers of CheXpert and MIMIC-CXR write 1 where a report names a finding, 0 where it rules it
out, -1 where it leaves it open, and leave the cell blank where the report does not speak of it.
Here those are positive, negative, uncertain and not labelled; `climb_hf.metrics.vectors` makes
numbers of them by a policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from climb_hf.card import Modality, Option, Vocabulary
from climb_hf.schema import Example, Fault

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


# Column -> class; a table of MIMIC-CXR-JPG that radiologists filled in has its own name for one.
_CLASS_OF = {name: name for name in FINDINGS} | {"Airspace Opacity": "Lung Opacity"}
CHEST14 = Vocabulary("chest14", FINDINGS, codes=cell_codes(_CLASS_OF))
# What the cards of sources with these cells state alike; `SourceCard(..., **CHEST_CELLS)`.
CHEST_CELLS: dict[str, Any] = {
    "modality": Modality.CHEST_XRAY,
    "vocabularies": (CHEST14,),
    "question": "chest_findings",
    "shown": "A chest radiograph is given.",
}
CHEST_OPTIONS: dict[str, Option] = {
    "frontal_only": Option(False, "leave out lateral views and those not known", kind=bool),
    "merge_validation": Option(False, "put the validation part into test, as CLIMB", kind=bool),
}
_FRONTAL = ("AP", "PA", "frontal")


def findings_of(row: Mapping[str, str | None]) -> dict[str, Any]:
    """Returns `native`, `examined` and `uncertain` of an `Example` for a row of cells.

    A cell that is none of 1, 0, -1 and blank becomes a code that no table knows, and is reported.

    Args:
        row: column -> cell, such as `1.0`; columns that are no findings are passed over.
    """
    cells = {name: _plain(cell) for name, cell in row.items() if name in _CLASS_OF}
    signs = {name: _SIGNS.get(cell) for name, cell in cells.items()}
    return {
        "native": tuple(_code(name, cell) for name, cell in cells.items() if cell),
        "examined": tuple(_code(name, "1") for name, sign in signs.items() if sign),
        "uncertain": tuple(_code(name, "1") for name, sign in signs.items() if sign == "uncertain"),
    }


@cache
def _code(column: str, cell: str) -> str:
    """One text for all rows that have it: there are some four million such cells."""
    return f"{column}={cell}"


def _plain(cell: str | None) -> str:
    """`-1` for the `-1.0` of a table; blank for blanks and NaN."""
    text = (cell or "").strip()
    return "" if text.lower() == "nan" else text.removesuffix(".0")


def as_asked(
    found: Iterable[Example | Fault], options: Mapping[str, Any], views: Mapping[str, str | None]
) -> Iterator[Example | Fault]:
    """Yields records with the view of their image, in the form and the splits that options ask for.

    Args:
        options: with those of `CHEST_OPTIONS`, and `dicom_mode` where a release has DICOM files.
        views: record -> view: `AP`, `PA`, `frontal`, `LATERAL`, ...; None or absent is not known.
    """
    form = {"form": options["dicom_mode"]} if "dicom_mode" in options else {}
    for one in found:
        view = views.get(one.record)
        if isinstance(one, Fault):
            yield one
        elif options["frontal_only"] and view not in _FRONTAL:
            reason = f"only frontal views are asked for, and its view is {view or 'not known'}"
            yield Fault(one.record, "left out", reason)
        else:
            merged = options["merge_validation"] and one.split == "validation"
            images = tuple(replace(image, view=view, **form) for image in one.images)
            yield replace(one, images=images, split="test" if merged else one.split)
