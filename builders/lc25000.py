"""LC25000: tiles of lung and colon tissue, augmented from 1,250 originals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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
from climb_hf.errors import CorruptFileError
from climb_hf.io.rings import alike, rings_of
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import stem
from climb_hf.schema import Example, Fault, ImageFile
from climb_hf.splits import join_groups

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
        "grouping": Option(
            "pixels",
            "what stays in one split: tiles that seem to be one original turned and mirrored "
            "(each is decoded for it, about a minute in all), or `none`, as CLIMB has it",
            choices=("pixels", "none"),
        ),
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
        "release does not say which belong together: published scores near 100 % reflect that. "
        "Tiles that seem to be one original by their colours along the radius stay in one split; "
        "of 54 tiles of another slide, turned 20 times each, none was torn so, and these tiles "
        "may differ. Option originals takes a table; grouping='none' leaks as CLIMB's splits do",
        "colon and lung are told apart by texture alone: meta holds the organ, to score each",
        "CLIMB's table counts 18,750 tiles, which is three quarters; all are read here",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a tile; its class is the folder that it lies in."""
    tiles: dict[str, list[str]] = {folder: [] for folder in CLASS_OF}
    for path in sorted(tree.find(IMAGE)):
        tiles[path.split("/")[-2]].append(path)
    groups = _originals(options["originals"])
    for folder, paths in tiles.items():
        if not paths:
            yield Fault(folder, "missing", f"no tile of the class {CLASS_OF[folder]!r} is there")
        if options["grouping"] == "pixels":
            groups |= _seemingly_one(tree, paths)
        for path in paths:
            yield Example(
                record=stem(path),
                native=(folder,),
                group=groups.get(stem(path)),
                signature=f"{tree.size(path)} bytes",
                flags=("patient_unknown",),
                meta={"organ": folder.partition("_")[0]},
                images=(ImageFile(tree.path(path)),),
            )


def _seemingly_one(tree: RawTree, paths: Sequence[str]) -> dict[str, str]:
    """Tile -> what it goes by with those that seem to be its original; some have none."""
    found = {}
    for path in paths:
        with suppress(CorruptFileError):  # told when its row is made
            found[stem(path)] = rings_of(tree.path(path))
    names = [*found]
    pairs = [(names[a], names[b]) for a, b in alike([*found.values()])]
    return join_groups((name, f"{a} {b}") for a, b in pairs for name in (a, b))


def _originals(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    rows = whole_lines(Path(path), ("file_name", "original"))
    return {stem(row["file_name"]): row["original"] for row in rows}


__getattr__ = builder_of(__name__)
