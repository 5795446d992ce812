"""What readers of scalp EEG share: the bipolar montage, options, a look at the electrodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Licence, Modality, Option, SplitRule
from climb_hf.errors import CorruptFileError
from climb_hf.io.edf_header import read_edf_header
from climb_hf.io.table import begins_with, whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.montage import BIPOLAR_16, BIPOLAR_16_NAMES, positions
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.votes import voted

# What the cards of these sources state alike; `SourceCard(..., **BIPOLAR_EEG)`.
BIPOLAR_EEG: dict[str, Any] = {
    "modality": Modality.EEG,
    "channels": BIPOLAR_16_NAMES,
    "derivations": BIPOLAR_16,
    "unit": "uV",
    "asked": "choice",
}
# What the cards of corpora of the Temple University Hospital state alike.
TUH: dict[str, Any] = {
    **BIPOLAR_EEG,
    "licence": Licence("NEDC terms of use", share_data=False, share_derived=False),
    "access": Access.AGREEMENT,
    "homepage": "https://isip.piconepress.com/projects/nedc/html/tuh_eeg/",
    "remotes": (),
    "split": SplitRule(
        fractions={"train": 0.8, "validation": 0.2},
        official=True,
        origin="the folder eval is test; subjects of the folder train become train and validation",
    ),
}
OBEID_2016 = "Obeid and Picone (2016), Front. Neurosci. 10:196, doi:10.3389/fnins.2016.00196"
# The rows of segments in IIIC's repository, and in the Kaggle competition of its authors.
ICU_ROWS = (
    *("Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1", "Fz", "Cz"),
    *("Pz", "Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2", "EKG"),
)
ICU_FACTS = {"channels": ICU_ROWS, "rate_hz": 200.0, "unit": "uV"}
FILTERS = {
    "notch_hz": Option(
        None, "takes mains out: 60 in the United States; None leaves the signal", kind=float
    ),
    "high_pass_hz": Option(None, "keeps what is faster (Butterworth, no phase shift)", kind=float),
    "low_pass_hz": Option(None, "keeps what is slower (Butterworth, no phase shift)", kind=float),
}
SPLIT_CSV = Option(
    None, "file with columns file_name (a record) and split, for split_rule=csv", is_file=True
)


def with_electrodes(found: Example) -> Example | Fault:
    """Returns an EDF recording, or a fault where its header lacks an electrode of the montage."""
    file = found.series[0]
    try:
        header = read_edf_header(file.path)
        positions(header.channels, [n for pair in BIPOLAR_16 for n in pair], header.left_out)
    except CorruptFileError as error:
        return Fault(found.record, "damaged", str(error), str(file.path))
    return found


# The scored 10 s are the middle of the 50 s that begin at a window's offset.
_SCORED_S = (20.0, 30.0)
_WHERE = ("eeg_id", "eeg_sub_id", "eeg_label_offset_seconds", "patient_id")


def voted_windows(
    tree: RawTree, table: str, votes: Mapping[str, str], options: Mapping[str, Any]
) -> Iterator[Example | Fault]:
    """Yields the windows of a table of votes on windows of recordings, a Parquet file each.

    It is the table of the Kaggle competition on harmful brain activity; any other is passed over.

    Args:
        table: path of the table; the recordings are in a folder `train_eegs` beside it.
        votes: code -> column with how many raters gave it.
        options: of the source, with those of `climb_hf.votes.OPTIONS`.

    Raises:
        CorruptFileError: if the table lacks a column or is cut short.
    """
    if not begins_with(tree.path(table), _WHERE[0]):
        return
    folder = table.rpartition("/")[0]
    for row in whole_lines(tree.path(table), (*_WHERE, *votes.values())):
        recording = row["eeg_id"]
        record = f"{recording}/{row['eeg_sub_id']}"
        path = f"{folder}/train_eegs/{recording}.parquet".removeprefix("/")
        if tree.size(path) is None:
            yield Fault(record, "missing", f"voted on, but {recording}.parquet is not there", table)
            continue
        try:
            offset_s = float(row["eeg_label_offset_seconds"])
            counts = {code: int(row[name] or 0) for code, name in votes.items()}
        except ValueError as error:
            yield Fault(record, "damaged", f"its line of {table}: {error}", table)
            continue
        first_s, last_s = (offset_s + second for second in _SCORED_S)
        file = SeriesFile(tree.path(path), "array", start_s=first_s, stop_s=last_s, facts=ICU_FACTS)
        found = Example(
            record, patient_id=row["patient_id"] or None, recording=recording, series=(file,)
        )
        yield voted(found, counts, options)
