"""NCBI Gene Expression Omnibus: curated data sets (GDS) with groups of samples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Proof, Remote, SourceCard, SplitRule
from climb_hf.genes import EXPRESSION, gene_facts, groups_of
from climb_hf.io.files import or_fault
from climb_hf.io.soft import read_header
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, MediaFile

GDS = re.compile(r"(?P<gds>GDS\d+)(?P<full>_full)?\.soft(\.gz)?")
CARD = SourceCard(
    name="geo",
    title="Gene Expression Omnibus, curated data sets",
    summary="microarray profiles, a sample each; the groups of its study are its answer options",
    licence=Licence("NCBI policy; submitters may hold rights", False, False),
    access=Access.OPEN,
    homepage="https://www.ncbi.nlm.nih.gov/geo/",
    citation=(
        "Barrett et al. (2013), NAR 41(D1):D991-D995, doi:10.1093/nar/gks1193; "
        "Clough et al. (2024), NAR 52(D1):D138-D144, doi:10.1093/nar/gkad965"
    ),
    release="SOFT files of GEO DataSets",
    remotes=(Remote("https://ftp.ncbi.nlm.nih.gov/geo/datasets/"),),
    layouts=(
        Layout("SOFT", GDS.pattern, GDS.pattern, "datasets/GDSnnn/GDS507/soft/GDS507.soft.gz"),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=126_452,
    question="subset",
    shown=(
        "Expression values of {n_shown} genes that vary within a study are listed for one of its "
        "samples ({organism}; gene: value, {unit}): {listed}. The study's samples differ in "
        "{kind}."
    ),
    own_choices=True,
    proof=Proof.PEER_READER,
    quirks=(
        "there is no class list: a sample's options are the groups of its study, of one kind, the "
        "first there is of cell type, strain, disease state, genotype/variation, tissue (with "
        "development stage) and agent (with time)",
        "a sample in two groups of that kind, or of a study with a single one, has no question",
        "genes are chosen by their variance over the study's samples, never by the answer; no "
        "description and no sizes of groups are shown",
        "whole studies stay in one split, and data sets of one series together: it often holds the "
        "same people on several arrays",
        "a row holds the 1,000 genes that vary most unless n_genes or gene_file says otherwise; "
        "climb_hf.gene_list has all of a platform, and genes_in_rows=False leaves them out of rows",
    ),
    **EXPRESSION,
)
# Kind of group -> the kind whose value is added to it, in the order in which they are looked for.
KINDS = {
    **dict.fromkeys(("cell type", "strain", "disease state", "genotype/variation")),
    **{"tissue": "development stage", "agent": "time"},
}
KEPT = ("title", "platform", "platform_organism", "value_type")


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a sample of each data set; of two files of one the shorter is read."""
    files: dict[str, str] = {}
    for path in sorted(tree.find(GDS.pattern), key=lambda path: ("_full" in path, path)):
        found = GDS.search(path)
        files.setdefault(found["gds"] if found else path, path)
    facts = gene_facts(options)
    for gds, path in sorted(files.items()):
        yield from or_fault(_samples(tree, gds, path, facts), gds, path)


def _samples(
    tree: RawTree, gds: str, path: str, facts: Mapping[str, Any]
) -> Iterator[Example | Fault]:
    header = read_header(tree.path(path))
    kind, value_of = groups_of(header.subsets, KINDS)
    told = header.facts
    words = {"organism": told.get("platform_organism", "?"), "unit": told.get("value_type", "?")}
    own = {**facts, "unit": told.get("value_type"), "words": {**words, "kind": kind or "?"}}
    for sample in header.samples:
        value = value_of.get(sample)
        yield Example(
            record=f"{gds}_{sample}",
            recording=gds,
            group=told.get("reference_series") or gds,
            study_id=gds,
            native=(value,) if value else (),
            choices=tuple(sorted(set(value_of.values()))) if value else (),
            flags=("patient_unknown",),
            meta={"subset_type": kind, **{key: told[key] for key in KEPT if told.get(key)}},
            expression=(MediaFile(tree.path(path), "soft", sample, own),),
        )


__getattr__ = builder_of(__name__)
