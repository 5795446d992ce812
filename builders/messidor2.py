"""Messidor-2: fundus photographs of both eyes of a person, with adjudicated grades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_csv, whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import DR5, FUNDUS, grade_of, kept, records_of, stem, with_images
from climb_hf.schema import Example, Fault

IMAGE = r"(\d{8}_\d{5}_\d{4}_PP|IM\d{6})\.(?i:png|jpe?g)"
MARKER = r"messidor_data\.csv|\d{8}_\d{5}_\d{4}_PP\.png"
FILES = rf"messidor_data\.csv|messidor-2\.csv|{IMAGE}"
EXAMPLE = "IMAGES/20051020_43808_0100_PP.png"
GRADES = "messidor_data.csv"
PAIRS = "messidor-2.csv"
# Name of an image and its grade: as the graders call them, and as a copy of their table does.
HEADERS = (("image_id", "adjudicated_dr_grade"), ("id_code", "diagnosis"))
DME = {code: (("dme", float(code), None),) for code in ("0", "1")}
CARD = SourceCard(
    name="messidor2",
    title="Messidor-2, with the adjudicated grades of Krause et al.",
    summary="fundus photographs of both eyes, graded 0 to 4 for diabetic retinopathy",
    licence=Licence("ADCIS terms for images, CC0-1.0 for grades", False, False),
    access=Access.ACCOUNT,
    homepage="https://www.adcis.net/en/third-party/messidor2/",
    citation="Decenciere et al. (2014), doi:10.5566/ias.1155; grades: Krause et al. (2018), "
    "Ophthalmology 125:1264, doi:10.1016/j.ophtha.2018.01.034",
    release="ADCIS images, Kaggle google-brain/messidor2-dr-grades",
    remotes=(
        Remote("https://www.adcis.net/en/third-party/messidor2/"),
        Remote("https://www.kaggle.com/datasets/google-brain/messidor2-dr-grades"),
    ),
    layouts=(Layout("ADCIS images with grades", MARKER, FILES, EXAMPLE),),
    vocabularies=(DR5,),
    n_records=1_744,
    question="retinopathy",
    shown="A colour photograph of the fundus of an eye is given; grade diabetic retinopathy.",
    quirks=(
        "grades are ordered: the number stands in targets too, as dr_grade; macular oedema "
        "(0 or 1) stands there as dme",
        "of 1,748 images, four could not be graded and are left out",
        "patients are unknown: both eyes of an exam, as messidor-2.csv pairs them, stay in one "
        "split; without that table, which is reported as missing, they may be torn apart",
        "the grades write .jpg where files end in .JPG: endings are not compared",
        "a Kaggle copy with images of 512 x 512 px is another set and is not read",
    ),
    **FUNDUS,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image that was graded."""
    exams: dict[str, tuple[str, str]] = {}
    try:
        exams.update(_eyes(tree))
    except CorruptFileError as error:
        yield Fault(PAIRS, "damaged", str(error), PAIRS)
    if tree.named(GRADES) and not tree.named(PAIRS):
        yield Fault(PAIRS, "missing", "without it, eyes of one exam may come into several splits")
    found = records_of(tree.named(GRADES), partial(_rows, tree, exams), GRADES)
    for one in with_images(tree, found, IMAGE):
        graded = isinstance(one, Fault) or one.native
        yield one if graded else Fault(one.record, "left out", "it could not be graded")


def _eyes(tree: RawTree) -> Iterator[tuple[str, tuple[str, str]]]:
    """Image -> its exam, called like the image of the left eye, and its eye."""
    for path in tree.named(PAIRS):
        for row in read_csv(tree.path(path), (), ";"):
            names = {(eye or "").strip(): stem(name or "") for eye, name in row.items()}
            exam = names.get("left") or names.get("right") or ""
            yield from ((names[eye], (exam, eye)) for eye in ("left", "right") if names.get(eye))


def _rows(tree: RawTree, exams: Mapping[str, tuple[str, str]], path: str) -> Iterator[Example]:
    header = next(read_csv(tree.path(path), ()), {})
    image, grade = next((one for one in HEADERS if one[0] in header), HEADERS[0])
    for row in whole_lines(tree.path(path), (image, grade)):
        record, code = stem(row[image].strip()), row[grade].strip().removesuffix(".0")
        exam, eye = exams.get(record, (None, ""))
        oedema = (row.get("adjudicated_dme") or "").removesuffix(".0")
        yield Example(
            record=record,
            native=(code,) if code else (),
            study_id=exam,
            group=exam,
            flags=("patient_unknown",),
            targets=(*grade_of(code), *DME.get(oedema, ())),
            meta=kept({**row, "eye": eye}, ("eye", "adjudicated_gradable")),
        )


__getattr__ = builder_of(__name__)
