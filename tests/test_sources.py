"""The battery over every source of the catalogue, each on its made tree with every fault."""

from __future__ import annotations

import pytest

from climb_hf import catalog
from climb_hf.testing import Subject, parametrize_sources

pytest.importorskip("wfdb")


@pytest.fixture(scope="module")
def subject_of(made):
    subjects = {}

    def of(name):
        if name not in subjects:
            tree = made(name)
            subjects[name] = Subject(catalog.get(name), tree.root, tree.manifests[name])
        return subjects[name]

    yield of
    for subject in subjects.values():
        subject.close()


@parametrize_sources()
def test_source(source, check, subject_of):
    check(subject_of(source))
