"""COVID-19 Detection X-Ray Dataset: chest radiographs in folders by diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import (
    CC_BY_4_0,
    Access,
    Layout,
    Modality,
    Option,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import as_id, twins_in
from climb_hf.schema import Example, Fault, ImageFile

CLASS_OF = {
    "Normal": "Normal",
    "BacterialPneumonia": "Bacterial Pneumonia",
    "COVID-19": "COVID-19",
    "ViralPneumonia": "Viral Pneumonia",
}
INSIDE = rf"({'|'.join(CLASS_OF)})/[^/]+\.(?i:jpe?g|png)"
TRAIN = ("TrainData", "NonAugmentedTrain")
OVERSAMPLED = "OversampledAugmentedCOVID-19"
CARD = SourceCard(
    name="covid19_cxr",
    title="COVID-19 Detection X-Ray Dataset",
    summary="chest radiographs put together from other collections: COVID-19, pneumonia, normal",
    modality=Modality.CHEST_XRAY,
    licence=CC_BY_4_0,
    access=Access.ACCOUNT,
    homepage="https://www.kaggle.com/datasets/darshan1504/covid19-detection-xray-dataset",
    citation=(
        "darshan1504 (2020), COVID-19 Detection X-Ray Dataset, Kaggle; images of Kermany et al. "
        "(2018), doi:10.1016/j.cell.2018.02.010, and Cohen et al. (2020), arXiv:2003.11597"
    ),
    release="covid19-detection-xray-dataset, TrainData and ValData",
    remotes=(Remote("https://www.kaggle.com/datasets/darshan1504/covid19-detection-xray-dataset"),),
    layouts=(
        Layout(
            "Kaggle",
            marker=rf"(TrainData|ValData)/{INSIDE}",
            files=rf"({'|'.join((*TRAIN, 'ValData', OVERSAMPLED))})/{INSIDE}",
            example="TrainData/BacterialPneumonia/person1_bacteria_1.jpeg",
        ),
    ),
    vocabularies=(Vocabulary("covid4", tuple(CLASS_OF.values()), codes=CLASS_OF),),
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "the folders TrainData and ValData"),
    n_records=2_990,
    question="chest_diagnosis",
    shown="A chest radiograph of one patient is given.",
    asked="choice",
    options={
        "train_folder": Option(
            "TrainData",
            "NonAugmentedTrain has the images that TrainData was made of",
            choices=TRAIN,
        ),
        "oversampled": Option(
            False, f"add the altered copies of {OVERSAMPLED} to train", kind=bool
        ),
        "drop_duplicates": Option(
            True, "leave out of train what lies in test too, byte for byte", kind=bool
        ),
    },
    quirks=(
        "patients are unknown: splits may leak, and images come from collections that other "
        "sources use too",
        "NonAugmentedTrain overlaps TrainData and was used as a test set by others: that leaks",
        "CLIMB's table says CC BY 4.0; single images of the collection behind it have other terms",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image; its folder tells the class."""
    train = [*tree.find(f"{options['train_folder']}/{INSIDE}")]
    if options["oversampled"]:
        train += tree.find(f"{OVERSAMPLED}/{INSIDE}")
    test = sorted(tree.find(f"ValData/{INSIDE}"))
    twins = twins_in(tree, train, test) if options["drop_duplicates"] else {}
    for path in (*sorted(train), *test):
        folder, kind, name = path.split("/")[-3:]
        record = f"{folder}/{as_id(f'{kind}_{name}')}"
        if path in twins:
            yield Fault(record, "left out", f"the bytes of {twins[path]}, which is in test", path)
            continue
        yield Example(
            record=record,
            native=(kind,),
            split="test" if folder == "ValData" else "train",
            flags=("patient_unknown",),
            images=(ImageFile(tree.path(path)),),
            signature=f"{tree.size(path)} bytes",
        )


__getattr__ = builder_of(__name__)
