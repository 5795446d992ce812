"""What readers of images share: facts of their cards, and tables joined to images by name."""

from __future__ import annotations

import filecmp
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from climb_hf.card import Modality, Option, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.io.files import or_fault
from climb_hf.io.tree import RawTree, matcher
from climb_hf.schema import Example, Fault, ImageFile

# What the cards of these sources state alike; `SourceCard(..., **DERMOSCOPY)`.
_PHOTO: dict[str, Any] = {
    "asked": "choice",
    "split": SplitRule(fractions={"train": 0.8, "test": 0.2}),
}
DERMOSCOPY: dict[str, Any] = {"modality": Modality.DERMOSCOPY, **_PHOTO}
FUNDUS: dict[str, Any] = {"modality": Modality.FUNDUS, **_PHOTO}
MRI: dict[str, Any] = {"modality": Modality.MRI, **_PHOTO}
# In the order behind CLIMB's integer labels.
SKIN5 = Vocabulary(
    "skin5",
    ("MEL", "NV", "BCC", "AKIEC", "OTHER"),
    ("Melanoma", "Nevus", "Basal Cell Carcinoma", "AKIEC", "Other"),
)
DR5 = Vocabulary(
    "dr5",
    ("No DR", "Mild DR", "Moderate DR", "Severe DR", "Proliferative DR"),
    codes={"0": "No DR", "1": "Mild DR", "2": "Moderate DR", "3": "Severe DR"}
    | {"4": "Proliferative DR"},
)
# For sources whose release has DICOM files; their readers hand it on as `ImageFile.form`.
DICOM_MODE = Option(
    "uint8",
    "what a DICOM file becomes: 8 or 16 bits of grey as it is shown, or its values as stored",
    choices=("uint8", "uint16", "raw"),
)
_Place = tuple[str, str | None]  # path in the tree, name within an archive


def native_classes(identity: str, texts: Mapping[str, str]) -> Vocabulary:
    """Returns the class list of a release's own codes: code -> what a question offers for it."""
    codes = {code: code for code in texts}
    return Vocabulary(identity, tuple(texts), tuple(texts.values()), codes)


def kept(row: Mapping[str, str | None], columns: Iterable[str]) -> dict[str, str]:
    """Returns the cells of a row that say something, under the release's own names."""
    return {name: value for name in columns if (value := (row.get(name) or "").strip())}


def grade_of(code: str) -> tuple[tuple[str, float, str | None], ...]:
    """Returns a grade of retinopathy as a target, so that its order is kept; none for a blank."""
    return (("dr_grade", float(code), None),) if code in DR5.codes else ()


def records_of(
    tables: Sequence[str], rows: Callable[[str], Iterator[Example | Fault]], name: str
) -> Iterator[Example | Fault]:
    """Yields what tables list, but for records that an earlier table lists already.

    Args:
        tables: paths in a tree, the one to go by first.
        rows: gives the records of one.
        name: of the table; it is a fault where none is there.
    """
    if not tables:
        yield Fault(name, "damaged", "it is not there, and images without it have no labels", name)
    seen: set[str] = set()
    for path in tables:
        own = [*or_fault(rows(path), path, path)]
        yield from (one for one in own if one.record not in seen)
        seen |= {one.record for one in own}


def stem(path: str) -> str:
    """Returns the name of a file without folders and without its ending."""
    return path.rpartition("/")[2].rpartition(".")[0]


def twins_in(tree: RawTree, paths: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """Returns which of some files has the bytes of one of others; those of one size are read."""
    sizes: dict[int | None, list[str]] = {}
    for path in others:
        sizes.setdefault(tree.size(path), []).append(path)
    found = {}
    for path in paths:
        for other in sizes.get(tree.size(path), ()):
            if filecmp.cmp(tree.path(path), tree.path(other), shallow=False):
                found[path] = other
                break
    return found


def as_id(path: str) -> str:
    """Returns the name of a file, ending included, in the letters that a record's id may have."""
    return re.sub(r"[^\w.+-]", "_", path.rpartition("/")[2], flags=re.ASCII)


def with_images(
    tree: RawTree,
    found: Iterable[Example | Fault],
    pattern: str,
    archives: str | None = None,
    record: Callable[[str], str] = stem,
    twins: bool = True,
) -> Iterator[Example | Fault]:
    """Yields records with the image that is called like them, and what does not fit together.

    A record without its image is missing, or damaged where an archive that may hold it cannot be
    opened; an image beside those of records that no record is called like is left out.

    Args:
        found: records of the tables, without images; faults are passed on.
        pattern: regular expression of the names of images, as `RawTree.find` takes it.
        archives: of the names of zip archives that may hold images too.
        record: the record of an image by its path.
        twins: whether equal images are looked for, to keep them in one split. Where patients are
            known that is not worth it: images of equal sizes are read for it.
    """
    lying, broken = _lying(tree, pattern, archives, record)
    listed: set[str] = set()
    folders: set[str] = set()
    for example in found:
        if isinstance(example, Fault):
            yield example
            continue
        listed.add(example.record)
        places = lying.get(example.record)
        if places is None:
            yield _without_image(example, broken)
            continue
        for path, _ in places[1:]:
            yield Fault(example.record, "copy", "its image lies in a second place", path)
        path, key = places[0]
        folders.add(path.rpartition("/")[0])
        # Archives are never compared byte by byte: that would read the whole of them.
        size = None if key or not twins else f"{tree.size(path)} bytes"
        image = ImageFile(tree.path(path), key=key)
        yield replace(example, images=(image,), signature=size)
    for name in sorted(lying.keys() - listed):
        path, key = lying[name][0]
        if path.rpartition("/")[0] in folders:
            yield Fault(name, "left out", "an image that the table does not list", key or path)


def in_folders(
    tree: RawTree, pattern: str, record: Callable[[str], str]
) -> Iterator[tuple[str, Example] | Fault]:
    """Yields path and record of each image of a release whose folders are its labels.

    An image whose record was seen before is a copy: archives are often unpacked into a second
    folder. Patients are unknown; byte-equal images stay in one split.

    Args:
        pattern: regular expression of folders and name, as `RawTree.find` takes it.
        record: the record of an image by its path.
    """
    seen: set[str] = set()
    for path in sorted(tree.find(pattern), key=lambda path: (path.count("/"), path)):
        name = record(path)
        if name in seen:
            yield Fault(name, "copy", "its image lies in a second place", path)
            continue
        seen.add(name)
        yield (
            path,
            Example(
                record=name,
                signature=f"{tree.size(path)} bytes",
                flags=("patient_unknown",),
                images=(ImageFile(tree.path(path)),),
            ),
        )


def _without_image(example: Example, broken: Mapping[str, str]) -> Fault:
    if not broken:
        return Fault(example.record, "missing", "listed, but its image is not there")
    path, reason = next(iter(broken.items()))
    words = f"its image is not there, and {path} cannot be opened: {reason}. Fetch that again."
    return Fault(example.record, "damaged", words, path)


def _lying(
    tree: RawTree, pattern: str, archives: str | None, record: Callable[[str], str]
) -> tuple[dict[str, list[_Place]], dict[str, str]]:
    """Record -> where its images lie, files first; archive -> why it is broken."""
    found: dict[str, list[_Place]] = {}
    broken: dict[str, str] = {}
    fits = matcher([pattern])
    for path in sorted(tree.find(pattern)):
        found.setdefault(record(path), []).append((path, None))
    for path in sorted(tree.find(archives)) if archives else ():
        try:
            inside = _members(tree, path)
        except CorruptFileError as error:
            broken[path] = str(error)
            continue
        for key in inside:
            if fits(key):
                found.setdefault(record(key), []).append((path, key))
    return found, broken


def _members(tree: RawTree, path: str) -> list[str]:
    """The names in a zip archive.

    Raises:
        CorruptFileError: if it is none, or cut short.
    """
    try:
        with zipfile.ZipFile(tree.path(path)) as archive:
            return sorted(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise CorruptFileError(str(error)) from error
