"""Folders of raw files: found whatever the nesting, and never left."""

import os

import pytest

from climb_hf.errors import DataNotFoundError
from climb_hf.io.tree import walk


@pytest.fixture
def root(tmp_path):
    for name in ("b/E00002.hea", "a/deep/E00001.hea", "a/deep/E00001.mat", ".git/E00003.hea"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "raw"


def test_files_are_sorted_by_relative_path(root):
    paths = [path for path, _, _ in walk(root).files]
    assert paths == ["a/deep/E00001.hea", "a/deep/E00001.mat", "b/E00002.hea"]


def test_hidden_folders_are_left_out(root):
    assert list(walk(root).find(r"E00003\.hea")) == []


def test_a_name_is_found_at_any_depth(root):
    assert walk(root).named("E00001.hea") == ["a/deep/E00001.hea"]


def test_a_pattern_has_to_match_the_whole_name(root):
    assert list(walk(root).find(r"E\d{4}")) == []


def test_a_pattern_with_a_slash_is_held_against_folders_too(root):
    assert list(walk(root).find(r"deep/E\d+\.mat")) == ["a/deep/E00001.mat"]
    assert list(walk(root).find(r"b/E\d+\.mat")) == []
    assert list(walk(root).find(r"eep/E\d+\.mat")) == []


def test_patterns_of_names_and_of_paths_stand_side_by_side(root):
    kept = walk(root).only([r"deep/E\d+\.mat", r"E00002\..*"])
    assert [path for path, _, _ in kept.files] == ["a/deep/E00001.mat", "b/E00002.hea"]


def test_only_keeps_what_matches_one_of_the_patterns(root):
    kept = walk(root).only([r".*\.mat", r"E00002\..*"])
    assert [path for path, _, _ in kept.files] == ["a/deep/E00001.mat", "b/E00002.hea"]


def test_a_file_beside_another(root):
    assert walk(root).beside("a/deep/E00001.hea", "E00001.mat") == "a/deep/E00001.mat"


@pytest.mark.parametrize("name", ["../b/E00002.hea", "/etc/hostname", "x/E00001.mat", "..", ""])
def test_a_name_never_leads_out_of_its_folder(root, name):
    assert walk(root).beside("a/deep/E00001.hea", name) is None


def test_an_absent_folder_is_named_with_what_to_do(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"no folder at .*nowhere.*CLIMB_DATA_DIR"):
        walk(tmp_path / "nowhere")


def test_a_file_is_no_folder(root):
    with pytest.raises(DataNotFoundError, match="no folder at"):
        walk(root / "b" / "E00002.hea")


def test_a_link_to_a_folder_is_followed(root, tmp_path):
    (tmp_path / "linked").symlink_to(root, target_is_directory=True)
    assert len(walk(tmp_path / "linked").files) == 3


def test_a_circle_of_links_ends(root):
    (root / "a" / "again").symlink_to(root, target_is_directory=True)
    assert len(walk(root).files) == 3


def test_a_dangling_link_is_left_out(root):
    (root / "E00009.hea").symlink_to(root / "gone")
    assert list(walk(root).find(r"E00009\.hea")) == []


def test_the_digest_is_repeatable(root):
    assert walk(root).digest() == walk(root).digest()


def test_the_digest_follows_size_and_time(root):
    before = walk(root).digest()
    os.utime(root / "b" / "E00002.hea", ns=(1, 1))
    touched = walk(root).digest()
    (root / "b" / "E00002.hea").write_text("longer than it was")
    assert len({before, touched, walk(root).digest()}) == 3


def test_the_digest_follows_names(root):
    before = walk(root).digest()
    (root / "b" / "E00002.hea").rename(root / "b" / "E00004.hea")
    assert walk(root).digest() != before
