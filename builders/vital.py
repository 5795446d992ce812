"""BioMed-VITAL: talks about figures of articles, written by GPT-4V, picked by clinicians."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Modality, Option, Remote, SourceCard, SplitRule
from climb_hf.io.files import or_fault
from climb_hf.io.json_records import array_of, turns_of
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import as_id, native_classes
from climb_hf.schema import Example, Fault, ImageFile

LISTED = r"BioMed-VITAL-instructions-\d+K\.json"
FIGURE = r"\d+_[\w.+-]+\.jpe?g"
HOST = "https://huggingface.co/datasets/mao1207/BioMed-VITAL-instructions"
KINDS = {"chest_xray": "Chest X-ray", "mri": "MRI", "histology": "Histology"}
KINDS |= {"gross": "Gross pathology", "ct_scan": "CT"}
READ = {"id", "image", "domain", "conversations", "conversatons", "fig_caption"}
CARD = SourceCard(
    name="vital",
    title="BioMed-VITAL instructions",
    summary="conversations about figures of biomedical articles, with the figure where it is there",
    modality=Modality.MULTIMODAL,
    licence=Licence("unclear: Apache-2.0 on the Hub, CC-BY-NC-4.0 on its page", False, False),
    access=Access.OPEN,
    homepage=HOST,
    citation="Cui et al. (2024), NeurIPS 2024, arXiv:2406.13173",
    release="Hugging Face, 210K",
    remotes=(Remote(HOST),),
    layouts=(Layout("Hub", LISTED, f"{LISTED}|{FIGURE}", "BioMed-VITAL-instructions-210K.json"),),
    vocabularies=(native_classes("figure5", KINDS),),
    split=SplitRule({"train": 0.8, "test": 0.2}),
    n_records=210_000,
    options={"allow_missing_images": Option(False, "keep text without its figure", kind=bool)},
    quirks=(
        "figures are no part of the release: each lies in its article's package and keeps that "
        "article's licence; a conversation without its figure is missing",
        "`<image>` is taken out of what is said: the figure stands in images",
        "an id that stands twice is a copy where the same is said; else the later one is told "
        "apart by the first eight digits of the SHA-1 of what is said in it",
        "a figure stays in one split; CLIMB's 42,000 / 168,000 look swapped, and no list of them "
        "is published",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a conversation."""
    seen: dict[str, set[str]] = {}
    for path in sorted(tree.find(LISTED)):
        yield from or_fault(_talks(tree, path, seen, options), as_id(path), path)


def _talks(
    tree: RawTree, path: str, seen: dict[str, set[str]], options: Mapping[str, Any]
) -> Iterator[Example | Fault]:
    for number, entry in enumerate(array_of(tree.path(path)), start=1):
        known = entry if isinstance(entry, dict) else {}
        record = as_id(str(known.get("id") or f"{path}-{number}"))
        figure = str(known.get("image")).rpartition("/")[2]
        turns = turns_of(known)
        if not turns or not re.fullmatch(FIGURE, figure):
            yield Fault(record, "damaged", f"entry {number} is no talk about a figure", path)
            continue
        digest = hashlib.sha1(repr((figure, turns)).encode()).hexdigest()
        before = seen.setdefault(record, set())
        if digest in before:
            yield Fault(record, "copy", "the same conversation stood before", path)
            continue
        record = f"{record}.{digest[:8]}" if before else record
        before.add(digest)
        places = tree.named(figure)
        if not places:
            kept = options["allow_missing_images"]
            yield Fault(f"{record}_image" if kept else record, "missing", f"no {figure} is there")
        if places or options["allow_missing_images"]:
            images = tuple(ImageFile(tree.path(place)) for place in places[:1])
            yield _example(record, known, figure, messages=turns, images=images)


def _example(record: str, entry: Mapping[str, Any], figure: str, **media: Any) -> Example:
    kinds, caption = entry.get("domain"), entry.get("fig_caption")
    kinds = kinds if isinstance(kinds, dict) else {}
    told = {name: value for name, value in entry.items() if name not in READ}
    return Example(
        record,
        native=tuple(kind for kind, true in kinds.items() if true is True),
        examined=tuple(kinds),
        group=figure,
        flags=("patient_unknown",),
        text=caption if isinstance(caption, str) and caption else None,
        meta={"image": entry["image"], **told},
        **media,
    )


__getattr__ = builder_of(__name__)
