"""A made tree of the Georgia 12-lead ECG Challenge database, layout of challenge-2021."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import ecg_waves as ecg
from ecg_waves import Dialect, Plan

G1 = "training/georgia/g1"
G2 = "training/georgia/g2"
NOISE_MV = 0.020
# The Georgia headers have no Sx line.
MODERN = Dialect(comments=("Age", "Sex", "Dx", "Rx", "Hx"))
# 4880 adu/mV is a header error of the first copies; the samples are the same 1000 adu/mV.
EARLY_GAIN = Dialect(
    coding="16+24",
    gain="4880",
    hash_mark="#",
    date=" 05-May-2020 14:50:55",
    record_suffix=".mat",
    comments=("Age", "Sex", "Dx", "Rx", "Hx", "Sx"),
)
SPECIAL = (
    Plan("E00001", G1, ("426783006",), ("gain_4880",), age="41", sex="Female", dialect=EARLY_GAIN),
    Plan("E00002", G1, ("164889003",), ("atrial_fibrillation",), age="71"),
    Plan("E00003", G1, ("164934002", "425623009"), ("duplicate",), age="66", sex="Female"),
    Plan(
        "E00004",
        G1,
        ("164934002", "425623009"),
        ("duplicate",),
        age="66",
        sex="Female",
        wave_of="E00003",
    ),
    Plan("E00005", G1, ("59931005",), ("short_2500",), age="58", n_samples=2500),
    Plan("E00006", G1, ("251238007", "59118001"), ("unknown_code",), age="63"),
    Plan("E00007", G1, ("164873001",), ("permuted_leads",), leads=ecg.PERMUTED_LEADS),
    Plan("E00008", G1, ("67741000119109", "427084000"), ("capped_age", "long_code"), age="92"),
    Plan("E00009", G2, ("17338001",), ("invalid_samples",), age="49", flaws=("invalid",)),
    Plan("E00010", G2, ("164865005",), ("age_unknown",), age="NaN", sex="Female"),
    Plan(
        "E00011",
        G2,
        ("284470004",),
        ("repeated_code",),
        age="77",
        dx="284470004,284470004",
        dialect=ecg.EARLY,
    ),
)
SINUS = ("426783006",)
FAULTY = {
    "no_signal": Plan("E09901", G2, SINUS),
    "truncated": Plan("E09902", G2, SINUS),
    "eleven_leads": Plan("E09903", G2, SINUS, leads=ecg.LEADS[:-1]),
    "lfs_pointer": Plan("E09904", G2, SINUS),
    "empty_header": Plan("E09905", G2, SINUS),
}
EMPTY_DX = Plan("E09910", G2, (), ("empty_dx",))
# The card's proportions: ST/T changes and hypertrophy rule, infarction hardly occurs.
USUAL = (
    ("426177001",),
    ("164934002",),
    ("164873001", "164934002"),
    ("426783006",),
    ("270492004",),
    ("59931005",),
    ("284470004",),
    ("67741000119109", "426177001"),
    ("713426002", "426783006"),
    ("429622005",),
    ("164890007",),
    ("427084000",),
    ("164873001",),
)


def _usual(number: int, seed: int) -> Plan:
    rng = ecg.generator(f"georgia person {number}", seed)
    return Plan(
        f"E{number:05d}",
        G1 if number % 2 else G2,
        USUAL[(number - len(SPECIAL) - 1) % len(USUAL)],
        age=str(int(rng.integers(20, 90))),
        sex="Male" if rng.random() < 0.54 else "Female",
        dialect=MODERN,
    )


def _settle(plan: Plan) -> Plan:
    """Gives a special plan the source's own noise and, where it names none, its own dialect."""
    own = MODERN if plan.dialect is ecg.CURRENT else plan.dialect
    return replace(plan, dialect=own, noise_mv=NOISE_MV)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns its manifest (`ecg_waves.new_manifest`).

    Args:
        root: folder to write into; made if absent.
        n: number of good records; the special cases are always there, so at least those.
        seed: of waveforms and people; the same seed gives the same bytes.
        with_faults: also write records that a reader must refuse, and one with an empty Dx.
    """
    manifest = ecg.new_manifest(["PhysioNet Challenge"], ["251238007"])
    plans = [_settle(plan) for plan in SPECIAL]
    plans += [_settle(_usual(number, seed)) for number in range(len(SPECIAL) + 1, n + 1)]
    if with_faults:
        plans.append(_settle(EMPTY_DX))
        faulty = {damage: _settle(plan) for damage, plan in FAULTY.items()}
        ecg.write_faults(root, faulty, seed, manifest)
    for plan in plans:
        ecg.write_plan(root, plan, seed, manifest)
    ecg.write_records_lists(root)
    return manifest
