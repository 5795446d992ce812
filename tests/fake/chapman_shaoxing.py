"""A made tree of Chapman-Shaoxing and Ningbo: the ecg-arrhythmia release and the Challenge copy.

The two layouts hold different records, as when a user has a part of each.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import ecg_waves as ecg
from ecg_waves import CURRENT, EARLY, UNDATED, Plan

RELEASE = "a-large-scale-12-lead-electrocardiogram-database-for-arrhythmia-study-1.0.0"
LEAF_010 = f"{RELEASE}/WFDBRecords/01/010"
LEAF_011 = f"{RELEASE}/WFDBRecords/01/011"
LAYOUT = "WFDB records (ecg-arrhythmia, PhysioNet Challenge or one flat folder)"
TRAINING = "challenge-2021/1.0.3/training"
CHAPMAN = f"{TRAINING}/chapman_shaoxing/g1"
NINGBO = f"{TRAINING}/ningbo/g13"
LAST_CHAPMAN = 10646
NOISE_MV = 0.012
SINUS = ("426783006",)
LOWER_CASE_UNIT = replace(CURRENT, unit="mv")
SPECIAL = (
    Plan("JS00001", LEAF_010, ("164889003", "59118001", "164934002"), ("several",), age="85"),
    Plan("JS00002", LEAF_010, ("426177001", "164934002"), ("samples_4000",), n_samples=4000),
    Plan("JS00004", LEAF_010, ("733534002",), ("unknown_upstream",), age="76", sex="Female"),
    Plan("JS00005", LEAF_011, ("6180003",), ("unknown_code",), age="55"),
    Plan(
        "JS00344",
        LEAF_011,
        ("284470004", "426177001"),
        ("untidy_dx",),
        dx="284470004,426177001,284470004,",
    ),
    Plan(
        "JS03287",
        LEAF_011,
        ("164873001", "426783006"),
        ("untidy_dx",),
        dx="164873001,,426783006",
    ),
    Plan("JS00400", LEAF_011, ("55827005",), ("permuted_leads",), leads=ecg.PERMUTED_LEADS),
    Plan("JS05001", CHAPMAN, ("164865005",), ("current_dialect",), age="69", sex="Female"),
    Plan("JS05002", CHAPMAN, ("164889003",), ("dated_header",), age="80", dialect=EARLY),
    Plan("JS05003", CHAPMAN, SINUS, ("person_unknown",), age="Unknown", sex="Unknown"),
    Plan("JS10765", NINGBO, ("427172004",), ("invalid_samples",), age="NaN", flaws=("invalid",)),
    Plan("JS20001", NINGBO, SINUS, ("lower_case_unit",), dialect=LOWER_CASE_UNIT),
    Plan("JS20002", NINGBO, ("59931005",), ("capital_leads",), leads=ecg.CAPITAL_LEADS),
    Plan("JS20003", NINGBO, ("164890007",), ("flat_lead",), flaws=("flat",)),
    Plan("JS23074", NINGBO, ("426177001",), ("header_under_other_name",), header="S23074"),
)
FAULTY = {
    "overwritten": Plan("JS01052", LEAF_010, SINUS),
    "fused": Plan("JS01053", LEAF_011, SINUS),
    "no_signal": Plan("JS09001", LEAF_011, SINUS),
    "truncated": Plan("JS09002", LEAF_011, SINUS),
    "eleven_leads": Plan("JS09003", CHAPMAN, SINUS, leads=ecg.LEADS[:-1]),
    "lfs_pointer": Plan("JS09004", CHAPMAN, SINUS),
    "copy": Plan("JS00001", CHAPMAN, ("164889003", "59118001", "164934002"), age="85"),
}
EMPTY_DX = Plan("JS09010", LEAF_010, (), ("empty_dx",))
# The card's proportions: bradycardia and fibrillation rule, infarction hardly occurs.
USUAL = (
    ("426177001",),
    ("426783006",),
    ("164889003",),
    ("426177001", "164934002"),
    ("55827005", "426177001"),
    ("427084000",),
    ("426177001",),
    ("59118001", "426783006"),
    ("164890007",),
    ("164934002", "427084000"),
    ("426177001",),
    ("270492004", "426177001"),
    ("17338001",),
)
PLACES = ((1100, LEAF_010), (1200, LEAF_011), (5100, CHAPMAN), (21000, NINGBO))
CONDITIONS = (
    ("1AVB", "first-degree atrioventricular block", "270492004"),
    ("AFIB", "atrial fibrillation", "164889003"),
    ("AF", "atrial flutter", "164890007"),
    ("IDC", "nonspecific intraventricular conduction disorder", "698252002"),
    ("IVB", "intraventricular block", "698252002"),
    ("RBBB", "right bundle branch block", "59118001"),
    ("SB", "sinus bradycardia", "426177001"),
    ("SR", "sinus rhythm", "426783006"),
    ("ST", "sinus tachycardia", "427084000"),
    ("TWC", "T wave change", "164934002"),
)


def _usual(number: int, seed: int) -> Plan:
    first, folder = PLACES[number % len(PLACES)]
    rng = ecg.generator(f"chapman person {number}", seed)
    return Plan(
        f"JS{first + number:05d}",
        folder,
        USUAL[number % len(USUAL)],
        age=str(int(rng.integers(18, 90))),
        sex="Male" if rng.random() < 0.56 else "Female",
    )


def _settle(plan: Plan) -> Plan:
    """Adds what follows from the place: dialect, noise, and the patient of a Chapman record.

    In the Chapman part every record is another patient; Ningbo tells no patients.
    """
    dialect = plan.dialect
    if plan.folder.startswith(RELEASE):
        dialect = UNDATED
    patient = plan.record if int(plan.record[2:]) <= LAST_CHAPMAN else None
    return replace(plan, dialect=dialect, patient_id=patient, noise_mv=NOISE_MV)


def _write_index(root: Path) -> None:
    """Writes the files at the top of the ecg-arrhythmia release."""
    rows = ["Acronym Name,Full Name,Snomed_CT", *(",".join(row) for row in CONDITIONS)]
    text = "\ufeff" + "\r\n".join(rows) + "\r\n"  # the release's file starts with a BOM
    ecg.write_text(root / RELEASE / "ConditionNames_SNOMED-CT.csv", text)
    ecg.write_text(root / RELEASE / "LICENSE.txt", "Made test data, no real recording.\n")
    ecg.write_text(root / RELEASE / "RECORDS", "WFDBRecords/01/010/\nWFDBRecords/01/011/\n")
    ecg.write_sha256sums(root / RELEASE)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns its manifest (`ecg_waves.new_manifest`).

    Args:
        root: folder to write into; made if absent.
        n: number of good records; the special cases are always there, so at least those.
        seed: of waveforms and people; the same seed gives the same bytes.
        with_faults: also write records that a reader must refuse, and one with an empty Dx.
    """
    manifest = ecg.new_manifest([LAYOUT], ["6180003"])
    plans = [_settle(plan) for plan in SPECIAL]
    plans += [_settle(_usual(number, seed)) for number in range(n - len(SPECIAL))]
    if with_faults:
        plans.append(_settle(EMPTY_DX))
        faulty = {damage: _settle(plan) for damage, plan in FAULTY.items()}
        ecg.write_faults(root, faulty, seed, manifest)
    for plan in plans:
        ecg.write_plan(root, plan, seed, manifest)
    ecg.write_records_lists(root)
    _write_index(root)
    return manifest
