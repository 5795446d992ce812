"""The name "climb" in `datasets.load_dataset`, in processes of their own."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("wfdb")
COUNT = "print(json.dumps({name: len(part) for name, part in found.items()}))\n"
CALL = 'found = load_dataset("climb", "georgia", data_dir=sys.argv[1])\n' + COUNT
HEAD = "import json, sys\n"


@pytest.fixture
def python(tmp_path, ecg_tree):
    """A function that runs code in a fresh process, the made trees' root as its argument."""

    def run(code, cwd=None, check=True, **env):
        file = tmp_path / "script.py"
        file.write_text(HEAD + textwrap.dedent(code))
        folder = cwd or tmp_path / "empty"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-P", str(file), str(ecg_tree.root)],
            cwd=folder,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def n_georgia(ecg_tree):
    return len(ecg_tree.manifests["georgia"]["records"])


def total(done):
    return sum(json.loads(done.stdout.splitlines()[-1]).values())


def test_from_an_empty_folder(python, n_georgia):
    done = python("import climb_hf\nfrom datasets import load_dataset\n" + CALL)
    assert total(done) == n_georgia


def test_from_a_folder_that_holds_a_folder_climb(python, n_georgia, tmp_path):
    crowded = tmp_path / "crowded"
    (crowded / "climb").mkdir(parents=True)
    (crowded / "climb" / "train.csv").write_text("a,b\n1,2\n")
    (crowded / "climb" / "README.md").write_text("---\nconfigs: []\n---\n")
    done = python("import climb_hf\nfrom datasets import load_dataset\n" + CALL, cwd=crowded)
    assert total(done) == n_georgia


def test_with_datasets_imported_first(python, n_georgia):
    done = python("from datasets import load_dataset\nimport climb_hf\n" + CALL)
    assert total(done) == n_georgia


def test_the_off_switch_leaves_plain_behaviour_and_our_own_road(python, n_georgia, tmp_path):
    code = """
    import climb_hf, datasets
    try:
        datasets.load_dataset("climb", "georgia", data_dir=sys.argv[1])
    except Exception as error:
        print(type(error).__name__)
    found = climb_hf.load_dataset("climb", "georgia", data_dir=sys.argv[1])
    """
    # A cache of its own: offline, plain `datasets` also looks for "climb" among what it prepared.
    switched = {"CLIMB_HF_NO_HOOK": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = python(textwrap.dedent(code) + COUNT, **switched)
    assert total(done) == n_georgia
    # Offline, plain `datasets` cannot find a data set of that name on the Hub.
    failure = done.stdout.splitlines()[0]
    assert failure in ("ConnectionError", "OfflineModeIsEnabled", "DatasetNotFoundError")


def test_processes_of_num_proc_and_streams_give_the_same_rows(python, n_georgia):
    code = """
    import climb_hf
    from datasets import load_dataset

    def rows(found):
        return {(name, row["id"], row["series"][0].values.tobytes(), tuple(row["labels"]))
                for name, part in found.items() for row in part}

    def main():
        more = {"data_dir": sys.argv[1]}
        eager = rows(load_dataset("climb", "georgia", **more))
        two = load_dataset("climb", "georgia", num_proc=2, cache_dir="two", **more)
        (report,) = climb_hf.load_report(two)
        stream = rows(load_dataset("climb", "georgia", streaming=True, **more))
        print(json.dumps([len(eager), eager == rows(two), eager == stream, report.good]))

    if __name__ == "__main__":
        main()
    """
    done = python(code)
    assert json.loads(done.stdout.splitlines()[-1]) == [n_georgia, True, True, n_georgia]


def test_a_config_of_all_sources_by_the_environment_variable(python, ecg_tree):
    code = """
    import climb_hf
    from datasets import load_dataset
    found = load_dataset("climb", "all")
    """
    done = python(textwrap.dedent(code) + COUNT, CLIMB_DATA_DIR=str(ecg_tree.root))
    records = sum(len(manifest["records"]) for manifest in ecg_tree.manifests.values())
    assert total(done) == records


def test_importing_climb_hf_loads_nothing_heavy(python):
    code = """
    import climb_hf
    print(json.dumps(sorted({"datasets", "torch", "numpy", "wfdb"} & set(sys.modules))))
    """
    assert json.loads(python(code).stdout) == []


def test_listing_sources_loads_nothing_heavy(python):
    code = """
    import climb_hf.catalog
    climb_hf.catalog.sources()
    heavy = {"datasets", "torch", "transformers", "trl", "wfdb", "scipy"}
    print(json.dumps(sorted(heavy & set(sys.modules))))
    """
    assert json.loads(python(code).stdout) == []


# --- in this process -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def datasets():
    import datasets

    import climb_hf

    climb_hf.registration.register()
    return datasets


def test_the_configs_are_listed(datasets):
    names = datasets.get_dataset_config_names("climb")
    assert {"ecg", "all", "ptb_xl", "chapman_shaoxing", "georgia", "cpsc"} <= set(names)


def test_no_config_lists_the_configs(datasets):
    with pytest.raises(ValueError, match=r"name a config.*'ecg'.*'ptb_xl'"):
        datasets.load_dataset("climb")


def test_an_unknown_config_lists_the_configs_and_the_nearest(datasets):
    with pytest.raises(ValueError, match=r"'ecgs' is not one of.*'ptb_xl'.*Did you mean 'ecg'"):
        datasets.load_dataset("climb", "ecgs")


def test_another_path_passes_through(datasets, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    found = datasets.load_dataset("csv", data_files=str(tmp_path / "a.csv"), split="train")
    assert found["x"] == [1, 3]


def test_a_folder_by_its_path_passes_through(datasets, tmp_path):
    (tmp_path / "climb").mkdir()
    (tmp_path / "climb" / "a.csv").write_text("x\n7\n")
    found = datasets.load_dataset(str(tmp_path / "climb"), split="train")
    assert found["x"] == [7]


def test_our_own_road_passes_other_paths_through_too(datasets, tmp_path):
    import climb_hf

    (tmp_path / "a.csv").write_text("x\n5\n")
    found = climb_hf.load_dataset("csv", data_files=str(tmp_path / "a.csv"), split="train")
    assert found["x"] == [5]


def test_registering_twice_wraps_once(datasets):
    from climb_hf import registration

    before = datasets.load.dataset_module_factory
    registration.register()
    assert datasets.load.dataset_module_factory is before


def test_the_name_can_be_given_back(datasets):
    from climb_hf import registration

    registration.unregister()
    try:
        assert not hasattr(datasets.load.dataset_module_factory, "climb_hf_original")
    finally:
        registration.register()
    assert hasattr(datasets.load.dataset_module_factory, "climb_hf_original")


def test_a_datasets_without_the_place_is_named(datasets, monkeypatch):
    from climb_hf import registration
    from climb_hf.errors import RegistrationError

    monkeypatch.delattr(datasets.load, "DatasetModule")
    with pytest.raises(RegistrationError, match=r"DatasetModule.*climb_hf\.load_dataset"):
        registration.register()
