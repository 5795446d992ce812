"""Fundus photographs of Jichi Medical University, staged after the modified Davis scheme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Option, Remote, SourceCard, Vocabulary
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import FUNDUS, kept, records_of, with_images
from climb_hf.schema import Example, Fault

IMAGE = r"\d+_\d+_[LRlr]\.(?i:jpe?g)"
ONE = "Davis_grading_of_one_figure"
JOINED = "Davis_grading_of_concatenated_figures"
STAGES = ("ndr", "sdr", "ppdr", "pdr")
EYES = {"L": "left", "R": "right"}
CARD = SourceCard(
    name="jichi",
    title="Davis grading of one and concatenated figures, Jichi Medical University",
    summary="fundus photographs of 2,740 patients in four stages of diabetic retinopathy",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://figshare.com/articles/figure/_/4879853",
    citation="Takahashi et al. (2017), PLoS ONE 12(6):e0179790, doi:10.1371/journal.pone.0179790",
    release="figshare 4879853, version 1",
    remotes=(Remote("https://figshare.com/articles/figure/_/4879853"),),
    layouts=(
        Layout("figshare", marker=IMAGE, files=rf"list\.csv|{IMAGE}", example="dmr/2663_2_L.jpg"),
    ),
    vocabularies=(
        Vocabulary(
            "davis4",
            names=("NDR", "SDR", "PPDR", "PDR"),
            texts=("No DR", "Simple DR", "Pre-proliferative DR", "Proliferative DR"),
            codes={stage: stage.upper() for stage in STAGES},
        ),
    ),
    n_records=9_939,
    n_patients=2_740,
    options={
        "figure": Option(
            "one",
            "what the stage goes by: this figure alone, or all figures of the eye together",
            choices=("one", "concatenated"),
        ),
        "drop_ndr": Option(
            False,
            "leave out images without retinopathy, as CLIMB's list of three classes does",
            kind=bool,
        ),
    },
    question="davis",
    shown="A colour photograph of the fundus of an eye is given; choose the modified Davis stage.",
    quirks=(
        "stages are ordered: 0 to 3 stand in targets too, as davis_stage",
        "the two columns of stages differ for some images; meta holds the released line",
        "simple retinopathy covers mild and moderate, so that no class is one of the five grades "
        "of other fundus sources but the first and the last",
        "the counts of each class in the paper are off by a few from those of list.csv",
    ),
    **FUNDUS,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image of list.csv."""
    column = ONE if options["figure"] == "one" else JOINED
    found = records_of(tree.named("list.csv"), partial(_rows, tree, column), "list.csv")
    for one in with_images(tree, found, IMAGE):
        if options["drop_ndr"] and isinstance(one, Example) and one.native == STAGES[:1]:
            yield Fault(one.record, "left out", "no retinopathy, and the option drop_ndr is set")
        else:
            yield one


def _rows(tree: RawTree, column: str, path: str) -> Iterator[Example]:
    for row in whole_lines(tree.path(path), ("Image", JOINED, ONE)):
        record, stage = row["Image"].strip().rpartition(".")[0], row[column].strip().lower()
        patient, _, rest = record.partition("_")
        eye = EYES.get(rest[-1:].upper(), "")
        known = (("davis_stage", float(STAGES.index(stage)), None),) if stage in STAGES else ()
        yield Example(
            record=record,
            native=(stage,) if stage else (),
            patient_id=patient,
            targets=known,
            meta=kept({**row, "eye": eye}, (JOINED, ONE, "eye")),
        )


__getattr__ = builder_of(__name__)
