"""Children's chest X-rays in 28 x 28 px, as a user would add them: arrays in one `.npz` file."""

from climb_hf.card import CC_BY_4_0, Access, Layout, Modality, SourceCard, SplitRule, Vocabulary
from climb_hf.io.arrays import open_npz
from climb_hf.io.files import or_fault
from climb_hf.schema import Example, ImageFile

FILE = r"pneumoniamnist\.npz"
PARTS = {"train": "train", "val": "validation"}
CLASSES = {"0": "Normal", "1": "Pneumonia"}
CARD = SourceCard(
    name="pneumonia28",
    title="PneumoniaMNIST of MedMNIST v2",
    summary="chest radiographs of children, shrunk, with pneumonia or without",
    modality=Modality.CHEST_XRAY,
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://medmnist.com/",
    citation="Yang et al. (2023), Scientific Data 10:41, doi:10.1038/s41597-022-01721-8",
    release="MedMNIST v2",
    remotes=(),
    layouts=(Layout("one file", FILE, FILE, example="pneumoniamnist.npz"),),
    vocabularies=(Vocabulary("pneumonia2", tuple(CLASSES.values()), codes=CLASSES),),
    split=SplitRule({"train": 0.9, "validation": 0.1}, official=True, origin="arrays for each"),
    n_records=4_406,
    question="pneumonia",
    shown="A chest radiograph of a child is given, in 28 x 28 px.",
    asked="choice",
)


def read(tree, options):
    """Yields the images of both parts."""
    for path in tree.find(FILE):
        for part, split in PARTS.items():
            yield from or_fault(_part(tree.path(path), part, split), part, path)


def _part(path, part, split):
    for place, (label,) in enumerate(open_npz(path, name=f"{part}_labels")):
        image = ImageFile(path, key=f"{part}_images", frame=place)
        known = {"split": split, "images": (image,), "flags": ("patient_unknown",)}
        yield Example(f"{part}/{place}", (str(label),), **known)
