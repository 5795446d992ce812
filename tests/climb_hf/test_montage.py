"""Electrodes by their names, and differences of two of them."""

from __future__ import annotations

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.io.signal import RawSeries
from climb_hf.montage import BIPOLAR_16, BIPOLAR_16_NAMES, derive, electrode_of, positions

# As the source cards list them.
WANTED = (
    "FP1-F7, F7-T3, T3-T5, T5-O1, FP2-F8, F8-T4, T4-T6, T6-O2, "
    "FP1-F3, F3-C3, C3-P3, P3-O1, FP2-F4, F4-C4, C4-P4, P4-O2"
)
UNITS = ("uV",) * 16
ELECTRODES = sorted({name for pair in BIPOLAR_16 for name in pair})


def recording(labels=None, codes=None, **more):
    labels = labels or [f"EEG {name}-REF" for name in ELECTRODES]
    rng = np.random.default_rng(0)
    data = rng.integers(-2000, 2000, (len(labels), 50)).astype(np.int16) if codes is None else codes
    facts = {"gain": np.full(len(labels), 4.0), "offset": np.full(len(labels), 100.0), **more}
    return RawSeries(
        data=data,
        rate_hz=200.0,
        channels=tuple(labels),
        units=facts.pop("units", ("uV",) * len(labels)),
        invalid=facts.pop("invalid", None),
        n_valid=data.shape[1],
        **facts,
    )


def derived(series):
    return derive(series, BIPOLAR_16, BIPOLAR_16_NAMES, UNITS)


def differences(values, names=ELECTRODES):
    at = {name: row for row, name in enumerate(names)}
    pairs = (pair.split("-") for pair in WANTED.split(", "))
    return np.array([values[at[one]] - values[at[other]] for one, other in pairs])


# --- names -----------------------------------------------------------------------------------


def test_the_sixteen_derivations_are_in_the_cards_order():
    assert ", ".join(BIPOLAR_16_NAMES) == WANTED


@pytest.mark.parametrize(
    ("label", "electrode"),
    {
        "EEG FP1-REF": "FP1",
        "EEG Fp1-Ref": "FP1",
        "FP1": "FP1",
        "Fp1.": "FP1",
        " C3 ": "C3",
        "EEG CZ-LE": "CZ",
        "EEG_O2_AVG": "O2",
        "T7": "T3",
        "T8": "T4",
        "EEG P7-REF": "T5",
        "P8": "T6",
        "T5": "T5",
        "A1": "A1",
    }.items(),
)
def test_an_electrode_is_known_by_any_of_its_names(label, electrode):
    assert electrode_of(label)[0] == electrode


@pytest.mark.parametrize(
    "label", ["FP1-F7", "EEG EKG1-REF", "PHOTIC-REF", "EMG", "BURSTS", "IBI", "", "EEG FP1-A2"]
)
def test_what_is_no_single_electrode_is_none(label):
    assert electrode_of(label) is None


def test_an_absent_electrode_is_named_with_what_was_left_out():
    with pytest.raises(
        CorruptFileError, match=r"electrodes T6 are absent.*T6-REF was left out, at"
    ):
        positions(["EEG C3-REF"], ["C3", "T6"], {"EEG T6-REF": "at 500 Hz"})


def test_old_and_new_name_of_one_place_are_the_electrode_twice():
    with pytest.raises(CorruptFileError, match="T3 is there 2 times: EEG T3-REF, EEG T7-REF"):
        positions(["EEG T3-REF", "EEG T7-REF"], ["T3"])


def test_a_repeated_channel_that_nobody_needs_does_no_harm():
    assert positions(["C3", "A1", "A1"], ["C3"]) == {"C3": 0}


def test_electrodes_of_two_references_are_refused():
    with pytest.raises(CorruptFileError, match="different references"):
        positions(["EEG C3-REF", "EEG P3-LE"], ["C3", "P3"])


# --- differences -----------------------------------------------------------------------------


def test_codes_of_one_gain_are_subtracted_as_they_are():
    series = recording()
    found = derived(series)
    assert found.data.dtype == np.int16
    assert np.array_equal(found.data, differences(series.data.astype(int)))
    assert np.array_equal(found.physical(), differences(series.physical().astype(float)))
    assert found.channels == BIPOLAR_16_NAMES
    assert found.units == UNITS


def test_a_difference_that_16_bits_do_not_hold_is_kept_in_32():
    codes = np.full((len(ELECTRODES), 5), -30_000, np.int16)
    codes[ELECTRODES.index("FP1")] = 30_000
    found = derived(recording(codes=codes))
    assert found.data.dtype == np.int32
    assert found.data[0].tolist() == [60_000] * 5


def test_other_gains_give_the_difference_of_the_values():
    gain = np.linspace(1, 9, len(ELECTRODES))
    series = recording(gain=gain)
    found = derived(series)
    assert found.data.dtype == np.float32
    wanted = differences((series.data - 100.0) / gain[:, None])
    assert found.physical() == pytest.approx(wanted, rel=1e-5, abs=1e-3)


def test_units_may_differ_from_channel_to_channel():
    units = ["uV"] * len(ELECTRODES)
    units[ELECTRODES.index("F7")] = "mV"
    series = recording(units=tuple(units))
    values = (series.data - 100.0) / 4.0
    values[ELECTRODES.index("F7")] *= 1000
    assert derived(series).physical() == pytest.approx(differences(values), rel=1e-6)


def test_a_sample_that_is_invalid_in_one_electrode_is_invalid_in_its_differences():
    series = recording(invalid=-32768)
    series.data[ELECTRODES.index("C3"), 7] = -32768
    lost = np.isnan(derived(series).physical())
    with_c3 = [row for row, name in enumerate(BIPOLAR_16_NAMES) if "C3" in name]
    assert sorted(zip(*np.nonzero(lost), strict=True)) == [(row, 7) for row in with_c3]


def test_a_unit_that_is_no_voltage_is_refused():
    with pytest.raises(CorruptFileError, match="no voltage"):
        derived(recording(units=("mmHg",) * len(ELECTRODES)))


def test_derivations_that_are_there_by_name_are_taken_in_order():
    names = list(reversed(BIPOLAR_16_NAMES))
    series = recording(labels=[name.lower() for name in names])
    assert np.array_equal(derived(series).data, series.data[::-1])


def test_an_electrode_that_is_absent_is_never_filled():
    labels = [f"EEG {name}-REF" for name in ELECTRODES if name != "T6"]
    with pytest.raises(CorruptFileError, match="T6"):
        derived(recording(labels=labels))
