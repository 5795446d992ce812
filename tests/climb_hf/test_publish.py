"""From a prepared folder to the Hub and back, by real requests to the stand-in."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from climb_hf import catalog, cli
from climb_hf.build import build
from climb_hf.config import ClimbConfig
from climb_hf.errors import DataNotFoundError, OptionError, PreparedFolderError
from climb_hf.publish import plan_push

pytest.importorskip("wfdb")
REPO = "owner/climb"
SECRET = "tok-nobody-planted"
# Pushes one after the other, each with its exit status and all that it said.
PUSHES = """
import contextlib, io, json, os, sys
from climb_hf import cli

for line in sys.stdin:
    os.environ["HF_TOKEN"], each = json.loads(line)
    said = []
    for words in each:
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            status = cli.main(["push", *words])
        said.append((status, told.getvalue()))
    print(json.dumps(said), flush=True)
"""
# What a stranger does, in a process that cannot import anything of ours.
LOAD = """
import json, sys
sys.modules["climb_hf"] = None
import datasets

found = datasets.load_dataset(sys.argv[1], sys.argv[2], revision=sys.argv[3])
print(json.dumps({split: sorted(rows["id"]) for split, rows in found.items()}))
"""


def ran(code, *words, env, cwd):
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def sound(ecg_tree, tmp_path_factory):
    """Georgia and CPSC, prepared into one folder of several shards. Read only."""
    out = tmp_path_factory.mktemp("prepared") / "two"
    for name in ("georgia", "cpsc"):
        config = ClimbConfig(name=name, sources=catalog.check_config(name))
        build(config, ecg_tree.root, out, shard_mb=0.5)
    return out


@pytest.fixture
def folder(sound, tmp_path):
    """A copy of the prepared folder that a test may harm."""
    return shutil.copytree(sound, tmp_path / "folder")


@pytest.fixture(scope="module")
def pusher(module_hub, tmp_path_factory):
    """A process that pushes: what it imports costs more than its pushes do."""
    place = tmp_path_factory.mktemp("pusher")
    environment = module_hub.environment(place / "home")
    command = [sys.executable, "-c", PUSHES]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, cwd=place, **pipes) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def hub(module_hub):
    """The stand-in with nothing on it; its log goes on from the test before."""
    module_hub.repos.clear()
    module_hub.objects.clear()
    module_hub.web.faults.clear()
    module_hub.begun = len(module_hub.web.log)
    return module_hub


@pytest.fixture
def pushes(hub, pusher):
    """A function that pushes once for each list of words."""

    def call(*each, token="tok-owner"):
        pusher.stdin.write(json.dumps([token, each]) + "\n")
        pusher.stdin.flush()
        return json.loads(pusher.stdout.readline())

    return call


def words(folder, config="ecg", *more):
    return [REPO, "--config", config, "--data-dir", str(folder), *more]


def facts(folder):
    return json.loads((Path(folder) / "climb.json").read_text())


def shards(folder, *sources):
    """sha256 of each shard by path, as this test reads the files."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for source in sources or ("georgia", "cpsc")
        for path in Path(folder).glob(f"data/{source}/**/*.parquet")
    }


def close(folder, source, may_share=False):
    """Has the manifest say that a licence forbids to share a source, or that it does not."""
    changed = facts(folder)
    changed["sources"][source]["may_share"] = may_share
    (Path(folder) / "climb.json").write_text(json.dumps(changed))


def on_hub(hub):
    return hub.files(REPO, kind="datasets")


def sent(hub):
    """Contents that arrived, by their sha256, each as often as it was sent."""
    return [
        one.path.split("/")[2]
        for one, status in hub.web.log[hub.begun :]
        if one.method == "PUT" and status == 200
    ]


# ---- there and back -----------------------------------------------------------------------------


def test_what_is_pushed_is_loaded_by_plain_datasets_from_its_tag(hub, pushes, folder, tmp_path):
    (folder / "notes.txt").write_text("mine")
    (folder / "data" / "georgia" / "stray.parquet").write_bytes(b"mine")
    ((status, told),) = pushes(words(folder))
    assert status == 0, told
    expected = shards(folder)
    expected.pop("data/georgia/stray.parquet")
    # The prepared files and nothing beside them.
    assert set(on_hub(hub)) == {*expected, "climb.json", "README.md"}
    titles = [title for _, title, _ in hub.repos["datasets", REPO].commits]
    assert titles[-1] == "Card with ecg" and titles[-2].startswith("Shards of ecg")
    (tag,) = hub.repos["datasets", REPO].tags
    assert f"tag     {tag}" in told
    loaded = ran(LOAD, REPO, "ecg", tag, env=hub.environment(tmp_path / "else", ""), cwd=tmp_path)
    rows = [one for entry in facts(folder)["sources"].values() for one in entry["shards"]]
    assert {split: len(ids) for split, ids in loaded.items()} == {
        split: sum(one["rows"] for one in rows if one["split"] == split) for split in loaded
    }
    assert {one.split("/")[0] for ids in loaded.values() for one in ids} == {"georgia", "cpsc"}


def test_the_same_push_again_sends_nothing_and_another_config_joins_the_first(hub, pushes, folder):
    first, second, third = pushes(
        words(folder, "georgia"), words(folder, "georgia"), words(folder, "cpsc", "--tag", "v1")
    )
    assert [first[0], second[0], third[0]] == [0, 0, 0], (first, second, third)
    assert "shards  0 sent" in second[1]
    repo = hub.repos["datasets", REPO]
    # The empty one, shards and card of georgia, shards and card of cpsc.
    assert len(repo.commits) == 5 and len(repo.tags) == 2 and "v1" in repo.tags
    assert sorted(sent(hub)) == sorted(shards(folder).values())
    manifest = json.loads(on_hub(hub)["climb.json"])
    assert set(manifest["sources"]) == {"georgia", "cpsc"}
    assert on_hub(hub)["README.md"] == (folder / "README.md").read_bytes()


# ---- what goes wrong ----------------------------------------------------------------------------


def test_a_push_that_breaks_off_goes_on_where_it_was(hub, pushes, folder):
    fault = importlib.import_module("loopback").Fault
    broken = sorted(shards(folder).values())[0]
    hub.web.faults += [
        fault("PUT", broken, status=403),
        fault("POST", "/commit/main", status=500),
        fault("POST", "/commit/main", drop=True),
        fault("POST", "/tag/", status=500),
    ]
    *stopped, last = pushes(*[words(folder)] * 5)
    assert [status for status, _ in stopped] == [1, 1, 1, 1]
    assert all("same command again" in told for _, told in stopped)
    assert last[0] == 0 and f"0 sent, {len(shards(folder))} there before" in last[1]
    assert sorted(sent(hub)) == sorted(shards(folder).values())  # each of them once
    assert len(hub.repos["datasets", REPO].tags) == 1


def test_wrong_bytes_of_the_right_length_keep_the_card_back(hub, pushes, folder):
    fault = importlib.import_module("loopback").Fault
    bad = sorted(shards(folder).items())[0]
    hub.web.faults += [fault("GET", f"/object/{bad[1]}", corrupt=True)]
    first, second = pushes(words(folder), words(folder))
    assert first[0] == 1 and bad[0] in first[1] and "card was not pushed" in first[1]
    assert second[0] == 0
    titles = [title for _, title, _ in hub.repos["datasets", REPO].commits]
    assert titles == ["initial commit", titles[1], "Card with ecg"]


def test_a_shard_that_the_hub_holds_otherwise_is_sent_again(hub, pushes, folder):
    (first,) = pushes(words(folder))
    repo = hub.repos["datasets", REPO]
    path, digest = sorted(shards(folder).items())[0]
    file = type(repo.at("main")[path])
    other = {**repo.at("main"), path: file(bytes(len(repo.at("main")[path].content)), lfs=True)}
    repo.commit("main", "somebody's", other)
    (second,) = pushes(words(folder))
    assert (first[0], second[0]) == (0, 0) and "shards  1 sent" in second[1]
    assert hashlib.sha256(on_hub(hub)[path]).hexdigest() == digest


def test_shards_of_an_earlier_build_leave_with_the_card_that_named_them(
    hub, pushes, folder, ecg_tree
):
    old = shards(folder, "georgia")
    assert pushes(words(folder))[0][0] == 0
    config = ClimbConfig(name="georgia", sources=("georgia",), length="raw")
    build(config, ecg_tree.root, folder, shard_mb=0.5)
    assert pushes(words(folder, "georgia"))[0][0] == 0
    assert set(on_hub(hub)) == {*shards(folder), "climb.json", "README.md"}
    assert not set(old) & set(on_hub(hub))
    _, _, before = hub.repos["datasets", REPO].commits[2]
    assert set(old) <= set(before)  # the first tag still has them


def test_without_a_token_or_with_a_wrong_one_it_is_said_how_to_log_in(hub, pushes, folder):
    for token in ("", SECRET, "tok-stranger"):
        ((status, told),) = pushes(words(folder), token=token)
        assert status == 1 and "AccessError" in told and "hf auth login" in told
        assert "HF_TOKEN" in told and SECRET not in told
    assert hub.repos == {}


# ---- licences -----------------------------------------------------------------------------------


def test_a_closed_source_goes_to_a_private_data_set_on_the_users_word_only(hub, pushes, folder):
    close(folder, "cpsc")
    word = ["--acknowledge-licence", "cpsc"]
    said = pushes(
        words(folder),
        words(folder, "ecg", "--private"),
        words(folder, "ecg", *word),
        words(folder, "georgia"),
        words(folder, "ecg", "--private", *word),
    )
    assert [status for status, _ in said] == [1, 1, 1, 0, 1]
    for _, told in said[:3]:  # a mixed config names the one that blocks
        assert "cpsc (" in told and "georgia (" not in told
    assert "is public" in said[4][1]  # as the open half was pushed to it
    assert not [path for path in on_hub(hub) if "cpsc" in path]
    hub.repos["datasets", REPO].private = True
    ((status, _),) = pushes(words(folder, "ecg", "--private", *word))
    assert status == 0 and [path for path in on_hub(hub) if "cpsc" in path]


def test_a_manifest_that_opens_a_licence_does_not_open_the_gate(made, tmp_path):
    config = ClimbConfig(name="hugadb", sources=("hugadb",))
    build(config, made("hugadb").root, tmp_path / "out")
    close(tmp_path / "out", "hugadb", may_share=True)
    assert "hugadb" in plan_push(REPO, "hugadb", tmp_path / "out").refused[0]


def test_a_word_for_a_source_that_needs_none_is_refused(sound):
    with pytest.raises(OptionError, match="georgia needs no acknowledgement"):
        plan_push(REPO, "ecg", sound, private=True, acknowledged=["georgia"])


# ---- before anything is sent --------------------------------------------------------------------


def test_a_dry_run_shows_files_sizes_and_refusals_without_a_connection(folder, capsys):
    close(folder, "cpsc")
    assert cli.main(["push", *words(folder), "--dry-run"]) == 1
    shown = capsys.readouterr().out
    for path in shards(folder):
        assert f"{(folder / path).stat().st_size:,}" in shown and path in shown
    assert "refused cpsc (" in shown and "nothing was sent" in shown
    assert cli.main(["push", *words(folder, "georgia"), "--dry-run", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["files"]) == set(shards(folder, "georgia"))


def test_a_text_changed_by_hand_is_said_to_stay_behind(folder):
    readme = folder / "README.md"
    readme.write_text(readme.read_text().replace("Prepared by climb-hf", "Prepared by me"))
    assert "changed by hand" in plan_push(REPO, "ecg", folder).notes[0]


def test_a_shard_that_was_damaged_at_its_size_is_not_pushed(hub, pushes, folder):
    path = sorted(shards(folder))[0]
    content = bytearray((folder / path).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / path).write_bytes(content)
    ((status, told),) = pushes(words(folder))
    assert status == 1 and "PreparedFolderError" in told and path in told
    assert hub.repos == {}


@pytest.mark.parametrize("name", ["climb", "a/b/c", "owner/../x"])
def test_a_name_that_the_hub_does_not_take_is_refused(sound, name):
    with pytest.raises(OptionError):
        plan_push(name, "ecg", sound)


def test_a_folder_that_is_not_prepared_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match="not prepared"):
        plan_push(REPO, "ecg", tmp_path / "nowhere")


def test_an_unfinished_build_is_not_pushed(folder):
    (folder / "climb.json").unlink()
    with pytest.raises(PreparedFolderError, match="unfinished"):
        plan_push(REPO, "ecg", folder)


def test_a_config_that_the_folder_lacks_is_answered_with_those_that_it_has(sound):
    with pytest.raises(OptionError, match="'georgia'"):
        plan_push(REPO, "eeg", sound)
