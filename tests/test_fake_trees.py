"""The made ECG trees read back, through other people's readers, as their manifests say."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

wfdb = pytest.importorskip("wfdb")
loadmat = pytest.importorskip("scipy.io").loadmat

SOURCES = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")
LEADS = ["i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6"]
FIVE_MB = 5_000_000
# wfdb refuses these legal oddities of early copies, so they are read another way below.
NOT_FOR_WFDB = {"E00001": "record name with .mat", "A0001": "names a .dat beside a .mat"}


def digest(array):
    return hashlib.sha1(np.ascontiguousarray(array)).hexdigest()


def tree_bytes(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def good_headers(tree, source):
    for record, facts in tree.manifests[source]["records"].items():
        if facts["path"].endswith(".hea"):
            yield record, facts, tree.root / source / facts["path"]


def lead_fields(header):
    """Fields of the lead lines: file, coding, gain, bits, zero, first value, checksum, -, lead."""
    lines = [line for line in header.read_text().splitlines() if not line.startswith("#")]
    return [line.split() for line in lines[1:]]


def stored_codes(header):
    """Samples as they lie in the file, shape (12, n), without wfdb."""
    (name,) = {fields[0] for fields in lead_fields(header)}
    beside = [header.with_name(name), header.with_suffix(".mat")]
    path = next(path for path in beside if path.exists())
    if path.suffix == ".mat":
        return loadmat(path)["val"]
    return np.fromfile(path, "<i2").reshape(-1, 12).T


@pytest.mark.parametrize("source", SOURCES)
def test_wfdb_reads_the_samples_that_were_made(ecg_tree, source):
    read = 0
    for record, facts, header in good_headers(ecg_tree, source):
        if record in NOT_FOR_WFDB:
            continue
        found = wfdb.rdrecord(str(header.with_suffix("")), return_res=64)
        order = [[name.lower() for name in found.sig_name].index(lead) for lead in LEADS]
        signal = found.p_signal[:, order].T
        assert found.fs == facts["rate_hz"]
        assert signal.shape == (12, facts["n_samples"])
        assert int(np.isnan(signal).sum()) == facts["n_invalid"]
        assert digest(signal.astype("<f4")) == facts["signal_sha1"], record
        read += 1
    assert read >= 20


@pytest.mark.parametrize("source", SOURCES)
def test_first_values_and_checksums_are_those_of_the_samples(ecg_tree, source):
    for record, facts, header in good_headers(ecg_tree, source):
        codes = stored_codes(header)
        fields = lead_fields(header)
        assert [int(line[5]) for line in fields] == codes[:, 0].tolist()
        sums = codes.astype(np.int64).sum(axis=1)
        assert [int(line[6]) % 65536 for line in fields] == (sums % 65536).tolist()
        order = [[line[8].lower() for line in fields].index(lead) for lead in LEADS]
        assert digest(codes[order].astype("<i2")) == facts["raw_sha1"], record


def test_real_headers_agree_with_the_checksum_rule(real_data):
    headers = sorted(Path(real_data, "ecg", "challenge-2021").rglob("*.hea"))
    assert headers
    for header in headers:
        sums = stored_codes(header).astype(np.int64).sum(axis=1)
        assert [int(line[6]) % 65536 for line in lead_fields(header)] == (sums % 65536).tolist()


def test_a_made_mat_has_the_bytes_of_the_recipe(ecg_tree):
    manifest = ecg_tree.manifests["georgia"]["records"]["E00005"]
    content = (ecg_tree.root / "georgia" / manifest["path"]).with_suffix(".mat").read_bytes()
    start = np.array([30, 12, 2500, 0, 4], "<i4").tobytes() + b"val\0"
    assert content[:24] == start
    assert len(content) == 24 + 24 * 2500


def test_the_slow_recordings_of_ptb_xl_read_back(ecg_tree):
    root = ecg_tree.root / "ptb_xl" / "ptb-xl" / "1.0.3"
    for record, facts in ecg_tree.manifests["ptb_xl"]["records"].items():
        stem = root / "records100" / f"{int(record) // 1000 * 1000:05d}" / f"{record}_lr"
        found = wfdb.rdrecord(str(stem), return_res=64)
        order = [[name.lower() for name in found.sig_name].index(lead) for lead in LEADS]
        signal = found.p_signal[:, order].T.astype("<f4")
        assert found.fs == 100
        assert digest(signal) == facts["signal_sha1_100"]


def test_original_cpsc_files_hold_the_struct(ecg_tree):
    manifest = ecg_tree.manifests["cpsc"]
    for record in manifest["specials"]["matlab_v5"]:
        facts = manifest["records"][record]
        struct = loadmat(ecg_tree.root / "cpsc" / facts["path"])["ECG"]
        assert struct.dtype.names == ("sex", "age", "data")
        assert struct["sex"][0, 0].item().lower() == facts["sex"]
        assert digest(struct["data"][0, 0].astype("<f4")) == facts["signal_sha1"]


@pytest.mark.parametrize("source", SOURCES)
def test_limb_leads_agree_with_each_other(ecg_tree, source):
    for _, facts, header in good_headers(ecg_tree, source):
        if facts["n_invalid"] or facts["n_flat_leads"]:
            continue
        codes = stored_codes(header).astype(int)
        names = [line[8].lower() for line in lead_fields(header)]
        lead = {name: codes[names.index(name)] for name in LEADS}
        assert np.array_equal(lead["iii"], lead["ii"] - lead["i"])
        assert np.abs(lead["avr"] + (lead["i"] + lead["ii"]) / 2).max() <= 0.5
        assert np.abs(lead["avl"] - (lead["i"] - lead["ii"] / 2)).max() <= 0.5
        assert np.abs(lead["avf"] - (lead["ii"] - lead["i"] / 2)).max() <= 0.5


@pytest.mark.parametrize("source", SOURCES)
def test_amplitudes_are_those_of_hearts(ecg_tree, source):
    for record, facts, header in good_headers(ecg_tree, source):
        codes = stored_codes(header).astype(float)
        peak = np.abs(codes[codes > -32768]).max() / 1000
        flat = facts["n_flat_leads"] == 12
        assert flat or 0.5 < peak < 6.0, (record, peak)


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_seed_gives_the_same_bytes(load_fake, tmp_path, source):
    make = load_fake(source).make
    first = make(tmp_path / "one", n=16, seed=3, with_faults=True)
    second = make(tmp_path / "two", n=16, seed=3, with_faults=True)
    assert first == second
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


@pytest.mark.parametrize("source", SOURCES)
def test_another_seed_gives_other_signals(load_fake, tmp_path, source):
    make = load_fake(source).make
    hashes = [
        {facts["raw_sha1"] for facts in make(tmp_path / str(seed), seed=seed)["records"].values()}
        for seed in (0, 1)
    ]
    # Only the wholly flat record may be in both.
    assert len(hashes[0] & hashes[1]) <= 1


@pytest.mark.parametrize("source", SOURCES)
def test_faults_leave_the_good_records_as_they_are(load_fake, tmp_path, source):
    make = load_fake(source).make
    plain = make(tmp_path / "plain", n=16)
    harmed = make(tmp_path / "harmed", n=16, with_faults=True)
    assert plain["faults"] == {}
    assert plain["records"].items() <= harmed["records"].items()


@pytest.mark.parametrize("source", SOURCES)
def test_a_tree_is_small(ecg_tree, source):
    assert sum(map(len, tree_bytes(ecg_tree.root / source).values())) < FIVE_MB


@pytest.mark.parametrize("source", SOURCES)
def test_each_class_occurs(ecg_tree, source):
    records = ecg_tree.manifests[source]["records"].values()
    found = {label for facts in records for label in facts["labels"]}
    assert found == {"normal", "cd", "mi", "sttc", "other", "afib", "hyp"}


def test_proper_cpsc_has_neither_infarction_nor_hypertrophy(ecg_tree):
    for record, facts in ecg_tree.manifests["cpsc"]["records"].items():
        if record.startswith("A"):
            assert not {"mi", "hyp"} & set(facts["labels"])


def test_classes_are_those_of_the_shipped_table(ecg_tree):
    package = importlib.util.find_spec("climb_hf").submodule_search_locations[0]
    with Path(package, "vocabularies", "snomed_ecg.csv").open(encoding="utf-8") as file:
        table = {row["code"]: row["climb7"] for row in csv.DictReader(file)}
    for source in SOURCES[1:]:
        for facts in ecg_tree.manifests[source]["records"].values():
            known = {table[code] for code in facts["native"] if code in table}
            assert set(facts["labels"]) == known


def test_folds_of_ptb_xl_are_complete_and_keep_patients_together(ecg_tree):
    records = ecg_tree.manifests["ptb_xl"]["records"].values()
    assert {facts["fold"] for facts in records} == set(range(1, 11))
    folds_of = {}
    for facts in records:
        folds_of.setdefault(facts["patient_id"], set()).add(facts["fold"])
    assert all(len(folds) == 1 for folds in folds_of.values())


def test_tables_of_ptb_xl_have_the_columns_of_the_release(ecg_tree):
    root = ecg_tree.root / "ptb_xl" / "ptb-xl" / "1.0.3"
    with (root / "ptbxl_database.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert len(header) == 28
    assert sorted(len(row) for row in rows)[-1] == 28
    with (root / "scp_statements.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert (len(header), len(rows)) == (13, 71)
    # 44 statements are diagnostic, 19 are of form, 12 of rhythm; four are of two kinds.
    assert [sum(bool(row[kind]) for row in rows) for kind in (2, 3, 4)] == [44, 19, 12]


def test_patients_are_told_only_where_the_release_tells_them(ecg_tree):
    for source in ("georgia", "cpsc"):
        records = ecg_tree.manifests[source]["records"].values()
        assert {facts["patient_id"] for facts in records} == {None}


def test_duplicate_signals_are_equal(ecg_tree):
    manifest = ecg_tree.manifests["georgia"]
    first, second = (manifest["records"][name] for name in manifest["specials"]["duplicate"])
    assert first["raw_sha1"] == second["raw_sha1"]


def test_each_fault_is_of_a_known_kind(ecg_tree):
    for manifest in ecg_tree.manifests.values():
        assert manifest["faults"]
        for record, fault in manifest["faults"].items():
            assert fault["kind"] in {"damaged", "missing", "copy"}
            assert (record in manifest["records"]) == (fault["kind"] == "copy")


def test_the_fused_header_fools_wfdb_as_the_real_one_does(ecg_tree):
    root = ecg_tree.root / "chapman_shaoxing"
    (header,) = root.rglob("JS01053.hea")
    found = wfdb.rdheader(str(header.with_suffix("")))
    assert found.n_sig == 12
    assert len(found.sig_name) == 11


def test_the_challenge_copy_of_ptb_xl_spells_its_unit_small(load_fake, tmp_path):
    manifest = load_fake("ptb_xl").make_challenge_copy(tmp_path)
    header = tmp_path / manifest["records"]["HR00001"]["path"]
    assert {line[2] for line in lead_fields(header)} == {"1000.0(0)/mv"}


@pytest.mark.parametrize("source", SOURCES)
def test_a_maker_loads_by_its_path_alone(tmp_path, source):
    path = Path(__file__).parent / "fake" / f"{source}.py"
    spec = importlib.util.spec_from_file_location(f"by_path_{source}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module.make(tmp_path, n=1)["records"]) > 10


def test_the_session_is_offline_with_caches_of_its_own():
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_DATASETS_OFFLINE"] == "1"
    datasets = pytest.importorskip("datasets")
    assert str(datasets.config.HF_DATASETS_CACHE).startswith(os.environ["HF_HOME"])
