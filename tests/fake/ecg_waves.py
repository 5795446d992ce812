"""Made 12-lead ECGs, and the bytes of the layouts they are released in, for the four ECG trees.

A waveform follows its classes (no P waves and irregular beats for `afib`, a wide QRS for `cd`, ...)
so that a model can learn from it; it is a sketch of a heart, not a physiological model. Nothing
here imports `climb_hf`: a reader and its test data must not share their mistakes.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
PERMUTED_LEADS = ("V6", "V1", "aVF", "II", "V3", "I", "aVR", "V5", "III", "V2", "aVL", "V4")
CAPITAL_LEADS = tuple(name.upper() for name in LEADS)
CLASSES = ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")
RATE_HZ = 500
GAIN = 1000  # adu per mV, in every release once header errors are set right
INVALID = -32768  # WFDB's code for a missing 16-bit sample
CAPPED_AGE = 90.0  # the releases hide ages above 89 behind 92 or 300

# SNOMED CT codes that the made trees use, with their class (source card, table 0.4).
SNOMED = {
    "426783006": "normal",  # sinus rhythm
    "426177001": "normal",  # sinus bradycardia
    "427084000": "normal",  # sinus tachycardia
    "59118001": "cd",  # right bundle branch block
    "164909002": "cd",  # left bundle branch block
    "733534002": "cd",  # complete left bundle branch block
    "270492004": "cd",  # first-degree AV block
    "713426002": "cd",  # incomplete right bundle branch block
    "164865005": "mi",  # myocardial infarction
    "164867002": "mi",  # old myocardial infarction
    "429622005": "sttc",  # ST depression
    "164931005": "sttc",  # ST elevation
    "55930002": "sttc",  # ST changes
    "164934002": "sttc",  # T wave abnormal
    "59931005": "sttc",  # T wave inversion
    "425623009": "sttc",  # lateral ischaemia
    "284470004": "other",  # premature atrial contraction
    "427172004": "other",  # premature ventricular contractions
    "17338001": "other",  # ventricular premature beats
    "164884008": "other",  # ventricular ectopics
    "164889003": "afib",  # atrial fibrillation
    "164890007": "afib",  # atrial flutter
    "164873001": "hyp",  # left ventricular hypertrophy
    "39732003": "hyp",  # left axis deviation
    "55827005": "hyp",  # left ventricular high voltage
    "67741000119109": "hyp",  # left atrial enlargement: 14 digits, too long for int32
}
_BEATS_PER_MINUTE = {"426177001": 48, "SBRAD": 48, "427084000": 115, "STACH": 115}

# Wave: delay from the R peak (s), width (s), amplitude (mV) in I, II, V1 ... V6.
_SINUS_BEAT = {
    "P": (-0.16, 0.022, (0.08, 0.14, 0.05, 0.07, 0.07, 0.08, 0.07, 0.06)),
    "Q": (-0.026, 0.009, (-0.05, -0.06, 0.0, 0.0, -0.02, -0.05, -0.06, -0.06)),
    "R": (0.0, 0.011, (0.65, 1.05, 0.22, 0.45, 0.85, 1.35, 1.25, 0.95)),
    "S": (0.028, 0.010, (-0.12, -0.15, -0.85, -1.25, -0.80, -0.40, -0.18, -0.08)),
    "ST": (0.13, 0.050, (0.01, 0.02, 0.01, 0.04, 0.04, 0.02, 0.01, 0.0)),
    "T": (0.27, 0.045, (0.20, 0.32, -0.05, 0.45, 0.50, 0.42, 0.33, 0.24)),
}
_ECTOPIC_BEAT = {
    "R": (0.0, 0.038, (-0.45, 1.25, 1.30, 1.55, 1.30, 1.00, 0.70, 0.40)),
    "T": (0.30, 0.060, (0.20, -0.50, -0.45, -0.50, -0.45, -0.40, -0.30, -0.20)),
}
_Beat = dict[str, tuple[float, float, np.ndarray]]


def _conduction(beat: _Beat, rng: np.random.Generator) -> None:
    """A right (RSR' in V1, slurred S in I and V6) or left (notched R in V6) bundle branch block."""
    if rng.random() < 0.5:
        late = (-0.30, -0.20, 0.75, 0.45, 0.05, -0.20, -0.32, -0.35)
        beat["R'"] = (0.058, 0.020, np.array(late))
        beat["T"][2][2:4] = (-0.25, -0.10)
        return
    late = (0.50, 0.25, -0.85, -1.00, -0.60, 0.25, 0.65, 0.70)
    beat["R'"] = (0.052, 0.022, np.array(late))
    delay, _, amplitudes = beat["R"]
    beat["R"] = (delay, 0.022, amplitudes)
    beat["T"][2][[0, 6, 7]] = (-0.18, -0.20, -0.22)


def _infarction(beat: _Beat, rng: np.random.Generator) -> None:
    """Wide Q waves and ST elevation, anterior or inferior."""
    anterior = rng.random() < 0.6
    where = [2, 3, 4, 5] if anterior else [1]
    delay, _, q_waves = beat["Q"]
    beat["Q"] = (delay - 0.008, 0.018, q_waves)
    q_waves[where] = -0.50
    beat["R"][2][where] *= 0.4
    beat["ST"][2][where] = 0.32
    if not anterior:
        beat["ST"][2][0] = -0.12


def _repolarisation(beat: _Beat, rng: np.random.Generator) -> None:
    """ST depression and T inversion in the lateral leads."""
    lateral = [0, 1, 4, 5, 6, 7]
    beat["ST"][2][lateral] = (-0.10, -0.15, -0.15, -0.20, -0.20, -0.16)
    beat["T"][2][lateral] *= -rng.uniform(0.6, 0.9)


def _hypertrophy(beat: _Beat, rng: np.random.Generator) -> None:
    """Tall R in I and V4 to V6, deep S in V1 and V2."""
    beat["R"][2][[0, 5, 6, 7]] *= rng.uniform(1.8, 2.3)
    beat["S"][2][2:4] *= rng.uniform(1.5, 1.9)


def _fibrillation(beat: _Beat, rng: np.random.Generator) -> None:
    """No P wave; `_baseline` adds the fibrillatory waves and `_beat_times` the irregularity."""
    beat.pop("P")


def _left_axis(beat: _Beat, rng: np.random.Generator) -> None:
    """QRS up in I, down in II."""
    beat["R"][2][:2] *= (1.4, 0.25)
    beat["S"][2][1] *= 4.0


def _right_axis(beat: _Beat, rng: np.random.Generator) -> None:
    """QRS down in I, up in II."""
    beat["R"][2][0] *= 0.25
    beat["S"][2][0] *= 5.0


_EFFECTS: dict[str, Callable[[_Beat, np.random.Generator], None]] = {
    "cd": _conduction,
    "mi": _infarction,
    "sttc": _repolarisation,
    "hyp": _hypertrophy,
    "afib": _fibrillation,
    "LAD axis": _left_axis,
    "RAD axis": _right_axis,
}


def _beat_times(
    classes: Sequence[str], rng: np.random.Generator, seconds: float, interval: float
) -> tuple[np.ndarray, np.ndarray]:
    """Times in s of the conducted beats and of the premature ones."""
    count = int(seconds / interval * 2) + 4
    if "afib" in classes:
        steps = np.maximum(interval * rng.gamma(9.0, 1 / 9.0, count), 0.36)
    else:
        steps = interval * (1 + 0.02 * rng.standard_normal(count))
    times = np.cumsum(steps) - rng.uniform(1, 2) * interval
    times = times[times < seconds + 1]
    early = np.zeros(times.size, bool)
    if "other" in classes:
        early[3::4] = True  # the beat after it keeps its time: the compensatory pause
    return times[~early], times[early] - 0.35 * interval


def _draw(clock: np.ndarray, times: np.ndarray, beat: Mapping[str, Any]) -> np.ndarray:
    """Sums the waves of one kind of beat over its times, in mV, shape (8, samples)."""
    leads = np.zeros((8, clock.size))
    for delay, width, amplitudes in beat.values():
        pulses = np.exp(-0.5 * ((clock[:, None] - times - delay) / width) ** 2).sum(axis=1)
        leads += np.outer(amplitudes, pulses)
    return leads


def _baseline(
    classes: Sequence[str], rng: np.random.Generator, clock: np.ndarray, noise_mv: float
) -> np.ndarray:
    """Wander, noise and, in fibrillation, f waves, in mV, shape (8, samples)."""
    wander = np.sin(2 * np.pi * (rng.uniform(0.15, 0.35) * clock + rng.random()))
    leads = np.outer(rng.uniform(0.01, 0.05, 8), wander)
    leads += noise_mv * rng.standard_normal(leads.shape)
    if "afib" in classes:
        phase = np.cumsum(rng.normal(5.5, 6.0, clock.size)) / RATE_HZ
        leads += np.outer((0.03, 0.06, 0.09, 0.06, 0.03, 0.02, 0.02, 0.02), np.sin(6.283 * phase))
    return leads


def twelve_leads(measured: np.ndarray) -> np.ndarray:
    """Completes I, II, V1 ... V6 (codes, shape (8, samples)) to the standard twelve, as int16.

    III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2 and aVF = II - I / 2, up to rounding.
    """
    lead_i, lead_ii = measured[0], measured[1]
    limb = [
        lead_i,
        lead_ii,
        lead_ii - lead_i,
        -(lead_i + lead_ii) / 2,
        lead_i - lead_ii / 2,
        lead_ii - lead_i / 2,
    ]
    return np.rint(np.vstack([np.array(limb), measured[2:]])).astype(np.int16)


def generator(record: str, seed: int) -> np.random.Generator:
    """Returns the random numbers of one record: the same whatever else is in the tree."""
    return np.random.default_rng([seed, zlib.crc32(record.encode())])


def synthesise(
    classes: Sequence[str],
    rng: np.random.Generator,
    codes: Iterable[str] = (),
    n_samples: int = 5000,
    noise_mv: float = 0.01,
) -> np.ndarray:
    """Returns a 12-lead ECG at 500 Hz as codes of 1/1000 mV, int16, shape (12, n_samples).

    Args:
        classes: of `CLASSES`, or "LAD axis", "RAD axis"; their effects add up. Empty gives a
            normal tracing.
        rng: source of the patient's variation and of the noise.
        codes: native codes, which decide the heart rate (bradycardia, tachycardia).
        n_samples: length at 500 Hz.
        noise_mv: standard deviation of the noise in mV.
    """
    usual = rng.uniform(62, 84)
    rate = next((_BEATS_PER_MINUTE[code] for code in codes if code in _BEATS_PER_MINUTE), usual)
    interval = 60.0 / rate
    scale = np.exp(0.12 * rng.standard_normal(8))
    beat: _Beat = {
        name: (delay, width, np.array(amplitudes) * scale)
        for name, (delay, width, amplitudes) in _SINUS_BEAT.items()
    }
    beat["T"] = (0.30 * np.sqrt(interval), beat["T"][1], beat["T"][2])
    for name in classes:
        if name in _EFFECTS:
            _EFFECTS[name](beat, rng)
    clock = np.arange(n_samples) / RATE_HZ
    conducted, early = _beat_times(classes, rng, n_samples / RATE_HZ, interval)
    signal = _draw(clock, conducted, beat) + _draw(clock, early, _ECTOPIC_BEAT)
    signal += _baseline(classes, rng, clock, noise_mv)
    return twelve_leads(np.rint(signal * GAIN))


def spoil(samples: np.ndarray, flaws: Iterable[str]) -> np.ndarray:
    """Returns a copy with legal flaws: `invalid` (missing samples), `flat` (V3) or `all_flat`."""
    spoilt = samples.copy()
    for flaw in flaws:
        if flaw == "invalid":
            spoilt[1, 1000:1010] = INVALID
            spoilt[9, 2222] = INVALID
        elif flaw == "flat":
            spoilt[8] = 0
        elif flaw == "all_flat":
            spoilt[:] = 0
        else:
            raise ValueError(f"unknown flaw {flaw!r}")
    return spoilt


# --- bytes -----------------------------------------------------------------------------------


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes UTF-8 text with the line ends as given, on every system."""
    write_bytes(path, content.encode())


def write_mat4(path: Path, rows: np.ndarray) -> None:
    """Writes the Challenge's MATLAB v4 file: a 24-byte header, then int16 lead by lead in turn."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"val": rows}, format="4")
    write_bytes(path, buffer.getvalue())


def write_mat5_struct(path: Path, rows_mv: np.ndarray, sex: str, age: float) -> None:
    """Writes the original CPSC 2018 file: MATLAB v5 with a struct `ECG` {sex, age, data}."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"ECG": {"sex": sex, "age": age, "data": rows_mv}}, format="5")
    # The first 116 bytes are free text, where scipy notes the time of day.
    text = b"MATLAB 5.0 MAT-file, made test data".ljust(116)
    write_bytes(path, text + buffer.getvalue()[116:])


def write_dat(path: Path, rows: np.ndarray) -> None:
    """Writes WFDB format 16: little-endian int16, one sample of every lead in turn."""
    write_bytes(path, rows.T.astype("<i2").tobytes())


def checksum(row: np.ndarray) -> int:
    """Returns the sum of a lead's codes folded to signed 16 bit, as a WFDB header holds it."""
    return (int(row.astype(np.int64).sum()) + 32768) % 65536 - 32768


@dataclass(frozen=True)
class Dialect:
    """How one generation of releases spells its headers (source card, section 0.3)."""

    coding: str = "16x1+24"
    gain: str = "1000.0(0)"
    unit: str = "mV"
    hash_mark: str = "# "
    date: str = ""
    record_suffix: str = ""
    signal_suffix: str = ".mat"
    comments: tuple[str, ...] = ("Age", "Sex", "Dx", "Rx", "Hx", "Sx")


CURRENT = Dialect()
UNDATED = Dialect(coding="16+24", gain="1000", hash_mark="#")
EARLY = Dialect(coding="16+24", gain="1000", hash_mark="#", date=" 05-Feb-2020 11:39:16")


def header_lines(
    name: str,
    signal: str,
    rows: np.ndarray,
    leads: Sequence[str],
    dialect: Dialect,
    rate_hz: int = RATE_HZ,
) -> list[str]:
    """Returns the record line and one line per lead of a WFDB header."""
    count, length = rows.shape
    lines = [f"{name}{dialect.record_suffix} {count} {rate_hz} {length}{dialect.date}"]
    coded = f"{signal} {dialect.coding} {dialect.gain}/{dialect.unit} 16 0"
    for lead, row in zip(leads, rows, strict=True):
        lines.append(f"{coded} {row[0]} {checksum(row)} 0 {lead}")
    return lines


# --- manifest --------------------------------------------------------------------------------


def classes_of(codes: Iterable[str], table: Mapping[str, str]) -> list[str]:
    """Returns the classes of native codes in class order; unknown codes say nothing."""
    found = {table[code] for code in codes if code in table}
    return [name for name in CLASSES if name in found]


def known_age(written: str) -> tuple[float | None, bool]:
    """Returns age in years or None, and whether the release capped it, from a header's text."""
    if written in ("92", "300", "300.0"):
        return CAPPED_AGE, True
    if written in ("", "NaN", "nan", "-1", "Unknown", "N/A"):
        return None, False
    return float(written), False


def known_sex(written: str) -> str | None:
    """Returns male, female or None from a header's text."""
    sex = written.lower()
    return sex if sex in ("male", "female") else None


def signal_facts(samples: np.ndarray, rate_hz: int = RATE_HZ) -> dict[str, Any]:
    """Returns what a reader must find in a signal, before any crop or padding.

    Args:
        samples: true codes in standard lead order, int16, shape (12, samples), 1000 per mV.
        rate_hz: samples per second.
    """
    millivolt = np.where(samples == INVALID, np.nan, samples / GAIN).astype("<f4")
    return {
        "n_samples": samples.shape[1],
        "rate_hz": rate_hz,
        "n_invalid": int((samples == INVALID).sum()),
        "n_flat_leads": int((samples == samples[:, :1]).all(axis=1).sum()),
        "raw_sha1": hashlib.sha1(np.ascontiguousarray(samples, "<i2")).hexdigest(),
        "signal_sha1": hashlib.sha1(np.ascontiguousarray(millivolt)).hexdigest(),
    }


def new_manifest(layouts: Iterable[str], unknown_codes: Iterable[str] = ()) -> dict[str, Any]:
    """Returns an empty manifest: what a maker wrote, so that tests compare with numbers.

    `classes`: in label order. `layouts`: names, in the card, of those that are written.
    `unknown_codes`: those that are written and stand in no table. `records`: record id to what a
    reader must find (classes, codes, person, split, signal hashes). `faults`: record id or file to
    kind (missing, damaged, copy), damage and why. `unlabelled`: good records without a class.
    `specials`: special case to record ids.
    """
    return {
        "classes": list(CLASSES),
        "layouts": list(layouts),
        "unknown_codes": list(unknown_codes),
        "records": {},
        "faults": {},
        "unlabelled": [],
        "specials": {},
    }


def add_record(manifest: dict[str, Any], record: str, specials: Iterable[str], facts: dict) -> None:
    """Enters one good record and the special cases that it stands for.

    Raises:
        ValueError: if the id is taken: n is larger than the maker has ids for.
    """
    if record in manifest["records"]:
        raise ValueError(f"record {record} is made twice: n is too large")
    manifest["records"][record] = facts
    if not facts["labels"]:
        manifest["unlabelled"].append(record)
    for name in specials:
        manifest["specials"].setdefault(name, []).append(record)


# --- trees in the layout of the PhysioNet Challenges -----------------------------------------


@dataclass(frozen=True)
class Plan:
    """One record to be written as `.hea` and `.mat`.

    Attributes:
        record: the record's id; `header` names the header file where that has another stem.
        dx: text of the Dx line where it is more than the codes joined by commas.
        leads: names and order in the file.
        wave_of: the record whose waveform this one repeats.
        patient_id: None where the release tells no patients.
    """

    record: str
    folder: str
    codes: tuple[str, ...]
    specials: tuple[str, ...] = ()
    age: str = "60"
    sex: str = "Male"
    n_samples: int = 5000
    dialect: Dialect = CURRENT
    dx: str | None = None
    header: str | None = None
    leads: tuple[str, ...] = LEADS
    flaws: tuple[str, ...] = ()
    wave_of: str | None = None
    patient_id: str | None = None
    noise_mv: float = 0.01


def waveform(plan: Plan, seed: int, table: Mapping[str, str] = SNOMED) -> np.ndarray:
    """Returns the plan's samples in standard lead order, int16, shape (12, n_samples)."""
    classes = classes_of(plan.codes, table)
    rng = generator(plan.wave_of or plan.record, seed)
    samples = synthesise(classes, rng, plan.codes, plan.n_samples, plan.noise_mv)
    return spoil(samples, plan.flaws)


def _comment(plan: Plan, key: str) -> str:
    values = {"Age": plan.age, "Sex": plan.sex}
    values["Dx"] = ",".join(plan.codes) if plan.dx is None else plan.dx
    return f"{plan.dialect.hash_mark}{key}: {values.get(key, 'Unknown')}"


def write_pair(root: Path, plan: Plan, samples: np.ndarray) -> None:
    """Writes header and signal of a plan, the leads in the plan's order."""
    positions = [CAPITAL_LEADS.index(name.upper()) for name in plan.leads]
    rows = samples[positions]
    stem = plan.header or plan.record
    signal = f"{plan.record}{plan.dialect.signal_suffix}"
    lines = header_lines(stem, signal, rows, plan.leads, plan.dialect)
    lines += [_comment(plan, key) for key in plan.dialect.comments]
    write_text(root / plan.folder / f"{stem}.hea", "\n".join(lines) + "\n")
    write_mat4(root / plan.folder / f"{plan.record}.mat", rows)


def entry(plan: Plan, samples: np.ndarray, path: str) -> dict[str, Any]:
    """Returns what a reader must find in a record that was written from a plan.

    Args:
        samples: true codes in standard lead order, int16, shape (12, n_samples).
        path: of the file that names the record, relative to the tree's root.
    """
    age, capped = known_age(plan.age)
    return {
        "labels": classes_of(plan.codes, SNOMED),
        "native": list(plan.codes),
        "patient_id": plan.patient_id,
        "age": age,
        "age_capped": capped,
        "sex": known_sex(plan.sex),
        "split": None,
        "path": path,
        **signal_facts(samples),
    }


def write_plan(root: Path, plan: Plan, seed: int, manifest: dict[str, Any]) -> None:
    """Writes one good record and enters it in the manifest."""
    samples = waveform(plan, seed)
    write_pair(root, plan, samples)
    path = f"{plan.folder}/{plan.header or plan.record}.hea"
    add_record(manifest, plan.record, plan.specials, entry(plan, samples, path))


def fuse_first_lines(header: Path) -> None:
    """Loses the line end after the record line: 12 leads promised, 11 listed."""
    first, second, *rest = header.read_text().split("\n")
    write_text(header, "\n".join([first + second, *rest]))


def overwrite_first_lead(header: Path) -> None:
    """Puts the record line over the start of lead I's line, as in JS01052 of ecg-arrhythmia.

    There it reads `JS01052 12 500 500000/mV 16 0 15 31255 0 I`: the length looks like 500000.
    """
    first, second, *rest = header.read_text().split("\n")
    write_text(header, "\n".join([first + second[second.index("/") - 2 :], *rest]))


def lose_signal(header: Path) -> None:
    """Takes the signal file away."""
    header.with_suffix(".mat").unlink()


def cut_signal(header: Path) -> None:
    """Cuts the signal file in the middle of a sample."""
    signal = header.with_suffix(".mat")
    write_bytes(signal, signal.read_bytes()[:50_001])


def write_lfs_pointer(signal: Path) -> None:
    """Puts the text of a git-lfs pointer where the signal should be."""
    content = signal.read_bytes()
    write_text(
        signal,
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n",
    )


def point_to_lfs(header: Path) -> None:
    """Leaves a git-lfs pointer in place of the signal."""
    write_lfs_pointer(header.with_suffix(".mat"))


def empty_header(header: Path) -> None:
    """Leaves the header without a byte."""
    write_bytes(header, b"")


def leave(header: Path) -> None:
    """Changes nothing: the plan itself is at fault."""


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no_signal": (lose_signal, "a header without its signal file"),
    "truncated": (cut_signal, "the signal file is shorter than its header says"),
    "eleven_leads": (leave, "V6 is missing: 11 leads"),
    "lfs_pointer": (point_to_lfs, "a git-lfs pointer in place of the signal"),
    "empty_header": (empty_header, "the header is empty"),
    "fused": (fuse_first_lines, "record line and first lead line are fused"),
    "copy": (leave, "the same record a second time"),
    "overwritten": (overwrite_first_lead, "the record line lies over the first lead line"),
}


def add_fault(manifest: dict[str, Any], record: str, kind: str, damage: str, why: str) -> None:
    """Enters a record that a reader must refuse; `kind` as in `climb_hf.schema.Fault`."""
    manifest["faults"][record] = {"kind": kind, "damage": damage, "why": why}


def write_faults(
    root: Path, plans: Mapping[str, Plan], seed: int, manifest: dict[str, Any]
) -> None:
    """Writes one record per damage and enters it under `faults`."""
    for damage, plan in plans.items():
        act, why = DAMAGES[damage]
        write_pair(root, plan, waveform(plan, seed))
        act(root / plan.folder / f"{plan.header or plan.record}.hea")
        add_fault(manifest, plan.record, "copy" if damage == "copy" else "damaged", damage, why)


def write_records_lists(root: Path) -> None:
    """Writes the RECORDS file of every folder that holds headers: one name a line."""
    for folder in sorted({header.parent for header in root.rglob("*.hea")}):
        names = sorted(header.stem for header in folder.glob("*.hea"))
        write_text(folder / "RECORDS", "\n".join(names) + "\n")


def write_sha256sums(root: Path) -> None:
    """Writes SHA256SUMS.txt over every file below a release's root, as PhysioNet does."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(root).as_posix()}"
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "SHA256SUMS.txt"
    ]
    write_text(root / "SHA256SUMS.txt", "\n".join(lines) + "\n")
