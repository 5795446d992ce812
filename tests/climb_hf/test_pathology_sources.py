"""Sources of tissue: what leaks is said, slides and sites stay whole, parts keep their pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image as Pillow

from climb_hf import cli
from climb_hf.io.regions import Cut
from climb_hf.loading import load_dataset

TISSUES = ("Tumor", "Stroma", "Lymphocytic infiltrate", "Necrosis/debris")


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


def torn(rows, group_of):
    """The groups that stand in several splits."""
    splits = {}
    for name, row in rows.items():
        splits.setdefault(group_of[name], set()).add(row["split"])
    return {group for group, names in splits.items() if len(names) > 1}


def test_the_leak_of_lc25000_is_told_by_info(capsys):
    assert cli.main(["info", "lc25000"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "LEAK: the 25,000 tiles are rotations and flips of 1,250 originals" in told


def test_tiles_of_one_original_stay_together_where_a_table_tells_them(tree_of, tmp_path):
    root, truth = tree_of("lc25000", n=60)
    none = {"grouping": "none"}
    assert torn(rows_of(root, "lc25000", options={"lc25000": none}), truth["originals"])
    table = tmp_path / "originals.csv"
    lines = [f"{name}.jpeg,{original}" for name, original in truth["originals"].items()]
    table.write_text("\n".join(["file_name,original", *lines]) + "\n")
    options = {"lc25000": {"originals": str(table), **none}}
    rows = rows_of(root, "lc25000", options=options)
    assert torn(rows, truth["originals"]) == set()
    assert {row["split"] for row in rows.values()} == {"train", "test"}


def test_each_tile_names_its_organ(tree_of):
    root, truth = tree_of("lc25000", n=10)
    for name, row in rows_of(root, "lc25000").items():
        (folder,) = truth["records"][name]["native"]
        assert row["meta"] == {"organ": folder.split("_")[0]}


def test_a_patch_of_bcss_is_cut_with_the_mask_of_its_tissue(tree_of):
    root, _ = tree_of("bcss", n=12)
    for name, row in rows_of(root, "bcss").items():
        (image,), (one,) = row["images"], row["masks"]
        slide, _, where = name.partition("/")
        code, *box = map(int, where.split("_"))
        drawn = np.asarray(Pillow.open(next(root.rglob(f"masks/{slide}*"))))
        x1, y1, x2, y2 = box
        assert image.size == one["mask"].size == (x2 - x1, y2 - y1)
        if "mask_resized" not in row["flags"]:
            assert np.array_equal(np.asarray(one["mask"]) > 0, drawn[y1:y2, x1:x2] == code)
        assert (row["label"], one["label"]) == (code - 1, TISSUES[code - 1])


def test_the_mask_that_lacks_a_column_is_flagged(tree_of):
    root, _ = tree_of("bcss", n=12)
    rows = rows_of(root, "bcss")
    flagged = {name.partition("/")[0] for name in rows if "mask_resized" in rows[name]["flags"]}
    assert flagged == {"TCGA-OL-0001-DX1"}


def test_slides_of_the_papers_sites_are_for_testing(tree_of):
    root, _ = tree_of("bcss", n=24)
    sites = {"train": set(), "test": set()}
    for row in rows_of(root, "bcss").values():
        sites[row["split"]].add(row["site"])
        assert row["split_origin"] == "official"
    assert sites == {"train": {"A1", "BH", "AR"}, "test": {"OL", "S3", "E2"}}


def test_whole_regions_keep_their_codes(tree_of):
    root, _ = tree_of("bcss", n=6)
    rows = rows_of(root, "bcss", variant="rois")
    assert len(rows) == 3
    (one,) = rows["TCGA-A1-0000-DX1"]["masks"]
    assert one["label"] is None
    assert set(np.unique(one["mask"])) == {1, 7, 20}
    assert rows["TCGA-A1-0000-DX1"]["images"][0].size == (1300, 300)


def test_patches_with_little_of_their_tissue_can_be_left_out(tree_of):
    root, _ = tree_of("bcss", n=6)
    options = {"bcss": {"min_fraction": 0.96}}
    left_out = set(rows_of(root, "bcss")) - set(rows_of(root, "bcss", options=options))
    # The rim of the hole takes 240 * 300 - 234 * 250 of 1024 * 300 px in both, 4.4 %.
    wide = "TCGA-A1-0000-DX1"
    assert left_out == {f"{wide}/1_0_0_1024_300", f"{wide}/1_276_0_1300_300"}


def test_codes_that_the_paper_merges_make_larger_patches(tree_of):
    root, _ = tree_of("bcss", n=6)
    merged = rows_of(root, "bcss", options={"bcss": {"merge": "paper"}})
    tumours = {name for name in merged if "/1_" in name and "-0000-" not in name}
    assert tumours == {f"TCGA-{site}-DX1/1_3_2_246_228" for site in ("OL-0001", "BH-0002")}
    assert {np.asarray(merged[name]["masks"][0]["mask"])[:, -1].max() for name in tumours} == {255}


def test_tissue_within_a_hole_of_its_kind_is_no_patch_of_its_own(tree_of):
    root, _ = tree_of("bcss", n=2)
    assert all(name.startswith("TCGA-A1-0000-DX1/1_") for name in rows_of(root, "bcss"))
    assert len(rows_of(root, "bcss")) == 2  # the windows of the outer area


@pytest.mark.parametrize("side", [1025, 1300, 1920, 1921, 2500, 11857])
def test_windows_cover_a_side_evenly_and_overlap_enough(side):
    found = Cut(least=224, most=1024, overlap=128).along(10, 10 + side)
    starts, stops = zip(*found, strict=True)
    assert (starts[0], stops[-1]) == (10, 10 + side)
    assert {stop - start for start, stop in found} == {1024}
    overlaps = [stop - start for stop, start in zip(stops, starts[1:], strict=False)]
    assert min(overlaps) >= 128
    assert max(overlaps) - min(overlaps) <= 1
    assert len(found) == math.ceil((side - 128) / (1024 - 128))  # the card's rule


def turned(tile, rng):
    """A tile as Augmentor makes it: turned by up to 25 degrees, cropped, perhaps mirrored."""
    angle = rng.uniform(-25, 25)
    side = tile.width / (math.cos(math.radians(abs(angle))) + math.sin(math.radians(abs(angle))))
    whole = tile.rotate(angle, Pillow.Resampling.BICUBIC, expand=True)
    x, y = (whole.width - side) / 2, (whole.height - side) / 2
    made = whole.crop((x, y, x + side, y + side)).resize(tile.size, Pillow.Resampling.BICUBIC)
    for way in (Pillow.Transpose.FLIP_LEFT_RIGHT, Pillow.Transpose.FLIP_TOP_BOTTOM):
        made = made.transpose(way) if rng.random() < 0.5 else made
    return made


def folder_of(tiles, folder, n_each, seed=0):
    """A class folder with so many turned copies of each tile; returns tile -> its original."""
    rng, originals = np.random.default_rng(seed), {}
    folder.mkdir(parents=True)
    numbers = rng.permutation(len(tiles) * n_each)
    for place, number in enumerate(numbers):
        name = f"lungaca{number + 1}"
        turned(tiles[place % len(tiles)], rng).save(folder / f"{name}.jpeg", quality=90)
        originals[name] = place % len(tiles)
    return originals


def textures(n, seed=0):
    """Smooth random fields in colour, no two of which are one original."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (n, 12, 12, 3), dtype=np.uint8)
    return [Pillow.fromarray(one).resize((160, 160), Pillow.Resampling.BICUBIC) for one in small]


def test_turned_copies_of_a_tile_are_told_by_their_pixels(tmp_path):
    originals = folder_of(textures(12), tmp_path / "raw" / "lung_aca", n_each=10)
    leaking = {"lc25000": {"grouping": "none"}}
    assert torn(rows_of(tmp_path / "raw", "lc25000", options=leaking), originals)
    rows = rows_of(tmp_path / "raw", "lc25000")
    assert torn(rows, originals) == set()
    in_test = {originals[name] for name, row in rows.items() if row["split"] == "test"}
    assert 2 <= len(in_test) <= 4  # a quarter of 12: different tiles are not one group


def test_turned_tiles_of_a_real_slide_are_told_by_their_pixels(real_data, tmp_path):
    slides = sorted((real_data / "image").rglob("*.svs"))
    if not slides:
        pytest.skip("no slide among the real images")
    with Pillow.open(slides[0]) as pages:
        slide = pages.convert("RGB")
    side = 224
    corners = [(x, y) for x in range(0, 1996, side) for y in range(0, 2743, side)]
    tiles = [slide.crop((x, y, x + side, y + side)) for x, y in corners]
    tissue = [one for one in tiles if np.asarray(one.convert("L"), float).std() > 25][:24]
    originals = folder_of(tissue, tmp_path / "raw" / "lung_aca", n_each=12)
    rows = rows_of(tmp_path / "raw", "lc25000")
    assert len(torn(rows, originals)) <= 1
    assert {row["split"] for row in rows.values()} == {"train", "test"}
