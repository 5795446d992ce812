"""Sources of tissue: what leaks is said, slides and sites stay whole, parts keep their pixels."""

from __future__ import annotations

import pytest

from climb_hf import cli
from climb_hf.loading import load_dataset


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
    assert torn(rows_of(root, "lc25000"), truth["originals"])  # the leak that the card tells of
    table = tmp_path / "originals.csv"
    lines = [f"{name}.jpeg,{original}" for name, original in truth["originals"].items()]
    table.write_text("\n".join(["file_name,original", *lines]) + "\n")
    options = {"lc25000": {"originals": str(table)}}
    rows = rows_of(root, "lc25000", options=options)
    assert torn(rows, truth["originals"]) == set()
    assert {row["split"] for row in rows.values()} == {"train", "test"}


def test_each_tile_names_its_organ(tree_of):
    root, truth = tree_of("lc25000", n=10)
    for name, row in rows_of(root, "lc25000").items():
        (folder,) = truth["records"][name]["native"]
        assert row["meta"] == {"organ": folder.split("_")[0]}
