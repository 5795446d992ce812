"""The config `all` over the made trees of every source, eagerly and as a stream."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.card import Modality

pytest.importorskip("wfdb")
FAKES = Path(__file__).parents[1] / "fake"
ABSENT = "proteins"  # which source is not on the disk


@pytest.fixture(scope="module")
def everything(made, tmp_path_factory):
    """A folder with the made trees of all sources but one."""
    root = tmp_path_factory.mktemp("everything")
    for name in catalog.sources():
        if name != ABSENT:
            (root / name).symlink_to(made(name).root / name)
    return root


@pytest.fixture(scope="module")
def loaded(everything):
    return climb_hf.load_dataset("climb", "all", data_dir=str(everything), decode=False)


def test_all_holds_every_source_and_modality(loaded):
    shown = loaded.select_columns(["source", "modality"])
    found = {(row["source"], row["modality"]) for part in shown.values() for row in part}
    wanted = {(n, str(s.card.modality)) for n, s in catalog.sources().items() if n != ABSENT}
    assert found == wanted
    assert {modality for _, modality in found} <= set(map(str, Modality))


def test_all_tells_of_each_source_what_was_read_skipped_and_missing(loaded, made):
    reports = {report.source: report for report in climb_hf.load_report(loaded)}
    assert list(reports) == list(catalog.sources())
    rows = [source for part in loaded.values() for source in part["source"]]
    for name, report in reports.items():
        assert report.good == rows.count(name)
        if name != ABSENT:
            faults = made(name).manifests[name]["faults"]
            told = {fault.record: fault for fault in report.faults}
            assert set(told) == set(faults), name
            for record, fault in faults.items():
                assert told[record].kind == fault["kind"]
                assert told[record].reason
    assert reports[ABSENT].summary() == f"{ABSENT}: no file of it is there"


def test_a_source_that_is_not_there_is_told_once(everything, caplog):
    climb_hf.load_dataset("climb", "molecule_graph", data_dir=str(everything), streaming=True)
    told = [record.getMessage() for record in caplog.records]
    assert [line for line in told if ABSENT in line] == [f"nothing is there of: {ABSENT}"]


def test_all_streams_the_rows_of_the_table(everything, loaded):
    options = {"data_dir": str(everything), "decode": False}
    stream = climb_hf.load_dataset("climb", "all", streaming=True, split="test", **options)
    assert stream.features == loaded["test"].features
    for row, streamed in itertools.islice(zip(loaded["test"], stream, strict=False), 25):
        assert streamed["id"] == row["id"]
        assert streamed["labels"] == row["labels"]


def test_trees_of_chosen_sources_are_written_by_name(tmp_path):
    command = [sys.executable, str(FAKES / "write_all.py"), str(tmp_path)]
    subprocess.run([*command, "6", "proteins", "ppmi"], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ppmi", "proteins"]
    done = subprocess.run([*command, "6", "nothing"], check=False, capture_output=True, text=True)
    assert done.returncode
    assert "no maker of nothing; there are: abcd, " in done.stderr


def test_every_source_has_a_maker(load_fake):
    assert set(load_fake("write_all").makers()) == set(catalog.sources())
