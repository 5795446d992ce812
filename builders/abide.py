"""ABIDE I: functional brain networks of autistic people and controls, from 17 sites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.graphs import BRAIN, UNKNOWN
from climb_hf.io.files import open_array, or_fault, those_beside
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import years_of
from climb_hf.schema import Example, Fault, MediaFile

CARD = SourceCard(
    name="abide",
    title="Autism Brain Imaging Data Exchange I, resting-state networks",
    summary="correlation of 200 regions at rest, a person each, autistic or control",
    licence=Licence("CC-BY-NC-SA-3.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://preprocessed-connectomes-project.org/abide/",
    citation=(
        "Di Martino et al. (2014), Mol. Psychiatry 19:659-667, doi:10.1038/mp.2013.78; Craddock "
        "et al. (2013), doi:10.3389/conf.fninf.2013.09.00041; Cui et al. (2023), BrainGB, IEEE TMI "
        "42(2):493-506, doi:10.1109/TMI.2022.3218745"
    ),
    release="Preprocessed Connectomes Project, CPAC, filt_noglobal, CC200",
    remotes=(
        Remote("https://s3.amazonaws.com/fcp-indi/data/Projects/ABIDE_Initiative/Outputs/cpac/"),
    ),
    layouts=(
        Layout(
            "time series and phenotypes",
            marker=r"Phenotypic_V1_0b_preprocessed1\.csv",
            files=r"Phenotypic_V1_0b_preprocessed1\.csv|.+_rois_cc200\.1D",
            example="ABIDE_pcp/Phenotypic_V1_0b_preprocessed1.csv",
        ),
        Layout(
            "BrainGB's arrays, saved plainly",
            *(r"abide_corr\.npy", r"abide_(corr|label|site)\.npy", "ABIDE/abide_corr.npy"),
        ),
        Layout(
            "BrainGB's pickled file",
            *(r"(ABIDE|abide)\.npy", r"(ABIDE|abide)\.npy", "ABIDE/abide.npy"),
        ),
    ),
    vocabularies=(
        Vocabulary(
            "autism",
            names=("asd", "control"),
            texts=("an autistic person", "a typical control"),
            codes={"1": "asd", "2": "control"},
        ),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}, strata="site"),
    n_records=1_009,
    n_patients=1_009,
    options={
        "min_volumes": Option(100, "scans with fewer volumes are left out", kind=int),
        "fisher_z": Option(False, "Fisher-transformed correlations, the diagonal 0", kind=bool),
    },
    question="autism",
    shown=(
        "The connectivity of a brain at rest is summarised: correlations between {regions} "
        "regions, {summary} Whose brain is it?"
    ),
    quirks=(
        "DX_GROUP 1 is autism, 2 control; BrainGB's label is that less 1, so that its 0 is autism",
        "sites are stored without their numbers (UCLA_1 and UCLA_2 are UCLA); meta keeps SITE_ID",
        "a region whose signal never changes has no correlation: its row is 0, flag flat_channel",
        "BrainGB's pickled file is refused; its arrays are read where they are saved plainly",
    ),
    **BRAIN,
)
COLUMNS = ("SUB_ID", "FILE_ID", "SITE_ID", "DX_GROUP", "AGE_AT_SCAN", "SEX")
KEPT = ("SITE_ID", "DSM_IV_TR", "func_mean_fd")
SEXES = {"1": "male", "2": "female"}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a line of the phenotypes; the arrays' rows where no phenotypes are there."""
    tables = list(tree.find(CARD.layouts[0].marker))
    for table in tables:
        yield from or_fault(_scans(tree, table, options), "abide", table)
    for path in tree.find(CARD.layouts[1].marker) if not tables else ():
        yield from or_fault(_rows(tree, path), "abide", path)
    for path in tree.find(CARD.layouts[2].marker):
        reason = f"{tree.path(path).name} is refused: a pickled file runs code when it is loaded. "
        reason += "If you trust it, save its corr, label and site with np.save as abide_corr.npy, "
        yield Fault("pickled", "damaged", reason + "abide_label.npy and abide_site.npy.", path)


def _scans(tree: RawTree, table: str, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    for row in whole_lines(tree.path(table), COLUMNS):
        yield from or_fault(_scan(tree, row, options), row["FILE_ID"], table)


def _scan(
    tree: RawTree, row: Mapping[str, str], options: Mapping[str, Any]
) -> Iterator[Example | Fault]:
    from climb_hf.io.connectome import n_volumes

    name, person = row["FILE_ID"], row["SUB_ID"]
    paths = tree.named(f"{name}_rois_cc200.1D")
    if not paths:
        record = f"subject_{person}" if name == "no_filename" else name
        yield Fault(record, "missing", "listed, but its time series are not there")
        return
    path = tree.path(max(paths, key=lambda path: "filt_noglobal" in path))
    volumes = n_volumes(path)
    if volumes < options["min_volumes"]:
        yield Fault(name, "left out", f"{volumes} volumes, fewer than min_volumes")
        return
    facts = {"fisher_z": options["fisher_z"]}
    yield Example(
        record=name,
        patient_id=person,
        native=(row["DX_GROUP"],) if row["DX_GROUP"] else (),
        age_years=years_of(row["AGE_AT_SCAN"]),
        sex=SEXES.get(row["SEX"]),
        site=re.sub(r"_\d$", "", row["SITE_ID"]),
        meta={key: row[key] for key in KEPT if row.get(key)},
        graphs=(MediaFile(path, "region_series", facts=facts),),
    )


def _rows(tree: RawTree, path: str) -> Iterator[Example]:
    beside = those_beside(tree, path, {"label": "abide_label.npy", "site": "abide_site.npy"})
    arrays = [open_array(tree.path(path)), *map(open_array, beside.values())]
    if {len(array) for array in arrays} != {len(arrays[0])} or len(arrays) < 3:
        raise CorruptFileError("abide_corr, abide_label and abide_site are not of one length.")
    for row, (label, site) in enumerate(zip(*arrays[1:], strict=True)):
        yield Example(
            record=f"abide_{row:04d}",
            native=(str(int(label) + 1),),
            site=re.sub(r"_\d$", "", str(site)),
            flags=UNKNOWN,
            graphs=(MediaFile(tree.path(path), "matrix_stack", row),),
        )


__getattr__ = builder_of(__name__)
