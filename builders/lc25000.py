"""LC25000: tiles of lung and colon tissue, augmented from 1,250 originals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from climb_hf.card import (
    Access,
    Layout,
    Licence,
    Modality,
    Option,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import stem
from climb_hf.schema import Example, Fault, ImageFile

CLASS_OF = {
    "colon_aca": "Colon adenocarcinoma",
    "colon_n": "Benign colon",
    "lung_aca": "Lung adenocarcinoma",
    "lung_scc": "Lung squamous cell carcinoma",
    "lung_n": "Benign lung",
}
IMAGE = rf"({'|'.join(CLASS_OF)})/[a-z]+\d+\.(?i:jpe?g)"
CARD = SourceCard(
    name="lc25000",
    title="Lung and Colon Cancer Histopathological Image Dataset (LC25000)",
    summary="H&E tiles of 768 x 768 px of lung and colon tissue in five classes",
    modality=Modality.PATHOLOGY,
    licence=Licence("no licence file; free for research by its README", False, False),
    access=Access.OPEN,
    homepage="https://github.com/tampapath/lung_colon_image_set",
    citation="Borkowski et al. (2019), LC25000, arXiv:1912.12142",
    release="academictorrents 7a638ed187a6180fd6e464b3666a6ea0499af4af",
    remotes=(
        Remote("https://academictorrents.com/details/7a638ed187a6180fd6e464b3666a6ea0499af4af"),
    ),
    layouts=(
        Layout(
            "five folders",
            marker=IMAGE,
            files=IMAGE,
            example="lung_colon_image_set/colon_image_sets/colon_aca/colonca1.jpeg",
        ),
    ),
    vocabularies=(Vocabulary("lc5", tuple(CLASS_OF.values()), codes=CLASS_OF),),
    split=SplitRule({"train": 0.75, "test": 0.25}),
    n_records=25_000,
    options={
        "originals": Option(
            None,
            "CSV file with columns file_name and original; tiles of one original stay in one split",
            is_file=True,
        ),
    },
    question="tissue",
    shown="A tile of tissue stained with haematoxylin and eosin is given.",
    asked="choice",
    quirks=(
        "LEAK: the 25,000 tiles are rotations and flips of 1,250 originals, 250 a class, and the "
        "release does not say which belong together. Splits share originals, and scores near "
        "100 % reflect that: do not compare models by them. A table of originals, where you have "
        "one, mends it: option originals",
        "colon and lung are told apart by texture alone: meta holds the organ, to score each",
        "CLIMB's table counts 18,750 tiles, which is three quarters; all are read here",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a tile; its class is the folder that it lies in."""
    original_of = _originals(options["originals"])
    seen: set[str] = set()
    for path in sorted(tree.find(IMAGE)):
        folder, record = path.split("/")[-2], stem(path)
        seen.add(folder)
        yield Example(
            record=record,
            native=(folder,),
            group=original_of.get(record),
            signature=f"{tree.size(path)} bytes",
            flags=("patient_unknown",),
            meta={"organ": folder.partition("_")[0]},
            images=(ImageFile(tree.path(path)),),
        )
    for folder in sorted(CLASS_OF.keys() - seen):
        yield Fault(folder, "missing", f"no tile of the class {CLASS_OF[folder]!r} is there")


def _originals(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    rows = whole_lines(Path(path), ("file_name", "original"))
    return {stem(row["file_name"]): row["original"] for row in rows}


__getattr__ = builder_of(__name__)
