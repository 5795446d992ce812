"""Figures of a raw folder equal what the makers of the trees say they wrote."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from PIL import Image

from climb_hf import catalog
from climb_hf.errors import ConfigNameError, DataNotFoundError, OptionError
from climb_hf.survey import composition, on_disk
from climb_hf.survey_plot import save_plot

SOURCES = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")


@pytest.fixture(scope="module")
def opened(ecg_tree):
    """The figures of all sources, every signal opened."""
    return composition("ecg", ecg_tree.root, signals=True).figures()


@pytest.fixture(params=SOURCES)
def told(request, ecg_tree, opened):
    """What was counted of one source, and what its maker says of its records."""
    manifest = ecg_tree.manifests[request.param]
    return opened["sources"][request.param], list(manifest["records"].values()), manifest


def test_every_good_record_is_counted(told):
    figures, records, _ = told
    assert figures["records"] == len(records)


def test_faults_are_counted_by_kind(told):
    figures, _, manifest = told
    made = Counter(fault["kind"] for fault in manifest["faults"].values())
    assert {kind: figures[kind] for kind in ("damaged", "missing", "copy")} == {
        kind: made[kind] for kind in ("damaged", "missing", "copy")
    }


def test_positive_records_are_those_of_the_maker(told):
    figures, records, manifest = told
    made = Counter(name for record in records for name in record["labels"])
    found = {
        name: sum(counts["positive"] for counts in by_split.values())
        for name, by_split in figures["classes"].items()
    }
    assert found == {name: made[name] for name in manifest["classes"]}


def test_a_class_is_positive_negative_or_not_labelled_in_every_record(told):
    figures, _, _ = told
    for by_split in figures["classes"].values():
        for split, counts in by_split.items():
            assert sum(counts.values()) == figures["splits"][split]


def test_ages_and_sexes_are_those_of_the_maker(told):
    figures, records, _ = told
    ages = [record["age"] for record in records if record["age"] is not None]
    assert figures["ages_years"]["known"] == len(ages)
    assert figures["ages_years"]["least"] == min(ages)
    assert figures["ages_years"]["greatest"] == max(ages)
    assert figures["sexes"] == Counter(record["sex"] or "unknown" for record in records)


def test_lengths_are_those_of_the_recordings(told):
    figures, records, _ = told
    lengths = [record["n_samples"] / record["rate_hz"] for record in records]
    assert figures["durations_s"]["known"] == len(records)
    assert figures["durations_s"]["least"] == min(lengths)
    assert figures["durations_s"]["greatest"] == max(lengths)


def test_flags_of_the_samples_are_counted_once_signals_are_open(told):
    figures, records, _ = told
    lost = sum(record["n_invalid"] > 0 for record in records)
    assert figures["flags"].get("invalid_samples", 0) == lost


def test_patients_are_counted_once(told):
    figures, records, _ = told
    known = [r["patient_id"] for r in records if r["patient_id"] is not None]
    assert figures["patients"] == len(set(known))
    assert figures["records_without_patient"] == len(records) - len(known)


def test_official_splits_are_those_of_the_maker(ecg_tree, opened):
    made = Counter(r["split"] for r in ecg_tree.manifests["ptb_xl"]["records"].values())
    assert opened["sources"]["ptb_xl"]["splits"] == made
    assert set(opened["sources"]["ptb_xl"]["split_origins"]) == {"official"}


def test_the_whole_is_the_sum_of_its_sources(opened):
    for what in ("records", "patients", "damaged", "missing"):
        assert opened["total"][what] == sum(s[what] for s in opened["sources"].values())


def test_without_signals_the_index_is_enough_for_all_but_what_lies_in_them(ecg_tree, opened):
    found = composition("georgia", ecg_tree.root).figures()["sources"]["georgia"]
    whole = dict(opened["sources"]["georgia"])
    of_samples = {"padded", "cropped", "invalid_samples", "flat_channel"}
    kept = {flag: n for flag, n in whole.pop("flags").items() if flag not in of_samples}
    assert found.pop("flags") == kept
    assert found == whole


def test_a_label_set_changes_the_classes(ecg_tree):
    found = composition("ptb_xl", ecg_tree.root, label_set="ptbxl_super5").figures()
    assert list(found["total"]["classes"]) == ["NORM", "MI", "STTC", "CD", "HYP"]


def test_a_split_rule_changes_the_splits(ecg_tree):
    found = composition("ptb_xl", ecg_tree.root, split_rule="hash").figures()
    assert set(found["total"]["split_origins"]) == {"derived"}


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"config": "ecgs"}, ConfigNameError, "'ecg'"),
        ({"label_set": "climb8"}, OptionError, "'climb7'"),
        ({"split_rule": "hsah"}, OptionError, "'hash'"),
        ({"split_rule": "csv"}, OptionError, "is not one of"),
    ],
    ids=["config", "label-set", "split-rule", "csv"],
)
def test_a_wrong_word_names_what_there_is(ecg_tree, settings, error, said):
    config = settings.pop("config", "ecg")
    with pytest.raises(error, match=said):
        composition(config, ecg_tree.root, **settings)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataNotFoundError, match="no record of"):
        composition("ecg", tmp_path)


def test_a_prepared_folder_is_told_from_one_without_records(ecg_tree, tmp_path):
    from climb_hf import cli

    out = tmp_path / "prepared"
    arguments = ["build", "georgia", "--data-dir", str(ecg_tree.root), "--out", str(out)]
    assert cli.main(arguments) == 0
    with pytest.raises(DataNotFoundError, match="climb-hf build` prepared"):
        composition("georgia", out)


# --- one source on disk ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_the_layouts_found_are_those_that_were_written(ecg_tree, name):
    found = on_disk(catalog.get(name), ecg_tree.root)
    assert sorted(found["layouts"]) == sorted(ecg_tree.manifests[name]["layouts"])


@pytest.mark.parametrize("name", SOURCES)
def test_unknown_codes_are_those_that_were_written(ecg_tree, name):
    found = on_disk(catalog.get(name), ecg_tree.root)
    assert sorted(found["unknown_codes"]) == sorted(ecg_tree.manifests[name]["unknown_codes"])


def test_files_and_bytes_are_those_of_the_source_alone(ecg_tree, tmp_path):
    origin = ecg_tree.root / "georgia"
    root = shutil.copytree(origin, tmp_path / "deep" / "down")
    files = [path for path in root.rglob("E*") if path.suffix in (".hea", ".mat")]
    (root / "notes.txt").write_text("not of the release")
    found = on_disk(catalog.get("georgia"), tmp_path)
    assert found["n_files"] == len(files)
    assert found["bytes_read"] == sum(path.stat().st_size for path in files)


def test_a_folder_without_the_source_holds_nothing_of_it(tmp_path):
    assert on_disk(catalog.get("georgia"), tmp_path) is None


# --- the picture -----------------------------------------------------------------------------


def test_a_picture_is_drawn_into_a_folder_that_is_made(opened, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "stats.png"
    save_plot(opened, path)
    with Image.open(path) as picture:
        assert len(set(picture.convert("L").resize((64, 64)).get_flattened_data())) > 2


@pytest.mark.parametrize("name", ["stats.bmp", "stats"])
def test_a_picture_of_another_kind_is_refused(opened, tmp_path, name):
    with pytest.raises(OptionError, match="png, pdf, svg"):
        save_plot(opened, tmp_path / name)


def test_a_picture_where_a_folder_is_cannot_be_written(opened, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "stats.png").mkdir()
    with pytest.raises(OptionError, match="cannot be written"):
        save_plot(opened, tmp_path / "stats.png")


# ---- by the cards alone -------------------------------------------------------------------------


def test_the_papers_counts_add_up_to_its_total():
    from climb_hf import collection

    counted = {name: collection.paper_records(name) for name in collection._rows()}
    assert len(counted) == 45
    assert sum(counted.values()) == 4_505_190  # the "4.51M" of the paper
    assert collection.paper_records("nobodys") is None


def test_every_source_of_ours_stands_in_the_papers_table():
    from climb_hf import survey_cards

    sources = survey_cards.figures("all")["sources"]
    assert not [name for name, one in sources.items() if one["paper_records"] is None]


def test_places_are_told_by_source_and_country():
    from climb_hf import survey_cards

    found = survey_cards.figures("ecg")
    assert found["modalities"] == {"ecg": 88_976}  # of the paper's table
    assert found["countries"] == {"China": 2, "Germany": 1, "United States": 1}
    cities = [place["name"] for place in found["places"] if place["source"] == "chapman_shaoxing"]
    assert cities == ["Shaoxing", "Ningbo"]


def test_the_composition_is_drawn_without_a_folder(tmp_path, capsys):
    from climb_hf import cli

    pytest.importorskip("matplotlib")
    picture = tmp_path / "made" / "cards.png"
    assert cli.main(["stats", "all", "--cards", "--plot", str(picture)]) == 0
    assert "United States" in capsys.readouterr().out
    assert picture.read_bytes()[:4] == b"\x89PNG"
