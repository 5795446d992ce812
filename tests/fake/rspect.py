"""A made tree of RSPECT: `train.csv` with shuffled rows, and a DICOM file a slice."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_dicoms import dicom
from made_images import write, write_table
from made_volumes import body, volume_sha1

CLASSES = ("No PE", "Chronic PE", "Acute PE")
FLAGS = (
    *("negative_exam_for_pe", "qa_motion", "qa_contrast", "flow_artifact"),
    *("rv_lv_ratio_gte_1", "rv_lv_ratio_lt_1", "leftsided_pe", "chronic_pe"),
    *("true_filling_defect_not_pe", "rightsided_pe", "acute_and_chronic_pe"),
    *("central_pe", "indeterminate"),
)
COLUMNS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "pe_present_on_image"),
    *FLAGS,
)
SIZE, N_SLICES = 32, 6
LEVEL, WIDTH = 80.0, 700.0
SPACING = (0.7, 0.7, 1.25)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes slices and returns what a reader must find of each.

    Of three studies one is negative, one chronic and one acute, from the third slice on. The first
    study's files hold no rescale, the others an offset of -1024.

    Args:
        root: folder to write into; made if absent.
        n: number of good slices, six a study.
        seed: of the voxels.
        with_faults: also list a slice that is not there, and write one without pixels and one
            that is cut short.
    """
    return _written(root, n, seed, with_faults)[0]


def make_volumes(root: Path, n: int = 24, seed: int = 0) -> dict[str, Any]:
    """Writes the same files and returns what a reader must find of each study."""
    return _written(root, n, seed, False)[1]


def _written(
    root: Path, n: int, seed: int, with_faults: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    slices, studies = new_truth(CLASSES, ["Kaggle"]), new_truth(CLASSES, ["Kaggle"])
    rows = []
    for number in range(-(-n // N_SLICES)):
        study, series = f"{number:012x}", f"5e{number:010x}"
        values = body([seed, number], (N_SLICES, SIZE, SIZE))  # HU, from the feet to the head
        for at in range(min(N_SLICES, n - number * N_SLICES)):
            one = hashlib.sha1(f"{number} {at}".encode()).hexdigest()[:12]
            visible = number % 3 > 0 and at >= 2
            chronic = number % 3 == 1
            path = root / "train" / study / series / f"{one}.dcm"
            write(path, _slice(values[at], number, at))
            rows.append(_row(study, series, one, visible, chronic))
            kind = CLASSES[0 if not visible else 1 if chronic else 2]
            slices["records"][one] = {
                "labels": [kind],
                "native": [kind],
                "patient_id": None,
                "pixel_sha1": _shown(values[at]),
            }
        worst = CLASSES[number % 3]
        affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
        studies["records"][study] = {
            "labels": [worst],
            "native": [worst],
            "volume_sha1": volume_sha1(values.transpose(2, 1, 0), affine),
        }
    if with_faults:
        study, series = "0" * 12, f"5e{0:010x}"
        folder = root / "train" / study / series
        write(folder / "aaaaaaaaaaaa.dcm", dicom(None, Modality="CT"))
        whole = _slice(body([9], (1, SIZE, SIZE))[0], 1, 0)
        write(folder / "bbbbbbbbbbbb.dcm", whole[: len(whole) * 2 // 3])
        rows += [_row(study, series, one * 12, False, False) for one in "abc"]
        kinds = ("damaged", "damaged", "missing")
        slices["faults"] = {o * 12: {"kind": k} for o, k in zip("abc", kinds, strict=True)}
    order = np.random.default_rng(seed).permutation(len(rows))
    write_table(root / "train.csv", COLUMNS, [rows[at] for at in order])
    return slices, studies


def _row(study: str, series: str, one: str, visible: bool, chronic: bool) -> tuple[Any, ...]:
    flags = {"negative_exam_for_pe": not visible, "chronic_pe": visible and chronic}
    return (study, series, one, int(visible), *(int(flags.get(flag, False)) for flag in FLAGS))


def _slice(values: np.ndarray, number: int, at: int) -> bytes:
    """A CT slice in HU; names and numbers say nothing of its place."""
    offset = 0 if number == 0 else -1024
    rescale = {} if number == 0 else {"RescaleSlope": 1, "RescaleIntercept": offset}
    return dicom(
        (values - offset).astype(np.int16),
        bits=16,
        Modality="CT",
        SeriesInstanceUID=f"1.2.3.{number}",
        ImagePositionPatient=[0.0, 0.0, SPACING[2] * at],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[SPACING[1], SPACING[0]],
        SliceThickness=SPACING[2],
        **rescale,
    )


def _shown(values: np.ndarray) -> str:
    """SHA-1 of the pixels at level 80 and width 700."""
    scaled = ((values - (LEVEL - WIDTH / 2)) / WIDTH).clip(0, 1) * 255
    return hashlib.sha1(np.rint(scaled).astype(np.uint8).tobytes()).hexdigest()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
