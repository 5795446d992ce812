"""The package as users get it: wheel, source archive, editable install, and without extras."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
NEEDED = ("climb_hf", "builders", "trainers", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
SOURCES = sorted(
    path.stem for path in (REPOSITORY / "builders").glob("*.py") if path.name[:1] != "_"
)
# Package data, as it lies in the tree and as it is installed.
DATA = [
    (path, path.relative_to(REPOSITORY).as_posix())
    for path in (
        REPOSITORY / "climb_hf" / "py.typed",
        *sorted((REPOSITORY / "climb_hf" / "templates").glob("*.md")),
        *sorted((REPOSITORY / "climb_hf" / "vocabularies").glob("*.csv")),
        *sorted((REPOSITORY / "trainers" / "recipes").rglob("*.yaml")),
    )
]
# What `pip install climb-hf` without an extra does not bring.
OPTIONAL = (
    "accelerate",
    "evaluate",
    "h5py",
    "matplotlib",
    "mne",
    "peft",
    "scipy",
    "sklearn",
    "torch",
    "torch_geometric",
    "transformers",
    "trl",
    "wfdb",
)
WITHOUT = f"""
import importlib.machinery
real = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in {OPTIONAL!r} else real(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with a source archive and the wheel that was built from it, offline."""
    tree = tmp_path_factory.mktemp("tree")
    for name in NEEDED:
        origin = REPOSITORY / name
        if origin.is_dir():
            shutil.copytree(origin, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, tree / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "dist"


@pytest.fixture(scope="module")
def site(dist, tmp_path_factory):
    """A folder that the wheel was installed into, alone."""
    site = tmp_path_factory.mktemp("site")
    (wheel,) = dist.glob("*.whl")
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(site)]
    command = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return site


@pytest.fixture
def run(tmp_path):
    """Runs Python in an empty folder; with `site`, on what was installed there."""

    def run(*arguments, site=None, **variables):
        cleared = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "CLIMB_DATA_DIR", "CLIMB_HOME")
        }
        path = {"PYTHONPATH": str(site)} if site else {}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**cleared, **path, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def names_in_wheel(dist):
    (wheel,) = dist.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def names_in_archive(dist):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        return {name.partition("/")[2] for name in opened.getnames()}


def installed_name(name):
    return f"climb_hf/{name}" if name.startswith(("builders/", "trainers/")) else name


@pytest.mark.parametrize("name", [name for _, name in DATA])
def test_the_wheel_and_the_archive_hold_the_data(dist, name):
    assert installed_name(name) in names_in_wheel(dist)
    assert name in names_in_archive(dist)


def test_the_wheel_holds_every_module(dist):
    modules = [
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("climb_hf", "builders", "trainers")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    assert {installed_name(name) for name in modules} <= names_in_wheel(dist)


def test_the_wheel_takes_one_name_only(dist):
    tops = {name.split("/")[0] for name in names_in_wheel(dist)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"climb_hf"}


IMPORTS = f"""
import importlib, json, climb_hf
names = ["climb_hf.trainers", "climb_hf.testing"]
names += ["climb_hf.builders." + name for name in {SOURCES!r}]
files = [climb_hf.__file__, *(importlib.import_module(name).__file__ for name in names)]
print(json.dumps(files))
"""


def test_an_installed_wheel_imports_from_its_own_files(site, run):
    done = run("-c", IMPORTS, site=site)
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(site) for file in files)


def test_an_installed_wheel_lists_its_sources(site, run):
    done = run(str(site / "bin" / "climb-hf"), "list", site=site)
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line}
    assert set(SOURCES) <= listed


def test_an_installed_wheel_finds_its_own_data(site, run):
    code = """
from climb_hf import catalog, describe
from climb_hf.trainers.scripting import recipe
print(recipe("tiny_cpu_drpo"))
print(sum(len(describe.as_markdown(source.card)) for source in catalog.sources().values()))
"""
    done = run("-c", code, site=site)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).is_relative_to(site)


def test_an_editable_install_imports_from_any_folder(run):
    found = importlib.metadata.distributions(name="climb-hf")
    told = [json.loads(one.read_text("direct_url.json") or "{}") for one in found]
    if not any(one.get("dir_info", {}).get("editable") for one in told):
        pytest.skip("climb-hf is not installed in editable mode here")
    done = run("-c", IMPORTS)
    assert done.returncode == 0, done.stderr
    assert all(Path(file).is_relative_to(REPOSITORY) for file in json.loads(done.stdout))


def main_of(*arguments):
    """Code that runs a command where no optional package is installed."""
    return f"{WITHOUT}\nimport sys\nfrom climb_hf import cli\nsys.exit(cli.main({[*arguments]!r}))"


def test_the_package_imports_without_any_extra(site, run):
    code = f"{WITHOUT}\nimport climb_hf, datasets\nassert climb_hf.load_dataset and climb_hf.Signal"
    done = run("-c", code, site=site)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("list",), *(("info", name) for name in SOURCES), ("env",)])
def test_these_commands_need_no_extra(site, run, arguments):
    done = run("-c", main_of(*arguments), site=site)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_ecgs_load_without_any_extra(site, run, ecg_tree):
    code = f"""
{WITHOUT}
import climb_hf
found = climb_hf.load_dataset("climb", "georgia", data_dir={str(ecg_tree.root)!r})
print(found["train"][0]["series"][0].values.shape)
"""
    done = run("-c", code, site=site)
    assert done.returncode == 0, done.stderr
    assert "(12, 5000)" in done.stdout


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("train", ("train", "drpo", "--recipe", "tiny_cpu_drpo")),
        ("plot", ("stats", "georgia", "--data-dir", "DATA", "--plot", "picture.png")),
        ("ecg", ("stats", "cpsc", "--data-dir", "DATA", "--signals")),
    ],
    ids=["train", "plot", "ecg"],
)
def test_a_missing_extra_is_named_with_its_install_line(site, run, ecg_tree, extra, arguments):
    given = [str(ecg_tree.root) if one == "DATA" else one for one in arguments]
    done = run("-c", main_of(*given), site=site)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert f"pip install 'climb-hf[{extra}]'" in line
