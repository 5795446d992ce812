"""KiTS23: CT of the abdomen before surgery of a kidney mass: kidney, tumour and cysts drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import years_of
from climb_hf.scans import CT
from climb_hf.schema import Example, Fault, VolumeFile, VolumeMaskFile

IMAGING = r"case_\d{5}/imaging\.nii\.gz"
HUB_IMAGING = r"images/case_\d{5}\.nii\.gz"
SEGMENTATION = r"case_\d{5}/segmentation\.nii\.gz"
INSTANCE = r"instances/(kidney|tumor|cyst)_instance-\d+_annotation-\d+\.nii\.gz"
TABLE = "kits23.json"
CLIMB_TRAIN = 0.75
SEXES = {"male": "male", "female": "female", "transgender_male_to_female": "other"}
CARD = SourceCard(
    name="kits23",
    title="Kidney and Kidney Tumor Segmentation Challenge 2023 (KiTS23)",
    summary="CT before surgery of a kidney mass, benign or malignant by pathology",
    licence=Licence("CC-BY-NC-SA-4.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://kits-challenge.org/kits23/",
    citation=(
        "Heller et al. (2023), arXiv:2307.01984; Heller et al. (2021), Medical Image Analysis "
        "67:101821, doi:10.1016/j.media.2020.101821"
    ),
    release="2023, cases 0 to 299 and 400 to 588; kits23.json of 2025-08-22",
    remotes=(
        Remote("https://github.com/neheller/kits23"),
        Remote("https://huggingface.co/datasets/neheller/KiTS-Challenge-Imaging"),
    ),
    layouts=(
        Layout(
            "GitHub, with imaging downloaded",
            marker=rf"kits23\.json|{IMAGING}",
            files=rf"kits23\.json|{IMAGING}|{HUB_IMAGING}|{SEGMENTATION}|.*/{INSTANCE}",
            example="dataset/case_00000/imaging.nii.gz",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "kidney_mass2",
            ("Benign", "Malignant"),
            codes={"false": "Benign", "true": "Malignant"},
        ),
    ),
    split=SplitRule({"train": CLIMB_TRAIN, "test": 1 - CLIMB_TRAIN}),
    n_records=489,
    n_patients=489,
    window_hu=(40.0, 400.0),
    mask_legend={1: "kidney", 2: "tumor", 3: "cyst"},
    lesion_codes=(2,),
    options={
        "instances": Option(
            False,
            "add each outline of each of three annotators as a mask of its own",
            kind=bool,
        ),
    },
    question="kidney_mass",
    shown="Frames of a CT of the abdomen with a kidney mass are given. Is the tumour malignant?",
    quirks=(
        "malignant is what pathology said after surgery; for 7 to 11 cases, by the revision of "
        "kits23.json, it says nothing: they have no label",
        "nine of ten are malignant: report balanced scores",
        "split_rule='official' gives CLIMB's splits: the first three quarters of kits23.json, "
        "whose order follows the years of the challenge",
        "110 test cases were never released",
    ),
    **CT,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a case of the table."""
    tables = tree.named(TABLE)
    if not tables:
        reason = "it is not there, and cases without it have no labels"
        yield Fault(TABLE, "damaged", reason, TABLE)
        return
    cases = _cases(tree, tables[0])
    lying = {_case(path): path for path in tree.find(f"{IMAGING}|{HUB_IMAGING}")}
    drawn = {_case(path): path for path in tree.find(SEGMENTATION)}
    for place, case in enumerate(cases):
        record = str(case.get("case_id"))
        if record not in lying:
            yield Fault(record, "missing", "listed, but its imaging.nii.gz is not there")
            continue
        masks = [VolumeMaskFile(tree.path(drawn[record]))] if record in drawn else []
        if options["instances"]:
            masks += _instances(tree, record)
        yield Example(
            record=record,
            patient_id=record,
            native=_malignant(case),
            split="train" if place < int(CLIMB_TRAIN * len(cases)) else "test",
            sex=SEXES.get(str(case.get("gender"))),
            targets=_size(case),
            meta={name: value for name, value in case.items() if not isinstance(value, dict)},
            volumes=(VolumeFile(tree.path(lying[record])),),
            volume_masks=tuple(masks),
            age_years=years_of(str(case.get("age_at_nephrectomy"))),
        )
    listed = {str(case.get("case_id")) for case in cases}
    for record in sorted(lying.keys() - listed):
        yield Fault(record, "left out", "a case that kits23.json does not list", lying[record])


def _cases(tree: RawTree, path: str) -> list[dict[str, Any]]:
    try:
        cases = json.loads(tree.path(path).read_text("utf-8"))
    except ValueError as error:
        raise CorruptFileError(f"{path} cannot be read: {error}. Fetch it again.") from error
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise CorruptFileError(f"{path} is no list of cases. Fetch the file of KiTS23.")
    return cases


def _case(path: str) -> str:
    return re.findall(r"case_\d{5}", path)[-1]


def _malignant(case: Mapping[str, Any]) -> tuple[str, ...]:
    said = case.get("malignant")
    return () if said is None else (str(said).lower(),)


def _size(case: Mapping[str, Any]) -> tuple[tuple[str, float, str | None], ...]:
    size = case.get("radiographic_size")
    return () if size is None else (("radiographic_size", float(size), "cm"),)


def _instances(tree: RawTree, record: str) -> Iterator[VolumeMaskFile]:
    for path in tree.find(f"{record}/{INSTANCE}"):
        label, _, annotation = re.split(r"_instance-\d+(_)annotation-", path.rpartition("/")[2])
        reader = annotation.partition(".")[0]
        yield VolumeMaskFile(tree.path(path), label, reader=reader)


__getattr__ = builder_of(__name__)
