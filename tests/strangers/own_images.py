"""Images in a folder for each kind, as somebody with scans of their own would add them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from climb_hf.card import Access, Layout, Licence, Modality, SourceCard, SplitRule, Vocabulary
from climb_hf.io.regions import Cut, size_of
from climb_hf.io.tree import RawTree
from climb_hf.photos import stem
from climb_hf.schema import Example, Fault, ImageFile

KINDS = ("fundus", "histology", "ihc")
IMAGE = rf"({'|'.join(KINDS)})/[^/]+\.(png|jpg)"
TILE = Cut(least=64, most=2048, overlap=0)
CARD = SourceCard(
    name="own_images",
    title="Images of our own",
    summary="a fundus, a region of a slide and an immunostained tile",
    modality=Modality.PATHOLOGY,
    licence=Licence("ours", share_data=False, share_derived=False),
    access=Access.OPEN,
    homepage="https://example.org/",
    citation="not published, 2024",
    release="of today",
    remotes=(),
    layouts=(Layout("a folder a kind", IMAGE, IMAGE, "fundus/retina.jpg"),),
    vocabularies=(Vocabulary("kind", KINDS, codes={kind: kind for kind in KINDS}),),
    split=SplitRule({"train": 1.0}),
    n_records=10,
    question="kind",
    shown="A photograph is given. What does it show?",
    asked="choice",
)


def convert(slide: Path, image: Path) -> None:
    """Writes the largest page of a tiled TIFF, which is how scanners write slides, as PNG."""
    image.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(slide) as pages:
        pages.convert("RGB").save(image)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the tiles of a slide, and any other image as it is."""
    for path in sorted(tree.find(IMAGE)):
        kind, name = path.split("/")[-2], stem(path)
        about: dict[str, Any] = {"native": (kind,), "flags": ("patient_unknown",)}
        if kind != "histology":
            yield Example(f"{kind}/{name}", images=(ImageFile(tree.path(path)),), **about)
            continue
        width, height = size_of(tree.path(path))
        for x1, x2 in TILE.along(0, width):
            for y1, y2 in TILE.along(0, height):
                image = ImageFile(tree.path(path), crop=(x1, y1, x2, y2))
                yield Example(f"{name}/{x1}_{y1}", recording=name, images=(image,), **about)
