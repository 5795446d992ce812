"""Our parsing of real label tables of chest X-rays, beside what was published of them.

    pip download --no-deps torchxrayvision==1.5.7 && unzip -q torchxrayvision-*.whl -d FOLDER
    python -m tests.bench.xrv_labels FOLDER

The package ships two real tables: train.csv of CheXpert (223,414 images) and train.csv of the
VinBigData competition, the Kaggle form of VinDr-CXR (67,914 rows). Images are not needed: a tree of
names stands for them, and readers open tables only. Ends with status 1 where a count differs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from climb_hf import catalog
from climb_hf.io.tree import RawTree
from climb_hf.rows import Request, labels_of
from climb_hf.schema import Example

# Irvin et al. (2019), arXiv:1901.07031, table 1: studies of the training set that are positive,
# uncertain, and neither (their "negative" takes in what a report does not mention).
N_STUDIES = 187_641
CHEXPERT = {
    "No Finding": (16_627, 0, 171_014),
    "Enlarged Cardiomediastinum": (9_020, 10_148, 168_473),
    "Cardiomegaly": (23_002, 6_597, 158_042),
    "Lung Lesion": (6_856, 1_071, 179_714),
    "Lung Opacity": (92_669, 4_341, 90_631),
    "Edema": (48_905, 11_571, 127_165),
    "Consolidation": (12_730, 23_976, 150_935),
    "Pneumonia": (4_576, 15_658, 167_407),
    "Atelectasis": (29_333, 29_377, 128_931),
    "Pneumothorax": (17_313, 2_663, 167_665),
    "Pleural Effusion": (75_696, 9_419, 102_526),
    "Pleural Other": (2_441, 1_771, 183_429),
    "Fracture": (7_270, 484, 179_887),
    "Support Devices": (105_831, 898, 80_912),
}
# Rows of each class in train.csv of the competition, as its participants print them.
VINDR = {
    "No finding": 31_818,
    "Aortic enlargement": 7_162,
    "Cardiomegaly": 5_427,
    "Pleural thickening": 4_842,
    "Pulmonary fibrosis": 4_655,
    "Nodule/Mass": 2_580,
    "Lung Opacity": 2_483,
    "Pleural effusion": 2_476,
    "Other lesion": 2_203,
    "Infiltration": 1_247,
    "ILD": 1_000,
    "Calcification": 960,
    "Consolidation": 556,
    "Atelectasis": 279,
    "Pneumothorax": 226,
}


def examples(name: str, table: bytes, images: Iterable[str]) -> Iterator[Example]:
    """Yields what a source's reader finds in a table, given the names of images that it lists."""
    source = catalog.get(name)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.csv").write_bytes(table)
        names = ["train.csv", *sorted(set(images))]
        tree = RawTree(Path(folder), tuple((one, 1, 0) for one in names))
        request = Request(options=source.card.check_options({}))
        for found in source.read(tree, request.for_reader()):
            if isinstance(found, Example):
                yield found


def column(table: bytes, name: str) -> Iterator[str]:
    return (row[name] for row in csv.DictReader(io.StringIO(table.decode())))


def table(rows: Iterable[tuple[str, ...]]) -> int:
    """Prints (what, ours, published) as Markdown; returns how many differ."""
    print("| what | ours | published | difference |\n|---|---|---|---|")
    n_wrong = 0
    for what, ours, published in rows:
        n_wrong += ours != published
        print(f"| {what} | {ours:,} | {published:,} | {ours - published:+,} |")
    return n_wrong


def chexpert(data: bytes) -> int:
    card = catalog.get("chexpert").card
    request = Request(options=card.check_options({}))
    studies = {}
    n_images = 0
    for example in examples("chexpert", data, (p.split("/", 1)[1] for p in column(data, "Path"))):
        n_images += 1
        studies[example.study_id] = labels_of(card, example, request)
    positive, uncertain, negative = Counter(), Counter(), Counter()
    for labels in studies.values():
        positive.update(labels.positive)
        uncertain.update(labels.uncertain)
        negative.update(labels.negative)
    print(f"\n## CheXpert, train.csv: {n_images:,} images of {len(studies):,} studies\n")
    rows = [("images", n_images, 223_414), ("studies", len(studies), N_STUDIES)]
    for name, (yes, open_, neither) in CHEXPERT.items():
        rows += [
            (f"{name}, positive", positive[name], yes),
            (f"{name}, uncertain", uncertain[name], open_),
            (
                f"{name}, negative ({negative[name]:,}) or not labelled",
                len(studies) - positive[name] - uncertain[name],
                neither,
            ),
        ]
    return table(rows)


def vindr(data: bytes) -> int:
    boxes: Counter[str] = Counter()
    readings, n_images = 0, 0
    names = (f"train/{image}.dicom" for image in column(data, "image_id"))
    for example in examples("vindr_cxr", data, names):
        n_images += 1
        boxes.update(str(box.label) for box in example.boxes)
        readings += int(example.votes.get("No finding", 0))
    print(f"\n## VinDr-CXR, train.csv of Kaggle: {n_images:,} images\n")
    found = {**boxes, "No finding": readings}
    rows = [("images", n_images, 15_000)]
    rows += [
        (
            f"{name}, {'readings' if name == 'No finding' else 'boxes'}",
            found.get(name, 0),
            published,
        )
        for name, published in VINDR.items()
    ]
    return table(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the unpacked package")
    data = parser.parse_args().folder / "torchxrayvision" / "data"
    wrong = chexpert(gzip.decompress((data / "chexpert_train.csv.gz").read_bytes()))
    wrong += vindr(gzip.decompress((data / "vinbigdata-train.csv.gz").read_bytes()))
    print(f"\n{wrong} counts differ")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
