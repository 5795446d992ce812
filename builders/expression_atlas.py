"""EMBL-EBI Expression Atlas: re-analysed experiments, a group of replicates each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.genes import EXPRESSION, gene_facts, measured
from climb_hf.io.files import or_fault
from climb_hf.io.magetab import read_configuration, read_samples
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault

# The ten organs that most human baseline experiments have, by the Atlas's own list
# (github.com/ebi-gene-expression-group/anatomical-systems-mapping, all-organism-parts).
ORGANS = (
    *("adrenal gland", "heart", "kidney", "liver", "lung"),
    *("ovary", "pancreas", "prostate gland", "stomach", "testis"),
)
CODES = {one: one for one in ORGANS} | {"animal ovary": "ovary", "prostate": "prostate gland"}
# Kinds of table, the one to prefer first, and the unit of their values.
UNITS = {"tpms": "tpm", "fpkms": "fpkm", "normalized-expressions": "normalized"}
UNITS["analytics"] = "log2fc"
FILE = re.compile(
    r"(?P<accession>E-[A-Z]{4}-\d+)(_(?P<array>A-[A-Z]{4}-\d+))?[-.]"
    rf"(?P<kind>{'|'.join(UNITS)}|condensed-sdrf|configuration)\.(tsv|xml)"
)
CARD = SourceCard(
    name="expression_atlas",
    title="Expression Atlas (bulk)",
    summary="gene expression of sample groups of many species; ten organs are told apart",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://www.ebi.ac.uk/gxa/",
    citation="George et al. (2024), NAR 52(D1):D107-D114, doi:10.1093/nar/gkad1021",
    release="experiments as of 2024",
    remotes=(Remote("https://ftp.ebi.ac.uk/pub/databases/microarray/data/atlas/experiments/"),),
    layouts=(
        Layout(
            "experiments", FILE.pattern, FILE.pattern, "experiments/E-MTAB-513/E-MTAB-513-tpms.tsv"
        ),
    ),
    vocabularies=(Vocabulary("organ10", names=ORGANS, codes=CODES),),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=4_506,
    question="organ",
    shown=(
        "The {n_shown} genes with the highest values in one group of samples are listed "
        "({organism}; gene: value, {unit}): {listed}. Which organ is it most likely from?"
    ),
    quirks=(
        "the task is ours: CLIMB counts experiments and defines none. The label is the organism "
        "part, among the ten that most human baseline experiments have; others have no label",
        "a cell of five quartiles gives its median; a group of several assays their median",
        "an experiment without expression values is shown by its contrasts (log2fc)",
        "genes of an array are told by their probes; of a gene that stands twice the first counts",
        "a row holds the 1,000 genes that vary most unless n_genes or gene_file says otherwise; "
        "climb_hf.gene_list has all of a platform, and genes_in_rows=False leaves them out of rows",
    ),
    **EXPRESSION,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a group of each experiment, from the best kind of table that it has."""
    facts = {**gene_facts(options), "shown": "highest"}
    found: dict[str, dict[str, list[str]]] = {}
    for path in tree.find(FILE.pattern):
        accession, kind = FILE.sub(r"\g<accession> \g<kind>", path.rpartition("/")[2]).split()
        found.setdefault(accession, {}).setdefault(kind, []).append(path)
    for accession, files in sorted(found.items()):
        yield from or_fault(_groups(tree, accession, files, facts), accession, accession)


def _groups(
    tree: RawTree, accession: str, files: Mapping[str, list[str]], facts: Mapping[str, Any]
) -> Iterator[Example | Fault]:
    setup = read_configuration(*map(tree.path, files.get("configuration", [])))
    samples = read_samples(*map(tree.path, files.get("condensed-sdrf", [])))
    kind = next((kind for kind in UNITS if kind in files), None)
    if kind is None:
        yield Fault(accession, "missing", "no table of expression values is there")
        return
    for path in files[kind]:
        array = re.sub(FILE, r"\g<array>", path.rpartition("/")[2])
        for one in measured(tree.path(path), UNITS[kind], array, setup, samples, facts):
            record, organ = f"{accession}/{one.name}", one.told("organism part")
            if one.file is None:
                yield Fault(record, "damaged", "its table lacks a column of the group", path)
                continue
            yield Example(
                record=record,
                recording=accession,
                study_id=accession,
                native=(organ,) if organ in CODES else (),
                flags=("patient_unknown",),
                meta={
                    "experiment_type": setup.kind,
                    "group_label": one.label,
                    "platform": array or one.told("organism"),
                    **one.meta,
                },
                expression=(one.file,),
            )


__getattr__ = builder_of(__name__)
