"""TUH Abnormal EEG Corpus."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from climb_hf.card import Layout, Option, Proof, SourceCard, Vocabulary
from climb_hf.eeg import FILTERS, OBEID_2016, SPLIT_CSV, TUH, with_electrodes
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.windows import whole_windows

# Subject, visit and piece of the visit; subjects were numbers up to v2.0.0.
EDF = r"(?P<subject>[a-z]{8}|\d{8})_(?P<visit>s\d{3})_(?P<token>t\d{3})\.edf"
WINDOW_S = 10.0
CARD = SourceCard(
    name="tuab",
    title="TUH Abnormal EEG Corpus",
    summary="routine clinical EEGs, each read as normal or abnormal as a whole; 10 s windows",
    citation=f"{OBEID_2016}; Lopez (2017), MS thesis, Temple University",
    release="v3.0.1",
    layouts=(
        Layout(
            "edf/<train|eval>/<normal|abnormal>/",
            marker=EDF,
            files=EDF,
            example="tuh_eeg_abnormal/v3.0.1/edf/train/normal/01_tcp_ar/aaaaaaaq_s004_t000.edf",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "tuab2",
            names=("normal", "abnormal"),
            codes={"normal": "normal", "abnormal": "abnormal"},
            normal="normal",
        ),
    ),
    n_records=409_455,  # windows, as BIOT counts them
    n_patients=2_329,
    rate_hz=200.0,
    duration_s=WINDOW_S,
    question="tuab",
    shown=(
        "This is a part of a routine clinical EEG in a 16-channel longitudinal bipolar montage. "
        "Think of how the recording as a whole would be read."
    ),
    options={
        "level": Option(
            "window",
            "`window`: 10 s each, what remains at the end unused; `recording`: one row a file, "
            "as long as it is",
            ("window", "recording"),
        ),
        **FILTERS,
        "split_csv": SPLIT_CSV,
    },
    proof=Proof.PEER_READER,
    quirks=(
        "a window has the label of its recording: most windows of an abnormal one look normal",
        "54 training subjects have recordings under both labels; they stay on one side here",
        "the recordings are from the United States: mains is 60 Hz, and no filter is applied",
    ),
    **TUH,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the windows, or the recordings, of every EDF file in a folder that names a class."""
    for path in tree.find(EDF):
        folders = path.split("/")[:-1]
        found = re.fullmatch(EDF, path.rpartition("/")[2])
        record = path.rpartition("/")[2].removesuffix(".edf")
        label = next((name for name in ("normal", "abnormal") if name in folders), None)
        if label is None or found is None:
            why = "it lies in no folder called normal or abnormal; name a folder above those"
            yield Fault(record, "damaged", why, path)
            continue
        recording = with_electrodes(
            Example(
                record=record,
                native=(label,),
                patient_id=found["subject"],
                study_id=found["visit"],
                split="test" if "eval" in folders else None,
                meta={"token": found["token"]},
                series=(SeriesFile(tree.path(path), "edf"),),
            )
        )
        if options["level"] == "window" or isinstance(recording, Fault):
            yield from whole_windows(recording, WINDOW_S)
        else:
            yield replace(recording, series=(replace(recording.series[0], whole=True),))


__getattr__ = builder_of(__name__)
