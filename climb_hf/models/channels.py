"""The channel names that series come with: a vocabulary, other spellings, and how to look one up.

One name means one place on the body, whatever the release writes: `T3` is `T7`, `EEG FP1-REF` is
`Fp1`, `AVR` is `aVR`. A derivation of two electrodes (`F7-T3`) is a channel of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from climb_hf.check import nearest
from climb_hf.errors import OptionError


def _words(text: str) -> list[str]:
    return text.split()


_LEADS = _words("I II III aVR aVL aVF V1 V2 V3 V4 V5 V6")
_OTHER_LEADS = _words("V7 V8 V9 V3R V4R V5R V6R MLI MLII MLIII MCL1 VX VY VZ ES AS AI ECG")
# The 10-10 system (Jurcak et al. 2007) with earlobes (A) and mastoids (M).
_ELECTRODES = _words(
    "Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 F9 F7 F5 F3 F1 Fz F2 F4 F6 F8 F10 FT9 FT7 FC5 FC3 FC1 FCz FC2 "
    "FC4 FC6 FT8 FT10 T9 T7 C5 C3 C1 Cz C2 C4 C6 T8 T10 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 "
    "TP10 P9 P7 P5 P3 P1 Pz P2 P4 P6 P8 P10 PO7 PO3 POz PO4 PO8 O1 Oz O2 Nz Iz A1 A2 M1 M2 T1 T2"
)
_DERIVATIONS = _words(
    # longitudinal, then transverse, of the temporal central parasagittal montage
    "Fp1-F7 F7-T7 T7-P7 P7-O1 Fp2-F8 F8-T8 T8-P8 P8-O2 Fp1-F3 F3-C3 C3-P3 P3-O1 Fp2-F4 F4-C4 "
    "C4-P4 P4-O2 Fz-Cz Cz-Pz A1-T7 T7-C3 C3-Cz Cz-C4 C4-T8 T8-A2 "
    # of sleep laboratories and brain-computer interfaces
    "C3-A2 C4-A1 F3-A2 F4-A1 O1-A2 O2-A1 C3-M2 C4-M1 F3-M2 F4-M1 O1-M2 O2-M1 Fpz-Cz Pz-Oz A1-Cz "
    "A2-Cz"
)
_SENSORS = ("acc", "gyro", "mag")
# Right and left foot, shin and thigh as HuGaDB writes them, and other usual places.
_PLACES = ("rf", "rs", "rt", "lf", "ls", "lt", "wrist", "ankle", "waist", "chest", "head")
_AXES = ("x", "y", "z")
_MOTION = [f"{sensor}_{axis}" for sensor in _SENSORS for axis in _AXES]
_MOTION += [
    f"{sensor}_{place}_{axis}" for place in _PLACES for sensor in _SENSORS for axis in _AXES
]
_OTHERS = _words(
    "PPG PPG_red PPG_infrared PPG_green ABP CVP PAP ICP RESP CO2 EDA TEMP "
    "EMG EMG_r EMG_l EMG_chin EOG EOG_r EOG_l"
)

CHANNELS = (*_LEADS, *_OTHER_LEADS, *_ELECTRODES, *_DERIVATIONS, *_MOTION, *_OTHERS)
ALIASES = {
    "T3": "T7",
    "T4": "T8",
    "T5": "P7",
    "T6": "P8",
    "EKG": "ECG",
    "EKG1": "ECG",
    "ECG1": "ECG",
    "PLETH": "PPG",
    "ART": "ABP",
    "GSR": "EDA",
    "ROC": "EOG_r",
    "LOC": "EOG_l",
}
# What a lone electrode is measured against; the electrode's own name stands for it.
_REFERENCES = ("ref", "le", "ar", "avg")
_PREFIXES = ("eeg ", "ecg ")


class ChannelIndex:
    """Finds the number of a channel by its name, in any case and any known spelling.

    Args:
        channels: the vocabulary; a channel's number is its place here, counted from 1.
        aliases: other spelling to a name of the vocabulary.

    Raises:
        OptionError: if a name is there twice, or an alias points at none.
    """

    def __init__(self, channels: list[str], aliases: Mapping[str, str]) -> None:
        self.channels = channels
        self._numbers = {_key(name): at for at, name in enumerate(channels, start=1)}
        if len(self._numbers) < len(channels):
            keys = [_key(name) for name in channels]
            twice = next(name for name in channels if keys.count(_key(name)) > 1)
            raise OptionError(f"channels: {twice!r} is there twice (case does not count).")
        self._aliases = {_key(alias): _key(name) for alias, name in aliases.items()}
        lost = [alias for alias, name in aliases.items() if _key(name) not in self._numbers]
        if lost:
            raise OptionError(
                f"aliases: {lost[0]!r} stands for {aliases[lost[0]]!r}, which is not in channels."
            )

    def find(self, name: str) -> int | None:
        """Returns the number of a channel, None if its name is unknown."""
        key = self._canonical(_key(name))
        if key not in self._numbers and "-" in key:
            first, second = (self._canonical(part) for part in key.split("-", 1))
            key = first if second in _REFERENCES else f"{first}-{second}"
        return self._numbers.get(key)

    def _canonical(self, key: str) -> str:
        return self._aliases.get(key, key)

    def near(self, name: str) -> str:
        """Returns " Did you mean 'x'?" for the nearest known name, or an empty string."""
        lowered = {name.casefold(): name for name in self.channels}
        hint = nearest(_key(name), lowered)
        for key, known in lowered.items():
            hint = hint.replace(repr(key), repr(known))
        return hint


def _key(name: str) -> str:
    key = " ".join(str(name).split()).casefold()
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key
