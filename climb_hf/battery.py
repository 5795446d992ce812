"""The checks that every source has to pass; `climb_hf.testing` runs them.

A check takes a `Subject`, looks at the source from outside, and raises `CheckFailedError` with what
it found and expected, or `NotApplicable` where there is nothing to look at. `CHECKS` lists them in
the order in which they are run, the cheap ones first.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from climb_hf.answers import parse, set_f1, split_gold
from climb_hf.card import Access
from climb_hf.io.tree import RawTree
from climb_hf.labels import class_names, tables_of, vocabulary_of
from climb_hf.schema import FLAGS, SPLITS, Fault, disk_features
from climb_hf.splits import SPLIT_RULES
from climb_hf.subject import LABEL_LISTS, NotApplicable, Subject, require, some

Check = Callable[[Subject], None]
CHECKS: dict[str, Check] = {}
MOST_GROWTH = 1.2  # bytes built for each byte read
# Licences that let the data be passed on, by how their SPDX names begin.
_FREE = ("CC0", "CC-BY", "ODbL", "ODC", "PDDL", "Apache", "MIT")
_ID = re.compile(r"[\w.+-]+(/[\w.+-]+){1,2}")
_SCALARS = ("patient_id", "study_id", "sex", "site", "age_years", "text", "vocabulary")


def check(function: Check) -> Check:
    """Enters a check by its name."""
    CHECKS[function.__name__] = function
    return function


# ---- the card -----------------------------------------------------------------------------------


@check
def card_is_complete(subject: Subject) -> None:
    """The card says what the source is, where it comes from and whom to cite."""
    card = subject.card
    require(re.search(r"\b(19|20)\d\d\b", card.citation) is not None, "citation names no year.")
    require(card.homepage.startswith("https://"), f"homepage {card.homepage!r} is no address.")
    require(re.fullmatch(r"\d+\.\d+\.\d+", card.version) is not None, "version is not x.y.z.")
    require(bool(card.label_sets), "it offers no label set.")
    require(
        not card.channels or bool(card.rate_hz and card.unit),
        "it names channels, but not their rate and unit.",
    )
    unclear = [name for name, option in card.options.items() if not option.meaning.strip()]
    require(not unclear, f"options without a meaning: {some(unclear)}.")


@check
def licence_and_share_flag_agree(subject: Subject) -> None:
    """A licence that lets data be passed on says so, and credentialed data never are."""
    licence, access = subject.card.licence, subject.card.access
    free = licence.name.startswith(_FREE)
    require(not free or licence.share_data, f"{licence.name} lets the data be shared.")
    require(
        access is not Access.CREDENTIALED or not licence.share_data,
        "data that only credentialed people may have may not be shared.",
    )


@check
def remotes_are_well_formed(subject: Subject) -> None:
    """Every place to fetch from is an https address without credentials, named once."""
    urls = [remote.url for remote in subject.card.remotes]
    require(len(set(urls)) == len(urls), "a remote is named twice.")
    for url in urls:
        fits = re.fullmatch(r"https://[\w.-]+(:\d+)?(/[^\s?#@]*)?", url)
        require(fits is not None and ".." not in url, f"{url!r} is no plain https address.")


@check
def layouts_show_how_a_path_looks(subject: Subject) -> None:
    """The example of each layout is a file of that layout, and its marker a file of it too."""
    for layout in subject.card.layouts:
        name = layout.example.rsplit("/", 1)[-1]
        require(
            re.fullmatch(layout.files, name) is not None
            and re.fullmatch(layout.marker, name) is not None,
            f"layout {layout.name!r}: its example {name!r} fits its own patterns not.",
        )


@check
def every_code_gives_known_classes(subject: Subject) -> None:
    """The code tables map to classes of the card's lists and to nothing else."""
    card = subject.card
    for label_set, vocabulary_ids in card.label_sets.items():
        known = {name for v in vocabulary_ids for name in vocabulary_of(card, v).names}
        for rows in tables_of(card).values():
            for code, row in rows.items():
                value = row.get(f"{label_set}:{card.name}", row.get(label_set)) or ""
                wrong = set(filter(None, value.split("+"))) - known
                require(not wrong, f"{code!r} gives {some(wrong)}, no class of {label_set!r}.")


@check
def classes_keep_their_order(subject: Subject) -> None:
    """Integer labels mean what the maker of the files says they mean."""
    found, _ = subject.load()
    shown = {subject.class_names(part) for part in found.values()}
    require(shown == {class_names([subject.card])}, "splits name their classes differently.")
    require(
        shown == {tuple(subject.truth("classes"))},
        f"classes in label order are {shown.pop()}, expected {tuple(subject.truth('classes'))}.",
    )


# ---- the index ----------------------------------------------------------------------------------


@check
def layouts_are_found(subject: Subject) -> None:
    """The source's files are recognised by their names."""
    found = {
        layout.name for layout in subject.card.layouts if any(subject.tree.find(layout.marker))
    }
    require(bool(found), f"none of its layouts is under {subject.root}.")
    missing = set(subject.truth("layouts")) - found
    require(not missing, f"layouts that are there and were not found: {some(missing)}.")


@check
def ids_are_unique(subject: Subject) -> None:
    """No two records have one id, and none is found twice beyond the copies that are there."""
    ids = Counter(placed.id for placed in subject.placed)
    require(max(ids.values()) == 1, f"ids that stand twice: {some(i for i in ids if ids[i] > 1)}.")
    names = {placed.example.record for placed in subject.placed}
    copies = Counter(
        f.record for f in subject.index()[1].faults if f.kind == "copy" and f.record in names
    )
    expected = _true_faults(subject, "copy")
    wrong = set(copies) - expected
    require(not wrong, f"records that its reader gives twice: {some(wrong)}.")


@check
def ids_are_free_of_paths(subject: Subject) -> None:
    """An id is made of names in the release: no path of a user's disk, no odd character."""
    folders = [part for part in subject.root.parts if len(part) > 3]
    for placed in subject.placed:
        require(
            _ID.fullmatch(placed.id) is not None
            and not any(folder in placed.example.record for folder in folders),
            f"the id {placed.id!r} is not of the kind <source>/<record>[/<window>].",
        )


@check
def the_order_of_files_changes_nothing(subject: Subject) -> None:
    """Another order of files and another place on disk give the same ids, labels and splits."""
    tree = subject.tree
    moved = subject.work / "elsewhere"
    if not moved.exists():
        moved.symlink_to(tree.root)
    other = RawTree(moved, tuple(reversed(tree.files)))
    for rule in (None, "hash"):
        first, second = (
            {p.id: (p.split, p.example.native, p.example.patient_id) for p in placed}
            for placed in (
                subject.index(split_rule=rule)[0],
                subject.index(other, split_rule=rule)[0],
            )
        )
        wrong = {i for i in {*first, *second} if first.get(i) != second.get(i)}
        require(not wrong, f"another order of files changes {some(wrong)}.")


@check
def every_native_label_is_mapped_or_listed(subject: Subject) -> None:
    """A code of the release stands in a table, or the report lists it as unknown."""
    tables = tables_of(subject.card).values()
    listed = subject.index()[1].unknown_codes
    codes = {code for placed in subject.placed for code in placed.example.native}
    lost = {code for code in codes if code not in listed and not any(code in t for t in tables)}
    require(not lost, f"codes in no table that the report does not list: {some(lost)}.")
    wrong = set(listed) - set(subject.truth("unknown_codes"))
    require(not wrong, f"codes that should be known and are not: {some(wrong)}.")


@check
def counts_are_the_makers(subject: Subject) -> None:
    """Every record that was made is there, none else, and every fault is reported by its kind."""
    _, reports = subject.load()
    faults = [fault for report in reports for fault in report.faults]
    found = {placed.example.record for placed in subject.placed}
    found -= {fault.record for fault in faults if fault.kind == "damaged"}
    wanted = set(subject.truth("records"))
    require(not wanted - found, f"records that are lost: {some(wanted - found)}.")
    require(not found - wanted, f"records that nobody made: {some(found - wanted)}.")
    for kind in ("damaged", "missing", "copy"):
        reported = {fault.record for fault in faults if fault.kind == kind}
        silent = _true_faults(subject, kind) - reported
        require(not silent, f"{kind}, but not reported so: {some(silent)}.")
        wrong = reported - _true_faults(subject, kind)
        require(not wrong, f"reported as {kind}, but not so: {some(wrong)}.")


def _true_faults(subject: Subject, kind: str) -> set[str]:
    faults = subject.truth("faults")
    return {record for record, fault in faults.items() if fault["kind"] == kind}


@check
def patients_never_cross_splits(subject: Subject) -> None:
    """All records of a patient, and all windows of a recording, stay in one split, by every rule."""
    rules = [rule for rule in SPLIT_RULES if rule not in ("csv", "official")]
    for rule in (None, *rules):
        splits: dict[str, set[str]] = defaultdict(set)
        for placed in subject.index(split_rule=rule)[0]:
            splits[f"recording {placed.example.recording or placed.id}"].add(placed.split)
            if placed.example.patient_id is not None:
                splits[f"patient {placed.example.patient_id}"].add(placed.split)
        torn = {key for key, names in splits.items() if len(names) > 1}
        require(not torn, f"in two splits by split_rule={rule!r}: {some(torn)}.")


@check
def official_splits_are_honoured(subject: Subject) -> None:
    """A record that the release puts into a split is in that one, and says so."""
    if not subject.card.split.official:
        raise NotApplicable("the release has no official split")
    wanted = {r: split for r, split in subject.true_facts("split").items() if split}
    placed = {p.example.record: p for p in subject.placed}
    wrong = {r for r in wanted if r in placed and placed[r].split != wanted[r]}
    require(not wrong, f"not in their official split: {some(wrong)}.")
    silent = {r for r in wanted if r in placed and placed[r].split_origin != "official"}
    require(not silent, f"split_origin is not 'official' for {some(silent)}.")


@check
def labels_are_the_makers(subject: Subject) -> None:
    """Every record has the classes, codes and person that its maker gave it."""
    rows = {row["id"].split("/", 1)[1]: row for row in subject.rows().values()}
    columns = {
        "labels": "labels",
        "native": "native_labels",
        "patient_id": "patient_id",
        "age": "age_years",
        "sex": "sex",
    }
    looked = 0
    for fact, column in columns.items():
        known = subject.truth("records")
        wanted = {r: known[r][fact] for r in rows if fact in known.get(r, {})}
        looked += len(wanted)
        wrong = {r for r, value in wanted.items() if not _agrees(fact, rows[r][column], value)}
        example = "".join(f" {r} has {rows[r][column]!r}, not {wanted[r]!r}." for r in [*wrong][:1])
        require(not wrong, f"{column} differs for {some(wrong)}.{example}")
    require(looked > 0, "the maker tells nothing of these records.")


def _agrees(fact: str, found: Any, wanted: Any) -> bool:
    if fact == "native":  # the reader may add what it derives, under a name with a colon
        return [code for code in found if ":" not in code] == list(wanted)
    return found == (list(wanted) if isinstance(wanted, tuple) else wanted)


# ---- rows ---------------------------------------------------------------------------------------


@check
def label_lists_agree(subject: Subject) -> None:
    """A class stands in one list at most, in the order of the vocabulary, `label` with them."""
    names = class_names([subject.card])
    for identity, row in subject.rows().items():
        lists = [row[column] for column in LABEL_LISTS]
        for first, second in itertools.combinations(lists, 2):
            both = set(first) & set(second)
            require(not both, f"{identity}: {some(both)} stands in two lists.")
        for found in lists:
            ordered = sorted(set(found), key=names.index)
            require(list(found) == ordered, f"{identity}: {found} is not in the classes' order.")
        single = row["labels"][0] if len(row["labels"]) == 1 else None
        require(row["label"] == single, f"{identity}: label {row['label']!r} is not {single!r}.")
        labelled = any(lists)
        require(
            (row["vocabulary"] is not None) or not labelled,
            f"{identity} has classes and no vocabulary.",
        )


@check
def absent_is_null(subject: Subject) -> None:
    """What is not known is null, never -1, NaN or an empty text; no list is null."""
    features = disk_features()
    for identity, row in subject.stored().items():
        for column in _SCALARS:
            value = row[column]
            marker = value in ("", -1, "nan", "NaN", "unknown", "Unknown") or value != value
            require(not marker, f"{identity}: {column} is {value!r} where it should be null.")
        lists = [c for c in features if type(features[c]).__name__ == "List" and row[c] is None]
        require(not lists, f"{identity}: {some(lists)} is null where it should be empty.")
        odd = set(row["flags"]) - set(FLAGS)
        require(not odd, f"{identity}: flags {some(odd)} are not in climb_hf.schema.FLAGS.")
        unknown = "patient_unknown" in row["flags"]
        require(
            unknown == (row["patient_id"] is None),
            f"{identity}: patient_id and the flag patient_unknown contradict each other.",
        )


@check
def identity_is_the_cards(subject: Subject) -> None:
    """Source, modality and domain are the card's, and no row tells where its files lie."""
    card = subject.card
    for identity, row in subject.stored().items():
        found = (row["source"], row["modality"], row["domain"])
        wanted = (card.name, str(card.modality), str(card.modality))
        require(found == wanted, f"{identity}: source, modality, domain are {found}.")
        told = repr({key: value for key, value in row.items() if key not in ("series",)})
        require(str(subject.root) not in told, f"{identity} tells a path of this disk.")


@check
def every_column_is_stored(subject: Subject) -> None:
    """A row has the columns of the one schema, and Arrow takes them as they are."""
    import pyarrow as pa

    features = disk_features()
    for identity, row in subject.stored().items():
        wrong = set(row) ^ set(features)
        require(not wrong, f"{identity}: columns {some(wrong)} are missing or too many.")
    encoded = [features.encode_example(row) for row in subject.stored().values()]
    schema = features.arrow_schema
    try:
        arrays = [
            pa.array([row[field.name] for row in encoded], type=_storage(field.type))
            for field in schema
        ]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        require(False, f"Arrow does not take the rows: {error}")
        return
    for array, field in zip(arrays, schema, strict=True):
        require(array.type == _storage(field.type), f"column {field.name!r} is {array.type}.")


def _storage(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind)


@check
def series_are_as_the_card_says(subject: Subject) -> None:
    """Every series has the card's channels, unit and rate, the asked length, and finite values."""
    card = subject.card
    rows = [row for row in subject.rows().values() if row["series"]]
    if not rows:
        raise NotApplicable("no record has a series")
    for row in rows:
        for stored in row["series"]:
            _check_series(card, row, stored)


def _check_series(card: Any, row: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    import numpy as np

    from climb_hf.views import decode

    identity, signal = row["id"], decode(stored)
    if card.channels:
        found = (signal.channels, set(signal.units))
        require(found == (tuple(card.channels), {card.unit}), f"{identity}: channels are {found}.")
    require(len(signal.units) == len(signal.channels) == len(signal.values), f"{identity}: names.")
    require(
        signal.rate_hz == (card.rate_hz or signal.rate_hz) and signal.rate_hz > 0,
        f"{identity}: {signal.rate_hz:g} Hz, but the card says {card.rate_hz}.",
    )
    length = signal.values.shape[1]
    if card.duration_s:
        wanted = round(card.duration_s * signal.rate_hz)
        require(length == wanted, f"{identity}: {length} samples where {wanted} were asked for.")
    require(0 < (signal.n_valid or 0) <= length, f"{identity}: n_valid is {signal.n_valid}.")
    lost = not bool(np.isfinite(signal.values).all())
    require(
        lost == ("invalid_samples" in row["flags"]),
        f"{identity}: not-a-number samples and the flag invalid_samples contradict each other.",
    )


@check
def series_are_the_makers(subject: Subject) -> None:
    """Every recorded value is exactly what was written, channel by channel, in physical units."""
    import numpy as np

    from climb_hf.views import decode

    wanted = subject.true_facts("signal_sha1")
    looked = 0
    for row in subject.rows(length="raw").values():
        record = row["id"].split("/", 1)[1]
        if record in wanted:
            values = decode(row["series"][0]).values
            found = hashlib.sha1(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()
            require(found == wanted[record], f"{row['id']}: its values are not those written.")
            looked += 1
    require(looked > 0, "none of the records opened is one that the maker tells of.")


@check
def questions_can_be_answered(subject: Subject) -> None:
    """The gold answer scores 1, every other single option less, and no answer at all 0."""
    if subject.card.question is None:
        raise NotApplicable("the source asks no question")
    for identity, row in subject.rows(task="qa").items():
        options, gold = row["options"], split_gold(row["answer"], row["options"])

        def score(text: str, options: Any = options, gold: Any = gold) -> float:
            return set_f1(parse(text, options), gold)

        require(score(f"\\boxed{{{row['answer']}}}") == 1, f"{identity}: gold scores under 1.")
        require(score(row["answer"]) == 0, f"{identity}: an answer outside the box counts.")
        wrong = [o for o in options if (o,) != gold and score(f"\\boxed{{{o}}}") >= 1]
        require(not wrong, f"{identity}: {some(wrong)} scores 1 too.")
        asked = row["prompt"][0]["content"]
        require(
            asked.startswith(subject.card.shown) and all(option in asked for option in options),
            f"{identity}: its question does not offer every option.",
        )


# ---- ways of loading ----------------------------------------------------------------------------


@check
def view_equals_stored_row(subject: Subject) -> None:
    """What a config shows is what is stored, column by column."""
    for identity, row in subject.rows().items():
        stored = subject.stored()[identity]
        for column in set(row) & set(stored):
            require(
                _plain(row[column]) == _plain(stored[column]),
                f"{identity}: column {column!r} shows {_short(row[column])}, "
                f"but {_short(stored[column])} is stored.",
            )


@check
def questions_equal_stored_questions(subject: Subject) -> None:
    """The question view has exactly the records that have a stored question, and the same text."""
    asked = {i: row for i, row in subject.stored().items() if row["prompt"]}
    if not asked:
        raise NotApplicable("no record has a question")
    shown = subject.rows(task="qa")
    require(set(shown) == set(asked), f"asked or not: {some(set(shown) ^ set(asked))}.")


@check
def a_stream_equals_the_table(subject: Subject) -> None:
    """Streaming gives the rows of the eager table, in its order."""
    table, _ = subject.load()
    stream, _ = subject.load(streaming=True)
    require(set(stream) == set(table), f"splits are {set(stream)}, not {set(table)}.")
    for split, rows in stream.items():
        _same_rows(rows, table[split], f"streamed {split}")


@check
def two_processes_equal_one(subject: Subject) -> None:
    """Two processes make the table that one makes."""
    one, _ = subject.load()
    two, _ = subject.load(num_proc=2, fresh="two")
    for split in one:
        _same_rows(two[split], one[split], f"{split} of two processes")


@check
def a_rerun_gives_equal_bytes(subject: Subject) -> None:
    """Made again from the same files, the table is the same to the byte."""
    first, _ = subject.load()
    again, _ = subject.load(fresh="again")
    for split in first:
        digests = [_digest_of_files(found[split]) for found in (first, again)]
        require(digests[0] == digests[1], f"split {split!r} has other bytes when made again.")


def _digest_of_files(part: Any) -> str:
    total = hashlib.sha256()
    for file in part.cache_files:
        total.update(Path(file["filename"]).read_bytes())
    return total.hexdigest()


def _same_rows(found: Iterable[Any], wanted: Iterable[Any], what: str) -> None:
    for one, other in itertools.zip_longest(found, wanted):
        require(one is not None and other is not None, f"{what}: another number of rows.")
        differing = [c for c in other if _plain(one.get(c)) != _plain(other[c])]
        require(not differing, f"{what}: {other['id']} differs in {some(differing)} ({one['id']}).")


def _plain(value: Any) -> Any:
    """A value as it is compared: numbers to float32, tuples as lists, absent keys of structs."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 3)
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


# ---- harm ---------------------------------------------------------------------------------------


@check
def a_damaged_file_costs_one_record(subject: Subject) -> None:
    """A file cut in half is reported with a reason, and every neighbour is as it was."""
    victim = subject.victim()
    largest = subject.files_of(victim.example)[:1]
    root = subject.harmed("damaged", _cut_in_half, largest)
    rows, faults = subject.rows(root), _faults(subject, root)
    reported = {f.record: f for f in faults if f.kind == "damaged"}
    touched = {i for i in subject.rows() if i not in subject.neighbours(victim)}
    require(not touched & set(rows), f"{victim.id} is still there with its file cut in half.")
    name = victim.example.recording or victim.example.record
    told = [f for record, f in reported.items() if record.split("/")[0] == name.split("/")[0]]
    require(bool(told), f"{victim.id} is gone, but no damage to it is reported.")
    require(len(told[0].reason) > 10, f"{victim.id}: the report gives no reason.")
    _neighbours_kept(subject, victim, rows)


@check
def a_missing_file_is_counted_apart(subject: Subject) -> None:
    """A record none of whose files is there is missing, not damaged, and harms no neighbour."""
    victim = subject.victim()
    files = subject.files_of(victim.example)
    root = subject.harmed("missing", Path.unlink, files)
    rows, faults = subject.rows(root), _faults(subject, root)
    require(victim.id not in rows, f"{victim.id} is there without its files.")
    name = victim.example.record
    kinds = {f.kind for f in faults if f.record == name}
    require(kinds <= {"missing"}, f"{victim.id} is reported as {some(kinds)}, not as missing.")
    _neighbours_kept(subject, victim, rows)


def _cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _faults(subject: Subject, root: Path) -> list[Fault]:
    _, reports = subject.load(root)
    return [fault for report in reports for fault in report.faults]


def _neighbours_kept(subject: Subject, victim: Any, rows: Mapping[str, Any]) -> None:
    before = subject.rows()
    kept = subject.neighbours(victim) - {victim.id}
    lost = {identity for identity in kept if identity not in rows}
    require(not lost, f"harm to {victim.id} costs its neighbours {some(lost)}.")
    # A neighbour may move to another split, as the shares are those of the records that are there.
    columns = ("labels", "native_labels", "patient_id", "series")
    changed = {i for i in kept if any(rows[i][c] != before[i][c] for c in columns)}
    require(not changed, f"harm to {victim.id} changes its neighbours {some(changed)}.")


@check
def splits_are_named_as_everywhere(subject: Subject) -> None:
    """Splits are called train, validation and test, and train is never empty."""
    found, _ = subject.load()
    require(set(found) <= set(SPLITS), f"splits are called {some(found)}.")
    require("train" in found, "there is nothing to train on.")
