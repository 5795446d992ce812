"""`climb-hf build`: the folder on every road, its bytes, how configs join, what is told."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

import climb_hf
from climb_hf import build as building
from climb_hf import catalog, cli
from climb_hf.config import ClimbConfig
from climb_hf.errors import (
    ConfigNameError,
    CorruptFileError,
    DataNotFoundError,
    PreparedFolderError,
)
from climb_hf.views import as_stored

pytest.importorskip("wfdb")

CONFIGS = ("ecg", "all", "georgia")
TASKS = ("classification", "qa")


def prepare(name, raw, out, *, num_proc=1, shard_mb=0.5, force=False, **options):
    config = ClimbConfig(name=name, sources=catalog.check_config(name), **options)
    return building.build(config, raw, out, num_proc=num_proc, shard_mb=shard_mb, force=force)


def digests(folder):
    """Digest of every file, but for what belongs to this machine."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if ".climb" not in path.parts
    }


def shards_of(folder, source=""):
    return sorted(path for path in Path(folder).glob(f"data/{source}*/*/*.parquet"))


@pytest.fixture(scope="module")
def raw(ecg_tree):
    return ecg_tree.root


@pytest.fixture(scope="module")
def ecg_folder(raw, tmp_path_factory):
    """Everything of the made tree, prepared. Read only."""
    out = tmp_path_factory.mktemp("prepared") / "ecg"
    prepare("ecg", raw, out, shard_mb=1)
    return out


@pytest.fixture
def own_folder(ecg_folder, tmp_path):
    """A copy of the prepared folder that a test may change."""
    return shutil.copytree(ecg_folder, tmp_path / "own")


@pytest.fixture(scope="module")
def georgia_folder(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "georgia"
    prepare("georgia", raw, out)
    return out


@pytest.fixture
def own_georgia(georgia_folder, tmp_path):
    return shutil.copytree(georgia_folder, tmp_path / "own-georgia")


@pytest.fixture
def own_raw(raw, tmp_path):
    """A copy of Georgia's raw files; returns the folder above."""
    shutil.copytree(raw / "georgia", tmp_path / "raw" / "georgia")
    return tmp_path / "raw"


# --- the same table on every road ------------------------------------------------------------

PLAIN = """
import json, sys

sys.modules["climb_hf"] = None  # any import of it fails
import datasets
import pyarrow as pa

folder, out, names = sys.argv[1], sys.argv[2], sys.argv[3:]
for name in names:
    streams = datasets.load_dataset(folder, name, streaming=True)
    for split, part in datasets.load_dataset(folder, name).items():
        datasets.Dataset(part.data).to_parquet(f"{out}/{name}-{split}.parquet")
        assert streams[split].features == part.features
        assert list(streams[split]) == list(part)
        with open(f"{out}/{name}-{split}.json", "w") as file:
            json.dump(part.features.to_dict(), file)
"""


def without_us(folder, out, names):
    """Loads configs in a process that cannot import climb_hf and returns their parts."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(folder), str(out), *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=out,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    parts = {}
    for file in Path(out).glob("*.parquet"):
        config, split = file.stem.rsplit("-", 1)
        features = datasets.Features.from_dict(json.loads(file.with_suffix(".json").read_text()))
        parts[config, split] = pq.read_table(file), features
    return parts


@pytest.fixture(scope="module")
def plain(ecg_folder, tmp_path_factory):
    names = [name + end for name in CONFIGS for end in ("", "_qa")]
    return without_us(ecg_folder, tmp_path_factory.mktemp("plain"), names)


def same(table, other):
    """Whether two tables are equal value by value; how they are cut into chunks is no matter."""
    return table.schema.equals(other.schema) and table.equals(other)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", CONFIGS)
def test_plain_datasets_sees_the_table_of_the_raw_files(plain, raw, name, task):
    want = climb_hf.load_dataset("climb", name, data_dir=raw, task=task, decode=False)
    config = name + ("_qa" if task == "qa" else "")
    assert {split for found, split in plain if found == config} == set(want)
    for split, part in want.items():
        table, features = plain[config, split]
        assert same(table, part.data.table)
        assert as_stored(features) == part.features


LOADERS = {"ours": climb_hf.load_dataset, "literal": datasets.load_dataset}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_our_roads_give_the_table_of_the_raw_files_with_the_view(load, raw, ecg_folder, task):
    want = climb_hf.load_dataset("climb", "ecg", data_dir=raw, task=task)
    found = load("climb", "ecg", data_dir=str(ecg_folder), task=task)
    assert list(found) == list(want)
    for split, part in want.items():
        assert same(found[split].data.table, part.data.table)
        assert found[split].features == part.features
        first, wanted = found[split][0]["series"][0], part[0]["series"][0]
        assert (first.values == wanted.values).all()


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_stream_of_the_folder_is_that_of_the_raw_files(load, raw, ecg_folder):
    options = {"streaming": True, "split": "train", "decode": False}
    want = climb_hf.load_dataset("climb", "ecg", data_dir=raw, **options)
    found = load("climb", "ecg", data_dir=str(ecg_folder), **options)
    assert found.features == want.features
    assert list(found) == list(want)


def test_two_processes_read_what_one_does(ecg_folder, tmp_path):
    options = {"data_dir": str(ecg_folder), "cache_dir": str(tmp_path)}
    one = climb_hf.load_dataset("climb", "ecg", **options)
    options["cache_dir"] = str(tmp_path / "again")
    two = climb_hf.load_dataset("climb", "ecg", num_proc=2, **options)
    for split, part in one.items():
        assert same(two[split].data.table, part.data.table)


def test_a_question_config_has_its_own_name(ecg_folder):
    by_task = climb_hf.load_dataset("climb", "ecg", data_dir=ecg_folder, task="qa")
    by_name = climb_hf.load_dataset("climb", "ecg_qa", data_dir=ecg_folder)
    for split, part in by_task.items():
        assert same(by_name[split].data.table, part.data.table)
        assert all(part["prompt"])


def test_columns_and_filters_reach_the_parquet_files(ecg_folder):
    found = climb_hf.load_dataset(
        "climb",
        "ecg",
        data_dir=ecg_folder,
        split="train",
        columns=["id", "labels"],
        filters=[("source", "==", "georgia")],
    )
    assert found.column_names == ["id", "labels"]
    assert len(found)
    assert all(name.startswith("georgia/") for name in found["id"])


def test_the_home_is_loaded_where_no_folder_is_named(ecg_folder, monkeypatch):
    monkeypatch.delenv("CLIMB_DATA_DIR", raising=False)
    monkeypatch.setenv("CLIMB_HOME", str(ecg_folder))
    found = datasets.load_dataset("climb", "georgia", split="test")
    want = climb_hf.load_dataset("climb", "georgia", data_dir=ecg_folder, split="test")
    assert same(found.data.table, want.data.table)
    assert "ecg_qa" in datasets.get_dataset_config_names("climb")


def test_raw_files_by_the_variable_go_before_the_home(raw, ecg_folder, monkeypatch):
    monkeypatch.setenv("CLIMB_HOME", str(ecg_folder / "nowhere"))
    monkeypatch.setenv("CLIMB_DATA_DIR", str(raw))
    assert climb_hf.load_dataset("climb", "georgia", split="test").num_rows


def test_a_home_that_is_no_prepared_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("CLIMB_DATA_DIR", raising=False)
    monkeypatch.setenv("CLIMB_HOME", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"CLIMB_HOME names .* no prepared folder.*build"):
        climb_hf.load_dataset("climb", "ecg")


def test_the_report_is_that_of_the_raw_files(raw, ecg_folder):
    want = climb_hf.load_report(climb_hf.load_dataset("climb", "ecg", data_dir=raw))
    found = climb_hf.load_report(climb_hf.load_dataset("climb", "ecg", data_dir=ecg_folder))
    assert [report.summary() for report in found] == [report.summary() for report in want]
    for one, other in zip(found, want, strict=True):
        assert {f.record: f.kind for f in one.faults} == {f.record: f.kind for f in other.faults}


def test_dataloader_workers_get_every_row_once(ecg_folder):
    data = pytest.importorskip("torch.utils.data")
    stream = climb_hf.load_dataset(
        "climb", "ecg", data_dir=ecg_folder, split="train", streaming=True, columns=["id"]
    )
    loader = data.DataLoader(
        stream, batch_size=None, num_workers=2, multiprocessing_context="spawn"
    )
    found = [row["id"] for row in loader]
    assert sorted(found) == sorted(row["id"] for row in stream)


def test_real_recordings_are_the_same_on_both_roads(real_data, tmp_path):
    outcome = prepare("ecg", real_data / "ecg", tmp_path / "out")
    plain = without_us(tmp_path / "out", tmp_path, ["ecg", "ecg_qa"])
    for task in TASKS:
        want = climb_hf.load_dataset("climb", "ecg", data_dir=real_data / "ecg", task=task)
        for split, part in want.items():
            table, _ = plain["ecg_qa" if task == "qa" else "ecg", split]
            assert same(table, part.data.table)
    assert outcome.n_bytes <= 1.2 * outcome.raw_bytes


def test_every_source_is_the_same_on_both_roads(made, tmp_path):
    (tmp_path / "raw").mkdir()
    for name in catalog.sources():
        (tmp_path / "raw" / name).symlink_to(made(name).root / name)
    prepare("all", tmp_path / "raw", tmp_path / "out", num_proc=2)
    for task in TASKS:
        want = climb_hf.load_dataset("climb", "all", data_dir=tmp_path / "raw", task=task)
        found = climb_hf.load_dataset("climb", "all", data_dir=tmp_path / "out", task=task)
        assert list(found) == list(want)
        for split, part in want.items():
            assert found[split].features == part.features
            assert same(found[split].data.table, part.data.table)
        if task == "classification":
            assert {n for part in found.values() for n in part["source"]} == set(catalog.sources())


# --- what lies in the folder -----------------------------------------------------------------


def test_the_output_is_at_most_a_fifth_larger_than_what_was_read(ecg_folder):
    manifest = json.loads((ecg_folder / "climb.json").read_text())
    for entry in manifest["sources"].values():
        written = sum((ecg_folder / shard["path"]).stat().st_size for shard in entry["shards"])
        assert 0 < written <= 1.2 * entry["raw_bytes"]


def test_the_raw_bytes_are_those_of_the_files(raw, ecg_folder):
    entry = json.loads((ecg_folder / "climb.json").read_text())["sources"]["georgia"]
    lost = {fault["record"] for fault in entry["report"]["faults"]}
    files = [p for p in (raw / "georgia").rglob("E*.*") if p.stem not in lost]
    assert entry["raw_bytes"] == sum(path.stat().st_size for path in files)


def test_the_manifest_tells_digest_and_rows_of_every_file(ecg_folder):
    manifest = json.loads((ecg_folder / "climb.json").read_text())
    found = digests(ecg_folder)
    told = {s["path"]: s for entry in manifest["sources"].values() for s in entry["shards"]}
    assert {path for path in found if path.endswith(".parquet")} == set(told)
    for path, shard in told.items():
        assert shard["sha256"] == found[path]
        assert shard["rows"] == pq.read_metadata(ecg_folder / path).num_rows
    assert manifest["schema_version"] == "1.0.0"
    assert manifest["package_version"] == climb_hf.__version__


def test_the_manifest_tells_where_each_source_came_from(ecg_folder):
    for name, entry in json.loads((ecg_folder / "climb.json").read_text())["sources"].items():
        card = catalog.get(name).card
        assert (entry["release"], entry["card_version"]) == (card.release, card.version)
        assert entry["licence"] == card.licence.name
        assert entry["layouts"]


def test_no_file_names_a_folder_of_this_machine(raw, ecg_folder):
    for path in digests(ecg_folder):
        content = (ecg_folder / path).read_bytes()
        assert str(raw).encode() not in content
        assert str(ecg_folder).encode() not in content


def test_the_readme_lists_the_configs_that_have_data(ecg_folder, georgia_folder):
    names = datasets.get_dataset_config_names(str(ecg_folder))
    sources = ("chapman_shaoxing", "cpsc", "georgia", "ptb_xl")
    assert sorted(names) == sorted(n + e for n in ("all", "ecg", *sources) for e in ("", "_qa"))
    assert "ptb_xl" not in datasets.get_dataset_config_names(str(georgia_folder))


def test_the_readme_counts_the_rows_of_each_split(ecg_folder):
    info = datasets.load_dataset_builder(str(ecg_folder), "ecg_qa").info
    found = climb_hf.load_dataset("climb", "ecg_qa", data_dir=ecg_folder)
    assert {name: split.num_examples for name, split in info.splits.items()} == found.num_rows
    assert info.features["answer"] == datasets.Value("string")


@pytest.fixture
def unlabelled(raw, tmp_path):
    """The first release's structs of CPSC, which carry no labels without their table."""
    (tmp_path / "structs").mkdir()
    for path in (raw / "cpsc").rglob("A*.mat"):
        if not list(path.parent.glob(f"{path.stem}.hea")):
            shutil.copy(path, tmp_path / "structs")
    return tmp_path / "structs"


def test_a_source_without_a_single_question_has_no_question_config(unlabelled, tmp_path):
    outcome = prepare("cpsc", unlabelled, tmp_path / "out")
    assert set(outcome.manifest.configs) == {"cpsc", "ecg", "all"}
    with pytest.raises(ConfigNameError, match="holds no question"):
        climb_hf.load_dataset("climb", "cpsc", task="qa", data_dir=tmp_path / "out")


# --- the same bytes --------------------------------------------------------------------------


def test_two_processes_write_what_one_does(raw, ecg_folder, tmp_path):
    prepare("ecg", raw, tmp_path / "out", shard_mb=1, num_proc=2)
    assert digests(tmp_path / "out") == digests(ecg_folder)


def test_configs_built_one_after_the_other_are_those_built_at_once(raw, ecg_folder, tmp_path):
    for name in ("ptb_xl", "georgia", "chapman_shaoxing", "cpsc"):
        prepare(name, raw, tmp_path / "out", shard_mb=1)
    assert digests(tmp_path / "out") == digests(ecg_folder)


def test_a_second_build_keeps_every_shard(raw, own_folder):
    before = {path: path.stat().st_mtime_ns for path in shards_of(own_folder)}
    outcome = prepare("ecg", raw, own_folder, shard_mb=1)
    assert outcome.written == ()
    assert {path: path.stat().st_mtime_ns for path in shards_of(own_folder)} == before


def test_raw_files_that_were_touched_alone_give_the_same_bytes(own_raw, own_georgia):
    before = digests(own_georgia)
    for path in own_raw.rglob("E00002.*"):
        os.utime(path)
    outcome = prepare("georgia", own_raw, own_georgia)
    assert len(outcome.written) == 1
    assert digests(own_georgia) == before
    assert prepare("georgia", own_raw, own_georgia).written == ()


def test_only_the_shards_that_were_lost_are_written_again(raw, own_folder):
    before = digests(own_folder)
    lost = random.Random(0).sample(shards_of(own_folder), 3)
    for path in lost:
        path.unlink()
    outcome = prepare("ecg", raw, own_folder, shard_mb=1)
    assert sorted(outcome.written) == sorted(p.relative_to(own_folder).as_posix() for p in lost)
    assert digests(own_folder) == before


STRANGER = """
from dataclasses import replace

from climb_hf.builders.georgia import CARD as GEORGIA, read
from climb_hf.lazy import builder_of

CARD = replace(GEORGIA, name="stranger", title="A stranger's recordings")
__getattr__ = builder_of(__name__)
"""


@pytest.fixture
def stranger(tmp_path):
    """A source in a file of its own, known until the test ends."""
    file = tmp_path / "stranger.py"
    file.write_text(STRANGER)
    yield catalog.add_file(file)
    catalog.forget("stranger")


def test_workers_know_a_source_in_a_file_of_its_own(stranger, own_raw, tmp_path):
    (own_raw / "georgia").rename(own_raw / "stranger")
    outcome = prepare("stranger", own_raw, tmp_path / "out", num_proc=2)
    assert len(outcome.written) > 1
    found = climb_hf.load_dataset("climb", "ecg", data_dir=tmp_path / "out")
    assert set(found["train"]["source"]) == {"stranger"}


def test_a_folder_with_a_strangers_source_is_read_and_joined_without_its_file(
    stranger, own_raw, tmp_path
):
    shutil.copytree(own_raw / "georgia", own_raw / "stranger")
    prepare("stranger", own_raw, tmp_path / "out")
    run_elsewhere(["build", "georgia", *folders(own_raw, tmp_path / "out")])
    assert sorted(datasets.get_dataset_config_names(str(tmp_path / "out"))) == sorted(
        name + end for name in ("all", "ecg", "georgia", "stranger") for end in ("", "_qa")
    )


# --- joining and replacing -------------------------------------------------------------------


def test_a_second_config_joins_the_first(raw, own_georgia, tmp_path):
    before = digests(own_georgia)
    outcome = prepare("cpsc", raw, own_georgia)
    assert outcome.sources == ("cpsc",)
    assert {p for p in before if p.endswith(".parquet")} < set(digests(own_georgia))
    for root in ("georgia", "cpsc"):
        (tmp_path / "both").mkdir(exist_ok=True)
        (tmp_path / "both" / root).symlink_to(raw / root)
    want = climb_hf.load_dataset("climb", "ecg", data_dir=tmp_path / "both")
    found = datasets.load_dataset(str(own_georgia), "ecg")
    for split, part in want.items():
        assert same(found[split].data.table, part.data.table)


def test_other_options_replace_the_shards_of_a_source(raw, own_georgia):
    before = shards_of(own_georgia)
    prepare("georgia", raw, own_georgia, length="raw")
    assert not set(before) & set(shards_of(own_georgia))
    assert not [path for path in before if path.exists()]
    want = climb_hf.load_dataset("climb", "georgia", data_dir=raw, length="raw")
    found = climb_hf.load_dataset("climb", "georgia", data_dir=own_georgia)
    for split, part in want.items():
        assert same(found[split].data.table, part.data.table)


def test_a_build_that_fails_leaves_what_stood_there(raw, own_georgia, monkeypatch):
    before = digests(own_georgia)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(building, "write_shard", full)
    with pytest.raises(PreparedFolderError, match=r"stopped: no space left.*run the same command"):
        prepare("georgia", raw, own_georgia, length="raw")
    assert digests(own_georgia) == before
    assert datasets.load_dataset(str(own_georgia), "georgia", split="test").num_rows


def test_plain_datasets_never_serves_the_rows_of_an_earlier_build(own_raw, tmp_path):
    out, cache = str(tmp_path / "out"), str(tmp_path / "cache")
    prepare("georgia", own_raw, out)
    before = datasets.load_dataset(out, "georgia", cache_dir=cache)
    (header,) = own_raw.rglob("E00002.hea")
    header.write_text(header.read_text().replace("164889003", "164873001"))  # of the same length
    prepare("georgia", own_raw, out)
    after = datasets.load_dataset(out, "georgia", cache_dir=cache)
    labels = [
        next(row["labels"] for part in found.values() for row in part if "E00002" in row["id"])
        for found in (before, after)
    ]
    assert labels == [[5], [6]]  # fibrillation, then hypertrophy


def change_a_sample(own_raw):
    """Changes one signal and neither its size nor its header."""
    (path,) = own_raw.rglob("E00002.mat")
    content = bytearray(path.read_bytes())
    content[24:26] = (1234).to_bytes(2, "little")
    path.write_bytes(content)


def test_a_signal_that_changed_within_is_noticed(own_raw, tmp_path):
    out = tmp_path / "out"
    prepare("georgia", own_raw, out)
    before = digests(out)
    change_a_sample(own_raw)
    outcome = prepare("georgia", own_raw, out)
    assert len(outcome.written) == 1
    changed = {path for path, digest in digests(out).items() if before.get(path) != digest}
    assert changed == {*outcome.written, "README.md", "climb.json"}


def test_a_source_whose_shards_are_replaced_in_place_is_not_shown_meanwhile(
    own_raw, raw, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    prepare("georgia", own_raw, out)
    prepare("cpsc", raw, out)
    change_a_sample(own_raw)
    with monkeypatch.context() as patched:
        patched.setattr(building, "write_shard", lambda *_: (_ for _ in ()).throw(OSError("cut")))
        with pytest.raises(PreparedFolderError, match="cut"):
            prepare("georgia", own_raw, out)
    assert "georgia" not in datasets.get_dataset_config_names(str(out))
    assert climb_hf.load_dataset("climb", "ecg", data_dir=out).num_rows
    prepare("georgia", own_raw, out)
    assert "georgia" in datasets.get_dataset_config_names(str(out))


def test_options_that_differ_within_a_modality_are_told(raw, own_georgia, capsys):
    run_here(["build", "cpsc", "--length", "raw", *folders(raw, own_georgia)])
    assert "length differs within ecg: cpsc raw, georgia its default" in capsys.readouterr().out


# --- the command -----------------------------------------------------------------------------


def folders(raw, out):
    return ["--data-dir", str(raw), "--out", str(out)]


def run_here(arguments, status=0):
    assert cli.main(arguments) == status


def run_elsewhere(arguments):
    """Runs a command in a process of its own, which knows what this one knows by name alone."""
    code = f"import sys; from climb_hf import cli; sys.exit(cli.main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_tells_what_was_built(raw, tmp_path, capsys):
    out = tmp_path / "out"
    run_here(["build", "georgia", *folders(raw, out)])
    printed = capsys.readouterr().out
    manifest = json.loads((out / "climb.json").read_text())
    report = manifest["sources"]["georgia"]["report"]
    for fault in report["faults"]:
        assert f"{fault['kind']} {fault['record']}: {fault['reason']}" in printed
    rows = sum(shard["rows"] for shard in manifest["sources"]["georgia"]["shards"])
    assert f"{rows} records" in printed
    assert f'datasets.load_dataset("{out}", "georgia")' in printed
    assert "read " in printed and "of it)" in printed


def test_the_command_tells_it_as_json(raw, tmp_path, capsys):
    run_here(["build", "georgia", "--json", *folders(raw, tmp_path / "out")])
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == sum(p.stat().st_size for p in shards_of(tmp_path / "out"))
    assert len(told["written"]) == len(shards_of(tmp_path / "out"))


def test_the_options_of_a_source_reach_its_rows(raw, tmp_path):
    asked = ["--option", "georgia.question=choice", "--option", "georgia.axis_as_hyp=false"]
    run_here(["build", "georgia", *asked, "--rate-hz", "250", *folders(raw, tmp_path / "out")])
    options = {"georgia": {"question": "choice", "axis_as_hyp": False}}
    want = climb_hf.load_dataset(
        "climb", "georgia", data_dir=raw, task="qa", options=options, rate_hz=250
    )
    found = datasets.load_dataset(str(tmp_path / "out"), "georgia_qa")
    for split, part in want.items():
        assert same(found[split].data.table, part.data.table)
    assert set(found["train"]["answer_type"]) == {"choice"}


def test_the_home_is_where_a_build_goes(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIMB_HOME", str(tmp_path / "home"))
    run_here(["build", "georgia", "--data-dir", str(raw)])
    assert (tmp_path / "home" / "climb.json").is_file()


WRONG = {
    "no-config": (["ecgs"], r"Did you mean 'ecg'\?"),
    "no-out": (["ecg"], "--out <folder>, or set CLIMB_HOME"),
    "length": (["ecg", "--length", "10"], r"length='10' is not one of.*Did you mean '10s'"),
    "label-set": (["ecg", "--label-set", "climb8"], "Did you mean 'climb7'"),
    "split-rule": (["ecg", "--split-rule", "oficial"], "Did you mean 'official'"),
    "variant": (["georgia", "--variant", "raw"], "has one form only"),
    "on-error": (["ecg", "--on-error", "skp"], "Did you mean 'skip'"),
    "rate": (["ecg", "--rate-hz", "-1"], "positive number of Hz"),
    "option-form": (["ecg", "--option", "georgia:question"], "SOURCE.NAME=VALUE"),
    "option-source": (["ecg", "--option", "gorgia.question=set"], "Did you mean 'georgia'"),
    "option-name": (["ecg", "--option", "georgia.qestion=set"], "Did you mean 'question'"),
    "option-value": (["ecg", "--option", "georgia.question=sets"], "Did you mean 'set'"),
    "option-flag": (["ecg", "--option", "georgia.axis_as_hyp=maybe"], "true or false"),
    "option-elsewhere": (["georgia", "--option", "cpsc.question=set"], "options for source"),
    "shard-mb": (["ecg", "--shard-mb", "0"], "positive number of megabytes"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_word_is_refused_before_anything_is_written(
    raw, tmp_path, capsys, monkeypatch, arguments, said
):
    import re

    monkeypatch.delenv("CLIMB_HOME", raising=False)
    out = tmp_path / "out"
    given = ["--data-dir", str(raw)] if arguments == ["ecg"] else folders(raw, out)
    run_here(["build", *arguments, *given], status=1)
    assert re.search(said, capsys.readouterr().err)
    assert not out.exists()


def test_raw_files_that_are_not_there_leave_no_folder(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    run_here(["build", "ecg", *folders(tmp_path / "empty", tmp_path / "out")], status=1)
    assert "no record of chapman_shaoxing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def damage_the_unit(own_raw, record="E00002"):
    """A fault that is found when samples are read: a pressure is no voltage."""
    (header,) = own_raw.rglob(f"{record}.hea")
    header.write_text(header.read_text().replace("/mV", "/mmHg"))


def test_a_record_found_damaged_late_is_counted_and_told(own_raw, tmp_path, capsys):
    damage_the_unit(own_raw)
    run_here(["build", "georgia", *folders(own_raw, tmp_path / "out")])
    assert "damaged E00002: unit 'mmHg' is no voltage" in capsys.readouterr().out
    found = climb_hf.load_dataset("climb", "georgia", data_dir=tmp_path / "out")
    assert not [row for part in found.values() for row in part if "E00002" in row["id"]]
    # An unfinished or repeated build still knows of it.
    outcome = prepare("georgia", own_raw, tmp_path / "out", shard_mb=256)
    assert (outcome.written, outcome.reports()[0].count("damaged")) == ((), 6)


def test_on_error_raise_stops_at_a_damaged_record(own_raw, tmp_path):
    for path in own_raw.rglob("E099*"):
        path.unlink()
    damage_the_unit(own_raw)
    with pytest.raises(CorruptFileError, match="E00002"):
        prepare("georgia", own_raw, tmp_path / "out", on_error="raise", num_proc=2)
