"""A made tree of the Expression Atlas: tables, ragged sample tables and small XML files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))

from graph_truth import expression_sha1, new_truth

CLASSES = ("adrenal gland", "heart", "kidney", "liver", "lung")
CLASSES += ("ovary", "pancreas", "prostate gland", "stomach", "testis")
SAME = {"animal ovary": "ovary"}
N_GENES = 220
HEAD = ("Gene ID", "Gene Name")
# Organ of each group of the experiments; "cerebellum" is none of the ten.
BASELINES = {
    "E-MTAB-6798": ("liver", "kidney", "cerebellum", "animal ovary", "testis", "lung"),
    "E-GEOD-30352": ("heart", "liver", "kidney", "testis"),
    "E-MTAB-2836": ("lung", "ovary", "pancreas", "prostate gland", "stomach", "adrenal gland"),
}
ARRAY = "A-AFFY-44"


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Three baseline experiments (the first in quartiles, the second in FPKM), one on an array, and
    one that has contrasts only.

    Args:
        root: folder to write into; made if absent.
        n: not used: there are always the same groups.
        seed: of the values.
        with_faults: also write an experiment without a table, one whose table lacks a group, and
            one with a cell of three values.
    """
    truth = new_truth(CLASSES, ["experiments"])
    for at, (accession, organs) in enumerate(BASELINES.items()):
        rng = np.random.default_rng([seed, at])
        unit = "fpkms" if accession == "E-GEOD-30352" else "tpms"
        _baseline(root, truth, accession, organs, rng, unit, quartiles=at == 0)
    _array(root, truth, np.random.default_rng([seed, 10]))
    _contrasts(root, truth, np.random.default_rng([seed, 11]))
    if with_faults:
        _write_faults(root, truth, np.random.default_rng([seed, 12]))
    return truth


def _folder(root: Path, accession: str) -> Path:
    folder = root / "experiments" / accession
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _add(truth: dict, record: str, organ: str, genes: Sequence[str], values: np.ndarray) -> None:
    known = SAME.get(organ, organ) in CLASSES
    truth["records"][record] = {
        "labels": [SAME.get(organ, organ)] * known,
        "native": [organ] * known,
        "patient_id": None,
        "expression_sha1": expression_sha1(genes, values),
    }


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n", encoding="utf-8")


def _genes(prefix: str) -> list[str]:
    return [f"{prefix}{at:011d}" for at in range(1, N_GENES + 1)]


def _names() -> list[str]:
    """Gene names; one in seven is empty."""
    return ["" if at % 7 == 3 else f"GENE{at}" for at in range(N_GENES)]


def _sdrf(path: Path, array: str, assays: dict[str, dict[str, str]]) -> None:
    """Lines of six cells or seven, without a header; the organ is a factor or a characteristic."""
    rows = []
    for assay, organ_of in assays.items():
        for kind, organ in organ_of.items():
            uri = "http://purl.obolibrary.org/obo/NCBITaxon_9606"
            told = [path.name.split(".")[0], array, assay]
            rows += [
                [*told, "characteristic", "organism", "Homo sapiens", uri],
                [*told, "characteristic", "age", "30 to 40 year"],
                [*told, kind, "organism part", organ],
            ]
    _write(path, rows)


def _xml(path: Path, kind: str, groups: dict[str, tuple[str, list[str]]], more: str = "") -> None:
    """The groups of one analysis, a label in Latin-1 among them."""
    lines = [f'<configuration experimentType="{kind}" r_data="1">', "<analytics>", "<assay_groups>"]
    for group, (label, assays) in groups.items():
        inner = "".join(f"<assay>{assay}</assay>" for assay in assays)
        lines.append(f'<assay_group id="{group}" label="{label}">{inner}</assay_group>')
    lines += ["</assay_groups>", more, "</analytics>", "</configuration>"]
    path.write_bytes("\n".join(lines).encode("latin-1"))


def _baseline(
    root: Path,
    truth: dict[str, Any],
    accession: str,
    organs: Sequence[str],
    rng: np.random.Generator,
    unit: str,
    *,
    quartiles: bool = False,
    faulty: bool = False,
) -> None:
    folder, genes, names = _folder(root, accession), _genes("ENSG"), _names()
    groups = [f"g{at}" for at in range(1, len(organs) + 1)]
    # What is stored has one digit; a group of five quartiles stands for its median.
    middle = rng.gamma(0.6, 40, (len(groups), N_GENES)).round(1)
    lost = rng.random(middle.shape) < 0.03
    rows = [[*HEAD, *groups]]
    for at in range(N_GENES):
        cells = [_cell(one, at, quartiles) for one in middle[:, at]]
        cells = ["" if gone else cell for cell, gone in zip(cells, lost[:, at], strict=True)]
        rows.append([genes[at], names[at], *cells])
    rows.append([genes[0], names[0], *["77777"] * len(groups)])  # a gene that stands twice
    if faulty:
        rows[5][2] = "1,2,3"
    _write(folder / f"{accession}-{unit}.tsv", rows)
    assays = {g: [f"ERR{accession[-3:]}{at}{g}" for at in range(2)] for g in groups}
    labels = {g: (f"{o} \xe0", assays[g]) for g, o in zip(groups, organs, strict=True)}
    _xml(folder / f"{accession}-configuration.xml", "rnaseq_mrna_baseline", labels)
    kind = "factor" if quartiles else "characteristic"
    told = {a: {kind: o} for g, o in zip(groups, organs, strict=True) for a in assays[g]}
    _sdrf(folder / f"{accession}.condensed-sdrf.tsv", "", told)
    # Transcripts are no genes: this file must not be read.
    _write(folder / f"{accession}-transcripts-tpms.tsv", [[*HEAD, "GeneID", "ERR1"]])
    if faulty:
        truth["faults"] |= {f"{accession}/{g}": {"kind": "damaged"} for g in groups}
        return
    values = np.where(lost, np.nan, middle).astype("<f4")
    for group, organ, mine in zip(groups, organs, values, strict=True):
        _add(truth, f"{accession}/{group}", organ, genes, mine)


def _cell(value: float, at: int, quartiles: bool) -> str:
    if quartiles and at % 3:
        return ",".join(f"{value * part:.1f}" for part in (0.5, 0.8, 1, 1.3, 2))
    return f"{value:.1f}"


def _array(root: Path, truth: dict[str, Any], rng: np.random.Generator) -> None:
    """Six assays in two groups; probes, two of a gene; the value of a group is their median."""
    accession, organs = "E-GEOD-3307", ("heart", "liver")
    folder, probes = _folder(root, accession), [f"{1000 + at}_at" for at in range(N_GENES)]
    genes = [f"ENSG{at // 2:011d}" for at in range(N_GENES)]
    assays = [f"GSM{at}.CEL" for at in range(6)]
    values = rng.normal(7, 2, (6, N_GENES)).round(3)
    rows = [[*HEAD, "DesignElementAccession", *assays]]
    for at in range(N_GENES):
        rows.append([genes[at], _names()[at], probes[at], *map(str, values[:, at])])
    _write(folder / f"{accession}_{ARRAY}-normalized-expressions.tsv", rows)
    groups = {"g1": ("heart", assays[:3]), "g2": ("liver", assays[3:])}
    design = f"<array_design>{ARRAY}</array_design>"
    kind = "microarray_1colour_mrna_differential"
    _xml(folder / f"{accession}-configuration.xml", kind, groups, design)
    told = {a: {"characteristic": organs[at // 3]} for at, a in enumerate(assays)}
    _sdrf(folder / f"{accession}.condensed-sdrf.tsv", ARRAY, told)
    for at, (group, organ) in enumerate(zip(groups, organs, strict=True)):
        middle = np.sort(values[3 * at : 3 * at + 3], axis=0)[1]
        _add(truth, f"{accession}/{group}", organ, probes, middle.astype("<f4"))


def _contrasts(root: Path, truth: dict[str, Any], rng: np.random.Generator) -> None:
    """An experiment that has no expression values: two contrasts, one within an organ."""
    accession, genes = "E-MTAB-2754", _genes("ENSG")
    folder, changes = _folder(root, accession), rng.normal(0, 2, (2, N_GENES)).round(1)
    contrasts = ("g1_g2", "g1_g3")
    columns = [f"{c}.{what}" for c in contrasts for what in ("p-value", "log2foldchange")]
    rows = [[*HEAD, *columns]]
    for at in range(N_GENES):
        told = [cell for one in changes[:, at] for cell in ("NA", str(one))]
        rows.append([genes[at], _names()[at], *told])
    _write(folder / f"{accession}-analytics.tsv", rows)
    groups = {f"g{at}": (f"group {at}", [f"ERR9{at}"]) for at in (1, 2, 3)}
    listed = "".join(f'<contrast id="{c}"><name>{c}</name></contrast>' for c in contrasts)
    more = f"<contrasts>{listed}</contrasts>"
    _xml(folder / f"{accession}-configuration.xml", "rnaseq_mrna_differential", groups, more)
    organs = {"ERR91": "liver", "ERR92": "liver", "ERR93": "kidney"}
    told = {assay: {"characteristic": organ} for assay, organ in organs.items()}
    _sdrf(folder / f"{accession}.condensed-sdrf.tsv", "", told)
    for contrast, organ, values in zip(contrasts, ("liver", "none"), changes, strict=True):
        _add(truth, f"{accession}/{contrast}", organ, genes, values.astype("<f4"))


def _write_faults(root: Path, truth: dict[str, Any], rng: np.random.Generator) -> None:
    folder = _folder(root, "E-PROT-9")
    _xml(folder / "E-PROT-9-configuration.xml", "proteomics_baseline", {"g1": ("x", ["a"])})
    truth["faults"]["E-PROT-9"] = {"kind": "missing"}
    _baseline(root, truth, "E-MTAB-9001", ("liver", "lung"), rng, "tpms", faulty=True)
    _baseline(root, truth, "E-MTAB-9002", ("liver",), rng, "tpms")
    groups = {"g1": ("liver", ["ERR0020g1", "ERR0021g1"]), "g2": ("lung", ["ERR002"])}
    setup = _folder(root, "E-MTAB-9002") / "E-MTAB-9002-configuration.xml"
    _xml(setup, "rnaseq_mrna_baseline", groups)
    truth["faults"]["E-MTAB-9002/g2"] = {"kind": "damaged"}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
