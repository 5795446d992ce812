"""TUH EEG Events Corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, SourceCard, SplitRule, Vocabulary
from climb_hf.eeg import BIPOLAR_EEG, FILTERS, SPLIT_CSV, with_electrodes
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_numbers
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.windows import Event, around

TRAIN, EVAL = r"([a-z]{8}|\d{8})_\d{8}", r"(spsw|gped|pled|eyem|artf|bckg)_\d{3}_\w*"
NAMES = ("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG")  # codes 1 to 6
WINDOW_S = 5.0
CARD = SourceCard(
    name="tuev",
    title="TUH EEG Events Corpus",
    summary="5 s of EEG around a second that was annotated with one of six kinds of event",
    licence=Licence("NEDC terms of use", share_data=False, share_derived=False),
    access=Access.AGREEMENT,
    homepage="https://isip.piconepress.com/projects/nedc/html/tuh_eeg/",
    citation=(
        "Harati et al. (2015), IEEE SPMB, doi:10.1109/SPMB.2015.7405421; "
        "Obeid and Picone (2016), Front. Neurosci. 10:196, doi:10.3389/fnins.2016.00196"
    ),
    release="v2.0.1",
    remotes=(),
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
    split=SplitRule(
        fractions={"train": 0.8, "validation": 0.2},
        official=True,
        origin="the folder eval is test; subjects of the folder train become train and validation",
    ),
    n_records=112_491,  # with every annotated channel by itself, as BIOT counts them
    n_patients=368,
    rate_hz=250.0,
    duration_s=WINDOW_S,
    question="tuev",
    shown="This is a 5-second EEG in a 16-channel bipolar montage; its middle second is annotated.",
    options={
        "dedupe": Option(
            True, "one window for a second and label, whatever the number of channels", kind=bool
        ),
        "conflicts": Option(
            "keep",
            "a second with several labels: `keep` a window for each, or `drop` them all",
            ("keep", "drop"),
        ),
        "edges": Option(
            "pad", "a window that reaches beyond the recording: `pad` or `drop`", ("pad", "drop")
        ),
        **FILTERS,
        "split_csv": SPLIT_CSV,
    },
    quirks=(
        "annotations are of single channels (meta.channels, numbers of the 22-channel TCP montage)",
        "one second may have several labels on several channels: meta.other_labels tells them",
        "windows overlap where neighbouring seconds are annotated; a recording is in one split",
    ),
    **BIPOLAR_EEG,
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
            events, left_out = _events(tree, table, options)
        except CorruptFileError as error:
            yield Fault(stem, "damaged", str(error), table)
            continue
        yield from around(with_electrodes(whole), events, WINDOW_S, pad=options["edges"] == "pad")
        for row in left_out:
            why = "its second has several labels, on several channels"
            yield Fault(f"{stem}/{row}", "left out", why, table)


def _events(tree: RawTree, table: str, options: Mapping[str, Any]) -> tuple[list[Event], list[int]]:
    """The events of a .rec file, and the rows that an option leaves out."""
    rows = read_numbers(tree.path(table), 4).values.tolist()
    labels: dict[tuple[float, float], set[str]] = {}
    merged: dict[tuple[Any, ...], list[int]] = {}
    for row, (_, start_s, stop_s, code) in enumerate(rows):
        labels.setdefault((start_s, stop_s), set()).add(f"{code:g}")
        alone = () if options["dedupe"] else (row,)
        merged.setdefault((start_s, stop_s, f"{code:g}", *alone), []).append(row)
    events, left_out = [], []
    for (start_s, stop_s, code, *_), same in merged.items():
        others = sorted(labels[start_s, stop_s] - {code})
        if others and options["conflicts"] == "drop":
            left_out += same
            continue
        meta = {"channels": [int(rows[row][0]) for row in same], "other_labels": others}
        events.append(Event(str(same[0]), start_s, stop_s, (code,), meta))
    return events, left_out


__getattr__ = builder_of(__name__)
