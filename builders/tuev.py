"""TUH EEG Events Corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Layout, Proof, SourceCard, Vocabulary
from climb_hf.eeg import FILTERS, OBEID_2016, SPLIT_CSV, TUH, with_electrodes
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_numbers
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.windows import EVENT_OPTIONS, around, merged

TRAIN, EVAL = r"([a-z]{8}|\d{8})_\d{8}", r"(spsw|gped|pled|eyem|artf|bckg)_\d{3}_\w*"
NAMES = ("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG")  # codes 1 to 6
WINDOW_S = 5.0
CARD = SourceCard(
    name="tuev",
    title="TUH EEG Events Corpus",
    summary="5 s of EEG around a second that was annotated with one of six kinds of event",
    citation=f"Harati et al. (2015), IEEE SPMB, doi:10.1109/SPMB.2015.7405421; {OBEID_2016}",
    release="v2.0.1",
    layouts=(
        Layout(
            "edf/<train|eval>/<subject or visit>/",
            marker=rf"({TRAIN}|{EVAL})\.edf",
            files=rf"({TRAIN}|{EVAL})\.(edf|rec)",
            example="tuh_eeg_events/v2.0.1/edf/train/aaaaaaar/aaaaaaar_00000001.edf",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "tuev6",
            names=NAMES,
            texts=(
                "spike or sharp wave",
                "generalized periodic discharges",
                "lateralized periodic discharges",
                "eye movement",
                "other artefact",
                "background",
            ),
            codes=dict(
                zip("123456", ("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG"), strict=True)
            ),
        ),
    ),
    n_records=112_491,  # with every annotated channel by itself, as BIOT counts them
    n_patients=368,
    rate_hz=250.0,
    duration_s=WINDOW_S,
    question="tuev",
    shown="This is a 5-second EEG in a 16-channel bipolar montage; its middle second is annotated.",
    options={**EVENT_OPTIONS, **FILTERS, "split_csv": SPLIT_CSV},
    proof=Proof.PEER_READER,
    quirks=(
        "annotations are of single channels (meta.channels, numbers of the 22-channel TCP montage)",
        "one second may have several labels on several channels: meta.other_codes tells them",
        "windows overlap where neighbouring seconds are annotated; a recording is in one split",
    ),
    **TUH,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a window around each annotated second of every EDF file with a .rec beside it."""
    for path in tree.find(rf"({TRAIN}|{EVAL})\.edf"):
        stem = path.rpartition("/")[2].removesuffix(".edf")
        table = tree.beside(path, f"{stem}.rec")
        if table is None:
            yield Fault(stem, "damaged", f"{stem}.rec with its events is not beside it", path)
            continue
        prefix, part = stem.split("_")[:2]
        in_eval = len(prefix) == 4
        whole = Example(
            record=stem,
            patient_id=f"eval_{part}" if in_eval else prefix,
            split="test" if in_eval else None,
            meta={"file_prefix": prefix} if in_eval else {},
            series=(SeriesFile(tree.path(path), "edf"),),
        )
        try:
            rows = read_numbers(tree.path(table), 4).values.tolist()
        except CorruptFileError as error:
            yield Fault(stem, "damaged", str(error), table)
            continue
        events = merged(rows, dedupe=options["dedupe"], conflicts=options["conflicts"])
        yield from around(with_electrodes(whole), events, WINDOW_S, pad=options["edges"] == "pad")


__getattr__ = builder_of(__name__)
