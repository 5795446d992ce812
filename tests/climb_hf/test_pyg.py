"""`climb_hf.to_pyg`: rows as torch_geometric takes them, equal to what its own readers give."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.errors import OptionError

SPLITS = {"train": "train", "validation": "val", "test": "test"}


@pytest.fixture(scope="module")
def torch_geometric():
    return pytest.importorskip("torch_geometric", reason="torch_geometric is not installed")


@pytest.fixture(scope="module")
def rows(made):
    """A function that gives the rows of a made source, by their records."""

    def of(name, **more):
        loaded = climb_hf.load_dataset("climb", name, data_dir=str(made(name).root), **more)
        return {r["id"].split("/", 1)[1]: r for part in loaded.values() for r in part}

    return of


@pytest.mark.parametrize("source", ["proteins", "ppi"])
def test_a_graph_is_a_valid_undirected_data(source, rows, torch_geometric):
    for row in rows(source).values():
        data = climb_hf.to_pyg(row)
        data.validate(raise_on_error=True)
        assert data.is_undirected()
        assert not data.has_self_loops()
        assert data.num_nodes == row["graphs"][0]["num_nodes"]
        assert data.id == row["id"]


def test_the_class_of_a_protein_is_its_y(rows, torch_geometric):
    for row in rows("proteins").values():
        assert climb_hf.to_pyg(row).y.tolist() == [row["label"]]


def test_labels_of_nodes_stay_the_y_of_a_tissue(rows, torch_geometric):
    for row in rows("ppi").values():
        data = climb_hf.to_pyg(row)
        assert data.y.shape == (data.num_nodes, 121)
        assert data.x.shape == (data.num_nodes, 50)


def test_a_connectome_has_an_edge_for_each_connected_pair(rows, torch_geometric):
    row = rows("ppmi")["ppmi_0000"]
    stored = row["graphs"][0]["matrix"]
    matrix = np.frombuffer(stored["data"], stored["dtype"]).reshape(stored["shape"])
    data = climb_hf.to_pyg(row)
    assert data.num_nodes == 84
    assert data.edge_attr.shape == (data.num_edges, 3)
    first, second = data.edge_index[:, 7].tolist()
    assert data.edge_attr[7].tolist() == matrix[:, first, second].tolist()
    assert data.num_edges == np.count_nonzero(np.abs(matrix).sum(axis=0))
    assert data.x.shape == (84, 3 * 84)
    assert data.x[5, 84 + 9] == matrix[1, 5, 9]


def test_graphs_make_a_batch(rows, torch_geometric):
    from torch_geometric.loader import DataLoader

    made = [climb_hf.to_pyg(row) for row in rows("proteins").values()]
    (batch,) = DataLoader(made, batch_size=len(made))
    assert batch.num_graphs == len(made)
    assert batch.y.shape == (len(made),)


def test_a_tensor_may_be_written_to(rows, torch_geometric):
    row = next(iter(rows("proteins").values()))
    before = bytes(row["graphs"][0]["x"]["data"])
    climb_hf.to_pyg(row).x += 1
    assert row["graphs"][0]["x"]["data"] == before


def test_a_row_without_a_graph_is_refused():
    with pytest.raises(OptionError, match="has 0 graphs"):
        climb_hf.to_pyg({"id": "x/1", "graphs": []})


def test_reading_and_questions_need_no_torch_geometric(made):
    where = str(made("proteins").root)
    code = (
        "import sys; sys.modules['torch_geometric'] = None\n"
        "import climb_hf\n"
        f"options = dict(data_dir={where!r}, streaming=True)\n"
        "row = next(iter(climb_hf.load_dataset('climb', 'proteins', **options)['train']))\n"
        "try:\n    climb_hf.to_pyg(row)\n"
        "except climb_hf.errors.DependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pip install 'climb-hf[graph]'" in done.stdout


# --- the readers of torch_geometric itself ------------------------------------------------------


def edges_of(data):
    return set(map(tuple, data.edge_index.T.tolist()))


@pytest.mark.peer
def test_torch_geometric_reads_equal_proteins(rows, load_fake, tmp_path, torch_geometric):
    """All but the two graphs with an edge between them, which it does not notice."""
    from torch_geometric.datasets import TUDataset

    load_fake("proteins").make(tmp_path / "raw", n=24)
    folder = tmp_path / "PROTEINS" / "raw"
    shutil.copytree(tmp_path / "raw" / "PROTEINS", folder)
    peer = TUDataset(str(tmp_path), "PROTEINS", use_node_attr=True)
    ours = rows("proteins")
    assert len(peer) == 24
    for number, theirs in enumerate(peer, start=1):
        data = climb_hf.to_pyg(ours[f"PROTEINS_{number}"])
        assert edges_of(data) == edges_of(theirs)
        assert data.x.tolist() == theirs.x.tolist()
        assert data.y.tolist() == theirs.y.tolist()


@pytest.mark.peer
def test_torch_geometric_reads_equal_tissues(rows, made, tmp_path, torch_geometric):
    pytest.importorskip("networkx")
    from torch_geometric.datasets import PPI

    shutil.copytree(made("ppi").root / "ppi" / "ppi", tmp_path / "raw")
    facts = made("ppi").manifests["ppi"]["records"]
    ours = rows("ppi")
    for split, name in SPLITS.items():
        numbers = [record for record, known in facts.items() if known["split"] == split]
        peer = PPI(str(tmp_path), split=name)
        assert len(peer) == len(numbers)
        for record, theirs in zip(numbers, peer, strict=True):
            data = climb_hf.to_pyg(ours[record])
            assert edges_of(data) == edges_of(theirs)
            assert data.x.tolist() == theirs.x.tolist()
            assert data.y.tolist() == theirs.y.tolist()


def test_the_catalogue_names_the_peer():
    for name in ("proteins", "ppi"):
        assert str(catalog.get(name).card.proof).startswith("an independent reader")
