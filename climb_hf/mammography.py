"""What readers of mammograms share: BI-RADS, densities, sides and views, and what cards state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from climb_hf.card import Modality, Vocabulary
from climb_hf.io.tree import RawTree
from climb_hf.radiology import header_of
from climb_hf.schema import Fault, ImageFile

# What the cards of these sources state alike; `SourceCard(..., **MAMMOGRAPHY)`.
MAMMOGRAPHY: dict[str, Any] = {"modality": Modality.MAMMOGRAPHY, "asked": "choice"}
# An assessment of 0 asks for more images: it is no grade of suspicion.
BIRADS = tuple(f"BI-RADS {grade}" for grade in range(6))
_DENSITIES = {
    "DENSITY A": "almost entirely fatty",
    "DENSITY B": "scattered fibroglandular density",
    "DENSITY C": "heterogeneously dense",
    "DENSITY D": "extremely dense",
}
_VIEWS = {
    **{"399162004": "CC", "cranio-caudal": "CC", "cc": "CC"},
    **{"399368009": "MLO", "medio-lateral oblique": "MLO", "mlo": "MLO"},
}


def classes(
    identity: str,
    codes: Mapping[str, str],
    texts: tuple[str, ...] = (),
    others: Iterable[str] = (),
) -> Vocabulary:
    """Returns a class list in the order in which its codes name the classes.

    Args:
        codes: of the release -> class.
        others: codes of the release that give no class here, as they belong to another list.
    """
    names = tuple(dict.fromkeys(codes.values()))
    return Vocabulary(identity, names, texts, {**dict.fromkeys(others, ""), **codes})


_GRADES = {grade: grade for grade in BIRADS[1:]}
BIRADS5 = classes("birads5", _GRADES, others=_DENSITIES)
DENSITY4 = classes(
    "density4", {code: code for code in _DENSITIES}, tuple(_DENSITIES.values()), others=_GRADES
)


def birads_of(assessment: str) -> tuple[tuple[str, float, str | None], ...]:
    """Returns an assessment (`4`, `BI-RADS 4`) as a target, so that its order is kept."""
    grade = assessment.strip().removeprefix("BI-RADS").strip()
    return (("birads", float(grade), None),) if grade in ("0", "1", "2", "3", "4", "5") else ()


def view_of(side: str, view: str) -> str:
    """Returns how a view is called: `L-CC`, `R-MLO`."""
    return f"{side.strip().upper()[:1]}-{view.strip().upper()}"


def told_view(header: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Returns side (`L`, `R`) and view (`CC`, `MLO`) of a DICOM header; None where not known.

    Args:
        header: with ImageLaterality and ViewCodeSequence, where the file has them.
    """
    side = str(header.get("ImageLaterality", "")).strip().upper()
    coded: Mapping[str, Any] = next(iter(header.get("ViewCodeSequence", ())), {})
    words = (str(coded.get(name, "")).strip().lower() for name in ("CodeValue", "CodeMeaning"))
    view = next((_VIEWS[word] for word in words if word in _VIEWS), None)
    return side if side in ("L", "R") else None, view


def by_breast(
    tree: RawTree, pattern: str, patient: str, form: str, found: dict[str, list[ImageFile]]
) -> Iterator[Fault]:
    """Fills in the images of each breast; yields those of which no header tells the side.

    Args:
        pattern: of the DICOM files, as `RawTree.find` takes it.
        patient: regular expression of the folder that is called like the patient; where there is
            none, the header names the patient.
        form: of `ImageFile`.
        found: patient_side -> images, by view, to be filled.
    """
    of_patient = re.compile(rf"(?:.*/)?({patient})/")
    for path in sorted(tree.find(pattern)):
        header = header_of(tree.path(path), ("PatientID", "ImageLaterality", "ViewCodeSequence"))
        named = of_patient.match(path)
        who = named[1] if named else str(header.get("PatientID", "unknown"))
        side, view = told_view(header)
        if side:
            view = view_of(side, view) if view else side
            found.setdefault(f"{who}_{side}", []).append(
                ImageFile(tree.path(path), view, form=form)
            )
        else:
            kind, why = ("left out", "names no side") if header else ("damaged", "cannot be read")
            name = path.rpartition("/")[2].rpartition(".")[0]
            yield Fault(f"{who}_{name}", kind, f"its header {why}, so it is not shown", path)
    for images in found.values():
        images.sort(key=lambda image: (image.view or "", image.path))
