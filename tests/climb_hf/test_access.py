"""Every road to a row gives the row that plain eager reading gives, values included.

On one source by default; on every source that has a made tree behind the `slow` marker. Where
`datasets` itself cannot do a thing, the test asserts what it does and its comment says why.
"""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import concatenate_datasets, interleave_datasets
from datasets.distributed import split_dataset_by_node

import climb_hf
from climb_hf import catalog
from climb_hf.labels import class_names
from climb_hf.schema import MEDIA_OF
from climb_hf.views import Signal, encode

pytest.importorskip("wfdb")
DEFAULT = "georgia"
FAKES = Path(__file__).parents[1] / "fake"
SOURCES = [name for name in catalog.sources() if (FAKES / f"{name}.py").is_file()]
FORMATS = (None, "numpy", "torch", "arrow", "pandas")
OTHER_MEDIA = sorted({name for names in MEDIA_OF.values() for name in names} - {"series"})
slow = pytest.mark.slow


def of_source(name):
    return pytest.param(name, id=name, marks=() if name == DEFAULT else slow)


# --- what is compared --------------------------------------------------------------------------


def physical(stored):
    """The float32 values of a stored series, by the formula of the schema."""
    codes = np.frombuffer(stored["data"], stored["dtype"]).reshape(
        [int(n) for n in stored["shape"]]
    )
    gain, offset = (np.array(stored[word], "f8")[:, None] for word in ("gain", "offset"))
    values = (codes - offset) / gain
    if stored["invalid"] is not None:
        values[codes == stored["invalid"]] = np.nan
    return values.astype("f4")


def array_of(one):
    """The values of one series, however it is shown."""
    return physical(one) if isinstance(one, Mapping) else np.asarray(one)


def label_of(value):
    """An integer, or None for what a format shows in place of a null."""
    value = value.item() if hasattr(value, "item") else value
    return None if value is None or value != value else int(value)


def opened(stored):
    """What an image or a volume decodes to; anything else of stored bytes stays as it is."""
    data = bytes(stored["bytes"] or b"")
    if data.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return datasets.Image().decode_example({"bytes": data, "path": None})
    if data.startswith(b"\x1f\x8b") or data[344:348] == b"n+1\0":
        return datasets.Nifti().decode_example({"bytes": data, "path": None})
    return stored


def content(value):
    """The words of a nested value in order, and its numbers, sorted.

    Formats stack, nest and transpose numbers in their own ways, and show null as NaN.
    """
    words, numbers = [], [np.zeros(0, "f4")]

    def walk(one):
        if isinstance(one, Mapping) and {*one} == {"bytes", "path"}:
            one = opened(one)
        if isinstance(one, np.ndarray) and one.dtype == object and not one.shape:
            one = one.item()  # a volume in a struct, under numpy
        if isinstance(one, Mapping):
            one = [one[name] for name in sorted(one)]
        if isinstance(one, (list, tuple)) or str(getattr(one, "dtype", "")) == "object":
            for part in one:
                walk(part)
        elif isinstance(one, (str, bytes)):
            words.append(one)
        elif one is not None:
            numbers.append(np.ravel(np.asarray(getattr(one, "dataobj", one), "f4")))

    walk(value)
    flat = np.concatenate(numbers)
    return tuple(words), np.sort(flat[~np.isnan(flat)]).tobytes()


def facts(row):
    """What has to agree between two roads: id, labels, question, every sample."""
    arrays = [array_of(one) for one in row.get("series", ())]
    return (
        row["id"],
        label_of(row.get("label")),
        tuple(int(label) for label in row.get("labels", ())),
        row.get("answer"),
        tuple((str(array.dtype), array.shape, array.tobytes()) for array in arrays),
        content([row[name] for name in OTHER_MEDIA if name in row]),
    )


def by_id(found):
    return sorted(found, key=lambda fact: fact[0])


def rows_of(shown, batch=True, features=None):
    """Rows of what a format shows for a batch, or for one row; an Arrow table is decoded."""
    if isinstance(shown, pa.Table):
        rows = shown.to_pylist()
        return [features.decode_example(row) for row in rows] if features else rows
    if not isinstance(shown, Mapping):  # a data frame
        return shown.to_dict("records")
    if not batch:
        return [shown]
    return [dict(zip(shown, values, strict=True)) for values in zip(*shown.values(), strict=True)]


# --- a source and its rows ---------------------------------------------------------------------


@dataclass
class World:
    """A source's made tree, and its train rows by the plainest road."""

    name: str
    root: str

    def load(self, name=None, **more):
        return datasets.load_dataset("climb", name or self.name, data_dir=self.root, **more)

    def part(self, kind, decode=True, **more):
        """The train rows, `eager` or as a `stream`; a new object at each call."""
        return self.load(decode=decode, streaming=kind == "stream", split="train", **more)

    @cached_property
    def plain(self):
        found = self.part("eager")
        assert len(found) > 7, "the made tree has too few train rows for these tests"
        return found

    @cached_property
    def facts(self):
        return [facts(row) for row in self.plain]


@pytest.fixture(scope="module", params=[of_source(name) for name in SOURCES])
def world(request, made):
    return World(request.param, str(made(request.param).root))


@pytest.fixture
def signals(world):
    """The world of a source that has series; others are skipped."""
    if "series" not in world.plain.features:
        pytest.skip("the source has no series")
    return world


@pytest.fixture(params=["eager", "stream"])
def kind(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["decoded", "stored"])
def decode(request):
    return request.param


@pytest.fixture
def part(world, kind, decode):
    return world.part(kind, decode)


def test_there_is_a_row_of_each_sort_to_compare(world):
    assert all(fact[4] or fact[5] != content([]) for fact in world.facts)
    if world.name == DEFAULT:
        labels = {fact[1] for fact in world.facts}
        assert None in labels
        assert len(labels) > 2


def test_plain_rows(world, part):
    assert list(map(facts, part)) == world.facts


def test_a_stream_shows_every_column_as_the_table_does(world):
    def same(a, b):
        if isinstance(a, Signal):
            a, b = encode(a), encode(b)
        if hasattr(a, "dataobj"):
            a, b = a.to_bytes(), b.to_bytes()
        if isinstance(a, Mapping):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        if isinstance(a, list):
            return len(a) == len(b) and all(map(same, a, b))
        return type(a) is type(b) and a == b

    for row, streamed in zip(world.plain, world.part("stream"), strict=True):
        assert same(row, streamed)


# --- formats -----------------------------------------------------------------------------------


def stored_facts(row):
    """Of a stored row under numpy or torch, whose gains are float32: the codes alone are exact."""
    codes = [(bytes(one["data"]), [int(n) for n in one["shape"]]) for one in row["series"]]
    return row["id"], label_of(row["label"]), codes


@pytest.fixture(params=FORMATS, ids=str)
def named_format(request):
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param


def under(part, name):
    """Rows under a format; volumes as stored under torch, which has no place for decoded ones."""
    if name == "torch" and "volumes" in part.features:
        features = part.features
        masks = {**features["volume_masks"].feature, "mask": datasets.Nifti(decode=False)}
        part = part.cast_column("volumes", datasets.List(datasets.Nifti(decode=False)))
        part = part.cast_column("volume_masks", datasets.List(masks))
    return part.with_format(name)


@pytest.fixture
def formatted(part, named_format):
    return under(part, named_format)


def test_torch_has_no_place_for_a_decoded_volume(world, kind):
    # A limit of `datasets`: its formatter asks nibabel's image for a length. `under` is the way.
    pytest.importorskip("torch")
    if not any(row.get("volumes") for row in world.plain):
        pytest.skip("the source has no volumes")
    with pytest.raises(TypeError, match="Nifti1ImageWrapper"):
        list(world.part(kind).with_format("torch"))


@pytest.fixture
def compare(world, decode, named_format):
    """A function that compares rows under the format with plain ones."""
    exact = decode or named_format in (None, "arrow", "pandas")

    def check(rows, wanted=slice(None)):
        if exact or "series" not in world.plain.features:
            assert list(map(facts, rows)) == world.facts[wanted]
        else:
            plain = world.part("eager", decode=False)
            expected = [stored_facts(row) for row in plain][wanted]
            assert list(map(stored_facts, rows)) == expected

    return check


def test_rows_under_a_format(formatted, compare):
    compare([row for one in formatted for row in rows_of(one, False, formatted.features)])


def test_batches_under_a_format(formatted, compare):
    batches = formatted.iter(batch_size=4)
    compare([row for batch in batches for row in rows_of(batch, True, formatted.features)])


def test_a_last_batch_can_be_dropped(formatted, compare, world):
    batches = formatted.iter(batch_size=4, drop_last_batch=True)
    rows = [row for batch in batches for row in rows_of(batch, True, formatted.features)]
    compare(rows, slice(len(world.facts) // 4 * 4))


def test_one_row_and_a_slice_under_a_format(world, decode, named_format, compare):
    found = under(world.part("eager", decode), named_format)
    compare(rows_of(found[2], False, found.features), slice(2, 3))
    compare(rows_of(found[3:7], True, found.features), slice(3, 7))
    compare(rows_of(found[[5, 6]], True, found.features), slice(5, 7))


def test_a_column_under_a_format(world, named_format):
    column = world.plain.with_format(named_format)["label"][:]
    assert [label_of(one.as_py() if isinstance(one, pa.Scalar) else one) for one in column] == [
        fact[1] for fact in world.facts
    ]


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_decoded_values_are_float32_of_their_own_shape(signals, kind, name):
    pytest.importorskip(name)
    row = next(iter(signals.part(kind).with_format(name)))
    one = row["series"][0]
    assert str(one.dtype).removeprefix("torch.") == "float32"
    assert tuple(one.shape) == signals.facts[0][4][0][1]


# A null label of numpy and torch is NaN, and makes its whole batch float: `datasets` turns a
# column into a NumPy array first, whose integers know no null. Filter such rows, or use `labels`.
NULLS = {
    None: ([None], "list"),
    "numpy": ([np.nan], "float32"),
    "torch": ([np.nan], "torch.float32"),
    "arrow": ([None], "int64"),
    "pandas": ([np.nan], "float64"),
}


def test_a_null_label_under_a_format(world, kind, named_format):
    labels = [fact[1] for fact in world.facts]
    index = labels.index(None) if None in labels else pytest.skip("every row has a label")
    batches = under(world.part(kind), named_format).iter(batch_size=1)
    batch = next(islice(batches, index, None))["label"]
    values = batch.to_pylist() if isinstance(batch, pa.ChunkedArray) else list(batch)
    wanted, dtype = NULLS[named_format]
    assert np.array_equal(np.array(values, "f8"), np.array(wanted, "f8"), equal_nan=True)
    assert str(getattr(batch, "dtype", getattr(batch, "type", type(batch).__name__))) == dtype


def uncached(kind):
    """What keeps `map` and `filter` from finding an earlier result."""
    return {"load_from_cache_file": False} if kind == "eager" else {}


def test_one_null_makes_a_torch_batch_float(world):
    pytest.importorskip("torch")
    labels = [fact[1] for fact in world.facts]
    known = [index for index, label in enumerate(labels) if label is not None]
    if not 0 < len(known) < len(labels):
        pytest.skip("every row has a label, or none")
    found = under(world.plain, "torch")
    assert str(found[:]["label"].dtype) == "torch.float32"
    assert str(found[known]["label"].dtype) == "torch.int64"
    assert found[known]["label"].tolist() == [labels[index] for index in known]


@pytest.fixture(scope="module")
def zero_ended(world):
    """The stored rows, with 50 samples of two bytes set to zero at the end of each series."""
    if "series" not in world.plain.features:
        pytest.skip("the source has no series")

    def end_in_zeros(row):
        one = row["series"][0]
        return {"series": [{**one, "data": one["data"][:-100] + b"\0" * 100}]}

    return world.part("eager", decode=False).map(end_in_zeros, load_from_cache_file=False)


def test_trailing_zero_bytes_survive_every_format(zero_ended, kind, named_format):
    # `datasets` strips them from top-level bytes; inside a struct they stay (schema, section 3).
    wanted = [row["series"][0]["data"] for row in zero_ended]
    assert all(data.endswith(b"\0" * 100) for data in wanted)
    found = zero_ended if kind == "eager" else zero_ended.to_iterable_dataset()
    found = found.with_format(named_format)
    batches = [row for batch in found.iter(batch_size=4) for row in rows_of(batch)]
    assert [row["series"][0]["data"] for row in batches] == wanted
    single = [row for shown in found for row in rows_of(shown, batch=False)]
    assert [row["series"][0]["data"] for row in single] == wanted


def test_trailing_zeros_of_a_decoded_signal_survive_every_format(zero_ended, kind, named_format):
    wanted = [physical(row["series"][0]) for row in zero_ended]
    found = zero_ended.cast_column("series", climb_hf.Series())
    found = found if kind == "eager" else found.to_iterable_dataset()
    for shown, values in zip(found.with_format(named_format), wanted, strict=True):
        (row,) = rows_of(shown, batch=False)
        assert array_of(row["series"][0]).tobytes() == values.tobytes()


def signal_of(values):
    names = tuple(f"c{index}" for index in range(len(values)))
    return Signal(values, 500.0, names, ("mV",) * len(names), start_s=1.5, n_valid=7)


# --- processes ---------------------------------------------------------------------------------


def test_two_processes_build_the_same_rows(world, tmp_path):
    found = world.part("eager", num_proc=2, cache_dir=str(tmp_path))
    assert list(map(facts, found)) == world.facts


@slow
def test_two_spawned_processes_build_the_same_rows(world, tmp_path):
    import multiprocess

    before = multiprocess.get_start_method()
    multiprocess.set_start_method("spawn", force=True)
    try:
        found = world.part("eager", num_proc=2, cache_dir=str(tmp_path))
        assert list(map(facts, found)) == world.facts
    finally:
        multiprocess.set_start_method(before, force=True)


@pytest.mark.parametrize("load", [datasets.load_dataset, climb_hf.load_dataset])
def test_a_stream_is_not_read_by_num_proc(world, load):
    # `datasets` raises NotImplementedError; our road says what to do in its place.
    with pytest.raises((NotImplementedError, ValueError), match="DataLoader"):
        load("climb", world.name, data_dir=world.root, streaming=True, num_proc=2)


WORKERS = {"none": (0, None), "fork": (2, "fork"), "spawn": (2, "spawn")}
# A spawned worker imports everything anew, which takes seconds: one case by default, the one in
# which it has most to bring along.
LOADERS = [
    pytest.param(
        *WORKERS[word],
        kind,
        decode,
        id=f"{word}-{kind}-{'decoded' if decode else 'stored'}",
        marks=slow if word == "spawn" and not (kind == "stream" and decode) else (),
    )
    for word in WORKERS
    for kind in ("eager", "stream")
    for decode in (True, False)
]


@pytest.mark.parametrize(("workers", "context", "kind", "decode"), LOADERS)
def test_a_data_loader(world, workers, context, kind, decode):
    loader = pytest.importorskip("torch.utils.data").DataLoader(
        world.part(kind, decode),
        batch_size=4,
        num_workers=workers,
        multiprocessing_context=context,
        collate_fn=list,
    )
    assert by_id(facts(row) for batch in loader for row in batch) == by_id(world.facts)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_of_tensors(signals, kind, workers):
    torch = pytest.importorskip("torch")
    part = signals.part(kind).select_columns(["series", "label"]).with_format("torch")
    loader = torch.utils.data.DataLoader(part, num_workers=workers)
    found = [
        (label_of(batch["label"][0]), [one.numpy().tobytes() for one in batch["series"][0]])
        for batch in loader
    ]
    wanted = [(fact[1], [one[2] for one in fact[4]]) for fact in signals.facts]
    assert sorted(map(str, found)) == sorted(map(str, wanted))


# --- pickling ----------------------------------------------------------------------------------

STRANGER = """
from dataclasses import replace
from climb_hf.builders import {name} as origin
from climb_hf.lazy import builder_of

CARD = replace(origin.CARD, name="stranger")
read = origin.read
__getattr__ = builder_of(__name__)
"""


def digest(row):
    """A digest of all that a row holds; its source runs in other processes too."""
    import hashlib
    import json

    def plain(value):
        if hasattr(value, "rate_hz"):
            return [value.values.tobytes().hex(), value.rate_hz, value.channels, value.units]
        if hasattr(value, "dataobj"):
            return value.to_bytes().hex()
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items() if name != "id"}
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        return plain(value.tobytes()) if hasattr(value, "tobytes") else value

    text = json.dumps(plain({**row, "source": ""}), sort_keys=True)
    return [row["id"].partition("/")[2], hashlib.sha256(text.encode()).hexdigest()]


# Runs without climb_hf imported: what it needs has to come with the pickle.
ELSEWHERE = f"""
import json, pickle, sys
assert "climb_hf" not in sys.modules

{inspect.getsource(digest)}

with open(sys.argv[1], "rb") as file:
    things = pickle.load(file)
found = {{}}
for name, part in things.items():
    if name.startswith("builder"):
        part = part.as_streaming_dataset(split="train")
    found[name] = [digest(row) for row in part]
    if name.startswith("eager"):
        import datasets
        twice = datasets.concatenate_datasets([part, part])
        found[name + ", joined"] = [digest(row) for row in twice][len(part):]
        mapped = part.map(lambda row: {{"n": len(row["id"])}}, load_from_cache_file=False)
        found[name + ", mapped"] = [digest(row) for row in mapped.remove_columns("n")]
print(json.dumps(found))
"""
OWN = [f"{thing}, {how}" for thing in ("eager", "stream") for how in ("decoded", "stored")]
OWN += ["eager, decoded, joined", "eager, decoded, mapped", "builder", "builder of the source"]
STRANGE = [f"{thing} of a stranger" for thing in ("eager", "stream", "builder", "builder class")]


@pytest.fixture(scope="module")
def stranger(world, tmp_path_factory):
    """A source that stands in one file outside the package; it is gone after the module."""
    file = tmp_path_factory.mktemp("stranger") / "my_source.py"
    file.write_text(STRANGER.format(name=world.name))
    yield catalog.add_file(file)
    catalog.forget("stranger")


@pytest.fixture(scope="module")
def things(world, stranger):
    """What can be handed to another process."""
    from climb_hf.builder import ClimbBuilder

    made = {
        f"{kind}, {'decoded' if decode else 'stored'}": world.part(kind, decode)
        for kind in ("eager", "stream")
        for decode in (True, False)
    }
    made["builder"] = ClimbBuilder(config_name=world.name, data_dir=world.root)
    made["builder of the source"] = catalog.get(world.name).module.Builder(data_dir=world.root)
    for kind in ("eager", "stream"):
        strange = world.load(stranger, streaming=kind == "stream", split="train")
        made[f"{kind} of a stranger"] = strange
    made["builder of a stranger"] = ClimbBuilder(config_name=stranger, data_dir=world.root)
    made["builder class of a stranger"] = catalog.get(stranger).module.Builder(data_dir=world.root)
    return made


@pytest.mark.parametrize("thing", [name for name in OWN if name.count(",") < 2] + STRANGE)
def test_pickled_and_unpickled_here(world, things, thing):
    found = pickle.loads(pickle.dumps(things[thing]))  # noqa: S301 (our own bytes)
    if "builder" in thing:
        found = found.as_streaming_dataset(split="train")
    elsewhere = [(fact[0].partition("/")[2], *fact[1:]) for fact in map(facts, found)]
    assert elsewhere == [(fact[0].partition("/")[2], *fact[1:]) for fact in world.facts]


@pytest.fixture(scope="module")
def elsewhere(things, tmp_path_factory):
    """What a process that has not imported climb_hf reads out of the pickles."""
    file = tmp_path_factory.mktemp("pickles") / "things.pickle"
    file.write_bytes(pickle.dumps(things))
    done = subprocess.run(
        [sys.executable, "-P", "-c", ELSEWHERE, str(file)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def digests(world):
    """Digests of the plain rows, decoded or not."""
    return {
        decode: [digest(row) for row in world.part("eager", decode)] for decode in (True, False)
    }


@pytest.mark.parametrize("thing", OWN + STRANGE)
def test_unpickled_in_a_process_without_climb_hf(elsewhere, digests, thing):
    assert elsewhere[thing] == digests["stored" not in thing]


# --- several configs ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(world, made, stranger):
    """Another source with the same columns and classes; a copy under another name if none is."""

    def classes(name):
        card = catalog.get(name).card
        return card.modality, class_names([card])

    like = [n for n in SOURCES if n != world.name and classes(n) == classes(world.name)]
    return World(like[0], str(made(like[0]).root)) if like else World(stranger, world.root)


@pytest.fixture(params=["classification", "qa"])
def two(request, world, other, kind):
    """Train rows of two configs, as rows of both kinds of view."""
    asked = catalog.get(world.name).card.question and any(fact[2] for fact in world.facts)
    if request.param == "qa" and not asked:
        pytest.skip("nothing is asked of the source, or it has no classes to answer with")
    return [w.part(kind, task=request.param) for w in (world, other)]


def test_configs_are_concatenated(two):
    wanted = [facts(row) for part in two for row in part]
    assert list(map(facts, concatenate_datasets(two))) == wanted


def test_configs_are_interleaved_in_turn(two):
    # The default ends with the shorter one.
    first, second = ([facts(row) for row in part] for part in two)
    n_rounds = min(len(first), len(second))
    turns = [fact for both in zip(first, second, strict=False) for fact in both]
    if len(first) > n_rounds:
        turns.append(first[n_rounds])  # its turn comes before the other is found to be empty
    found = list(map(facts, interleave_datasets(two)))
    assert found in (turns, turns[: 2 * n_rounds - 1], turns[: 2 * n_rounds])


def test_configs_are_interleaved_by_probability_without_loss(two):
    mixed = interleave_datasets(
        two,
        probabilities=[0.7, 0.3],
        seed=3,
        stopping_strategy="all_exhausted_without_replacement",
    )
    wanted = [facts(row) for part in two for row in part]
    assert by_id(map(facts, mixed)) == by_id(wanted)


def test_a_mixed_stream_has_the_shards_of_its_smaller_part(world, other):
    # A limit of `datasets`: one small source caps the workers of a whole mixture.
    parts = [w.part("stream") for w in (world, other)]
    mixed = interleave_datasets(parts)
    assert mixed.num_shards == min(part.num_shards for part in parts)


def test_classes_of_other_names_are_never_joined(world, kind):
    # Or integers would change their meaning: `datasets` refuses features that differ.
    offered = list(catalog.get(world.name).card.label_sets)
    others = [world.part(kind, label_set=name) for name in offered]
    names = [part.features["label"].names for part in others]
    other = next((part for part, own in zip(others, names, strict=True) if own != names[0]), None)
    if other is None:
        pytest.skip("the source has one class list")
    for join in (concatenate_datasets, interleave_datasets):
        with pytest.raises(ValueError, match="can't be aligned"):
            join([others[0], other])


def test_decoded_and_stored_rows_are_never_joined(signals, kind):
    with pytest.raises(ValueError, match="can't be aligned"):
        concatenate_datasets([signals.part(kind, True), signals.part(kind, False)])


# --- map and its kin ---------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True], ids=["rows", "batches"])
def test_a_map_that_gives_the_row_back_keeps_it(world, part, kind, batched):
    found = part.map(lambda row: dict(row), batched=batched, batch_size=4, **uncached(kind))
    assert list(map(facts, found)) == world.facts


def test_a_map_that_reads_a_signal_keeps_it(signals, kind):
    def measured(row):
        return {"peak": float(np.nanmax(row["series"][0].values))}

    found = signals.part(kind).map(measured, **uncached(kind))
    peaks = [float(np.nanmax(row["series"][0].values)) for row in signals.plain]
    assert list(map(facts, found)) == signals.facts
    assert [row["peak"] for row in found] == peaks


def test_a_map_over_stored_rows_changes_no_byte(world):
    plain = world.part("eager", decode=False)
    found = plain.map(lambda row: dict(row), load_from_cache_file=False)
    assert found.data.table.equals(plain.data.table)


def test_a_map_in_two_processes(world, decode):
    found = world.part("eager", decode).map(
        lambda row: {"n": len(row["id"])}, num_proc=2, load_from_cache_file=False
    )
    assert list(map(facts, found)) == world.facts
    assert found["n"][:] == [len(fact[0]) for fact in world.facts]


@pytest.mark.parametrize("typed", [False, True], ids=["plain", "features-given"])
def test_a_changed_signal_is_stored_as_float32(signals, kind, typed):
    def halved(row):
        one = row["series"][0]
        return {"series": [signal_of(one.values / np.float32(2))]}

    part = signals.part(kind)
    found = part.map(halved, features=part.features if typed else None, **uncached(kind))
    for row, plain in zip(found, signals.plain, strict=True):
        (one,) = row["series"]
        wanted = signal_of(plain["series"][0].values / np.float32(2))
        assert encode(one) == encode(wanted)
    if kind == "eager":
        stored = found.cast_column("series", signals.part(kind, decode=False).features["series"])
        assert stored[0]["series"][0] == encode(found[0]["series"][0])
        assert stored[0]["series"][0]["dtype"] == "<f4"


def test_a_map_under_numpy_gives_values_back_without_their_rate(signals):
    # Under a format the function is handed arrays, which know neither rate nor channels.
    part = signals.plain.select_columns(["series"]).with_format("numpy")
    found = part.map(lambda row: {"series": row["series"]}, load_from_cache_file=False)
    values = np.asarray(found.with_format(None)[0]["series"], "f4")
    assert values.tobytes() == signals.facts[0][4][0][2]
    assert "Series" not in str(found.features)


def test_a_pandas_map_writes_stored_series_only(signals):
    # A data frame holds decoded signals as objects, which Arrow does not know.
    columns = ["id", "series"]
    decoded = signals.plain.select_columns(columns).with_format("pandas")
    with pytest.raises(pa.ArrowInvalid, match="Could not convert Signal"):
        decoded.map(lambda frame: frame, load_from_cache_file=False)
    # One row: where a field is null in some rows only, the frames of a map do not agree on types.
    plain = signals.part("eager", decode=False).select_columns(columns).select([0])
    found = plain.with_format("pandas").map(lambda frame: frame, load_from_cache_file=False)
    assert found.with_format(None)[:] == plain[:]


def test_filter_by_a_signal(signals, part, kind):
    def spread(row):
        return float(np.nanstd(array_of(row["series"][0]), dtype="f8"))

    usual = float(np.nanmedian([spread(row) for row in signals.plain]))
    found = part.filter(lambda row: spread(row) > usual, **uncached(kind))
    wanted = [f for f, row in zip(signals.facts, signals.plain, strict=True) if spread(row) > usual]
    assert 0 < len(wanted) < len(signals.facts)
    assert list(map(facts, found)) == wanted


def test_select(world, decode):
    found = world.part("eager", decode).select([5, 0, 3])
    assert list(map(facts, found)) == [world.facts[index] for index in (5, 0, 3)]


@pytest.mark.filterwarnings("ignore:Specifying null_placement:FutureWarning")
def test_sort(world, decode):
    found = world.part("eager", decode).sort("id", reverse=True)
    assert list(map(facts, found)) == by_id(world.facts)[::-1]


def test_train_test_split(world, decode):
    halves = world.part("eager", decode).train_test_split(test_size=0.4, seed=7)
    again = world.part("eager", decode).train_test_split(test_size=0.4, seed=7)
    assert halves["test"]["id"][:] == again["test"]["id"][:]
    assert len(halves["test"]) == -(-len(world.facts) * 2 // 5)  # 0.4, rounded up
    rows = [row for half in halves.values() for row in half]
    assert by_id(map(facts, rows)) == by_id(world.facts)


def test_take_and_skip(world, part):
    assert list(map(facts, part.take(5))) == world.facts[:5]
    assert list(map(facts, part.skip(5))) == world.facts[5:]


def test_with_transform_is_handed_decoded_batches(signals, decode):
    def shown(batch):
        return {"total": [float(np.nansum(array_of(row[0]))) for row in batch["series"]]}

    found = signals.part("eager", decode).with_transform(shown)
    wanted = [float(np.nansum(row["series"][0].values)) for row in signals.plain]
    assert found[2]["total"] == wanted[2]
    assert found[:4]["total"] == wanted[:4]


def test_a_stream_has_no_transform(world):
    # A limit of `datasets`; `map` is as lazy there.
    assert not hasattr(world.part("stream"), "with_transform")


# --- order, parts, resumption --------------------------------------------------------------------


def test_shuffle_goes_by_its_seed(world, part, kind):
    more = {} if kind == "eager" else {"buffer_size": 10}
    found = list(map(facts, part.shuffle(seed=11, **more)))
    assert found == list(map(facts, part.shuffle(seed=11, **more)))
    assert found != world.facts
    assert by_id(found) == by_id(world.facts)


def test_another_epoch_of_a_stream_has_another_order(world):
    stream = world.part("stream").shuffle(seed=11, buffer_size=10)
    first = [row["id"] for row in stream]
    stream.set_epoch(1)
    assert first != [row["id"] for row in stream]
    assert by_id(map(facts, stream)) == by_id(world.facts)


def test_slices(world):
    n = len(world.facts)
    for words, wanted in {
        "train[:10%]": world.facts[: round(n * 0.1)],
        "train[50%:]": world.facts[round(n * 0.5) :],
        "train[3:6]": world.facts[3:6],
        "train[-2:]": world.facts[-2:],
    }.items():
        assert list(map(facts, world.load(split=words))) == wanted


def test_a_stream_takes_no_slice(world):
    # A limit of `datasets`: a stream does not know its length. `take` and `skip` serve.
    with pytest.raises(ValueError, match=r"Bad split: train\[:10%\]"):
        world.load(split="train[:10%]", streaming=True)


def test_joined_splits(world, kind):
    more = {"streaming": kind == "stream"}
    apart = world.load(**more)
    wanted = [facts(row) for name in ("train", "test") for row in apart[name]]
    assert list(map(facts, world.load(split="train+test", **more))) == wanted
    everything = [facts(row) for rows in apart.values() for row in rows]
    assert by_id(map(facts, world.load(split="all", **more))) == by_id(everything)


@pytest.mark.parametrize("named", [None, "numpy", "torch", "arrow"], ids=str)
@pytest.mark.parametrize("seen", [0, 1, 7])
def test_a_resumed_stream_goes_on_where_it_stopped(world, seen, named):
    if named == "torch":
        pytest.importorskip("torch")
    stream = world.part("stream").with_format(named)
    rows = iter(stream)
    head = [next(rows) for _ in range(seen)]
    state = stream.state_dict()
    resumed = world.part("stream").with_format(named)
    resumed.load_state_dict(state)
    shown = [row for one in (*head, *resumed) for row in rows_of(one, batch=False)]
    assert list(map(facts, shown)) == world.facts


def test_a_state_survives_a_file_and_a_map(world, tmp_path):
    def mapped():
        return world.part("stream").map(lambda row: {"n": len(row["id"])})

    stream = mapped()
    rows = iter(stream)
    head = [next(rows) for _ in range(5)]
    (tmp_path / "state.json").write_text(json.dumps(stream.state_dict()))
    resumed = mapped()
    resumed.load_state_dict(json.loads((tmp_path / "state.json").read_text()))
    assert list(map(facts, [*head, *resumed])) == world.facts


def test_a_shuffle_buffer_is_not_in_the_state(world):
    # A limit of `datasets`, which warns of it: rows of the buffer are lost. For an exact
    # resumption shuffle eager rows, or do not shuffle the stream.
    def shuffled():
        return world.part("stream").shuffle(seed=1, buffer_size=10)

    stream = shuffled()
    rows = iter(stream)
    head = [next(rows)["id"] for _ in range(8)]
    state = stream.state_dict()
    resumed = shuffled()
    resumed.load_state_dict(state)
    assert len(head) + len([row["id"] for row in resumed]) < len(world.facts)


@pytest.mark.parametrize("n_nodes", [2, 3, 5])
def test_nodes_share_the_rows_out(world, part, n_nodes):
    shares = [split_dataset_by_node(part, rank=rank, world_size=n_nodes) for rank in range(n_nodes)]
    rows = [row for share in shares for row in share]
    assert by_id(map(facts, rows)) == by_id(world.facts)
    sizes = [len(list(share)) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_nodes_with_workers_share_the_rows_out(world):
    torch = pytest.importorskip("torch")
    rows = []
    for rank in range(2):
        share = split_dataset_by_node(world.part("stream"), rank=rank, world_size=2)
        loader = torch.utils.data.DataLoader(
            share, num_workers=2, multiprocessing_context="fork", collate_fn=list
        )
        rows += [row for batch in loader for row in batch]
    assert by_id(map(facts, rows)) == by_id(world.facts)


# --- out and back ------------------------------------------------------------------------------


def test_saved_and_loaded(world, decode, tmp_path):
    world.part("eager", decode).save_to_disk(tmp_path / "saved")
    found = datasets.load_from_disk(tmp_path / "saved")
    assert list(map(facts, found)) == world.facts
    assert found.features == world.part("eager", decode).features


def test_parquet(world, part, kind, decode, tmp_path):
    part.to_parquet(tmp_path / "rows.parquet")
    found = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "rows.parquet"),
        cache_dir=str(tmp_path / "cache"),
        split="train",
    )
    assert list(map(facts, found)) == world.facts
    # What a stream writes is always the stored form.
    assert found.features == world.part("eager", decode and kind == "eager").features


# `climb_hf` cannot be imported there at all, until it is.
PLAIN = f"""
import json, sys
sys.modules["climb_hf"] = None
import datasets

{inspect.getsource(digest)}

def load(how, path, cache):
    if how == "saved":
        return datasets.load_from_disk(path)
    return datasets.load_dataset("parquet", data_files=path, cache_dir=cache, split="train")

found = {{}}
for how in ("saved", "parquet"):
    for view in ("decoded", "stored"):
        folder = sys.argv[1]
        try:
            part = load(how, f"{{folder}}/{{how}}-{{view}}", f"{{folder}}/cache")
            found[f"{{how}}-{{view}}"] = [digest(row) for row in part]
        except ValueError as error:
            found[f"{{how}}-{{view}}"] = str(error)

del sys.modules["climb_hf"]
import climb_hf  # and nothing of it is used

for how in ("saved", "parquet"):
    part = load(how, f"{{folder}}/{{how}}-decoded", f"{{folder}}/cache")
    found[f"{{how}}-imported"] = [digest(row) for row in part]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def read_plainly(world, tmp_path_factory):
    """What a process without climb_hf reads of saved rows."""
    folder = tmp_path_factory.mktemp("plain")
    for view, decode in {"decoded": True, "stored": False}.items():
        world.part("eager", decode).save_to_disk(folder / f"saved-{view}")
        world.part("eager", decode).to_parquet(folder / f"parquet-{view}")
    done = subprocess.run(
        [sys.executable, "-P", "-c", PLAIN, str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("how", ["saved", "parquet"])
def test_stored_rows_are_read_without_climb_hf(digests, read_plainly, how):
    assert read_plainly[f"{how}-stored"] == digests[False]


@pytest.mark.parametrize("how", ["saved", "parquet"])
def test_decoded_series_are_read_with_climb_hf_only(signals, read_plainly, how):
    # The file names the view, and `datasets` refuses a feature that it does not know. To save
    # for others, load with decode=False (or cast the column back).
    assert "Feature type 'Series' not found" in read_plainly[f"{how}-decoded"]


@pytest.mark.parametrize("how", ["saved", "parquet"])
def test_decoded_rows_are_read_once_climb_hf_is_imported(digests, read_plainly, how):
    assert read_plainly[f"{how}-imported"] == digests[True]
