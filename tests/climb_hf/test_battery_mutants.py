"""Each check of the battery against a source that is broken on purpose, and against a sound one.

A mutant is a sound source with one fault: in its card, in its reader, or in how its rows are made.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from unittest import mock

import datasets
import pytest
from PIL import Image, ImageOps

from climb_hf import builder, catalog, collect, shards, subject
from climb_hf.card import Access, Licence, Option, Remote, Vocabulary
from climb_hf.rows import build_row
from climb_hf.schema import Fault, VideoFile, disk_features
from climb_hf.splits import fraction_of
from climb_hf.testing import CHECKS, Subject, run_check

pytest.importorskip("wfdb")


@dataclass(frozen=True)
class Mutant:
    """A fault, the check that has to see it, and the sound source that it is put into.

    Attributes:
        card: changes of the card's fields, made from the sound card.
        read: takes what the sound reader yields, and yields something else.
        row: changes a row in place after it was made.
        shown_only: whether `row` spoils what is loaded, but not what is stored.
        patch: more to replace: (object, attribute, value).
    """

    check: str
    fault: str
    base: str = "georgia"
    card: Callable | None = None
    read: Callable[[Iterator], Iterator] | None = None
    row: Callable[[dict], object] | None = None
    shown_only: bool = False
    patch: tuple = ()


# ---- faults of readers --------------------------------------------------------------------------


def twice(found):
    for one in found:
        yield one
        yield one


def by_path(found):
    for one in found:
        yield one if isinstance(one, Fault) else replace(one, record=str(one.series[0].path))


def numbered(found):
    numbers = count()
    for one in found:
        yield one if isinstance(one, Fault) else replace(one, record=f"{next(numbers):05d}")


def dropping_every_fifth(found):
    return (one for number, one in enumerate(found) if number % 5)


def without_faults(found):
    return (one for one in found if not isinstance(one, Fault))


def stopping_at_new_faults(found):
    for one in found:
        if isinstance(one, Fault) and not one.record.startswith("E099"):
            yield one
            return
        yield one


def all_damaged(found):
    return (replace(one, kind="damaged") if isinstance(one, Fault) else one for one in found)


def all_missing(found):
    return (replace(one, kind="missing") if isinstance(one, Fault) else one for one in found)


def without_official_split(found):
    return (one if isinstance(one, Fault) else replace(one, split=None) for one in found)


def all_test(found):
    return (one if isinstance(one, Fault) else replace(one, split="test") for one in found)


def shifted(field):
    def shift(found):
        everything = list(found)
        good = [one for one in everything if not isinstance(one, Fault)]
        values = [getattr(one, field) for one in good]
        moved = [
            replace(o, **{field: v}) for o, v in zip(good, values[1:] + values[:1], strict=True)
        ]
        yield from (one for one in everything if isinstance(one, Fault))
        yield from moved

    return shift


# ---- faults of rows -----------------------------------------------------------------------------


def series_of(change):
    def spoil(row):
        row["series"] = [{**one, **change(one)} for one in row["series"]]

    return spoil


def swap_first_leads(one):
    import numpy as np

    values = np.frombuffer(one["data"], one["dtype"]).reshape(one["shape"])
    return {"data": values[[1, 0, *range(2, len(values))]].tobytes()}


def one_sample_late(one):
    import numpy as np

    values = np.frombuffer(one["data"], one["dtype"]).reshape(one["shape"])
    return {"data": np.roll(values, 1, axis=1).tobytes()}


def first_half(one):
    import numpy as np

    values = np.frombuffer(one["data"], one["dtype"]).reshape(one["shape"])
    half = np.ascontiguousarray(values[:, : values.shape[1] // 2])
    return {"data": half.tobytes(), "shape": list(half.shape), "n_valid": half.shape[1]}


def tensor_of(column, name, change):
    """Spoils one tensor of each graph or profile of a row; `change` takes and gives an array."""
    import numpy as np

    from climb_hf.io.tensor import as_tensor, from_tensor

    def spoil(row):
        for one in row[column]:
            one[name] = as_tensor(np.array(change(np.array(from_tensor(one[name])))))

    return spoil


def edges(change):
    return tensor_of("graphs", "edge_index", change)


def matrix(change):
    return tensor_of("graphs", "matrix", change)


def values_of_genes(change):
    return tensor_of("expression", "values", change)


def member(column, name, change):
    def spoil(row):
        for one in row[column]:
            one[name] = change(one[name])

    return spoil


def one_direction(edges):
    return edges[:, edges[0] < edges[1]]


def beyond(edges):
    return edges + 1000 * (edges == edges.max())


def an_edge_twice(edges):
    return edges[:, [0, *range(edges.shape[1])]]


def encoded_again(stored):
    """What a builder does that decodes images on the way."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(stored["bytes"])).save(buffer, format="PNG", compress_level=1)
    return {**stored, "bytes": buffer.getvalue()}


def without_the_end(stored):
    return {**stored, "bytes": stored["bytes"][: len(stored["bytes"]) // 2]}


def inverted_again(stored):
    """What a builder does that inverts a film for its header, and once more for its looks."""
    buffer = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(stored["bytes"]))).save(buffer, format="PNG")
    return {**stored, "bytes": buffer.getvalue()}


def images_of(change):
    def spoil(row):
        row["images"] = [change(one) for one in row["images"]]

    return spoil


def info_of(change):
    def spoil(row):
        row["image_info"] = [{**one, **change(one)} for one in row["image_info"]]

    return spoil


def volumes_of(change):
    def spoil(row):
        row["volumes"] = [
            {**one, "bytes": change(gzip.decompress(one["bytes"]))} for one in row["volumes"]
        ]

    return spoil


def videos_of(change):
    def spoil(row):
        row["videos"] = [{**one, "bytes": change(one["bytes"])} for one in row["videos"]]

    return spoil


def all_of(column, **values):
    def spoil(row):
        row[column] = [{**one, **values} for one in row[column]]

    return spoil


def mask_moved(row):
    """A mask whose origin lies 50 mm away."""
    data = bytearray(gzip.decompress(row["volume_masks"][0]["mask"]["bytes"]))
    for at in (268, 292, 308, 324):  # qoffset_x, and the last number of each row of the affine
        data[at : at + 4] = struct.pack("<f", struct.unpack("<f", data[at : at + 4])[0] + 50)
    row["volume_masks"][0]["mask"]["bytes"] = bytes(data)


def mask_as_volume(row):
    row["volume_masks"] = [{**one, "mask": row["volumes"][0]} for one in row["volume_masks"]]


def parts_of_one(found):
    for one in found:
        if isinstance(one, Fault):
            yield one
        else:
            clip = VideoFile(one.videos[0].path, 0.0, 0.2)
            yield replace(one, videos=(clip, clip))


def sides_swapped(info):
    return {"height": info["width"], "width": info["height"]}


def not_symmetric(matrix):
    matrix[:, 0, 1] += 1
    return matrix


def with_nan(matrix):
    matrix[:, 2, 2] = float("nan")
    return matrix


def smaller_by_record(row):
    if int(row["id"][-1]) % 2:
        matrix(lambda whole: whole[:, :-1, :-1])(row)
        row["graphs"][0]["num_nodes"] -= 1


def reshaped(matrix):
    """What upstream does to views on the last axis."""
    return matrix.transpose(1, 2, 0).reshape(matrix.shape)


def first_gene_again(genes):
    return [*genes[:-1], genes[0]]


def own_order(row):
    if int(row["id"][-1]) % 2:
        member("expression", "genes", lambda genes: genes[::-1])(row)


def infinite(values):
    values[3] = float("inf")
    return values


def without_choices(found):
    return (one if isinstance(one, Fault) else replace(one, choices=()) for one in found)


def by_number_of_study(units, rule, fractions, seed=0):
    odd = {unit.id: int(unit.id.split("_")[0][-1]) % 2 for unit in units}
    return {unit.id: ("test" if odd[unit.id] else "train", "derived") for unit in units}


def put(**values):
    return lambda row: row.update(values)


def negative_too(row):
    row["labels_negative"] = [*row["labels_negative"], *row["labels"]]


def backwards(row):
    row["labels_negative"] = row["labels_negative"][::-1]


def first_of_several(row):
    row["label"] = row["labels"][0] if row["labels"] else None


def lost_patient_flag(row):
    row["flags"] = [flag for flag in row["flags"] if flag != "patient_unknown"]


def without_column(row):
    del row["targets"]


def gold_in_other_words(row):
    if row["answer"]:
        row["answer"] = "something else"


def every_option_is_gold(row):
    if row["options"]:
        row["options"], row["answer"] = row["options"][:1], row["options"][0]


def asks_for_boxes(row):
    more = " Give the bounding boxes of what you saw as JSON."
    row["prompt"] = [{**one, "content": one["content"] + more} for one in row["prompt"]]


def unlisted_options(row):
    row["prompt"] = [{**one, "content": "What is it?"} for one in row["prompt"]]


def without_targets():
    return datasets.Features({k: v for k, v in disk_features().items() if k != "targets"})


_numbers = count()


def by_record(units, rule, fractions, seed=0):
    names = {True: "test", False: "train"}
    return {u.id: (names[fraction_of(u.id) < 0.5], "derived") for u in units}


def no_questions_of_men(card, example, request):
    return None if example.sex == "male" else collect_question_of(card, example, request)


collect_question_of = collect.question_of
CLOSED = Licence("CC-BY-4.0", share_data=False, share_derived=False)
REVERSED = Vocabulary("climb7", ("hyp", "afib", "other", "sttc", "mi", "cd", "normal"))


def layout_with(**changes):
    return lambda card: {"layouts": tuple(replace(one, **changes) for one in card.layouts)}


def card_with(**changes):
    return lambda card: changes


def codes_turned_round(card):
    (words,) = card.vocabularies
    codes = dict(zip(words.codes, reversed(words.codes.values()), strict=True))
    return {"vocabularies": (replace(words, codes=codes),)}


MUTANTS = (
    Mutant("card_is_complete", "no-year", card=card_with(citation="Somebody, some day")),
    Mutant("card_is_complete", "homepage", card=card_with(homepage="physionet")),
    Mutant("card_is_complete", "version", card=card_with(version="one")),
    Mutant("card_is_complete", "no-unit", card=card_with(unit=None)),
    Mutant(
        "card_is_complete",
        "option-without-meaning",
        card=lambda card: {"options": {**card.options, "odd": Option(1, " ", kind=int)}},
    ),
    Mutant("licence_and_share_flag_agree", "closed", card=card_with(licence=CLOSED)),
    Mutant("licence_and_share_flag_agree", "open", card=card_with(access=Access.CREDENTIALED)),
    *(
        Mutant("remotes_are_well_formed", name, card=card_with(remotes=remotes))
        for name, remotes in {
            "password": (Remote("https://me:secret@physionet.org/files/"),),
            "query": (Remote("https://physionet.org/files?token=1"),),
            "dots": (Remote("https://physionet.org/files/../other"),),
            "twice": (Remote("https://physionet.org/a/"), Remote("https://physionet.org/a/")),
        }.items()
    ),
    Mutant("layouts_show_how_a_path_looks", "example", card=layout_with(example="g1/X1.hea")),
    Mutant(
        "every_code_gives_known_classes",
        "other-list",
        card=card_with(label_sets={"climb7": ("ptbxl_super5",)}),
    ),
    Mutant("classes_keep_their_order", "reversed", card=card_with(vocabularies=(REVERSED,))),
    Mutant("layouts_are_found", "other-name", card=layout_with(name="other")),
    Mutant("layouts_are_found", "marker", card=layout_with(marker=r"X\d+\.hea")),
    Mutant("ids_are_unique", "twice", read=twice),
    Mutant("ids_are_free_of_paths", "path", read=by_path),
    Mutant("the_order_of_files_changes_nothing", "numbered", read=numbered),
    Mutant(
        "every_native_label_is_mapped_or_listed",
        "other-table",
        card=card_with(code_tables=("scp_ecg",)),
    ),
    Mutant("counts_are_the_makers", "silent-drop", read=dropping_every_fifth),
    Mutant("counts_are_the_makers", "faults-hidden", read=without_faults),
    Mutant("counts_are_the_makers", "wrong-kind", read=all_missing),
    Mutant("counts_are_the_makers", "other-ids", read=numbered),
    Mutant(
        "patients_never_cross_splits",
        "leaking-split",
        base="ptb_xl",
        patch=((collect, "assign", by_record),),
    ),
    Mutant(
        "patients_never_cross_splits",
        "study-torn",
        base="geo",
        patch=((collect, "assign", by_number_of_study),),
    ),
    Mutant(
        "every_native_label_is_mapped_or_listed",
        "without-choices",
        base="geo",
        read=without_choices,
    ),
    Mutant("official_splits_are_honoured", "graphs", base="ppi", read=without_official_split),
    Mutant("official_splits_are_honoured", "forgotten", base="ptb_xl", read=without_official_split),
    Mutant("official_splits_are_honoured", "shifted", base="ptb_xl", read=shifted("split")),
    Mutant("labels_are_the_makers", "labels-shifted-by-a-row", read=shifted("native")),
    Mutant("labels_are_the_makers", "sexes-shifted", read=shifted("sex")),
    Mutant("labels_are_the_makers", "ages-shifted", read=shifted("age_years")),
    Mutant("labels_are_the_makers", "patients-shifted", base="ptb_xl", read=shifted("patient_id")),
    Mutant("label_lists_agree", "in-two-lists", row=negative_too),
    Mutant("label_lists_agree", "backwards", row=backwards),
    Mutant("label_lists_agree", "one-of-several", row=first_of_several),
    Mutant("label_lists_agree", "no-vocabulary", row=put(vocabulary=None)),
    Mutant("absent_is_null", "age", row=put(age_years=-1)),
    Mutant("absent_is_null", "sex", row=put(sex="")),
    Mutant("absent_is_null", "list", row=put(images=None)),
    Mutant("absent_is_null", "flag", row=put(flags=["patient_unknown", "odd"])),
    Mutant("absent_is_null", "patient-flag", row=lost_patient_flag),
    Mutant("identity_is_the_cards", "domain", row=put(domain="other")),
    Mutant("identity_is_the_cards", "path-in-meta", row=put(meta={"file": "filled in below"})),
    Mutant("every_column_is_stored", "column-lost", row=without_column),
    Mutant("every_column_is_stored", "wrong-type", row=put(start="x")),
    Mutant("every_column_is_stored", "text-for-number", row=put(age_years="old")),
    Mutant(
        "series_are_as_the_card_says", "unit", row=series_of(lambda one: {"units": ["uV"] * 12})
    ),
    Mutant(
        "series_are_as_the_card_says",
        "channels",
        row=series_of(lambda one: {"channels": one["channels"][::-1]}),
    ),
    Mutant("series_are_as_the_card_says", "rate", row=series_of(lambda one: {"rate_hz": 250.0})),
    Mutant("series_are_as_the_card_says", "length", row=series_of(first_half)),
    Mutant(
        "series_are_as_the_card_says", "nan-as-number", row=series_of(lambda one: {"invalid": None})
    ),
    Mutant("series_are_as_the_card_says", "n_valid", row=series_of(lambda one: {"n_valid": 0})),
    Mutant("series_are_the_makers", "swapped-leads", row=series_of(swap_first_leads)),
    Mutant("series_are_the_makers", "shifted", row=series_of(one_sample_late)),
    Mutant(
        "series_are_the_makers",
        "gain-ignored",
        row=series_of(lambda one: {"gain": [1.0] * len(one["gain"])}),
    ),
    Mutant(
        "series_are_the_makers",
        "offset",
        row=series_of(lambda one: {"offset": [1.0] * len(one["offset"])}),
    ),
    *(
        Mutant("graphs_fit_together", name, base="proteins", row=row)
        for name, row in {
            "no-node": member("graphs", "num_nodes", lambda n: 0),
            "too-many-names": member("graphs", "node_names", lambda names: ["a"]),
            "nothing": member("graphs", "edge_index", lambda tensor: None),
            "64-bits": edges(lambda found: found.astype("<i8")),
            "beyond": edges(beyond),
            "one-direction": edges(one_direction),
            "twice": edges(an_edge_twice),
            "a-row-of-x-lost": tensor_of("graphs", "x", lambda x: x[1:]),
        }.items()
    ),
    *(
        Mutant("matrices_are_sound", name, base="ppmi", row=row)
        for name, row in {
            "nan": matrix(with_nan),
            "not-square": matrix(lambda found: found[:, 1:]),
            "asymmetric": matrix(not_symmetric),
            "flag-lost": put(flags=["patient_unknown"]),
            "sizes": smaller_by_record,
        }.items()
    ),
    Mutant("graphs_are_the_makers", "reshaped", base="ppmi", row=matrix(reshaped)),
    Mutant("graphs_are_the_makers", "doubled", base="abcd", row=matrix(lambda found: found * 2)),
    Mutant("graphs_are_the_makers", "rows-shifted", base="abcd", read=shifted("graphs")),
    Mutant(
        "graphs_are_the_makers",
        "y-flipped",
        base="ppi",
        row=tensor_of("graphs", "y", lambda y: 1 - y),
    ),
    Mutant("labels_are_the_makers", "turned-round", base="abide", card=codes_turned_round),
    *(
        Mutant("profiles_fit_together", name, base="geo", row=row)
        for name, row in {
            "gene-twice": member("expression", "genes", first_gene_again),
            "names-lost": member("expression", "names", lambda names: names[1:]),
            "values-lost": values_of_genes(lambda values: values[1:]),
            "64-bits": values_of_genes(lambda values: values.astype("<f8")),
            "infinite": values_of_genes(infinite),
            "nothing-measured": values_of_genes(lambda values: values * float("nan")),
            "own-order": own_order,
        }.items()
    ),
    Mutant(
        "profiles_are_the_makers",
        "shifted",
        base="geo",
        row=values_of_genes(lambda values: values[[-1, *range(len(values) - 1)]]),
    ),
    Mutant(
        "profiles_are_the_makers",
        "renamed",
        base="expression_atlas",
        row=member("expression", "genes", lambda genes: genes[::-1]),
    ),
    *(
        Mutant("images_open_as_described", name, base=base, row=row)
        for name, base, row in (
            ("cut", "isic2020", images_of(without_the_end)),
            ("not-upright", "isic2020", info_of(sides_swapped)),
            ("other-mode", "pad_ufes_20", info_of(lambda info: {"mode": "RGB"})),
            ("info-lost", "isic2020", put(image_info=[])),
            ("path", "isic2020", images_of(lambda one: {**one, "path": "a.jpg"})),
        )
    ),
    *(
        Mutant(check, name, base="kits23", row=row)
        for check, name, row in (
            ("volumes_open_with_their_place", "cut", volumes_of(lambda data: data[:-2000])),
            ("volumes_open_with_their_place", "no-volume", volumes_of(lambda _: b"no volume")),
            ("volumes_open_with_their_place", "info-lost", put(volume_info=[])),
            ("volume_masks_fit_their_volumes", "of-no-volume", all_of("volume_masks", volume=1)),
            ("volume_masks_fit_their_volumes", "moved", mask_moved),
            ("volume_masks_fit_their_volumes", "unknown-code", mask_as_volume),
            ("volumes_are_the_makers", "masks-lost", put(volume_masks=[])),
        )
    ),
    Mutant("volumes_are_the_makers", "rows-shifted", "kits23", read=shifted("volumes")),
    *(
        Mutant(check, name, base="covid_blues", row=row)
        for check, name, row in (
            ("videos_open_as_described", "cut", videos_of(lambda data: data[: len(data) // 2])),
            ("videos_open_as_described", "other-length", all_of("video_info", n_frames=7)),
            ("videos_open_as_described", "info-lost", put(video_info=[])),
            ("videos_keep_their_bytes", "padded", videos_of(lambda data: data + b"\0" * 8)),
        )
    ),
    Mutant("videos_keep_their_bytes", "twice-the-same", "covid_blues", read=parts_of_one),
    Mutant("images_keep_their_bytes", "encoded-again", "isic2020", row=images_of(encoded_again)),
    Mutant("images_keep_their_bytes", "in-archive", "pad_ufes_20", row=images_of(encoded_again)),
    Mutant("images_keep_their_bytes", "inverted", "vindr_cxr", row=images_of(inverted_again)),
    Mutant("images_keep_their_bytes", "rows-shifted", "ham10000", read=shifted("images")),
    Mutant("labels_are_the_makers", "images-renamed", "ham10000", read=shifted("record")),
    Mutant("labels_are_the_makers", "undecided-shifted", "chexpert", read=shifted("uncertain")),
    Mutant("labels_are_the_makers", "examined-shifted", "mimic_cxr", read=shifted("examined")),
    Mutant("a_missing_file_is_counted_apart", "image-damaged", "ham10000", read=all_damaged),
    Mutant("questions_can_be_answered", "never-asked", base="ppi", card=card_with(asked_with={})),
    Mutant(
        "questions_can_be_answered",
        "words-left-out",
        base="abcd",
        card=card_with(shown="A brain: {summery}."),
    ),
    Mutant("questions_can_be_answered", "other-words", row=gold_in_other_words),
    Mutant("questions_can_be_answered", "unlisted", row=unlisted_options),
    Mutant("questions_can_be_answered", "boxes-of-a-series", row=asks_for_boxes),
    Mutant("view_equals_stored_row", "site", row=put(site="elsewhere"), shown_only=True),
    Mutant(
        "questions_equal_stored_questions",
        "half-asked",
        patch=((collect, "question_of", no_questions_of_men),),
    ),
    Mutant(
        "a_stream_equals_the_table",
        "counting",
        row=lambda row: row.update(site=str(next(_numbers))),
        shown_only=True,
    ),
    Mutant(
        "prepared_files_have_the_one_schema",
        "column-lost",
        patch=((shards, "disk_features", without_targets),),
    ),
    Mutant(
        "a_prepared_folder_equals_the_table",
        "counting",
        row=lambda row: row.update(site=str(next(_numbers))),
        shown_only=True,
    ),
    Mutant(
        "a_build_grows_little",
        "inflated",
        row=lambda row: row.update(text=os.urandom(300_000).hex()),
        shown_only=True,
    ),
    Mutant(
        "two_processes_equal_one",
        "process",
        row=lambda row: row.update(site=str(os.getpid())),
        shown_only=True,
    ),
    Mutant(
        "a_rerun_gives_equal_bytes",
        "counting",
        row=lambda row: row.update(site=str(next(_numbers))),
        shown_only=True,
    ),
    Mutant("splits_are_named_as_everywhere", "no-train", base="ptb_xl", read=all_test),
    Mutant("a_damaged_file_costs_one_record", "silent", read=without_faults),
    Mutant("a_damaged_file_costs_one_record", "silent-graph", base="abide", read=without_faults),
    Mutant("a_missing_file_is_counted_apart", "graph-as-damaged", base="abide", read=all_damaged),
    Mutant("a_damaged_file_costs_one_record", "stops", read=stopping_at_new_faults),
    Mutant("a_missing_file_is_counted_apart", "as-damaged", base="ptb_xl", read=all_damaged),
)


def name_of(mutant):
    return f"{mutant.check}-{mutant.fault}"


@pytest.fixture(scope="module")
def sound(made):
    """A function that gives the sound source of a name, loaded once."""
    subjects = {}

    def of(name):
        if name not in subjects:
            tree = made(name)
            subjects[name] = Subject(catalog.get(name), tree.root, tree.manifests[name])
        return subjects[name]

    yield of
    for one in subjects.values():
        one.close()


@pytest.fixture
def broken(made):
    """A function that puts a mutant's fault into its sound source."""
    with ExitStack() as stack:

        def of(mutant):
            source = catalog.get(mutant.base)
            card = replace(source.card, **mutant.card(source.card)) if mutant.card else source.card
            read = source.read
            if mutant.read:
                read = lambda tree, options: mutant.read(source.read(tree, options))  # noqa: E731
            if mutant.row:
                for module in (builder,) if mutant.shown_only else (builder, subject):
                    patch = mock.patch.object(module, "build_row", spoiling(mutant.row, made))
                    stack.enter_context(patch)
            for owner, name, value in mutant.patch:
                stack.enter_context(mock.patch.object(owner, name, value))
            tree = made(mutant.base)
            one = Subject(replace(source, card=card, read=read), tree.root, truth_of(mutant, tree))
            stack.callback(one.close)
            return one

        yield of


def truth_of(mutant, tree):
    return tree.manifests[mutant.base]


def spoiling(change, made):
    def spoiled(card, example, request, split_origin):
        row = build_row(card, example, request, split_origin)
        change(row)
        if row.get("meta") and "file" in row["meta"]:
            row["meta"] = {"file": str(example.series[0].path)}
        return row

    return spoiled


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_mutant_turns_its_check_red(mutant, broken, sound):
    assert run_check(mutant.check, sound(mutant.base)).outcome == "passed"
    found = run_check(mutant.check, broken(mutant))
    assert found.outcome == "failed", found
    assert len(found.message) > 20


def test_every_check_has_a_mutant():
    assert {mutant.check for mutant in MUTANTS} == set(CHECKS)
