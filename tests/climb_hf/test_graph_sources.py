"""The five graph sources, beyond the battery: rules of their cards, splits, other layouts."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict

import numpy as np
import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.errors import DataNotFoundError, OptionError, TooManyBadRecordsError
from climb_hf.io.tensor import from_tensor
from climb_hf.testing import CHECKS, Subject, run_check

SOURCES = ("abcd", "abide", "ppi", "ppmi", "proteins")
BRAINS = ("abcd", "abide", "ppmi")


@pytest.fixture(scope="module")
def load(made):
    """A function that gives the rows of a made source by record; equal calls from memory."""
    memory = {}

    def of(source, root=None, **more):
        key = source, str(root), repr(sorted(more.items()))
        if key not in memory:
            where = str(root or made(source).root)
            memory[key] = rows_of(climb_hf.load_dataset("climb", source, data_dir=where, **more))
        return memory[key]

    return of


def rows_of(loaded):
    found = {}
    for split, part in loaded.items():
        names = part.features["label"].names if "label" in part.features else ()
        for row in part:
            label = row.get("label")
            row["class"] = None if label is None else names[label]
            found[row["id"].split("/", 1)[1]] = {**row, "split": split}
    return found


def matrix_of(row):
    return from_tensor(row["graphs"][0]["matrix"])


def copy_of(made, source, folder):
    shutil.copytree(made(source).root / source, folder / source)
    return folder / source


@pytest.mark.parametrize("source", SOURCES)
def test_a_modality_loads_and_streams_all_its_sources(source, made, tmp_path):
    modality = str(catalog.get(source).card.modality)
    members = [one for one in SOURCES if str(catalog.get(one).card.modality) == modality]
    for one in members:
        (tmp_path / one).symlink_to(made(one).root / one)
    table = climb_hf.load_dataset("climb", modality, data_dir=str(tmp_path))
    stream = climb_hf.load_dataset("climb", modality, data_dir=str(tmp_path), streaming=True)
    assert {row["source"] for part in table.values() for row in part} == set(members)
    for split, part in table.items():
        assert [row["id"] for row in stream[split]] == part["id"]


@pytest.mark.parametrize("source", BRAINS)
def test_questions_say_what_stands_out_in_a_brain(source, load):
    for row in load(source, task="qa").values():
        text = row["prompt"][0]["content"]
        assert "Strongest positive pairs: " in text
        assert f"{row['graphs'][0]['num_nodes']} regions" in text
        assert "bounding" not in text


# --- PROTEINS -----------------------------------------------------------------------------------


def test_a_question_counts_what_the_graph_holds(load):
    for row in load("proteins", task="qa").values():
        graph = row["graphs"][0]
        edges, x = from_tensor(graph["edge_index"]), from_tensor(graph["x"])
        counts = x[:, 1:].sum(axis=0).astype(int)
        text = row["prompt"][0]["content"]
        wanted = "helices {}, sheets {}, turns {}".format(*counts)
        assert wanted in text
        assert f"with {edges.shape[1] // 2} contacts" in text


def test_1_is_an_enzyme(load):
    for row in load("proteins").values():
        assert row["class"] == {"1": "enzyme", "2": "non_enzyme"}[row["native_labels"][0]]


def test_the_full_variant_goes_by_the_name_of_its_files(made, tmp_path):
    root = copy_of(made, "proteins", tmp_path)
    for path in list((root / "PROTEINS").glob("PROTEINS_*.txt")):
        name = path.name.replace("PROTEINS_", "PROTEINS_full_")
        text = path.read_text()
        if name.endswith("node_attributes.txt"):
            text = "\n".join(", ".join([line] * 29) for line in text.splitlines())
        path.with_name(name).write_text(text)
    both = {"data_dir": str(tmp_path)}
    plain = rows_of(climb_hf.load_dataset("climb", "proteins", **both))
    full = rows_of(climb_hf.load_dataset("climb", "proteins", variant="PROTEINS_full", **both))
    assert {len(from_tensor(row["graphs"][0]["x"])[0]) for row in plain.values()} == {4}
    assert {len(from_tensor(row["graphs"][0]["x"])[0]) for row in full.values()} == {32}
    assert all(record.startswith("PROTEINS_full_") for record in full)
    assert all(not record.startswith("PROTEINS_full_") for record in plain)


def test_pointers_of_a_mirror_are_named(made, tmp_path):
    root = copy_of(made, "proteins", tmp_path)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (root / "PROTEINS" / "PROTEINS_A.txt").write_text(pointer)
    with pytest.raises(TooManyBadRecordsError, match="git lfs pull"):
        climb_hf.load_dataset("climb", "proteins", data_dir=str(tmp_path))


def test_a_collection_without_its_edges_is_refused(made, tmp_path):
    root = copy_of(made, "proteins", tmp_path)
    (root / "PROTEINS" / "PROTEINS_A.txt").unlink()
    with pytest.raises(TooManyBadRecordsError, match="is not there"):
        climb_hf.load_dataset("climb", "proteins", data_dir=str(tmp_path))


def test_graphs_that_are_not_counted_alike_are_refused(made, tmp_path):
    root = copy_of(made, "proteins", tmp_path)
    labels = root / "PROTEINS" / "PROTEINS_graph_labels.txt"
    labels.write_text(labels.read_text() + "1\n")
    with pytest.raises(TooManyBadRecordsError, match="lists 27 graphs"):
        climb_hf.load_dataset("climb", "proteins", data_dir=str(tmp_path))


# --- PPI ----------------------------------------------------------------------------------------


def test_tissues_stay_in_the_split_of_the_release(load, made):
    facts = made("ppi").manifests["ppi"]["records"]
    found = {record: row["split"] for record, row in load("ppi").items()}
    assert found == {record: known["split"] for record, known in facts.items()}
    assert {row["split_origin"] for row in load("ppi").values()} == {"official"}


def test_a_tissue_has_no_class_and_no_question(load):
    assert {row["class"] for row in load("ppi").values()} == {None}
    with pytest.raises(DataNotFoundError, match="no question can be made"):
        load("ppi", task="qa")


@pytest.fixture
def nodes(load):
    return load("ppi", options={"ppi": {"level": "node"}})


def test_a_protein_stays_in_its_tissues_split(nodes, made):
    facts = made("ppi").manifests["ppi"]["records"]
    splits = defaultdict(set)
    for record, row in nodes.items():
        splits[record.split("/")[0]].add(row["split"])
    assert splits == {record: {known["split"]} for record, known in facts.items()}


def test_about_half_of_the_pairs_interact(nodes):
    counts = Counter(row["class"] for row in nodes.values())
    assert 0.35 < counts["interacting"] / len(nodes) < 0.65


def test_the_answer_is_not_in_the_graph_that_is_shown(nodes):
    """Nodes 0 and 1 are the pair: no edge joins them, whatever the answer is."""
    for row in nodes.values():
        edges = from_tensor(row["graphs"][0]["edge_index"])
        assert not ((edges[0] == 0) & (edges[1] == 1)).any()


def test_the_answer_is_in_the_tissue(nodes, load):
    """A pair by its numbers in the question, looked up in the whole graph."""
    asked = load("ppi", task="qa", options={"ppi": {"level": "node"}})
    tissues = {
        record: set(map(tuple, from_tensor(row["graphs"][0]["edge_index"]).T.tolist()))
        for record, row in load("ppi").items()
    }
    assert set(asked) == set(nodes)
    for record, row in asked.items():
        words = row["prompt"][0]["content"].split("protein ")
        first, second = (int(words[at].split()[0]) for at in (1, 2))
        linked = (first, second) in tissues[record.split("/")[0]]
        assert row["answer"] == ("they interact" if linked else "they do not interact")


def test_a_protein_without_a_link_is_not_asked_about(nodes, load):
    for record, row in load("ppi").items():
        assert f"{record}/{row['graphs'][0]['num_nodes'] - 1}" not in nodes


def test_one_network_of_all_splits_passes_the_battery(load_fake, tmp_path):
    truth = load_fake("ppi").make_whole(tmp_path / "ppi", n=5)
    split_up = load_fake("ppi").make(tmp_path / "other" / "ppi", n=5)
    assert truth["records"].keys() == split_up["records"].keys()
    subject = Subject(catalog.get("ppi"), tmp_path, truth)
    for check in CHECKS:
        found = run_check(check, subject)
        assert found.outcome != "failed", found
    subject.close()


def test_of_both_layouts_one_is_read(load_fake, tmp_path):
    load_fake("ppi").make_whole(tmp_path / "ppi", n=5)
    load_fake("ppi").make(tmp_path / "ppi", n=5)
    loaded = climb_hf.load_dataset("climb", "ppi", data_dir=str(tmp_path))
    (report,) = climb_hf.load_report(loaded)
    assert sum(map(len, loaded.values())) == 5
    assert report.faults == []


def test_a_network_with_a_graph_of_two_splits_is_refused(load_fake, tmp_path):
    load_fake("ppi").make_whole(tmp_path / "ppi", n=5)
    file = tmp_path / "ppi" / "ppi" / "ppi-G.json"
    told = json.loads(file.read_text())
    told["nodes"][5]["test"] = not told["nodes"][5]["test"]
    file.write_text(json.dumps(told))
    with pytest.raises(TooManyBadRecordsError, match="several splits"):
        climb_hf.load_dataset("climb", "ppi", data_dir=str(tmp_path))


def test_a_missing_split_costs_no_other(made, tmp_path):
    root = copy_of(made, "ppi", tmp_path)
    (root / "ppi" / "train_feats.npy").unlink()
    loaded = climb_hf.load_dataset("climb", "ppi", data_dir=str(tmp_path))
    (report,) = climb_hf.load_report(loaded)
    assert set(loaded) == {"validation", "test"}
    assert {fault.kind for fault in report.faults} == {"damaged"}


# --- ABCD ---------------------------------------------------------------------------------------


def test_a_label_is_that_of_its_id_not_of_its_line(load, made):
    """Upstream labels row i with line i of the table; here the lines are in another order."""
    facts = made("abcd").manifests["abcd"]["records"]
    table = (made("abcd").root / "abcd" / "ABCD" / "id2sex.txt").read_text().splitlines()[1:]
    by_line = [line.split(",")[1] for line in table]
    by_id = [(facts[record]["native"] or [None])[0] for record in facts]
    assert by_line[: len(by_id)] != by_id
    for record, row in load("abcd").items():
        assert row["native_labels"] == facts[record]["native"]


def test_the_last_digit_of_an_id_is_kept(load, made):
    text = (made("abcd").root / "abcd" / "ABCD" / "ids_HCP2016.txt").read_text()
    assert not text.endswith("\n")
    assert set(load("abcd")) <= set(text.split("\n"))


def test_labels_none_of_which_joins_by_its_id_are_refused(made, tmp_path):
    shutil.copytree(made("abcd").root / "abcd", tmp_path / "abcd")
    table = tmp_path / "abcd" / "ABCD" / "id2sex.txt"
    table.write_text(table.read_text().replace("NDARINV", "sub-NDARINV"))
    with pytest.raises(
        TooManyBadRecordsError, match=r"no id of id2sex\.txt \(sub-NDARINV.*two ways"
    ):
        climb_hf.load_dataset("climb", "abcd", data_dir=str(tmp_path))


def test_a_matrix_without_a_label_is_kept(load):
    (unlabelled,) = [row for row in load("abcd").values() if row["class"] is None]
    assert unlabelled["sex"] is None
    assert matrix_of(unlabelled).shape == (1, 90, 90)


def test_ids_and_matrices_of_different_number_are_refused(made, tmp_path):
    root = copy_of(made, "abcd", tmp_path)
    ids = root / "ABCD" / "ids_HCP2016.txt"
    ids.write_text("\n".join(ids.read_text().splitlines()[:-1]))
    with pytest.raises(TooManyBadRecordsError, match="26 matrices and 25 ids"):
        climb_hf.load_dataset("climb", "abcd", data_dir=str(tmp_path))


def test_pickled_matrices_are_refused(made, tmp_path):
    root = copy_of(made, "abcd", tmp_path)
    stack = root / "ABCD" / "abcd_rest-pearson-HCP2016.npy"
    np.save(stack, np.array([None] * 26, object), allow_pickle=True)
    with pytest.raises(TooManyBadRecordsError, match="Python objects"):
        climb_hf.load_dataset("climb", "abcd", data_dir=str(tmp_path))


def test_a_question_about_sex_is_no_diagnosis(load):
    for row in load("abcd", task="qa").values():
        assert "recorded sex" in row["prompt"][0]["content"]
        assert row["options"] == ["male", "female"]


# --- ABIDE --------------------------------------------------------------------------------------


def test_group_1_is_autism_in_both_layouts(load, load_fake, tmp_path):
    for row in load("abide").values():
        assert row["class"] == {"1": "asd", "2": "control"}[row["native_labels"][0]]
    truth = load_fake("abide").make_arrays(tmp_path / "abide")
    arrays = load("abide", tmp_path)
    # The array's label is DX_GROUP less 1: its 0 is autism.
    stored = np.load(tmp_path / "abide" / "ABIDE" / "abide_label.npy")
    for record, row in arrays.items():
        assert row["class"] == ("asd", "control")[stored[int(record[-4:])]]
        assert [row["class"]] == truth["records"][record]["labels"]


def test_plain_arrays_pass_the_battery(load_fake, tmp_path):
    truth = load_fake("abide").make_arrays(tmp_path / "abide", n=10)
    subject = Subject(catalog.get("abide"), tmp_path, truth)
    for check in CHECKS:
        if check == "a_build_grows_little":
            continue  # matrices are stored as they are, half as long
        found = run_check(check, subject)
        assert found.outcome != "failed", found
    subject.close()


def test_the_pickled_file_is_refused_with_what_to_do(load_fake, tmp_path):
    np.save(tmp_path / "abide.npy", {"corr": np.eye(3)}, allow_pickle=True)
    with pytest.raises(TooManyBadRecordsError, match=r"abide_corr\.npy.*abide_label\.npy"):
        climb_hf.load_dataset("climb", "abide", data_dir=str(tmp_path))


def test_every_site_is_in_the_shares(load_fake, tmp_path):
    """80/20 within each site, to within one person (the card's rule; classes alone would not)."""
    load_fake("abide").make(tmp_path / "abide", n=20)
    rows = rows_of(climb_hf.load_dataset("climb", "abide", data_dir=str(tmp_path)))
    people = defaultdict(set)
    for row in rows.values():
        people[row["site"], row["split"]].add(row["patient_id"])
    for site in {row["site"] for row in rows.values()}:
        counts = {split: len(people[site, split]) for split in ("train", "test")}
        assert abs(counts["test"] - 0.2 * sum(counts.values())) <= 1, (site, counts)


def test_sites_are_named_without_their_numbers(load):
    assert {row["site"] for row in load("abide").values()} == {"NYU", "UCLA", "PITT"}
    assert {row["meta"]["SITE_ID"] for row in load("abide").values()} > {"UCLA_1", "UCLA_2"}


def phenotypes(made, tmp_path, change):
    """Rows of ABIDE by record, and the report, after a change of the table's lines."""
    shutil.copytree(made("abide").root / "abide", tmp_path / "abide")
    (table,) = tmp_path.rglob("Phenotypic*.csv")
    table.write_text("\n".join(change(table.read_text().splitlines())) + "\n")
    subject = Subject(catalog.get("abide"), tmp_path)
    placed, report = subject.index()
    subject.close()
    return {one.example.record: one.example for one in placed}, report


def test_an_age_in_words_and_a_group_that_is_not_told_cost_no_scan(made, tmp_path):
    def change(lines):
        cells = lines[1].split(",")
        cells[6], cells[8] = "", "n/a"  # DX_GROUP and AGE_AT_SCAN
        return [lines[0], ",".join(cells), *lines[2:]]

    found, _ = phenotypes(made, tmp_path, change)
    first = found["Nyu_0050003"]
    assert (first.native, first.age_years) == ((), None)


def test_phenotypes_that_are_cut_short_are_told(made, tmp_path):
    found, report = phenotypes(made, tmp_path, lambda lines: [*lines[:4], lines[4][:12]])
    assert len(found) == 3
    told = {fault.record: fault.reason for fault in report.faults}
    assert "is cut short: row 4 has fewer cells" in told["abide"]


def test_scans_of_one_person_stay_together(load):
    splits = defaultdict(set)
    for row in load("abide").values():
        splits[row["patient_id"]].add(row["split"])
    assert len(splits) < len(load("abide"))
    assert all(len(names) == 1 for names in splits.values())


def test_short_scans_are_left_out_unless_asked_for(made, load):
    asked = load("abide", options={"abide": {"min_volumes": 50}})
    assert "Nyu_0059001" in asked
    assert "Nyu_0059001" not in load("abide")


def test_fisher_z_is_asked_for(load):
    plain, moved = load("abide"), load("abide", options={"abide": {"fisher_z": True}})
    for record, row in plain.items():
        whole = matrix_of(row)[0]
        off = ~np.eye(len(whole), dtype=bool)
        assert np.allclose(np.tanh(matrix_of(moved[record])[0][off]), whole[off], atol=1e-5)


def test_a_wrong_option_is_refused(made):
    with pytest.raises(OptionError, match="min_volumes"):
        climb_hf.load_dataset(
            "climb",
            "abide",
            data_dir=str(made("abide").root),
            options={"abide": {"min_volumes": "many"}},
        )


# --- PPMI ---------------------------------------------------------------------------------------


def test_an_asymmetric_network_is_kept_and_flagged(load):
    flagged = [r for r, row in load("ppmi").items() if "asymmetric_matrix" in row["flags"]]
    assert flagged == ["ppmi_0024"]


def write_ppmi(folder, load_fake, labels):
    from scipy.io import loadmat, savemat

    load_fake("ppmi").make(folder, n=8)
    path = folder / "PPMI" / "PPMI.mat"
    told = loadmat(path)
    savemat(path, {"X": told["X"], "label": np.array(labels, float)})


def test_labels_in_a_row_are_read_too(load_fake, tmp_path):
    write_ppmi(tmp_path, load_fake, [[1, 1, 1, 1, 1, -1, -1, 1]])
    rows = rows_of(climb_hf.load_dataset("climb", "ppmi", data_dir=str(tmp_path)))
    assert [rows[f"ppmi_{at:04d}"]["class"] for at in (0, 5)] == ["pd", "control"]


def test_fewer_patients_than_controls_are_warned_of(load_fake, tmp_path, caplog):
    write_ppmi(tmp_path, load_fake, [[-1, -1, -1, -1, -1, 1, 1, 1]])
    climb_hf.load_dataset("climb", "ppmi", data_dir=str(tmp_path))
    assert "is not the larger class" in caplog.text


def test_more_patients_are_not_warned_of(load_fake, tmp_path, caplog):
    write_ppmi(tmp_path, load_fake, [[1, 1, 1, 1, 1, -1, -1, 1]])
    climb_hf.load_dataset("climb", "ppmi", data_dir=str(tmp_path))
    assert "larger class" not in caplog.text


def test_labels_and_networks_of_different_number_are_refused(load_fake, tmp_path):
    write_ppmi(tmp_path, load_fake, [[1, -1, 1]])
    with pytest.raises(TooManyBadRecordsError, match="8 networks and 3 labels"):
        climb_hf.load_dataset("climb", "ppmi", data_dir=str(tmp_path))


def test_classes_are_in_their_shares(load):
    rows = load("ppmi").values()
    for name in ("control", "pd"):
        mine = [row["split"] for row in rows if row["class"] == name]
        assert abs(mine.count("test") - 0.2 * len(mine)) <= 1


def test_a_folder_may_be_called_as_its_records_are(made):
    subject = Subject(catalog.get("ppmi"), made("ppmi").root / "ppmi")  # ids begin with ppmi/ppmi_
    found = run_check("ids_are_free_of_paths", subject)
    subject.close()
    assert found.outcome == "passed", found
