"""What every test shares: no network, caches of its own, and the made raw trees."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_CACHE = tempfile.TemporaryDirectory(prefix="climb-hf-tests-")
# `datasets` and `huggingface_hub` read these once, when they are first imported.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HOME=_CACHE.name,
    HF_HUB_CACHE=str(Path(_CACHE.name, "hub")),
    HF_DATASETS_CACHE=str(Path(_CACHE.name, "datasets")),
    HF_MODULES_CACHE=str(Path(_CACHE.name, "modules")),
    OMP_NUM_THREADS="1",
)

TESTS = Path(__file__).parent
FAKES = TESTS / "fake"
STANDINS = TESTS / "standins"
REAL = TESTS.parent.parent / "shared" / "real"
ECG_SOURCES = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")


@dataclass(frozen=True)
class MadeTree:
    """Raw data of several sources, each in a folder by its config id.

    Attributes:
        root: the folder above; tests read it and never write.
        manifests: config id to manifest, as `ecg_waves.new_manifest` describes it.
    """

    root: Path
    manifests: dict[str, dict[str, Any]]


def pytest_unconfigure() -> None:
    """Removes the session's caches."""
    _CACHE.cleanup()


@pytest.fixture(scope="session")
def load_fake() -> Callable[[str], ModuleType]:
    """A function that imports `tests/fake/<name>.py` by its name."""
    if str(FAKES) not in sys.path:
        sys.path.append(str(FAKES))
    return importlib.import_module


@pytest.fixture(scope="session")
def made(
    tmp_path_factory: pytest.TempPathFactory, load_fake: Callable[[str], ModuleType]
) -> Callable[[str], MadeTree]:
    """A function that makes the tree of one source, 24 good records and every fault. Read only."""
    trees: dict[str, MadeTree] = {}

    def make(name: str) -> MadeTree:
        if name not in trees:
            root = tmp_path_factory.mktemp(f"{name}_tree")
            manifest = load_fake(name).make(root / name, n=24, seed=0, with_faults=True)
            trees[name] = MadeTree(root, {name: manifest})
        return trees[name]

    return make


@pytest.fixture(scope="session")
def ecg_tree(tmp_path_factory: pytest.TempPathFactory, made: Callable[[str], MadeTree]) -> MadeTree:
    """The trees of the four ECG sources under one root. Read only."""
    root = tmp_path_factory.mktemp("ecg_tree")
    trees = {name: made(name) for name in ECG_SOURCES}
    for name, tree in trees.items():
        (root / name).symlink_to(tree.root / name)
    return MadeTree(root, {name: tree.manifests[name] for name, tree in trees.items()})


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; the test is skipped where it is absent."""
    if not REAL.is_dir():
        pytest.skip("no real recordings beside the repository (../shared/real)")
    return REAL


def _hub() -> Iterator[Any]:
    """A stand-in of the Hub, `tests/standins/hub.py`; it saw no route that it does not know.

    Nor did its origin of files see a token, which is the Hub's alone.
    """
    if str(STANDINS) not in sys.path:
        sys.path.append(str(STANDINS))
    made = importlib.import_module("hub").Hub()
    yield made
    made.close()
    assert [f"{one.method} {one.path}" for one in made.unknown] == []
    seen = [one for one, _ in made.web.log if one.origin == "files" and one.token]
    assert [f"{one.method} {one.path}" for one in seen] == []


hub = pytest.fixture(_hub, name="hub")
module_hub = pytest.fixture(_hub, scope="module", name="module_hub")
