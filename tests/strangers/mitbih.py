"""MIT-BIH Arrhythmia Database, as somebody outside this project would add it: 10 s windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import wfdb

from climb_hf.card import (
    Access,
    Layout,
    Licence,
    Modality,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.io.tree import RawTree
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.windows import whole_windows

WINDOW_S = 10.0
BEATS = {
    **dict.fromkeys("NLRej", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VE", "V"),
    "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}
CARD = SourceCard(
    name="mitbih",
    title="MIT-BIH Arrhythmia Database",
    summary="half-hour two-lead ambulatory ECGs, every beat annotated by two cardiologists",
    modality=Modality.ECG,
    licence=Licence("ODC-By-1.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://physionet.org/content/mitdb/1.0.0/",
    citation="Moody and Mark (2001), IEEE Eng. Med. Biol. 20(3):45-50, doi:10.1109/51.932724",
    release="1.0.0",
    remotes=(Remote("https://physionet.org/files/mitdb/1.0.0/"),),
    layouts=(
        Layout(
            "WFDB records with beat annotations",
            marker=r"\d{3}\.atr",
            files=r"\d{3}\.(hea|dat|atr)",
            example="mitdb/100.atr",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "aami5",
            names=("N", "S", "V", "F", "Q"),
            texts=(
                "normal and bundle branch block beats",
                "supraventricular ectopic beats",
                "ventricular ectopic beats",
                "fusion beats",
                "paced or unclassifiable beats",
            ),
            codes=BEATS,
        ),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=48 * 180,
    rate_hz=360.0,
    duration_s=WINDOW_S,
    question="beats",
    shown="You are shown ten seconds of a two-lead ambulatory ECG.",
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the 10 s windows of every annotated recording with the beats that lie in each."""
    for path in tree.find(r"\d{3}\.atr"):
        name = PurePosixPath(path).stem
        if tree.beside(path, f"{name}.hea") is None or tree.beside(path, f"{name}.dat") is None:
            yield Fault(name, "damaged", "annotations without header or signal", path)
            continue
        beats = wfdb.rdann(str(tree.path(path).with_suffix("")), "atr")
        series = SeriesFile(tree.path(path).with_suffix(".hea"), "wfdb")
        whole = Example(record=name, patient_id=name, series=(series,))
        for window in whole_windows(whole, WINDOW_S):
            if isinstance(window, Fault):
                yield window
                continue
            start = window.series[0].start_s * CARD.rate_hz
            inside = (start <= beats.sample) & (beats.sample < start + WINDOW_S * CARD.rate_hz)
            symbols = {beats.symbol[i] for i in inside.nonzero()[0]} & BEATS.keys()
            yield replace(window, native=tuple(sorted(symbols)))
