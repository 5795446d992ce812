"""Code tables and classes: the rules of the ECG card, and "not labelled" apart from "negative"."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climb_hf import catalog
from climb_hf.errors import OptionError
from climb_hf.labels import CLIMB7, class_names, classify, code_table, unknown_codes, vocabulary
from climb_hf.schema import Example

# Rows per class of the source card's tables 0.4 (SNOMED CT) and 0.5 (SCP-ECG).
SNOMED_ROWS = {"cd": 57, "other": 37, "sttc": 18, "hyp": 15, "afib": 6, "normal": 5, "mi": 4}
SCP_ROWS = {"normal": 5, "cd": 14, "mi": 14, "sttc": 19, "other": 11, "afib": 2, "hyp": 6}
# The 44 diagnostic statements by diagnostic_class (scp_statements.csv).
SUPER_ROWS = {"NORM": 1, "MI": 14, "STTC": 13, "CD": 11, "HYP": 5}
AXES = {"LAD": "hyp", "ALAD": "hyp", "RAD": "hyp", "ARAD": "hyp", "MID": ""} | dict.fromkeys(
    ("SAG", "AXL", "AXR"), "other"
)
AF, NSR, LBBB, RBBB, LAD_CODE = "164889003", "426783006", "164909002", "59118001", "39732003"
UNKNOWN = "251238007"  # in early headers, in neither table of the Challenge
NINE = "426783006 164889003 270492004 164909002 59118001 284470004 164884008 429622005 164931005"


def labels(native, source="georgia", label_set="climb7", **more):
    return classify(catalog.get(source).card, native, label_set=label_set, **more)


def test_the_snomed_table_has_the_rows_of_the_card():
    found = Counter(row["climb7"] for row in code_table("snomed_ecg").values())
    assert found == SNOMED_ROWS
    assert sum(found.values()) == 142


def test_the_scp_table_has_71_statements_and_8_axes():
    statements = {c: row for c, row in code_table("scp_ecg").items() if not c.startswith("axis:")}
    assert len(statements) == 71
    assert Counter(row["climb7"] for row in statements.values()) == SCP_ROWS


def test_the_axes_of_the_scp_table():
    rows = code_table("scp_ecg")
    assert {c[5:]: r["climb7"] for c, r in rows.items() if c.startswith("axis:")} == AXES


def test_the_superclasses_cover_the_44_diagnostic_statements():
    found = Counter(row["ptbxl_super5"] for row in code_table("scp_ecg").values())
    assert {name: n for name, n in found.items() if name} == SUPER_ROWS


def test_a_code_of_14_digits_stays_text():
    assert labels(["67741000119109"]).positive == ("hyp",)


PAIRS = {
    "PVC=VPB": ("427172004", "17338001"),
    "PAC=SVPB": ("284470004", "63593006"),
    "CLBBB=LBBB": ("733534002", "164909002"),
    "CRBBB=RBBB": ("713427006", "59118001"),
}


@pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
def test_codes_that_the_challenge_scores_as_one_have_one_class(one, other):
    assert labels([one]).positive == labels([other]).positive != ()


ISCHAEMIA = {"inferior": "425419005", "lateral": "425623009", "inversion": "59931005"}


@pytest.mark.parametrize("code", ISCHAEMIA.values(), ids=ISCHAEMIA)
def test_ischaemia_is_an_st_change_and_no_infarction(code):
    assert labels([code]).positive == ("sttc",)


@pytest.mark.parametrize("source", ["georgia", "chapman_shaoxing", "cpsc", "ptb_xl"])
def test_fibrillation_is_afib_in_every_source(source):
    assert labels([AF], source).positive == ("afib",)


# Column "upstream" of the source card's table 0.4, and 0.5 for PTB-XL's own statements.
UPSTREAM = {
    "georgia-loses-af": ("georgia", AF, ()),
    "cpsc-doubles-af": ("cpsc", AF, ("cd", "afib")),
    "cpsc-loses-lbbb": ("cpsc", LBBB, ()),
    "cpsc-vebs-are-cd": ("cpsc", "164884008", ("cd",)),
    "chapman-loses-rbbb": ("chapman_shaoxing", RBBB, ()),
    "ptb_xl-inversion-is-mi": ("ptb_xl", "59931005", ("mi",)),
    "ptb_xl-scp-inversion-is-mi": ("ptb_xl", "INVT", ("mi",)),
    "ptb_xl-loses-injin": ("ptb_xl", "INJIN", ()),
    "ptb_xl-arad-is-other": ("ptb_xl", "axis:ARAD", ("other",)),
}


@pytest.mark.parametrize(("source", "code", "classes"), UPSTREAM.values(), ids=UPSTREAM)
def test_upstreams_faults_are_there_only_when_asked_for(source, code, classes):
    assert labels([code], source, "climb7_upstream").positive == classes
    assert labels([code], source).positive != classes


def test_known_codes_make_the_other_classes_negative():
    found = labels([AF, RBBB])
    assert found.positive == ("cd", "afib")
    assert found.negative == ("normal", "mi", "sttc", "other", "hyp")


def test_an_unknown_code_alone_labels_nothing():
    found = labels([UNKNOWN])
    assert (found.vocabulary, found.positive, found.negative) == (None, (), ())
    assert found.unknown == (UNKNOWN,)


def test_an_unknown_code_beside_a_known_one_leaves_the_rest_unlabelled():
    found = labels([UNKNOWN, RBBB])
    assert (found.positive, found.negative, found.unknown) == (("cd",), (), (UNKNOWN,))


def test_no_code_is_no_label():
    found = labels([])
    assert (found.vocabulary, found.positive, found.negative) == (None, (), ())


def test_what_nobody_looked_for_is_in_neither_list():
    found = labels([AF], "cpsc", examined=NINE.split())
    assert found.positive == ("afib",)
    assert found.negative == ("normal", "cd", "sttc", "other")


def test_upstream_loses_fibrillation_in_georgia_alone():
    sources = ("georgia", "chapman_shaoxing", "ptb_xl")
    found = [labels([AF], source, "climb7_upstream").positive for source in sources]
    assert found == [(), ("afib",), ("afib",)]


def test_axis_deviation_is_hyp_as_in_climb():
    assert labels([LAD_CODE]).positive == ("hyp",)


@pytest.mark.parametrize("code", [LAD_CODE, "47665007", "axis:LAD", "axis:ARAD"])
def test_axis_deviation_can_be_kept_out_of_hyp(code):
    assert labels([code], "ptb_xl", axis_as_hyp=False).positive == ("other",)


def test_hypertrophy_is_no_axis():
    assert labels(["164873001"], axis_as_hyp=False).positive == ("hyp",)


def test_normal_stands_beside_disease_by_default():
    assert labels([NSR, RBBB]).positive == ("normal", "cd")


def test_exclusive_normal_gives_way_to_disease():
    found = labels([NSR, RBBB], normal_exclusive=True)
    assert found.positive == ("cd",)
    assert "normal" in found.negative


def test_exclusive_normal_stays_when_alone():
    assert labels([NSR], normal_exclusive=True).single == "normal"


def test_several_classes_are_no_single_one():
    assert labels([AF, RBBB]).single is None


def test_superclasses_of_statements():
    found = labels(["NORM", "SR", "IMI", "LAFB"], "ptb_xl", "ptbxl_super5")
    assert found.vocabulary.id == "ptbxl_super5"
    assert found.positive == ("NORM", "MI", "CD")
    assert found.negative == ("STTC", "HYP")


def test_the_challenge_copy_has_no_superclasses():
    assert labels([NSR], "ptb_xl", "ptbxl_super5").vocabulary is None


def test_native_labels_are_codes_of_their_own_table():
    found = labels([AF, NSR], label_set="native")
    assert found.vocabulary.id == "snomed_ecg"
    assert set(found.positive) == {AF, NSR}
    assert len(found.positive) + len(found.negative) == 142


def test_an_axis_is_no_native_statement():
    found = labels(["LVH", "axis:LAD"], "ptb_xl", "native")
    assert (found.vocabulary.id, found.positive) == ("scp_ecg", ("LVH",))


def test_a_label_set_of_another_source_is_refused():
    with pytest.raises(OptionError, match="label_set of source 'georgia'"):
        labels([AF], label_set="ptbxl_super5")


def test_the_classes_are_in_the_order_behind_climbs_integers():
    assert CLIMB7.names == ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")
    assert vocabulary("ptbxl_super5").names == ("NORM", "MI", "STTC", "CD", "HYP")


def test_names_of_several_vocabularies_are_an_ordered_union():
    own = replace(
        catalog.get("georgia").card, name="own", label_sets={"both": ("climb7", "ptbxl_super5")}
    )
    assert class_names([own, own], "both")[:8] == (*CLIMB7.names, "NORM")


def test_an_unknown_vocabulary_is_refused():
    with pytest.raises(OptionError, match="vocabulary='chest14'"):
        vocabulary("chest14")


def test_unknown_codes_are_counted_once_a_record():
    card = catalog.get("georgia").card
    examples = [Example("a", native=(UNKNOWN, AF)), Example("b", native=(UNKNOWN,))]
    assert list(unknown_codes(card, examples)) == [UNKNOWN, UNKNOWN]


codes = st.lists(st.sampled_from([*code_table("snomed_ecg"), UNKNOWN]) | st.text(max_size=4))


@given(codes, st.booleans(), st.booleans(), st.sampled_from(["climb7", "climb7_upstream"]))
def test_no_code_ever_raises_and_lists_are_disjoint(native, exclusive, axis, label_set):
    found = labels(native, label_set=label_set, normal_exclusive=exclusive, axis_as_hyp=axis)
    assert not set(found.positive) & set(found.negative)
    if found.unknown:
        assert found.negative == ()


@given(codes)
def test_the_order_of_codes_means_nothing(native):
    assert labels(native).positive == labels(native[::-1]).positive
