"""PyHealth's own readers of the two Temple University corpora, over the made trees.

PyHealth 1.1 needs an older pandas than this package, so it runs in an environment of its own:

    CLIMB_PYHEALTH_PYTHON=<its python> python -m pytest -m peer tests/climb_hf/test_pyhealth.py
"""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest

import climb_hf

pytestmark = pytest.mark.peer
# What PyHealth makes of a folder: patient, visit and number of each sample, its label and signal.
READ = """
import pickle, sys
import mne, numpy as np
from pyhealth.datasets import {dataset}
from pyhealth.tasks import {task}
mne.set_log_level("error")
found = {{}}
patients = {dataset}(root=sys.argv[1]).process_EEG_data()
for records in patients.values():
    for record in records:
        record["save_to_path"] = sys.argv[2]
        try:
            samples = {task}([record]) or []  # None where electrodes are absent
        except ValueError as error:
            print("refused", record["signal_file"], error, file=sys.stderr)
            continue
        for number, sample in enumerate(samples):
            with open(sample["epoch_path"], "rb") as file:
                held = pickle.load(file)
            name = record["signal_file"].removesuffix(".edf") + f"/{{number}}"
            found[name + " label"] = held["label"]
            found[name + " signal"] = held["signal"]
np.savez(sys.argv[3], **found)
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A function: record -> (label, microvolts) as PyHealth reads a folder."""
    python = os.environ.get("CLIMB_PYHEALTH_PYTHON")
    if not python:
        pytest.skip("CLIMB_PYHEALTH_PYTHON names no python that has PyHealth")

    def read(root, dataset, task):
        work = tmp_path_factory.mktemp("pyhealth")
        code = READ.format(dataset=dataset, task=task)
        out = work / "found.npz"
        done = subprocess.run(
            [python, "-c", code, str(root), str(work), str(out)],
            capture_output=True,
            text=True,
            cwd=work,
            env={**os.environ, "HOME": str(work)},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found = np.load(out)
        names = sorted({name.split()[0] for name in found.files})
        return {n: (int(found[f"{n} label"]), found[f"{n} signal"] * 1e6) for n in names}

    return read


@pytest.fixture(scope="module")
def tree(load_fake, tmp_path_factory):
    """A function: a source's made tree without faults, at which PyHealth would stop."""

    def make(name):
        root = tmp_path_factory.mktemp(name)
        return root, load_fake(name).make(root / name, n=24)

    return make


def ours(root, name, **options):
    found = climb_hf.load_dataset("climb", name, data_dir=str(root), **options)
    return {row["id"].removeprefix(f"{name}/"): row for part in found.values() for row in part}


def test_the_abnormal_corpus_has_equal_windows_and_labels(tree, theirs):
    root, truth = tree("tuab")
    rows = ours(root, "tuab")
    peer = theirs(
        root / "tuab" / "tuh_eeg_abnormal" / "v3.0.1" / "edf", "TUABDataset", "EEG_isAbnormal_fn"
    )
    # It knows the older electrode names only.
    newer = truth["specials"]["newer_names"][0]
    assert set(peer) == {record for record in rows if not record.startswith(newer)}
    for record, (label, _) in peer.items():
        assert label == rows[record]["label"]
    # It resamples by Fourier transform, so that only what needs no other rate can be equal.
    stems = {truth["specials"][s][0] for s in ("stored_at_200_hz", "not_ascii")}
    equal = [record for record in peer if record.split("/")[0] in stems]
    assert len(equal) == 4
    for record in equal:
        (signal,) = rows[record]["series"]
        assert signal.values == pytest.approx(peer[record][1], abs=1e-3)


def test_the_events_corpus_has_equal_windows_and_labels(tree, theirs):
    root, truth = tree("tuev")
    rows = ours(root, "tuev", options={"tuev": {"dedupe": False}})
    peer = theirs(
        root / "tuev" / "tuh_eeg_events" / "v2.0.1" / "edf", "TUEVDataset", "EEG_events_fn"
    )
    # A .rec of one line is more than it can read.
    assert set(peer) == set(rows) - {truth["specials"]["one_line"]}
    for record, (label, values) in peer.items():
        row = rows[record]
        assert row["native_labels"] == [str(label)]
        if "padded" not in row["flags"]:  # at the edges it takes the other end of the recording
            assert row["series"][0].values == pytest.approx(values, abs=1e-3)
    assert sum("padded" in rows[record]["flags"] for record in peer) == 2
