"""Slow cortical potentials, as a user would add them: labelled EEG trials in two `.ts` files."""

from climb_hf.card import Access, Layout, Licence, Modality, SourceCard, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.io.arrays import read_ts_cases
from climb_hf.schema import Example, Fault, SeriesFile

FILE = r"SelfRegulationSCP1_(TRAIN|TEST)\.ts"
SERIES = {"channels": ("A1", "A2", "F3", "P3", "F4", "P4"), "rate_hz": 256.0, "unit": "uV"}
CLASSES = ("negativity", "positivity")
CARD = SourceCard(
    name="scp1",
    title="Self-regulation of slow cortical potentials, BCI Competition II, data set Ia",
    summary="3.5 s of EEG while a cursor is moved by thought, up or down",
    modality=Modality.EEG,
    licence=Licence("not stated", share_data=False, share_derived=False),
    access=Access.OPEN,
    homepage="https://www.bbci.de/competition/ii/",
    citation="Birbaumer et al. (1999), Nature 398:297-298",
    release="UEA archive",
    remotes=(),
    layouts=(Layout("cases", FILE, FILE, example="SelfRegulationSCP1_TRAIN.ts"),),
    vocabularies=(Vocabulary("scp", CLASSES, codes=dict(zip(CLASSES, CLASSES, strict=True))),),
    split=SplitRule({"train": 0.8, "test": 0.2}, official=True, origin="a file for each"),
    n_records=561,
    duration_s=3.5,
    question="scp",
    shown="You are shown 3.5 s of EEG.",
    asked="choice",
    **SERIES,
)


def read(tree, options):
    """Yields the cases of both files; a file that is cut off costs all of its cases."""
    for path in tree.find(FILE):
        split = "train" if path.endswith("TRAIN.ts") else "test"
        try:
            labels = read_ts_cases(tree.path(path)).labels
        except CorruptFileError as error:
            yield Fault(split, "damaged", str(error), path)
            continue
        for case, label in enumerate(labels):
            series = (SeriesFile(tree.path(path), "ts", part=case, facts=SERIES),)
            known = {"split": split, "series": series, "flags": ("patient_unknown",)}
            yield Example(f"{split}/{case}", (label,), **known)
