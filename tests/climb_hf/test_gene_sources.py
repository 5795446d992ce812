"""GEO and the Expression Atlas: no answer leaks, genes are chosen openly, odd files are told."""

from __future__ import annotations

import gzip
import importlib.util
import re
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.errors import (
    CorruptFileError,
    DataNotFoundError,
    OptionError,
    TooManyBadRecordsError,
)
from climb_hf.genes import groups_of
from climb_hf.io import expression
from climb_hf.io.expression import GeneTable
from climb_hf.io.magetab import read_configuration, read_samples
from climb_hf.io.soft import Subset, read_header
from climb_hf.io.tensor import from_tensor
from climb_hf.schema import MediaFile
from climb_hf.testing import CHECKS, Subject, run_check

LISTED = re.compile(r"([\w.-]+): (?:not measured|-?[\d.e+-]+)(?=[,.])")


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
        for row in part:
            found[row["id"].split("/", 1)[1]] = {**row, "split": split}
    return found


def values_of(row):
    return from_tensor(row["expression"][0]["values"])


def asked(row):
    return row["prompt"][0]["content"].split("Options:")[0]


def soft_of(root, gds):
    (path,) = root.rglob(f"{gds}.soft.gz")
    return path


# --- which genes --------------------------------------------------------------------------------


def table_of(values, genes=None, names=None):
    values = np.array(values, float)
    genes = genes or [f"p{at}" for at in range(values.shape[1])]
    return GeneTable(
        genes, names or [""] * len(genes), [f"s{at}" for at in range(len(values))], values
    )


def test_genes_are_ranked_as_numpy_ranks_their_variance():
    values = np.random.default_rng(0).normal(size=(6, 40))
    values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
    wanted = np.argsort(-np.nanvar(values.astype("<f4").astype(float), axis=0), kind="stable")
    assert table_of(values).by_variance.tolist() == wanted.tolist()


def test_so_many_genes_are_given_in_the_tables_order():
    found = table_of([[0, 0, 0, 0], [1, 9, 3, 9]]).profile("s1", "u", {"n_genes": 2})
    assert (found.genes, found.values.tolist()) == (("p1", "p3"), [9, 9])


def test_0_genes_means_all():
    assert len(table_of(np.ones((2, 30))).profile("s0", None, {"n_genes": 0}).genes) == 30


def test_of_a_gene_that_stands_twice_the_first_counts():
    table = table_of([[1, 2, 3], [4, 5, 6]], genes=["a", "b", "a"])
    assert (table.genes, table.values.tolist()) == (("a", "b"), [[1, 2], [4, 5]])


def test_genes_are_found_by_id_or_by_name_and_absent_ones_are_nan():
    table = table_of([[1, 2, 3], [4, 9, 3]], names=["X", "X", ""])
    found = table.profile("s1", None, {"genes": ("p2", "X", "none")})
    # Of the two of name X the second differs more.
    assert found.genes == ("p2", "X", "none")
    assert found.values[:2].tolist() == [3, 9]
    assert np.isnan(found.values[2])


def test_genes_that_are_all_absent_are_refused():
    with pytest.raises(CorruptFileError, match="none of the 1 genes"):
        table_of([[1], [2]]).profile("s0", None, {"genes": ("none",)})


def test_an_infinite_value_was_not_measured():
    assert np.isnan(table_of([[np.inf, 1], [2, 3]]).values[0, 0])


def test_a_question_lists_each_name_once():
    table = table_of([[0, 0, 0], [5, 9, 1]], names=["X", "X", "Y"])
    words = table.profile("s1", None, {"n_shown": 3}).words
    assert words == {"n_shown": "2", "listed": "X: 9, Y: 1"}


def test_the_highest_are_listed_where_they_are_asked_for():
    words = table_of([[7, 1, 8]]).profile("s0", None, {"n_shown": 2, "shown": "highest"}).words
    assert words["listed"] == "p2: 8, p0: 7"


@pytest.mark.parametrize(
    ("given", "said"),
    {
        "below-0": ({"n_genes": -1}, "must not be below 0"),
        "no-file": ({"gene_file": "/nowhere/genes.txt"}, "there is no such file"),
    }.values(),
    ids=["below-0", "no-file"],
)
@pytest.mark.parametrize("source", ["geo", "expression_atlas"])
def test_a_wrong_choice_of_genes_is_refused(source, given, said, made):
    with pytest.raises(OptionError, match=said):
        climb_hf.load_dataset(
            "climb", source, data_dir=str(made(source).root), options={source: given}
        )


def test_a_file_without_genes_is_refused(made, tmp_path):
    (tmp_path / "genes.txt").write_text("\n\n")
    options = {"geo": {"gene_file": str(tmp_path / "genes.txt")}}
    with pytest.raises(OptionError, match="names no gene"):
        climb_hf.load_dataset("climb", "geo", data_dir=str(made("geo").root), options=options)


def test_one_list_of_genes_fits_every_study(load, tmp_path):
    wanted = ["200001_at", "GENE7", "GENE20"]
    (tmp_path / "genes.txt").write_text("\n".join(wanted))
    rows = load("geo", options={"geo": {"gene_file": str(tmp_path / "genes.txt")}})
    assert len(rows) > 30
    whole = load("geo")
    for record, row in rows.items():
        found = row["expression"][0]
        assert found["genes"] == wanted
        at = whole[record]["expression"][0]["genes"].index("200001_at")
        assert np.array_equal(values_of(row)[0], values_of(whole[record])[at], equal_nan=True)


@pytest.mark.parametrize(
    ("source", "platform"), [("geo", "GPL96"), ("expression_atlas", "A-AFFY-44")]
)
def test_the_genes_of_a_platform_are_listed_once(source, platform, load, made):
    found = climb_hf.gene_list(source, platform, data_dir=made(source).root)
    rows = load(source, options={source: {"n_genes": 0}}).values()
    profiles = [row["expression"][0] for row in rows if row["meta"]["platform"] == platform]
    assert profiles
    for one in profiles:
        assert one["genes"] == list(found)
        assert one["names"] == list(found.values())


def test_genes_of_a_species_are_those_of_all_its_experiments(load, made):
    found = climb_hf.gene_list("expression_atlas", "Homo sapiens", made("expression_atlas").root)
    rows = load("expression_atlas", options={"expression_atlas": {"n_genes": 0}}).values()
    mine = [row for row in rows if row["meta"]["platform"] == "Homo sapiens"]
    assert set(found) == {gene for row in mine for gene in row["expression"][0]["genes"]}


def test_an_unknown_platform_is_refused_with_those_there_are(made):
    with pytest.raises(OptionError, match=r"'GPL69' is not one of: 'GPL96'. Did you mean 'GPL96'"):
        climb_hf.gene_list("geo", "GPL69", made("geo").root)
    with pytest.raises(DataNotFoundError, match="no record of geo"):
        climb_hf.gene_list("geo", "GPL96", made("expression_atlas").root)


def test_rows_may_hold_values_alone_in_the_order_of_the_list(load, made, tmp_path):
    genes = list(climb_hf.gene_list("geo", "GPL96", data_dir=made("geo").root))
    (tmp_path / "genes.txt").write_text("\n".join(genes))
    options = {"gene_file": str(tmp_path / "genes.txt"), "genes_in_rows": False}
    whole = load("geo", options={"geo": {"n_genes": 0}})
    rows = load("geo", options={"geo": options})
    assert len(rows) > 30
    for record, row in rows.items():
        one = row["expression"][0]
        assert (one["genes"], one["names"]) == ([], [])
        assert np.array_equal(values_of(row), values_of(whole[record]), equal_nan=True)
    assert climb_hf.plot(row).height > 100


def test_rows_without_a_list_need_a_file_that_gives_it(made):
    with pytest.raises(OptionError, match=r"genes_in_rows=False needs gene_file.*gene_list"):
        climb_hf.load_dataset(
            "climb",
            "geo",
            data_dir=str(made("geo").root),
            options={"geo": {"genes_in_rows": False}},
        )


def test_rows_of_a_study_share_their_genes(load):
    lists = defaultdict(set)
    for record, row in load("geo", options={"geo": {"n_genes": 30}}).items():
        lists[record.split("_")[0]].add(tuple(row["expression"][0]["genes"]))
        assert len(row["expression"][0]["genes"]) == 30
    assert all(len(found) == 1 for found in lists.values())
    assert len({next(iter(found)) for found in lists.values()}) > 1  # chosen within each study


@pytest.mark.parametrize("n_shown", [20, 5])
def test_a_question_lists_as_many_genes_as_are_asked_for(n_shown, load):
    for row in load("geo", task="qa", options={"geo": {"n_shown": n_shown}}).values():
        assert len(LISTED.findall(asked(row).split("listed")[1])) == n_shown


# --- GEO: what the question must not tell -------------------------------------------------------


def test_neither_description_nor_title_nor_group_is_in_a_question(load):
    for row in load("geo", task="qa").values():
        text = asked(row)
        assert "Comparison of" not in text
        assert "Made study" not in text
        assert not any(re.search(rf"\b{re.escape(o)}\b", text) for o in row["options"])


def test_no_description_is_in_a_row(load):
    for row in load("geo").values():
        assert "Comparison of" not in repr(row)


def test_a_question_shows_one_sample(load):
    for record, row in load("geo", task="qa").items():
        text = asked(row)
        assert "GSM" not in text
        assert text.count("gene: value") == 1
        values = values_of(load("geo")[record])
        told = [float(v) for v in re.findall(r": (-?\d[\d.]*)(?=[,.] )", text.split("listed")[1])]
        assert set(told) <= {float(f"{v:.4g}") for v in values}


def test_what_is_shown_does_not_depend_on_the_groups(load, load_fake, tmp_path):
    """With every sample in the other group, values, genes and words are the same."""
    before = load("geo", task="qa")
    load_fake("geo").make(tmp_path / "geo")
    for gds in ("GDS5001", "GDS5002"):
        path = soft_of(tmp_path, gds)
        text = gzip.decompress(path.read_bytes()).decode("latin-1")
        for one, other in (("RCC", "@"), ("normal", "RCC"), ("@", "normal")):
            text = text.replace(f"!subset_description = {one}", f"!subset_description = {other}")
        path.write_bytes(gzip.compress(text.encode("latin-1"), mtime=0))
    after = load("geo", tmp_path, task="qa")
    turned = [record for record in after if record.startswith("GDS500")]
    assert len(turned) == 12
    for record in turned:
        assert after[record]["answer"] != before[record]["answer"]
        assert after[record]["prompt"] == before[record]["prompt"]


def test_options_are_sorted_and_the_studys_own(load):
    found = {r.split("_")[0]: row["options"] for r, row in load("geo", task="qa").items()}
    assert found == {
        "GDS5001": ["RCC", "normal"],
        "GDS5002": ["RCC", "normal"],
        "GDS42": ["brain, adult", "brain, embryo", "liver, adult", "liver, embryo"],
        "GDS611": ["Control", "infected"],
        "GDS4012": ["B cell", "T cell"],
        "GDS1234": ["dexamethasone, 2 h", "dexamethasone, 24 h", "none, 2 h", "none, 24 h"],
    }


def test_studies_of_one_series_stay_together(load):
    splits = defaultdict(set)
    for record, row in load("geo").items():
        splits["GDS500" if record.startswith("GDS500") else record.split("_")[0]].add(row["split"])
    assert all(len(names) == 1 for names in splits.values())
    assert {row["split"] for row in load("geo").values()} == {"train", "test"}


def test_a_row_keeps_what_the_release_says(load):
    row = load("geo")["GDS42_GSM421"]
    assert row["study_id"] == "GDS42"
    assert row["native_labels"] == ["brain, embryo"]
    assert row["meta"]["platform_organism"] == "Mus musculus"
    assert row["expression"][0]["unit"] == "transformed count"
    assert row["expression"][0]["group"] == "GSM421"
    assert row["expression"][0]["names"][:5] == ["GENE0", "GENE0", "GENE1", "GENE1", "200004_at"]


# --- GEO: groups --------------------------------------------------------------------------------

KINDS = {"strain": None, "disease state": None, "tissue": "stage"}


def parts(*told):
    return [Subset(kind, value, tuple(samples.split())) for kind, value, samples in told]


def test_the_first_kind_with_several_groups_is_asked_for():
    told = parts(("disease state", "x", "a"), ("disease state", "y", "b"), ("strain", "s", "a b"))
    assert groups_of(told, KINDS) == ("disease state", {"a": "x", "b": "y"})


def test_a_study_with_one_group_asks_nothing():
    assert groups_of(parts(("strain", "s", "a b")), KINDS) == (None, {})


def test_a_sample_in_two_groups_of_a_kind_has_none():
    told = parts(("strain", "s", "a b"), ("strain", "t", "b c"))
    assert groups_of(told, KINDS)[1] == {"a": "s", "c": "t"}


def test_groups_that_differ_in_case_are_one():
    told = parts(("strain", "wild type", "a"), ("strain", "Wild Type", "b"), ("strain", "t", "c"))
    assert groups_of(told, KINDS)[1] == {"a": "Wild Type", "b": "Wild Type", "c": "t"}


def test_groups_that_no_answer_can_tell_apart_are_passed_over():
    told = parts(("strain", "x}", "a"), ("strain", "t", "b"), ("tissue", "x", "a"))
    told += parts(("tissue", "y", "b"), ("stage", "late", "b"))
    assert groups_of(told, KINDS) == ("tissue", {"a": "x", "b": "y, late"})


# --- GEO: files ---------------------------------------------------------------------------------


def test_annotations_after_the_samples_change_nothing(load, made, tmp_path):
    """The `_full` file alone; it has two more columns, with quotes in them."""
    for path in (made("geo").root / "geo").rglob("GDS5001_full.soft.gz"):
        shutil.copy(path, tmp_path / path.name)
    alone = load("geo", tmp_path)
    assert set(alone) == {r for r in load("geo") if r.startswith("GDS5001")}
    for record, row in alone.items():
        assert row["expression"] == load("geo")[record]["expression"]


def test_a_file_that_is_not_gzipped_is_read(load, made, tmp_path):
    path = soft_of(made("geo").root, "GDS42")
    (tmp_path / "GDS42.soft").write_bytes(gzip.decompress(path.read_bytes()))
    for record, row in load("geo", tmp_path).items():
        assert row["expression"] == load("geo")[record]["expression"]


@pytest.mark.parametrize(
    ("harm", "said"),
    {
        "half": (lambda raw: raw[: len(raw) // 2], "cut short"),
        "no-gzip": (lambda raw: b"plain text", "no gzip file"),
        "other-columns": (
            lambda raw: gzip.compress(
                gzip.decompress(raw).replace(b"IDENTIFIER\tGSM", b"GENE\tGSM")
            ),
            "not with ID_REF and IDENTIFIER",
        ),
        "no-end": (
            lambda raw: gzip.compress(gzip.decompress(raw).replace(b"!dataset_table_end", b"")),
            "ends within its table",
        ),
    }.values(),
    ids=["half", "no-gzip", "other-columns", "no-end"],
)
def test_a_harmed_file_is_refused(harm, said, made, tmp_path):
    path = soft_of(made("geo").root, "GDS611")
    (tmp_path / path.name).write_bytes(harm(path.read_bytes()))
    with pytest.raises(TooManyBadRecordsError, match=said):
        climb_hf.load_dataset("climb", "geo", data_dir=str(tmp_path))


def test_an_index_reads_no_table(made, monkeypatch):
    from climb_hf.io import soft

    def refuse(path):
        raise AssertionError(path)

    monkeypatch.setattr(soft, "_table", refuse)
    header = read_header(soft_of(made("geo").root, "GDS42"))
    assert header.facts["description"].endswith("M\xfcller et al.")
    assert len(header.samples) == 8


@pytest.mark.peer
def test_geoparse_reads_equal_values(load, made):
    geoparse = pytest.importorskip("GEOparse", reason="GEOparse is not installed")
    read = 0
    for path in (made("geo").root / "geo").rglob("GDS*.soft.gz"):
        gds = path.name.split(".")[0].removesuffix("_full")
        ours = {r: row for r, row in load("geo").items() if r.startswith(f"{gds}_")}
        if not ours:
            continue  # a fault, of which GEOparse says nothing
        theirs = geoparse.get_GEO(filepath=str(path), silent=True)
        table = theirs.table.set_index("ID_REF")
        for record, row in ours.items():
            sample = record.split("_")[1]
            stored = row["expression"][0]
            assert stored["genes"] == list(table.index)
            assert np.array_equal(values_of(row), table[sample].to_numpy("float32"), equal_nan=True)
            kind = row["meta"]["subset_type"]
            if kind in ("disease state", "cell type") and row["native_labels"]:
                told = theirs.columns.loc[sample, kind]
                assert row["native_labels"][0].casefold() == told.casefold()
            read += 1
    assert read > 30


# --- Expression Atlas ---------------------------------------------------------------------------


def write_table(folder, rows):
    path = folder / "t.tsv"
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n")
    return path


def group_of(path, group, groups=(("g1", ("g1",)), ("g2", ("g2",)))):
    return expression.load(MediaFile(path, "gene_table", group, {"groups": groups}))


HEAD = ["Gene ID", "Gene Name", "g1", "g2"]


def test_a_cell_of_quartiles_gives_its_median(tmp_path):
    rows = [HEAD, ["a", "A", "1,2,3,4,5", "7"], ["b", "", "", "0.5"]]
    path = write_table(tmp_path, rows)
    found = group_of(path, "g1")
    assert found.values[0] == 3
    assert np.isnan(found.values[1])
    assert found.names == ("A", "b")
    assert group_of(path, "g2").values.tolist() == [7, 0.5]


def test_a_group_of_assays_gives_their_median(tmp_path):
    rows = [["Gene ID", "Gene Name", "Design Element", "x", "y", "z"]]
    rows += [["a", "A", "p1", "1", "9", "2"], ["a", "A", "p2", "", "4", "6"]]
    found = group_of(write_table(tmp_path, rows), "g", (("g", ("x", "y", "z")),))
    assert (found.genes, found.values.tolist()) == (("p1", "p2"), [2, 5])


BAD_TABLES = {
    "three-values": ([HEAD, ["a", "A", "1,2,3", "1"]], "has 3 values, not 1 or 5"),
    "no-gene-column": ([["Probe", "g1", "g2"], ["a", "1", "2"]], "no column 'Gene ID'"),
    "column-lost": ([["Gene ID", "g1"], ["a", "1"]], "lacks the columns g2"),
    "cut-short": ([HEAD, ["a", "A", "1"]], "line 2 has another number of cells"),
    "header-only": ([HEAD], "or is the only one"),
    "word": ([HEAD, ["a", "A", "high", "1"]], "could not convert"),
}


@pytest.mark.parametrize(("rows", "said"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_refused(rows, said, tmp_path):
    with pytest.raises(CorruptFileError, match=said):
        group_of(write_table(tmp_path, rows), "g1")


def test_a_sample_table_is_ragged_and_has_no_header(tmp_path):
    # As E-CURD-116 has it: with an ontology address, without, and a column of replicates.
    lines = [
        "E-CURD-116\tA-AFFY-45\tGSM1\tcharacteristic\torganism\tMus musculus\thttp://x",
        "E-CURD-116\tA-AFFY-45\tGSM1\tcharacteristic\torganism part\tliver",
        "E-CURD-116\tA-AFFY-45\tGSM2\tfactor\torganism part\tliver",
        "E-CURD-116\t\tGSM2\tbiorep1\tcharacteristic\torganism\tMus musculus",
    ]
    (tmp_path / "s.tsv").write_bytes("\n".join([*lines, "x\ty\tz\tM\xfcller"]).encode("latin-1"))
    samples = read_samples(tmp_path / "s.tsv")
    assert samples.facts["GSM1"][("characteristic", "organism part")] == "liver"
    assert samples.shared(["GSM1", "GSM2"]) == {("characteristic", "organism"): "Mus musculus"}
    assert samples.shared([]) == {}


def test_a_sample_table_of_another_kind_is_refused(tmp_path):
    (tmp_path / "s.tsv").write_text("a\tb\tc\n")
    with pytest.raises(CorruptFileError, match="tells nothing of any assay"):
        read_samples(tmp_path / "s.tsv")


def test_a_configuration_that_is_no_xml_is_refused(tmp_path):
    (tmp_path / "c.xml").write_text("<configuration><analytics>")
    with pytest.raises(CorruptFileError, match="no whole XML file"):
        read_configuration(tmp_path / "c.xml")


def test_a_configuration_gives_the_assays_of_groups_and_contrasts(tmp_path):
    (tmp_path / "c.xml").write_text(
        '<configuration experimentType="k"><analytics><array_design> A-AFFY-1 </array_design>'
        '<assay_groups><assay_group id="g1" label="one"><assay>x</assay></assay_group>'
        '<assay_group id="g2"><assay>y</assay><assay>z</assay></assay_group></assay_groups>'
        '<contrasts><contrast id="g1_g2"/></contrasts></analytics></configuration>'
    )
    found = read_configuration(tmp_path / "c.xml")
    assert (found.kind, found.contrasts, found.groups["g1"].array) == ("k", ("g1_g2",), "A-AFFY-1")
    assert found.assays("g1_g2") == ("x", "y", "z")


def test_an_organ_that_is_none_of_the_ten_has_no_class(load):
    row = load("expression_atlas")["E-MTAB-6798/g3"]
    assert (row["label"], row["native_labels"]) == (None, [])
    told = {one["type"]: one["value"] for one in row["meta"]["factors"]}
    assert told == {"organism part": "cerebellum"}


def test_two_names_of_one_organ_are_one_class(load):
    row = load("expression_atlas")["E-MTAB-6798/g4"]
    assert row["native_labels"] == ["animal ovary"]


def test_a_contrast_within_an_organ_has_its_class(load):
    rows = load("expression_atlas")
    assert rows["E-MTAB-2754/g1_g2"]["native_labels"] == ["liver"]
    assert rows["E-MTAB-2754/g1_g3"]["label"] is None
    assert rows["E-MTAB-2754/g1_g2"]["expression"][0]["unit"] == "log2fc"


def test_an_experiment_stays_in_one_split(load):
    splits = defaultdict(set)
    for record, row in load("expression_atlas").items():
        splits[record.split("/")[0]].add(row["split"])
    assert all(len(names) == 1 for names in splits.values())


def test_probes_are_the_genes_of_an_array(load):
    stored = load("expression_atlas")["E-GEOD-3307/g1"]["expression"][0]
    assert stored["genes"][:2] == ["1000_at", "1001_at"]
    assert stored["unit"] == "normalized"


def test_the_highest_genes_are_told_with_their_unit(load):
    row = load("expression_atlas", task="qa")["E-MTAB-2836/g1"]
    stored = load("expression_atlas")["E-MTAB-2836/g1"]["expression"][0]
    values = np.nan_to_num(from_tensor(stored["values"]), nan=-1)
    assert f"{stored['names'][int(values.argmax())]}: {values.max():.4g}" in asked(row)
    assert "gene: value, tpm" in asked(row)


def test_an_array_without_its_configuration_is_refused(made, tmp_path):
    source = made("expression_atlas").root / "expression_atlas" / "experiments" / "E-GEOD-3307"
    shutil.copytree(source, tmp_path / "E-GEOD-3307")
    (tmp_path / "E-GEOD-3307" / "E-GEOD-3307-configuration.xml").unlink()
    with pytest.raises(TooManyBadRecordsError, match="no configuration tells which groups"):
        climb_hf.load_dataset("climb", "expression_atlas", data_dir=str(tmp_path))


def test_sequencing_without_its_configuration_has_values_and_no_class(made, tmp_path):
    source = made("expression_atlas").root / "expression_atlas" / "experiments" / "E-MTAB-2836"
    shutil.copytree(source, tmp_path / "E-MTAB-2836")
    (tmp_path / "E-MTAB-2836" / "E-MTAB-2836-configuration.xml").unlink()
    rows = rows_of(climb_hf.load_dataset("climb", "expression_atlas", data_dir=str(tmp_path)))
    assert len(rows) == 6
    assert {row["label"] for row in rows.values()} == {None}


@pytest.mark.parametrize("source", ["geo", "expression_atlas"])
def test_the_modality_holds_both(source, made, tmp_path):
    for one in ("geo", "expression_atlas"):
        Path(tmp_path / one).symlink_to(made(one).root / one)
    loaded = climb_hf.load_dataset("climb", "gene_expression", data_dir=str(tmp_path))
    assert source in {row["source"] for part in loaded.values() for row in part}


# --- a user's own table: GSE7390 ----------------------------------------------------------------

STRANGER = Path(__file__).parents[1] / "strangers" / "gse7390.py"


@pytest.fixture(scope="module")
def breast_cancer():
    """The folder of real tables within scikit-survival, which is not imported."""
    found = importlib.util.find_spec("sksurv")
    if found is None or found.origin is None:
        pytest.skip("scikit-survival is not installed (pip install --no-deps scikit-survival)")
    catalog.add_file(STRANGER)
    yield Path(found.origin).parent / "datasets" / "data"
    catalog.forget("gse7390")


def test_a_users_own_table_loads(breast_cancer):
    loaded = climb_hf.load_dataset("climb", "gse7390", data_dir=str(breast_cancer))
    rows = rows_of(loaded)
    names = loaded["train"].features["label"].names
    # Desmedt et al. 2007: 198 patients, 134 of them ER positive, and a signature of 76 genes.
    assert len(rows) == 198
    assert sum(names[row["label"]] == "positive" for row in rows.values()) == 134
    assert {len(row["expression"][0]["genes"]) for row in rows.values()} == {76}
    # Line by line, as text: four clinical columns and two of the outcome come before the genes.
    (path,) = breast_cancer.glob("*GSE7390*.arff")
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in "@%"]
    for number, line in enumerate(lines):
        row, cells = rows[f"tumour_{number:03d}"], line.split(",")
        assert values_of(row).tolist() == [float(np.float32(cell)) for cell in cells[6:]]
        assert row["age_years"] == float(cells[0])
        assert row["targets"][0]["value"] == float(cells[4])


def test_a_users_own_table_passes_the_battery(breast_cancer):
    subject = Subject(catalog.get("gse7390"), breast_cancer)
    for check in CHECKS:
        found = run_check(check, subject)
        assert found.outcome != "failed", found
    subject.close()


def test_a_users_own_question_lists_genes(breast_cancer):
    rows = rows_of(
        climb_hf.load_dataset("climb", "gse7390", data_dir=str(breast_cancer), task="qa")
    )
    assert len(rows) == 198
    for row in rows.values():
        assert len(LISTED.findall(asked(row).split("listed")[1])) == 20
