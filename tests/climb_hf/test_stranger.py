"""Sources of other people: one file of theirs, no file of ours touched."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

import climb_hf
from climb_hf import catalog, cli
from climb_hf.testing import CHECKS, Subject, run_check

wfdb = pytest.importorskip("wfdb")
REPOSITORY = Path(__file__).parents[2]
TEMPLATE = REPOSITORY / "builders" / "_template.py"
MITBIH = REPOSITORY / "tests" / "strangers" / "mitbih.py"


@pytest.fixture(scope="module", autouse=True)
def forget_strangers():
    """Leaves the catalogue to other tests as it was."""
    yield
    for name in ("my_source", "mitbih", "broken"):
        catalog.forget(name)


@pytest.fixture(scope="module")
def template_tree(tmp_path_factory):
    spec = importlib.util.spec_from_file_location(
        "fake_template", REPOSITORY / "tests" / "fake" / "_template.py"
    )
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    root = tmp_path_factory.mktemp("template")
    return root, maker.make(root, with_faults=True)


@pytest.fixture(scope="module")
def template_subject(template_tree):
    root, truth = template_tree
    subject = Subject(catalog.get(catalog.add_file(TEMPLATE)), root, truth)
    yield subject
    subject.close()


# What the template's ECGs have not.
NOT_ITS = (
    "the release has no official split",
    "no record has a graph",
    "no record has a profile",
    "no record has an image",
    "no record has a volume",
    "no record has a mask of a volume",
    "no record has a video",
    "needs the maker of the files to say 'volume_sha1' of its records",
    "needs the maker of the files to say 'graph_sha1' of its records",
    "needs the maker of the files to say 'expression_sha1' of its records",
    "needs the maker of the files to say 'image_sha1' of its records",
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_template_passes(template_subject, check):
    found = run_check(check, template_subject)
    assert found.outcome == "passed" or found.message in NOT_ITS, found


def test_the_template_is_no_source_of_ours():
    code = "from climb_hf import catalog; print(*catalog.sources())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "my_source" not in done.stdout
    assert "georgia" in done.stdout


def test_the_steps_of_contributing_work(tmp_path):
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Add a source in two files")[1].split("\n## ")[0]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1]
    for folder in ("builders", "tests"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    scripts = Path(sys.executable).parent
    steps = block.replace("python ", f"{sys.executable} ").replace(
        "climb-hf ", f"{scripts}/climb-hf "
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", steps], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "FAILED" not in done.stdout
    assert (tmp_path / "preview.png").is_file()


# --- MIT-BIH: real two-lead records with beat labels -------------------------------------------


@pytest.fixture(scope="module")
def real_ecg(real_data):
    return real_data / "ecg"


@pytest.fixture(scope="module")
def mitbih(real_ecg):
    catalog.add_file(MITBIH)
    return climb_hf.load_dataset("climb", "mitbih", data_dir=str(real_ecg))


def test_a_stranger_loads(mitbih):
    # Record 100: 650,000 samples at 360 Hz are 180 whole windows of 10 s, all of one patient.
    (rows,) = mitbih.values()
    assert len(rows) == 180
    assert set(rows["patient_id"]) == {"100"}
    assert rows.features["label"].names == ["N", "S", "V", "F", "Q"]


def test_the_signal_of_a_window_is_what_wfdb_reads_there(mitbih, real_ecg):
    (rows,) = mitbih.values()
    row = next(row for row in rows if row["id"] == "mitbih/100/7")
    record = wfdb.rdrecord(str(real_ecg / "mitbih" / "100"), sampfrom=25_200, sampto=28_800)
    signal = row["series"][0]
    assert signal.channels == ("MLII", "V5")
    assert np.array_equal(signal.values, record.p_signal.T.astype(np.float32))


def test_the_beats_of_a_window_are_its_labels(mitbih, real_ecg):
    # PhysioNet's table of record 100: 2,239 normal, 33 atrial premature, 1 ventricular beat.
    (rows,) = mitbih.values()
    names = rows.features["label"].names
    beats = wfdb.rdann(str(real_ecg / "mitbih" / "100"), "atr")
    ventricular = [s for s, symbol in zip(beats.sample, beats.symbol, strict=True) if symbol == "V"]
    assert len(ventricular) == 1
    found = [row["id"] for row in rows if names.index("V") in row["labels"]]
    assert found == [f"mitbih/100/{ventricular[0] // 3600}"]


def test_a_stranger_is_reached_by_the_literal_name(mitbih, real_ecg):
    found = datasets.load_dataset("climb", "mitbih", data_dir=str(real_ecg))
    assert found.num_rows == mitbih.num_rows


def test_a_stranger_joins_its_modality(mitbih):
    assert "mitbih" in catalog.configs()["ecg"]


@pytest.mark.parametrize(
    "command", [["check"], ["preview", "--n", "1"], ["build", "--out", "prepared"]]
)
def test_the_commands_take_a_file(command, real_ecg, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status = cli.main([command[0], str(MITBIH), "--data-dir", str(real_ecg), *command[1:]])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "mitbih" in printed


def test_check_prints_json(template_tree, capsys):
    root, _ = template_tree
    arguments = ["check", str(TEMPLATE), "--data-dir", str(root), "--json"]
    assert cli.main([*arguments, "--only", "card_is_complete"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["results"] == [{"check": "card_is_complete", "outcome": "passed", "message": ""}]


def test_check_ends_with_1_when_a_check_fails(template_tree, capsys, tmp_path):
    root, _ = template_tree
    broken = tmp_path / "broken.py"
    text = TEMPLATE.read_text().replace('name="my_source"', 'name="broken"')
    broken.write_text(text.replace("Author et al. (2024), Journal 1:1", "somebody"))
    assert cli.main(["check", str(broken), "--data-dir", str(root)]) == 1
    assert "FAILED  card is complete  citation names no year." in capsys.readouterr().out


def test_check_names_the_nearest_check(template_tree, capsys):
    root, _ = template_tree
    arguments = ["check", str(TEMPLATE), "--data-dir", str(root), "--only", "card_is_complet"]
    assert cli.main(arguments) == 1
    assert "Did you mean 'card_is_complete'?" in capsys.readouterr().err


def test_check_without_a_folder_says_what_to_do(capsys, monkeypatch):
    monkeypatch.delenv("CLIMB_DATA_DIR", raising=False)
    assert cli.main(["check", str(TEMPLATE)]) == 1
    assert "data_dir" in capsys.readouterr().err


# --- pictures ----------------------------------------------------------------------------------


def test_a_series_that_is_no_12_lead_ecg_is_drawn_as_traces(mitbih):
    from climb_hf.traces import series_sheet

    (rows,) = mitbih.values()
    signal = rows[0]["series"][0]
    picture = series_sheet(signal, width_px=800, title="100")
    assert picture.width == 800
    assert np.asarray(picture.convert("L")).min() < 60  # ink
    flat = series_sheet(
        type(signal)(np.zeros((2, 100), np.float32), 10.0, ("x", "y"), ("g", "g")), width_px=800
    )
    assert isinstance(flat, Image.Image)


def test_a_series_without_samples_is_refused():
    from climb_hf.errors import OptionError
    from climb_hf.traces import traces
    from climb_hf.views import Signal

    with pytest.raises(OptionError, match="0 samples"):
        traces(Signal(np.zeros((2, 0), np.float32), 10.0, ("x", "y"), ("g", "g")))
