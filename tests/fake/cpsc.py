"""A made tree of CPSC 2018 and CPSC-Extra (Challenge copies), with two files as first released."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import ecg_waves as ecg
from ecg_waves import CURRENT, EARLY, Plan

BASE = "training/cpsc_2018/g1"
EXTRA = "training/cpsc_2018_extra/g1"
ORIGINAL = "TrainingSet1"
NOISE_MV = 0.030
# Codes of REFERENCE.csv, and the acronyms of early headers, in SNOMED CT (source card).
REFERENCE = {
    "426783006": "1",
    "164889003": "2",
    "270492004": "3",
    "164909002": "4",
    "59118001": "5",
    "284470004": "6",
    "164884008": "7",
    "429622005": "8",
    "164931005": "9",
}
RBBB = ("59118001",)
AF = ("164889003",)
# The very first copies name a .dat on the lead lines and hold a .mat.
FIRST_COPY = replace(EARLY, signal_suffix=".dat")
SPECIAL = (
    Plan("A0001", BASE, RBBB, ("samples_7500", "signal_named_dat"), "74", "Male", 7500, FIRST_COPY),
    Plan("A0002", BASE, RBBB, ("acronym",), age="49", sex="Female", dx="RBBB", dialect=EARLY),
    Plan("A0003", BASE, ("426783006",), ("samples_3000",), age="81", n_samples=3000),
    Plan("A0004", BASE, ("284470004",), ("samples_30000",), age="45", n_samples=30000),
    Plan("A0005", BASE, ("164889003", "59118001"), ("several",), age="66", dialect=EARLY),
    Plan("A0006", BASE, ("429622005",), ("age_unknown",), age="NaN", sex="Female"),
    Plan("A0007", BASE, ("164884008",), ("age_minus_one",), age="-1"),
    Plan("A0008", BASE, ("164909002",), ("permuted_leads",), leads=ecg.PERMUTED_LEADS),
    Plan("A0009", BASE, AF, ("capped_age",), age="92", sex="Female"),
    Plan("Q0001", EXTRA, ("164867002",), ("old_infarction",), age="67"),
    Plan("Q0002", EXTRA, ("164873001",), ("hypertrophy",), age="58", sex="Female"),
    Plan("Q0005", EXTRA, ("164865005", "427084000"), ("invalid_samples",), flaws=("invalid",)),
    Plan("Q0400", EXTRA, ("426177001",), ("all_flat",), flaws=("all_flat",)),
)
ORIGINAL_FILES = (
    Plan("A0031", ORIGINAL, ("426783006",), ("matlab_v5",), age="36", sex="Female", n_samples=3000),
    Plan("A0032", ORIGINAL, ("59118001", "164889003"), ("matlab_v5",), age="71"),
)
SINUS = ("426783006",)
FAULTY = {
    "no_signal": Plan("A0901", BASE, SINUS),
    "truncated": Plan("A0902", BASE, SINUS),
    "eleven_leads": Plan("Q0903", EXTRA, SINUS, leads=ecg.LEADS[:-1]),
    "lfs_pointer": Plan("Q0904", EXTRA, SINUS),
}
EMPTY_DX = Plan("A0910", BASE, (), ("empty_dx",))
# The card's proportions: right bundle branch block and fibrillation rule.
USUAL = (
    RBBB,
    AF,
    ("426783006",),
    ("429622005",),
    RBBB,
    ("164884008",),
    ("270492004",),
    ("284470004",),
    AF,
    ("164931005",),
    RBBB,
    ("164867002",),
)
LENGTHS = (5000, 5000, 6000, 5000, 4500)


def _usual(number: int, seed: int) -> Plan:
    codes = USUAL[number % len(USUAL)]
    rng = ecg.generator(f"cpsc person {number}", seed)
    known = all(code in REFERENCE for code in codes)
    return Plan(
        f"A{1000 + number:04d}" if known else f"Q{1000 + number:04d}",
        BASE if known else EXTRA,
        codes,
        age=str(int(rng.integers(18, 90))),
        sex="Male" if rng.random() < 0.54 else "Female",
        n_samples=LENGTHS[number % len(LENGTHS)],
        dialect=EARLY if number % 3 == 0 else CURRENT,
    )


def _settle(plan: Plan) -> Plan:
    return replace(plan, noise_mv=NOISE_MV)


def _write_original(root: Path, seed: int, manifest: dict[str, Any], with_faults: bool) -> None:
    """Writes MATLAB v5 files with REFERENCE.csv; a row without its file when faults are wanted."""
    rows = ["Recording,First_label,Second_label,Third_label"]
    for plan in map(_settle, ORIGINAL_FILES):
        samples = ecg.waveform(plan, seed)
        path = f"{plan.folder}/{plan.record}.mat"
        ecg.write_mat5_struct(root / path, samples / ecg.GAIN, plan.sex, float(plan.age))
        numbers = [REFERENCE[code] for code in plan.codes]
        rows.append(",".join([plan.record, *numbers, "", ""][:4]))
        ecg.add_record(manifest, plan.record, plan.specials, ecg.entry(plan, samples, path))
    if with_faults:
        rows.append("A0039,1,,")
        ecg.add_fault(manifest, "A0039", "missing", "no_file", "listed in REFERENCE.csv, no file")
    ecg.write_text(root / ORIGINAL / "REFERENCE.csv", "\r\n".join(rows) + "\r\n")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns its manifest (`ecg_waves.new_manifest`).

    Args:
        root: folder to write into; made if absent.
        n: number of good records; the special cases are always there, so at least those.
        seed: of waveforms and people; the same seed gives the same bytes.
        with_faults: also write records that a reader must refuse, and one with an empty Dx.
    """
    manifest = ecg.new_manifest(["PhysioNet Challenge", "original MATLAB structs"])
    plans = [_settle(plan) for plan in SPECIAL]
    fill = n - len(SPECIAL) - len(ORIGINAL_FILES)
    plans += [_settle(_usual(number, seed)) for number in range(fill)]
    if with_faults:
        plans.append(_settle(EMPTY_DX))
        faulty = {damage: _settle(plan) for damage, plan in FAULTY.items()}
        ecg.write_faults(root, faulty, seed, manifest)
    for plan in plans:
        ecg.write_plan(root, plan, seed, manifest)
    _write_original(root, seed, manifest, with_faults)
    ecg.write_records_lists(root)
    return manifest
