"""Cholec80: laparoscopic removals of the gallbladder in 90 clips each, with phases and tools."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
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
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, VideoFile

VIDEO, TEXT = r"video\d\d\.mp4", r"video\d\d-(phase|tool)\.txt"
FPS, LAST_OF_TRAINING = 25.0, "video40"
PHASES = {
    "Preparation": "Preparation",
    "CalotTriangleDissection": "Calot Triangle Dissection",
    "ClippingCutting": "Clipping Cutting",
    "GallbladderDissection": "Gallbladder Dissection",
    "GallbladderPackaging": "Gallbladder Packaging",
    "CleaningCoagulation": "Cleaning Coagulation",
    "GallbladderRetraction": "Gallbladder Retraction",
}
NO_TOOL = "None"
TOOLS = ("Grasper", "Bipolar", "Hook", "Scissors", "Clipper", "Irrigator", "SpecimenBag", NO_TOOL)
Row = tuple[float, tuple[str, ...]]
CARD = SourceCard(
    name="cholec80",
    title="Cholec80",
    summary="clips of 80 laparoscopic removals of the gallbladder with surgical phases and tools",
    modality=Modality.ENDOSCOPY,
    licence=Licence("CC-BY-NC-SA-4.0", share_data=True, share_derived=True),
    access=Access.AGREEMENT,
    homepage="https://camma.unistra.fr/datasets/",
    citation="Twinanda et al. (2017), IEEE TMI 36(1):86-97, doi:10.1109/TMI.2016.2593957",
    release="CAMMA, University of Strasbourg, 80 videos",
    remotes=(Remote("https://camma.unistra.fr/datasets/"),),
    layouts=(Layout("CAMMA", VIDEO, f"{VIDEO}|{TEXT}", example="cholec80/videos/video01.mp4"),),
    vocabularies=(
        Vocabulary(
            "cholec_phase7", tuple(PHASES.values()), codes=PHASES | dict.fromkeys(TOOLS, "")
        ),
        Vocabulary(
            "cholec_tool8",
            TOOLS,
            codes=dict.fromkeys(PHASES, "") | {tool: tool for tool in TOOLS},
            normal=NO_TOOL,
        ),
    ),
    split=SplitRule({"train": 0.5, "test": 0.5}, True, "EndoNet's: videos 1 to 40, 41 to 80"),
    n_records=7_200,
    n_patients=80,
    options={"intervals": Option(90, "parts that each video is cut into", kind=int)},
    question="laparoscopy",
    shown="Frames of a clip of the laparoscopic removal of a gallbladder are given.",
    quirks=(
        "each of 90 equal parts of the annotated time begins with the first key frame in it, so "
        "that no frame is encoded again or stored twice: labels are those of what a clip shows",
        "a part without a key frame belongs to the clip before it; tools are told once a second",
        "CLIMB tests on 16 videos that the order of files on its machine chose",
        "a video is an operation and so a patient; CholecT45 and CholecT50 share videos with it",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a clip of each video that has annotations."""
    if options["intervals"] < 1:
        raise OptionError(f"intervals={options['intervals']!r} must be at least 1.")
    lying = {path.rpartition("/")[2]: path for path in tree.find(f"{VIDEO}|{TEXT}")}
    for record in sorted({name[:7] for name in lying}):
        paths = [lying.get(f"{record}{end}") for end in (".mp4", "-phase.txt", "-tool.txt")]
        if paths[0] is None:
            yield Fault(record, "missing", "annotated, but its video is not there")
        elif paths[1] is None:
            yield Fault(record, "left out", "its phases are not there: no labels", paths[0])
        else:
            files = [tree.path(path) if path else None for path in paths]
            try:
                yield from _clips(record, options["intervals"], *files)
            except CorruptFileError as error:
                yield Fault(record, "damaged", str(error), paths[0])


def _clips(record: str, n: int, path: Any, phases: Any, tools: Any) -> Iterator[Example | Fault]:
    from climb_hf.io import video

    keys = video.key_times(path)
    shown = _table(phases, lambda cells, _: tuple(cells))
    used = _table(tools, _held) if tools else []
    length = len(shown) // n
    if length == 0:
        raise CorruptFileError(f"{phases.name} has {len(shown)} rows to be cut into {n} parts.")
    edges = [shown[part * length][0] - 0.5 / FPS for part in range(n)]
    begins = [*(bisect_left(keys, edge) for edge in edges), len(keys)]
    for part, (first, last) in enumerate(pairwise(begins)):
        clip = f"{record}/{part:03}"
        if first == last:
            yield Fault(clip, "left out", "no key frame lies in it", str(path))
            continue
        start_s, stop_s = keys[first], keys[last] if last < len(keys) else None
        held = _between(used, start_s, stop_s)
        yield Example(
            record=clip,
            native=(*_between(shown, start_s, stop_s), *sorted(held, key=TOOLS.index)),
            examined=None if held else tuple(PHASES),
            recording=record,
            patient_id=record,
            split="train" if record <= LAST_OF_TRAINING else "test",
            videos=(VideoFile(path, start_s, stop_s),),
        )


def _table(path: Path, codes_of: Callable[..., tuple[str, ...]]) -> list[Row]:
    """The rows of a file of annotations: when, and its codes."""
    header, *lines = path.read_text("utf-8-sig", errors="replace").splitlines() or [""]
    names = header.split()
    rows = [line.split() for line in lines if line.strip()]
    if names[:1] != ["Frame"] or any(len(row) != len(names) for row in rows):
        raise CorruptFileError(f"{path.name} is no table of frames, or cut short. Fetch it again.")
    return sorted((int(frame) / FPS, codes_of(cells, names[1:])) for frame, *cells in rows)


def _held(flags: list[str], names: list[str]) -> tuple[str, ...]:
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag == "1") or (NO_TOOL,)


def _between(rows: Sequence[Row], start_s: float, stop_s: float | None) -> list[str]:
    """The codes of the rows in a part, each once, in their order; no tool only where none is."""
    first = bisect_left(rows, (start_s - 0.5 / FPS,))
    last = len(rows) if stop_s is None else bisect_left(rows, (stop_s - 0.5 / FPS,))
    found = list(dict.fromkeys(code for _, codes in rows[first:last] for code in codes))
    return [code for code in found if code != NO_TOOL or len(found) == 1]


__getattr__ = builder_of(__name__)
