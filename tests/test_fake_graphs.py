"""The made trees of graphs and genes: small, the same for a seed, written without our readers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("scipy")
SOURCES = ("abcd", "abide", "expression_atlas", "geo", "ppi", "ppmi", "proteins")
FIVE_MB = 5_000_000
DIGESTS = ("graph_sha1", "expression_sha1")


def tree_bytes(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def digests(truth):
    found = {facts.get(name) for facts in truth["records"].values() for name in DIGESTS}
    return found - {None}


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_seed_gives_the_same_bytes(load_fake, tmp_path, source):
    make = load_fake(source).make
    first = make(tmp_path / "one", n=8, seed=3, with_faults=True)
    second = make(tmp_path / "two", n=8, seed=3, with_faults=True)
    assert first == second
    assert tree_bytes(tmp_path / "one") == tree_bytes(tmp_path / "two")


@pytest.mark.parametrize("source", SOURCES)
def test_another_seed_gives_other_values(load_fake, tmp_path, source):
    make = load_fake(source).make
    first, second = (digests(make(tmp_path / str(seed), n=8, seed=seed)) for seed in (0, 1))
    assert first
    assert not first & second


@pytest.mark.parametrize("source", SOURCES)
def test_faults_leave_the_good_records_as_they_are(load_fake, tmp_path, source):
    make = load_fake(source).make
    plain = make(tmp_path / "plain", n=8)
    harmed = make(tmp_path / "harmed", n=8, with_faults=True)
    assert plain["faults"] == {}
    assert plain["records"].items() <= harmed["records"].items()


@pytest.mark.parametrize("source", SOURCES)
def test_a_tree_is_small(made, source):
    assert sum(map(len, tree_bytes(made(source).root / source).values())) < FIVE_MB


@pytest.mark.parametrize("source", [one for one in SOURCES if one not in ("geo", "ppi")])
def test_each_class_occurs(made, source):
    truth = made(source).manifests[source]
    found = {label for facts in truth["records"].values() for label in facts["labels"]}
    assert found == set(truth["classes"])


@pytest.mark.parametrize("source", SOURCES)
def test_a_maker_loads_by_its_path_alone(tmp_path, source):
    path = Path(__file__).parent / "fake" / f"{source}.py"
    spec = importlib.util.spec_from_file_location(f"by_path_{source}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.make(tmp_path, n=6)["records"]
