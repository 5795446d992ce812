"""Graph files of every kind: what is read of good ones, and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.io import savemat

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io import graph
from climb_hf.io.connectome import in_words, mat_column, mat_sizes, n_volumes
from climb_hf.io.edges import both_ways, edge_words
from climb_hf.io.files import keeps_last, numbers_of, open_array
from climb_hf.io.node_link import network_of, pairs
from climb_hf.io.tudataset import listing
from climb_hf.schema import MediaFile

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def test_an_unknown_reader_names_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'tudataset'"):
        graph.load(MediaFile(Path("x"), "tudatasets"))


# --- lists of edges -----------------------------------------------------------------------------


def test_edges_are_given_both_ways_once_without_loops():
    listed = np.array([[2, 0, 1, 1, 0], [0, 2, 1, 0, 1]])
    assert both_ways(listed, 3).tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]


def test_no_edges_are_no_edges():
    assert both_ways(np.empty((2, 0), int), 0).shape == (2, 0)


def test_edges_in_words_are_counted_once_and_cut_when_many():
    n = 70
    chain = both_ways(np.array([range(n - 1), range(1, n)]), n)
    words = edge_words(chain, first=1)
    assert words["edges"] == "69"
    assert words["listed"].startswith("1-2, 2-3, ")
    assert words["listed"].endswith("60-61 and 9 more")


# --- one file kept ------------------------------------------------------------------------------


def test_a_parsed_file_is_kept_until_another_is_asked_for(tmp_path):
    read = []

    @keeps_last
    def parse(path):
        read.append(path.name)
        return path.read_text()

    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_text(path.name)
    for path in (paths[0], paths[0], paths[1], paths[0]):
        assert parse(path) == path.name
    assert read == ["a", "b", "a"]


def test_what_was_parsed_is_let_go_before_the_next_file_is(tmp_path):
    import gc
    import weakref

    class Large:
        pass

    alive = []

    @keeps_last
    def parse(path):
        gc.collect()
        alive.append(sum(one() is not None for one in made))
        found = Large()
        made.append(weakref.ref(found))
        return found

    made: list = []
    for name in "abc":
        (tmp_path / name).write_text(name)
        parse(tmp_path / name)
    assert alive == [0, 0, 0]


def test_a_file_that_changes_is_parsed_again(tmp_path):
    parse = keeps_last(Path.read_text)
    (tmp_path / "a").write_text("one")
    assert parse(tmp_path / "a") == "one"
    (tmp_path / "a").write_text("two and more")
    assert parse(tmp_path / "a") == "two and more"


def test_a_corrupt_file_is_not_read_again_for_each_of_its_records(tmp_path):
    read = []

    @keeps_last
    def parse(path):
        read.append(path)
        raise CorruptFileError("no.")

    (tmp_path / "a").write_text("x")
    for _ in range(3):
        with pytest.raises(CorruptFileError, match=r"^no\.$"):
            parse(tmp_path / "a")
    assert len(read) == 1


# --- TUDataset ----------------------------------------------------------------------------------

COLLECTION = {
    "A": "1, 2\n2, 1\n2,3\n3,2\n4 , 5\n5, 4\n",
    "graph_indicator": "1\n1\n1\n2\n2\n2\n",
    "node_labels": "0\n1\n2\n0\n0\n1\n",
    "node_attributes": "  4.0\n 5\n6.5\n1\n2\n3\n",
}


@pytest.fixture
def collection(tmp_path):
    """A function that writes a collection, some files changed, and gives its graph of a number."""

    def of(number, facts=("a", "b", "c"), **changed):
        files = {**COLLECTION, **changed}
        for name, text in files.items():
            if text is not None:
                (tmp_path / f"T_{name}.txt").write_text(text)
        roles = {"graphs": "graph_indicator", "kinds": "node_labels"}
        roles |= {"attributes": "node_attributes"} if files["node_attributes"] else {}
        beside = {role: tmp_path / f"T_{name}.txt" for role, name in roles.items()}
        file = MediaFile(tmp_path / "T_A.txt", "tudataset", number, {"kinds": facts}, beside)
        return graph.load(file)

    return of


def test_ids_become_local_with_or_without_blanks(collection):
    first, second = collection(1), collection(2)
    assert first.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert second.edge_index.tolist() == [[0, 1], [1, 0]]
    assert (first.num_nodes, second.num_nodes) == (3, 3)


def test_features_are_attributes_and_one_column_a_kind(collection):
    assert collection(1).x.tolist() == [[4, 1, 0, 0], [5, 0, 1, 0], [6.5, 0, 0, 1]]


def test_attributes_may_be_absent(collection):
    assert collection(1, node_attributes=None).x.tolist() == np.eye(3).tolist()


def test_an_isolated_node_stays(collection):
    assert collection(2).x.shape == (3, 4)


def test_a_graph_without_edges_is_one(collection):
    assert collection(1, A="4, 5\n5, 4\n").edge_index.shape == (2, 0)


def test_a_collection_without_edges_is_one(collection):
    assert collection(2, A="").edge_index.shape == (2, 0)


def test_loops_and_repeats_are_left_out(collection):
    found = collection(1, A="1, 1\n1, 2\n2, 1\n1, 2\n")
    assert found.edge_index.tolist() == [[0, 1], [1, 0]]


BAD_COLLECTIONS = {
    "edge-out-of-range": ({"A": "1, 7\n7, 1\n"}, "beyond the 6"),
    "id-0": ({"A": "0, 1\n1, 0\n"}, "ids start at 1"),
    "cut-short": ({"A": "1, 2\n2, 1\n2, 3\n"}, "in one direction only"),
    "no-numbers": ({"A": "1, two\n"}, "no table of numbers"),
    "three-columns": ({"A": "1, 2, 3\n"}, "3 numbers a line"),
    "labels-short": ({"node_labels": "0\n1\n"}, "has 2 lines"),
    "attributes-long": ({"node_attributes": "1\n" * 9}, "has 9 lines"),
    "kind-unknown": ({"node_labels": "0\n1\n5\n0\n0\n1\n"}, "kind 5"),
    "pointer": ({"A": LFS}, "git lfs pull"),
}


@pytest.mark.parametrize(("changed", "said"), BAD_COLLECTIONS.values(), ids=BAD_COLLECTIONS)
def test_a_bad_collection_is_refused(changed, said, collection):
    with pytest.raises(CorruptFileError, match=said):
        collection(1, **changed)


def test_an_edge_between_graphs_costs_these_two_only(collection):
    changed = {"A": "1, 4\n4, 1\n", "graph_indicator": "1\n1\n1\n2\n2\n3\n"}
    for number in (1, 2):
        with pytest.raises(CorruptFileError, match="leads into another graph"):
            collection(number, **changed)
    assert collection(3, **changed).num_nodes == 1


def test_labels_and_graphs_of_different_number_are_refused(tmp_path):
    (tmp_path / "labels").write_text("1\n2\n1\n")
    (tmp_path / "graphs").write_text("1\n2\n2\n")
    with pytest.raises(CorruptFileError, match="lists 3 graphs"):
        listing(tmp_path / "labels", tmp_path / "graphs")
    assert listing(tmp_path / "labels", None) == {1: "1", 2: "2", 3: "1"}


def test_numbers_of_an_absent_file_are_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="No such file"):
        numbers_of(tmp_path / "none", int)


# --- node-link ----------------------------------------------------------------------------------


def write_part(folder, links, n=6, key="links", **arrays):
    told = {"directed": False, "nodes": [{"id": at} for at in range(n)], key: links}
    (folder / "graph.json").write_text(json.dumps(told))
    kept = {"graphs": np.array([7, 7, 7, 8, 8, 8]), "features": np.zeros((6, 2))}
    kept |= {"labels": np.eye(6, 3, dtype=int), **arrays}
    for role, array in kept.items():
        np.save(folder / f"{role}.npy", array, allow_pickle=False)
    beside = {role: folder / f"{role}.npy" for role in kept}
    return MediaFile(folder / "graph.json", "node_link", 7, beside=beside)


def link(source, target):
    return {"source": source, "target": target}


LINKS = [link(0, 1), link(2, 1), link(1, 2), link(4, 4), link(3, 5)]


@pytest.mark.parametrize("key", ["links", "edges"])
def test_both_spellings_of_links_are_read(key, tmp_path):
    found = graph.load(write_part(tmp_path, LINKS, key=key))
    assert found.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert found.y.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_graphs_need_not_lie_together(tmp_path):
    mixed = np.array([7, 8, 7, 8, 7, 8])
    found = graph.load(write_part(tmp_path, [link(0, 4), link(1, 3)], graphs=mixed))
    assert found.edge_index.tolist() == [[0, 2], [2, 0]]


BAD_PARTS = {
    "too-few-features": (lambda d: write_part(d, LINKS, features=np.zeros((5, 2))), "5 .features."),
    "too-few-nodes": (lambda d: write_part(d, LINKS, n=5), "has 5 nodes"),
    "labels-of-2": (lambda d: write_part(d, LINKS, labels=np.full((6, 1), 2)), "rows of 0 and 1"),
    "no-such-graph": (lambda d: write_part(d, LINKS, graphs=np.arange(6)), "no node of graph 7"),
    "no-links": (lambda d: write_part(d, LINKS, key="lines"), "no node-link JSON"),
    "link-without-end": (lambda d: write_part(d, [{"source": 1}]), "'target'"),
}


@pytest.mark.parametrize(("write", "said"), BAD_PARTS.values(), ids=BAD_PARTS)
def test_a_bad_network_is_refused(write, said, tmp_path):
    with pytest.raises(CorruptFileError, match=said):
        graph.load(write(tmp_path))


def test_json_that_is_cut_short_is_refused(tmp_path):
    file = write_part(tmp_path, LINKS)
    file.path.write_text(file.path.read_text()[:40])
    with pytest.raises(CorruptFileError, match="no whole JSON file"):
        graph.load(file)


def test_a_pair_is_shown_without_its_own_link(tmp_path):
    file = write_part(tmp_path, [link(0, 1), link(1, 2), link(0, 2)])
    pair = MediaFile(file.path, "node_link_pair", (7, 0, 1), beside=file.beside)
    found = graph.load(pair)
    # Both are linked to node 2; their own link is left out.
    assert found.edge_index.tolist() == [[0, 1, 2, 2], [2, 2, 0, 1]]
    assert (found.words["n_first"], found.words["n_second"]) == ("1", "1")
    assert found.words["n_shared"] == "1"


def test_pairs_are_linked_or_share_a_neighbour(tmp_path):
    file = write_part(tmp_path, [link(0, 1), link(1, 2), link(3, 4), link(4, 5)])
    draws = {"linked": [], "apart": []}
    for name, side in (("linked", 0.0), ("apart", 0.9)):
        draws[name] = list(pairs(network_of(file), 7, lambda text, side=side: side))
    assert draws["linked"] == [(0, 1, True), (1, 0, True), (2, 1, True)]
    # Node 1 is linked to all that it could reach.
    assert draws["apart"] == [(0, 2, False), (2, 0, False)]


# --- connectomes --------------------------------------------------------------------------------


def save_stack(folder, matrices):
    np.save(folder / "stack.npy", np.stack(matrices), allow_pickle=False)
    return lambda row: graph.load(MediaFile(folder / "stack.npy", "matrix_stack", row))


def sound_matrix(seed=0, n=5):
    return np.corrcoef(np.random.default_rng(seed).normal(size=(n, 30)))


def test_a_row_of_a_stack_is_a_matrix_of_one_view(tmp_path):
    matrices = [sound_matrix(seed) for seed in range(3)]
    found = save_stack(tmp_path, matrices)(1)
    assert found.matrix.dtype == np.dtype("<f4")
    assert np.array_equal(found.matrix, matrices[1][None].astype("<f4"))
    assert (found.num_nodes, found.flags) == (5, ())


def test_a_matrix_with_nan_is_refused(tmp_path):
    bad = sound_matrix()
    bad[2] = np.nan
    with pytest.raises(CorruptFileError, match="5 values that are no number"):
        save_stack(tmp_path, [bad])(0)


def test_a_matrix_of_words_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="holds no numbers"):
        save_stack(tmp_path, [np.full((3, 3), "a")])(0)


def test_a_matrix_that_is_not_square_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match=r"shape \(4, 5\): it is not square"):
        save_stack(tmp_path, [sound_matrix()[:4]])(0)


def test_a_matrix_that_is_not_symmetric_is_flagged(tmp_path):
    lopsided = sound_matrix()
    lopsided[0, 1] += 0.5
    assert save_stack(tmp_path, [lopsided])(0).flags == ("asymmetric_matrix",)


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(CorruptFileError, match="Save it again as numbers"):
        open_array(tmp_path / "o.npy")


def test_a_stack_that_is_cut_short_is_refused(tmp_path):
    load = save_stack(tmp_path, [sound_matrix()])
    content = (tmp_path / "stack.npy").read_bytes()
    (tmp_path / "stack.npy").write_bytes(content[:-50])
    with pytest.raises(CorruptFileError, match="no whole"):
        load(0)


def test_a_pointer_in_place_of_a_stack_is_named(tmp_path):
    (tmp_path / "stack.npy").write_text(LFS)
    with pytest.raises(CorruptFileError, match="git lfs pull"):
        open_array(tmp_path / "stack.npy")


def test_words_name_the_strongest_pairs():
    view = np.zeros((4, 4), "<f4")
    for (a, b), value in {(0, 1): 0.9, (1, 3): 0.5, (2, 3): -0.7}.items():
        view[a, b] = view[b, a] = value
    text = in_words(view[None], ("P", "Q", "R", "S"))
    assert "Strongest positive pairs: P with Q (0.90), Q with S (0.50)." in text
    assert "Strongest negative pairs: R with S (-0.70)." in text
    # Means over the other three: Q (0.9 + 0.5) / 3, P 0.9 / 3.
    assert "highest mean: Q (0.47), P (0.30)" in text
    # Six pairs, sum 0.7, two of them positive.
    assert "mean over all pairs 0.117, 33% of them positive" in text


def save_cells(folder, cells, labels, shape=(-1, 1), **more):
    stored = np.empty(len(cells), object)
    stored[:] = cells
    told = {"X": stored.reshape(shape), "label": np.array(labels, float).reshape(shape), **more}
    savemat(folder / "x.mat", told)
    return lambda row: graph.load(MediaFile(folder / "x.mat", "matlab_cell", ("X", row)))


def views(seed=0, n=4):
    base = np.random.default_rng(seed).random((n, n, 3))
    return base + base.transpose(1, 0, 2)


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)], ids=["column", "row"])
def test_views_are_moved_to_the_front_not_reshaped(shape, tmp_path):
    cells = [views(seed) for seed in range(2)]
    found = save_cells(tmp_path, cells, [1, -1], shape)(1)
    for view in range(3):
        assert np.array_equal(found.matrix[view], cells[1][:, :, view].astype("<f4"))
    assert mat_column(tmp_path / "x.mat", "label").tolist() == [1, -1]
    assert mat_sizes(tmp_path / "x.mat") == {"X": 2, "label": 2}


def test_a_cell_of_one_view_is_one_view(tmp_path):
    assert save_cells(tmp_path, [views()[:, :, 0], views()], [1, 1])(0).matrix.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("cell", "said"),
    {
        "nan": (np.full((4, 4, 3), np.nan), "48 values that are no number"),
        "not-square": (np.ones((4, 3, 3)), "not square"),
        "text": (np.array(["a"]), "no matrix of numbers"),
        "vector": (np.ones((1, 3, 3, 2)), "no matrix of numbers"),
    }.values(),
    ids=["nan", "not-square", "text", "four-axes"],
)
def test_a_bad_cell_is_refused(cell, said, tmp_path):
    with pytest.raises(CorruptFileError, match=said):
        save_cells(tmp_path, [cell, views()], [1, 1])(0)


def test_a_mat_that_is_cut_short_is_refused(tmp_path):
    save_cells(tmp_path, [views(), views()], [1, -1])
    content = (tmp_path / "x.mat").read_bytes()
    (tmp_path / "x.mat").write_bytes(content[: len(content) // 2])
    for name in ("X", "label"):
        with pytest.raises(CorruptFileError, match=r"no whole|cut short"):
            mat_column(tmp_path / "x.mat", name)


def test_a_mat_of_version_73_says_how_to_save_it_again(tmp_path):
    # A MATLAB 7.3 file is HDF5 behind a header of 512 bytes that says so.
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "x.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(CorruptFileError, match=r"save\(file, '-v7'\)"):
        mat_sizes(tmp_path / "x.mat")


def save_series(folder, values, names=None, cut=0):
    names = names or [f"#{at}" for at in range(1, values.shape[1] + 1)]
    lines = ["\t".join(names), *("\t".join(map(str, row)) for row in values)]
    text = "\n".join(lines) + "\n"
    (folder / "s.1D").write_text(text[: len(text) - cut])
    return MediaFile(folder / "s.1D", "region_series")


def test_correlations_are_those_of_scipy(tmp_path):
    values = np.random.default_rng(1).normal(size=(40, 3)).round(3)
    found = graph.load(save_series(tmp_path, values))
    for first in range(3):
        for second in range(3):
            wanted = stats.pearsonr(values[:, first], values[:, second]).statistic
            assert found.matrix[0, first, second] == pytest.approx(wanted, abs=1e-6)
    assert found.node_names == ("1", "2", "3")


def test_fisher_z_is_arctanh_with_a_diagonal_of_0(tmp_path):
    values = np.random.default_rng(1).normal(size=(40, 3)).round(3)
    plain = save_series(tmp_path, values)
    found = graph.load(MediaFile(plain.path, "region_series", facts={"fisher_z": True}))
    wanted = np.arctanh(stats.pearsonr(values[:, 0], values[:, 1]).statistic)
    assert found.matrix[0, 0, 1] == pytest.approx(wanted, abs=1e-6)
    assert np.diagonal(found.matrix[0]).tolist() == [0, 0, 0]


def test_a_region_that_never_changes_gets_0_and_a_flag(tmp_path):
    values = np.random.default_rng(1).normal(size=(40, 3))
    values[:, 1] = 2.5
    found = graph.load(save_series(tmp_path, values))
    assert found.flags == ("flat_channel",)
    assert found.matrix[0, 1].tolist() == found.matrix[0, :, 1].tolist() == [0, 0, 0]
    assert found.matrix[0, 0, 2] != 0


@pytest.mark.parametrize(
    ("write", "said"),
    {
        "a-word": (lambda d: save_series(d, np.array([["1", "x"], ["2", "3"]])), "no table"),
        "nan": (lambda d: save_series(d, np.array([[1, np.nan], [2, 3]])), "no number"),
        "names": (lambda d: save_series(d, np.ones((3, 2)), ["#1"]), "names 1 regions"),
        "one-volume": (lambda d: save_series(d, np.ones((1, 2))), "no two volumes"),
        "cut": (lambda d: save_series(d, np.ones((9, 2)), cut=5), "no table"),
    }.values(),
    ids=["a-word", "nan", "names", "one-volume", "cut"],
)
def test_a_bad_table_of_regions_is_refused(write, said, tmp_path):
    with pytest.raises(CorruptFileError, match=said):
        graph.load(write(tmp_path))


def test_volumes_are_counted_without_reading_a_number(tmp_path):
    assert n_volumes(save_series(tmp_path, np.ones((9, 2))).path) == 9
    with pytest.raises(CorruptFileError, match="ends within a line"):
        n_volumes(save_series(tmp_path, np.ones((9, 2)), cut=5).path)


def test_the_strongest_pairs_are_those_of_a_full_sort():
    matrix = sound_matrix(3, n=40)
    first, second = np.triu_indices(40, k=1)
    values = matrix.astype("<f4")[first, second]
    text = in_words(matrix[None].astype("<f4"), [str(at) for at in range(40)])
    for sign, word in ((1, "positive"), (-1, "negative")):
        best = np.argsort(-sign * values, kind="stable")[:5]
        told = ", ".join(f"{first[i]} with {second[i]} ({values[i]:.2f})" for i in best)
        assert f"Strongest {word} pairs: {told}." in text


def test_a_single_region_has_no_pairs():
    assert "pairs: " not in in_words(np.ones((1, 1, 1), "<f4"), ("1",))
