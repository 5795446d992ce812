"""A prepared folder that is damaged, unfinished, edited, of another schema, in use, or killed."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

import climb_hf
from climb_hf import catalog, cli, prepared
from climb_hf.build import build
from climb_hf.config import ClimbConfig
from climb_hf.errors import (
    ConfigNameError,
    DataNotFoundError,
    FolderInUseError,
    OptionError,
    PreparedFolderError,
)
from climb_hf.prepared_builder import PreparedBuilder

pytest.importorskip("wfdb")


def prepare(name, raw, out, **more):
    config = ClimbConfig(name=name, sources=catalog.check_config(name))
    return build(config, raw, out, shard_mb=0.5, **more)


def load(folder, name="georgia", **more):
    return climb_hf.load_dataset("climb", name, data_dir=folder, **more)


def digests(folder):
    """Digest of every file, but for what belongs to this machine."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file() and ".climb" not in path.parts
    }


@pytest.fixture(scope="module")
def raw(ecg_tree):
    return ecg_tree.root


@pytest.fixture(scope="module")
def sound(raw, tmp_path_factory):
    """Georgia, prepared. Read only."""
    out = tmp_path_factory.mktemp("prepared") / "georgia"
    prepare("georgia", raw, out)
    return out


@pytest.fixture
def folder(sound, tmp_path):
    """A copy of the prepared folder that a test may harm."""
    return shutil.copytree(sound, tmp_path / "folder")


def change_manifest(folder, **facts):
    path = folder / "climb.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def a_shard(folder):
    return sorted(folder.glob("data/georgia/*/train-*.parquet"))[1]


# --- what cannot be read ---------------------------------------------------------------------


def cut_a_shard(folder):
    path = a_shard(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_a_shard(folder):
    a_shard(folder).unlink()


def lose_the_manifest(folder):
    (folder / "climb.json").unlink()


def cut_the_manifest(folder):
    path = folder / "climb.json"
    path.write_text(path.read_text()[:500])


def empty_the_manifest(folder):
    change_manifest(folder, sources={"georgia": {}})


def come_from_the_future(folder):
    change_manifest(folder, schema_version="2.3.0", package_version="9.9.9")


def come_from_a_nearer_future(folder):
    change_manifest(folder, schema_version="1.1.0")


def come_from_the_past(folder):
    change_manifest(folder, schema_version="0.9.0")


def be_no_manifest(folder):
    (folder / "climb.json").write_text('{"name": "a climbing gym"}')


def point_a_config_elsewhere(folder):
    path = folder / "README.md"
    path.write_text(path.read_text().replace("train-*-of-00005", "test-*-of-00001", 1))


def lose_the_readme(folder):
    (folder / "README.md").unlink()


AGAIN = r"climb-hf build georgia --shard-mb 0\.5 --data-dir <raw files> --out \S+/folder"
HARMS = {
    "shard-cut": (cut_a_shard, rf"train-00001-of-\d+\.parquet has \d+ bytes of \d+.*{AGAIN}"),
    "shard-lost": (lose_a_shard, rf"train-00001-of-\d+\.parquet is missing.*{AGAIN}"),
    "manifest-lost": (lose_the_manifest, r"is unfinished\. Run it again: climb-hf build"),
    "manifest-cut": (cut_the_manifest, r"climb\.json cannot be read.*climb-hf build"),
    "manifest-empty": (empty_the_manifest, r"climb\.json cannot be read.*climb-hf build"),
    "future": (come_from_the_future, r"schema 2\.3\.0.*9\.9\.9.*knows schema 1\.0\.0.*pip install"),
    "near-future": (come_from_a_nearer_future, r"schema 1\.1\.0.*knows schema 1\.0\.0"),
    "past": (come_from_the_past, r"schema 0\.9\.0.*1\.0\.0.*new folder.*climb-hf build"),
    "no-manifest": (be_no_manifest, "no schema version.*Choose another folder"),
    "settings-edited": (point_a_config_elsewhere, rf"settings .* changed by hand.*{AGAIN} --force"),
    "readme-lost": (lose_the_readme, "gone with the file.*--force"),
}


@pytest.mark.parametrize(("harm", "said"), HARMS.values(), ids=HARMS)
@pytest.mark.parametrize("load_it", [climb_hf.load_dataset, datasets.load_dataset])
def test_a_harmed_folder_is_refused_with_what_to_do(folder, harm, said, load_it):
    harm(folder)
    with pytest.raises(PreparedFolderError, match=said):
        load_it("climb", "georgia", data_dir=str(folder))


MENDED = ("shard-cut", "shard-lost", "manifest-lost", "readme-lost")


@pytest.mark.parametrize("harm", [HARMS[name][0] for name in MENDED], ids=MENDED)
def test_a_build_mends_it(raw, sound, folder, harm):
    harm(folder)
    prepare("georgia", raw, folder)
    assert digests(folder) == digests(sound)


def test_a_shard_with_a_class_unknown_to_the_config_is_named(folder):
    path = a_shard(folder)
    table = pq.read_table(path)
    labels = pa.array(["lovesick"] * table.num_rows)
    changed = table.set_column(table.column_names.index("label"), "label", labels)
    pq.write_table(changed, path)
    manifest = json.loads((folder / "climb.json").read_text())
    (shard,) = [
        s for s in manifest["sources"]["georgia"]["shards"] if s["path"].endswith(path.name)
    ]
    shard["n_bytes"] = path.stat().st_size
    change_manifest(folder, sources=manifest["sources"])
    with pytest.raises(PreparedFolderError, match=rf"{path.name} .*'georgia': .*lovesick"):
        load(folder)
    with pytest.raises(PreparedFolderError, match="lovesick"):
        list(load(folder, streaming=True, split="train"))
    # Of questions it is no part.
    assert load(folder, task="qa").num_rows


def test_bytes_flipped_within_a_shard_are_named_with_the_file(folder):
    path = a_shard(folder)
    content = bytearray(path.read_bytes())
    content[20_000:40_000] = bytes(20_000)
    path.write_bytes(content)
    with pytest.raises(PreparedFolderError, match=rf"{path.name} cannot be read.*Delete"):
        load(folder)


def test_text_that_was_added_to_the_readme_does_not_keep_a_folder_from_being_read(folder):
    path = folder / "README.md"
    path.write_text(path.read_text().replace("## Load it", "Kept on shelf 3.\n\n## Load it"))
    assert load(folder).num_rows


def test_a_readme_with_the_line_ends_of_another_system_is_the_same(folder):
    path = folder / "README.md"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load(folder).num_rows


def test_a_folder_may_be_moved(folder, sound, tmp_path):
    want = load(sound)
    moved = folder.rename(tmp_path / "moved")
    shutil.rmtree(moved / ".climb")
    for split, part in load(moved).items():
        assert part.data.table.equals(want[split].data.table)


# --- what is asked of it ---------------------------------------------------------------------

ASKED = {
    "config": ({"name": "georgja"}, ConfigNameError, r"georgja.*Did you mean 'georgia'\?"),
    "config-not-built": ({"name": "cpsc"}, ConfigNameError, "'cpsc' is not in .*climb-hf build"),
    "no-config": ({"name": None}, ConfigNameError, "name a config.*'georgia_qa'"),
    "task": ({"task": "qq"}, OptionError, "task='qq' is not one of"),
    "contradiction": (
        {"name": "georgia_qa", "task": "classification"},
        OptionError,
        "contradicts the config 'georgia_qa'",
    ),
    "length": ({"length": "raw"}, OptionError, "length='raw', but 'georgia' .* built with '10s'"),
    "rate": ({"rate_hz": 250}, OptionError, "rate_hz=250, but .* built with 500"),
    "label-set": ({"label_set": "native"}, OptionError, "label_set='native', but .*'climb7'"),
    "length-misspelt": ({"length": "10"}, OptionError, "length='10' is not one of"),
    "split-rule": ({"split_rule": "hash"}, OptionError, "split_rule='hash', but .*'stratified'"),
    "option": (
        {"options": {"georgia": {"question": "choice"}}},
        OptionError,
        r"'question': 'choice'.*built with 'set'",
    ),
    "option-name": (
        {"options": {"georgia": {"qestion": "set"}}},
        OptionError,
        "Did you mean 'question'",
    ),
    "option-source": ({"options": {"cpsc": {}}}, OptionError, "options for source='cpsc'"),
    "keyword": ({"taks": "qa"}, OptionError, r"no option 'taks'.*Did you mean 'task'"),
    "column": ({"columns": ["idd"]}, OptionError, "columns='idd'.*Did you mean 'id'"),
    "data_files": ({"data_files": "x"}, OptionError, "data_files='x' does not go with climb"),
}


@pytest.mark.parametrize(("given", "error", "said"), ASKED.values(), ids=ASKED)
def test_what_the_folder_does_not_hold_is_refused(sound, given, error, said):
    with pytest.raises(error, match=said):
        load(sound, **{"name": "georgia", **given})


def test_the_options_that_it_was_built_with_may_be_named(sound):
    options = {"length": "10s", "rate_hz": 500, "label_set": "climb7", "on_error": "skip"}
    asked = {"split_rule": "stratified", "options": {"georgia": {"question": "set"}}}
    assert load(sound, **options, **asked).num_rows == load(sound).num_rows


def test_a_folder_of_raw_files_is_no_prepared_folder(raw):
    with pytest.raises(DataNotFoundError, match="is no prepared folder"):
        PreparedBuilder(config_name="georgia", data_dir=str(raw))


# --- what must not be written over -----------------------------------------------------------


def test_a_folder_with_other_things_in_it_is_refused(raw, tmp_path):
    (tmp_path / "thesis.tex").write_text("do not lose me")
    with pytest.raises(PreparedFolderError, match="not empty and was not made by climb-hf"):
        prepare("georgia", raw, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(raw, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(PreparedFolderError, match="is a file"):
        prepare("georgia", raw, tmp_path / "out")


def test_an_empty_folder_serves(raw, tmp_path):
    assert prepare("georgia", raw, tmp_path).written


def test_other_files_beside_ours_stay(raw, folder):
    (folder / "NOTES.md").write_text("mine")
    prepare("georgia", raw, folder)
    assert (folder / "NOTES.md").read_text() == "mine"


EDITS = {"text": "For research", "settings": "pretty_name: Clinical"}


@pytest.mark.parametrize("part", EDITS)
def test_a_readme_written_by_hand_is_never_written_over_silently(raw, sound, folder, part):
    path = folder / "README.md"
    edited = path.read_text().replace(EDITS[part], EDITS[part] + "!")
    path.write_text(edited)
    with pytest.raises(PreparedFolderError, match=rf"changed by hand .*\({part}\).*--force"):
        prepare("georgia", raw, folder)
    assert path.read_text() == edited
    prepare("georgia", raw, folder, force=True)
    assert digests(folder) == digests(sound)


def test_a_line_added_at_the_end_is_text(raw, folder):
    with (folder / "README.md").open("a") as file:
        file.write("mine\n")
    with pytest.raises(PreparedFolderError, match=r"\(text\)"):
        prepare("georgia", raw, folder)


def test_a_readme_without_our_seal_counts_as_written_by_hand(raw, folder):
    (folder / "README.md").write_text("# My own words\n")
    with pytest.raises(PreparedFolderError, match="changed by hand"):
        prepare("georgia", raw, folder)


@pytest.mark.parametrize("harm", [come_from_the_future, come_from_the_past], ids=["future", "past"])
def test_shards_of_two_schemas_are_never_joined(raw, folder, harm):
    harm(folder)
    before = digests(folder)
    with pytest.raises(PreparedFolderError, match="schema"):
        prepare("cpsc", raw, folder)
    assert digests(folder) == before


# --- in use ----------------------------------------------------------------------------------


def start(arguments):
    """Starts the command in a process group of its own."""
    code = f"import sys; from climb_hf import cli; sys.exit(cli.main({arguments!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_second_build_into_one_folder_is_refused(raw, folder, capsys):
    with FileLock(folder / ".climb" / "lock"):
        with pytest.raises(FolderInUseError, match=r"another build is writing .*--out"):
            prepare("georgia", raw, folder)
        arguments = ["build", "georgia", "--data-dir", str(raw), "--out", str(folder)]
        assert cli.main(arguments) == 1
        assert "another build is writing" in capsys.readouterr().err
        assert load(folder).num_rows  # who reads need not wait
    assert prepare("georgia", raw, folder).written == ()


def test_of_two_builds_at_once_one_makes_the_folder(raw, sound, tmp_path):
    out = tmp_path / "out"
    arguments = ["build", "georgia", "--shard-mb", "0.5", "--data-dir", str(raw), "--out", str(out)]
    builds = [start(arguments), start(arguments)]
    printed = [process.communicate()[0] for process in builds]
    statuses = [process.returncode for process in builds]
    assert 0 in statuses
    for status, text in zip(statuses, printed, strict=True):
        assert status == 0 or (status == 1 and "another build is writing" in text)
    assert digests(out) == digests(sound)


# --- killed ----------------------------------------------------------------------------------

SHARD_MB = 1  # 40 shards of 64 records in each of four sources


@pytest.fixture(scope="module")
def many(tmp_path_factory, load_fake):
    """Raw files of 256 records, and the digests of an undisturbed build of them."""
    root = tmp_path_factory.mktemp("many")
    for name in ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc"):
        load_fake(name).make(root / "raw" / name, n=64, seed=0)
    config = ClimbConfig(name="ecg", sources=catalog.check_config("ecg"))
    outcome = build(config, root / "raw", root / "whole", shard_mb=SHARD_MB)
    assert len(outcome.written) > 30
    return root / "raw", digests(root / "whole")


def wait_for_shards(process, out, wanted):
    """Waits until a build has finished some shards, or has ended."""
    while process.poll() is None and len(list(out.glob("data/*/*/*.parquet"))) < wanted:
        time.sleep(0.005)


def group_is_gone(process, within=30.0):
    """Whether no process is left of those that a command started."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def kill_and_finish(many, out, seed):
    """Kills a build at a moment that the seed tells, runs it again; whether it was running."""
    raw, whole = many
    chance = random.Random(seed)
    arguments = ["build", "ecg", "--data-dir", str(raw), "--out", str(out)]
    arguments += ["--shard-mb", str(SHARD_MB), "--num-proc", str(1 + seed % 2)]
    process = start(arguments)
    n_shards = sum(path.endswith(".parquet") for path in whole)
    wait_for_shards(process, out, chance.randrange(n_shards))
    time.sleep(chance.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert group_is_gone(process), "a worker outlives the build that was killed"
    again = start(arguments)
    printed, _ = again.communicate()
    assert again.returncode == 0, printed
    assert digests(out) == whole
    return process.returncode == -signal.SIGKILL


MANY_KILLS = pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])


@pytest.mark.parametrize("n_kills", [3, MANY_KILLS])
def test_a_build_killed_at_any_moment_and_run_again_gives_the_same_bytes(many, tmp_path, n_kills):
    running = [kill_and_finish(many, tmp_path / str(seed), seed) for seed in range(n_kills)]
    assert sum(running) >= 0.8 * n_kills


def test_a_worker_that_is_killed_ends_the_build_with_what_to_do(many, tmp_path):
    psutil = pytest.importorskip("psutil")
    raw, whole = many
    out = tmp_path / "out"
    arguments = ["build", "ecg", "--data-dir", str(raw), "--out", str(out), "--num-proc", "2"]
    arguments += ["--shard-mb", str(SHARD_MB)]
    process = start(arguments)
    wait_for_shards(process, out, 3)
    children = psutil.Process(process.pid).children()
    workers = [child for child in children if any("spawn_main" in w for w in child.cmdline())]
    workers[0].kill()
    printed, _ = process.communicate()
    assert process.returncode == 1
    assert re.search(r"ended from outside.*Run the same command again, .*--num-proc", printed)
    cli.main(arguments)
    assert digests(out) == whole


def test_a_build_killed_between_its_last_two_writes_is_finished_by_the_next(
    raw, sound, tmp_path, monkeypatch
):
    from climb_hf import build as building

    out = tmp_path / "out"
    written = []

    def stop_at_the_readme(path, text):
        if path.name == prepared.README:
            raise KeyboardInterrupt
        written.append(path.name)
        path.write_text(text)

    with monkeypatch.context() as patched:
        patched.setattr(building, "write_text", stop_at_the_readme)
        with pytest.raises(KeyboardInterrupt):
            prepare("georgia", raw, out)
    assert written == ["climb.json"]
    with pytest.raises(PreparedFolderError, match=re.escape("README.md")):
        load(out)
    prepare("georgia", raw, out)
    assert digests(out) == digests(sound)
