"""Sources with masks: each outline over its image, and what the reward pays for finding it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image as Pillow

from climb_hf import cli
from climb_hf.loading import load_dataset, load_report
from climb_hf.trainers.drpo_rewards import box_iou_best, box_iou_mean


@pytest.fixture
def tree_of(tmp_path, load_fake):
    """A function that makes a source's tree for this test alone."""

    def of(name, **how):
        root = tmp_path / "raw"
        return root, load_fake(name).make(root / name, **how)

    return of


def rows_of(root, name, **options):
    splits = load_dataset("climb", name, data_dir=str(root), **options)
    return {
        row["id"].split("/", 1)[1]: {**row, "split": split}
        for split, part in splits.items()
        for row in part
    }


def extent(mask):
    """The box around what is not 0, counted pixel by pixel."""
    rows, columns = np.nonzero(np.asarray(mask))
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None


def said(*boxes):
    items = [{"bbox_2d": [int(edge) for edge in box]} for box in boxes]
    return f"```json\n{json.dumps(items)}\n```\n\\boxed{{Benign}}"


def paid(reward, text, row):
    (score,) = reward([text], boxes=[row["boxes"]], masks=[row["masks"]])
    return score


def test_each_lesion_of_busi_is_a_mask_over_its_image(tree_of):
    root, truth = tree_of("busi", n=24)
    rows = rows_of(root, "busi")
    for name, known in truth["records"].items():
        row = rows[name]
        found = [extent(one["mask"]) for one in row["masks"]]
        assert [one for one in found if one] == known["lesions"]
        assert {one["mask"].size for one in row["masks"]} == {row["images"][0].size}
        assert {(one["image"], one["label"]) for one in row["masks"]} == {(0, "lesion")}


def test_the_mask_of_twice_the_size_is_resized_and_flagged(tree_of):
    root, _ = tree_of("busi", n=9)
    rows = rows_of(root, "busi")
    assert [name for name in rows if "mask_resized" in rows[name]["flags"]] == ["benign-2"]


def test_an_image_without_its_mask_is_read_and_the_mask_reported(tree_of):
    root, _ = tree_of("busi", n=9, with_faults=True)
    table = load_dataset("climb", "busi", data_dir=str(root))
    (report,) = load_report(table)
    missing = {fault.record for fault in report.faults if fault.kind == "missing"}
    assert missing == {"benign-97_mask", "malignant-98"}
    assert rows_of(root, "busi")["benign-97"]["masks"] == []


def test_all_lesions_found_earn_the_whole_reward(tree_of):
    root, truth = tree_of("busi", n=9)
    row = rows_of(root, "busi", task="qa")["benign-1"]
    first, second = truth["records"]["benign-1"]["lesions"]
    for reward in (box_iou_best, box_iou_mean):
        assert paid(reward, said(first, second), row) == 1.0
        assert paid(reward, said(second), row) == 1.0
    half = (first[0], first[1], first[0] + (first[2] - first[0]) // 2, first[3])
    assert paid(box_iou_best, said(half), row) == pytest.approx(0.5)
    assert paid(box_iou_mean, said(half, second), row) == pytest.approx(0.75)
    assert paid(box_iou_mean, said(first, (0, 0, 2, 2)), row) == pytest.approx(0.5)


def test_boxes_on_a_normal_image_are_neither_paid_nor_punished(tree_of):
    root, _ = tree_of("busi", n=9)
    row = rows_of(root, "busi", task="qa")["normal-1"]
    assert len(row["masks"]) == 1
    assert paid(box_iou_best, said((1, 1, 9, 9)), row) is None


def test_climbs_own_splits_can_be_asked_for(tree_of):
    root, _ = tree_of("busi", n=36)
    rows = rows_of(root, "busi", split_rule="official")
    for kind in ("normal", "benign", "malignant"):
        names = sorted(f"{kind} ({number})" for number in range(1, 13))
        train = {f"{kind}-{name.split('(')[1][:-1]}" for name in names[:9]}
        assert {n for n in rows if n.startswith(kind) and rows[n]["split"] == "train"} == train


def test_equal_images_of_a_class_can_be_left_out(tree_of):
    root, _ = tree_of("busi", n=9)
    folder = next(root.rglob("benign"))
    shutil.copy(folder / "benign (1).png", folder / "benign (50).png")
    shutil.copy(folder / "benign (1).png", folder.parent / "malignant" / "malignant (50).png")
    kept = rows_of(root, "busi")
    twins = {name for name in kept if "duplicate_signal" in kept[name]["flags"]}
    assert twins == {"benign-1", "benign-50", "malignant-50"}
    assert len({kept[name]["split"] for name in twins}) == 1
    dropped = rows_of(root, "busi", options={"busi": {"drop_duplicates": True}})
    assert set(kept) - set(dropped) == {"benign-50"}


def test_outlines_of_ham10000_lie_over_what_is_dark_in_the_image(tree_of):
    root, _ = tree_of("ham10000", n=8)
    rows = rows_of(root, "ham10000")
    without = {name for name, row in rows.items() if not row["masks"]}
    assert without == {"ISIC_0024310"}
    for name in rows.keys() - without:
        (one,) = rows[name]["masks"]
        shown, drawn = rows[name]["images"][0].convert("L"), np.asarray(one["mask"]) > 0
        assert drawn.shape == (shown.height, shown.width)
        assert np.asarray(shown)[drawn].mean() + 50 < np.asarray(shown)[~drawn].mean()


def test_without_their_archive_no_outline_is_missed(tree_of):
    root, truth = tree_of("ham10000", n=4)
    shutil.rmtree(root / "ham10000" / "HAM10000_segmentations_lesion_tschandl")
    table = load_dataset("climb", "ham10000", data_dir=str(root), split="all")
    assert len(table) == len(truth["records"])
    assert load_report(table)[0].faults == []


def test_a_preview_tells_of_masks_and_draws_them(tree_of, tmp_path, capsys):
    root, _ = tree_of("busi", n=3)
    out = tmp_path / "sheet.png"
    command = ["preview", "busi", "--data-dir", str(root), "--n", "1", "--out", str(out)]
    assert cli.main(command) == 0
    assert "masks  2 x lesion" in capsys.readouterr().out
    shown = Pillow.open(out)
    image, mask = (next(root.rglob(f"benign (1){tail}.png")) for tail in ("", "_mask"))
    x1, y1, x2, _ = Pillow.open(mask).getbbox()
    scale = shown.width / Pillow.open(image).width
    strip = shown.height - round(Pillow.open(image).height * scale)  # what is written above
    place = round(scale * (x1 + x2) / 2), strip + round(scale * y1) + 1
    assert shown.getpixel(place) == (230, 25, 75)
