"""The view of stored series: physical values, all formats of `datasets`, no data changed."""

import pickle

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.schema import disk_features
from climb_hf.views import Series, Signal, decode, encode, range_scaled

datasets = pytest.importorskip("datasets")


def struct(codes, **more):
    codes = np.asarray(codes, "<i2")
    return {
        "data": codes.tobytes(),
        "dtype": "<i2",
        "shape": list(codes.shape),
        "rate_hz": 500.0,
        "channels": [f"c{i}" for i in range(len(codes))],
        "units": ["mV"] * len(codes),
        "gain": [1000.0] * len(codes),
        "offset": [0.0] * len(codes),
        "invalid": -32768,
        "start_s": 0.0,
        "n_valid": codes.shape[1],
        **more,
    }


CODES = np.array([[1, 256, -32768, 0], [-5, 7, 0, 0]], "<i2")  # ends in zero bytes
VALUES = np.array([[0.001, 0.256, np.nan, 0], [-0.005, 0.007, 0, 0]], "f4")


@pytest.fixture
def plain():
    """Two rows as they are stored, without the view."""
    features = datasets.Features({"id": datasets.Value("string")})
    features["series"] = disk_features()["series"]
    rows = [{"id": "a", "series": [struct(CODES)]}, {"id": "b", "series": []}]
    return datasets.Dataset.from_list(rows, features=features)


@pytest.fixture
def viewed(plain):
    return plain.cast_column("series", Series())


def same(found, wanted=VALUES):
    return np.array_equal(np.asarray(found), wanted, equal_nan=True)


def test_decoding_is_raw_minus_offset_by_gain():
    found = decode(struct(CODES, gain=[1000.0, 500.0], offset=[1.0, -5.0]))
    wanted = (CODES - np.array([[1.0], [-5.0]])) / np.array([[1000.0], [500.0]])
    wanted[0, 2] = np.nan
    assert same(found.values, wanted.astype("f4"))
    assert found.values.dtype == np.float32


def test_no_invalid_code_leaves_every_sample():
    assert not np.isnan(decode(struct(CODES, invalid=None)).values).any()


def test_a_signal_holds_rate_channels_units_and_place():
    found = decode(struct(CODES, start_s=20.0, n_valid=3))
    assert (found.rate_hz, found.channels, found.units) == (500.0, ("c0", "c1"), ("mV", "mV"))
    assert (found.start_s, found.n_valid) == (20.0, 3)


def test_bytes_of_another_shape_are_refused():
    with pytest.raises(CorruptFileError, match="has 8 samples where its shape"):
        decode(struct(CODES, shape=[2, 5]))


def test_encoding_and_decoding_a_signal_is_exact():
    once = decode(struct(CODES))
    again = decode(encode(once))
    assert same(again.values, once.values)
    assert (again.rate_hz, again.channels, again.units) == (once.rate_hz, once.channels, once.units)


def test_encoding_a_stored_struct_changes_nothing():
    stored = struct(CODES)
    assert encode(stored) == stored


def test_the_view_yields_a_list_of_signals(viewed):
    found = viewed[0]["series"]
    assert isinstance(found[0], Signal)
    assert same(found[0].values)
    assert viewed[1]["series"] == []


def test_casting_changes_no_data(plain, viewed):
    assert viewed.data.table.equals(plain.data.table)


def test_the_view_can_be_taken_off_again(plain, viewed):
    back = viewed.cast_column("series", plain.features["series"])
    assert back[0]["series"][0]["data"] == CODES.tobytes()


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_trailing_zero_bytes_survive_a_format(viewed, name):
    if name == "torch":
        pytest.importorskip("torch")
    found = viewed.with_format(name)[0]["series"]
    assert same(np.asarray(found[0]))


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_trailing_zero_bytes_survive_a_format_without_the_view(plain, name):
    if name == "torch":
        pytest.importorskip("torch")
    stored = plain.with_format(name)[0]["series"]
    data = stored["data"][0] if isinstance(stored, dict) else stored[0]["data"]
    assert bytes(data) == CODES.tobytes()


def test_a_signal_is_an_array():
    found = decode(struct(CODES))
    assert same(np.array(found))
    assert np.asarray(found, dtype="f8").dtype == np.float64


def test_map_over_a_decoded_row_sees_signals(viewed):
    found = viewed.map(
        lambda row: {"n": [one.values.shape[1] for one in row["series"]]},
        remove_columns="series",
        load_from_cache_file=False,
    )
    assert found["n"] == [[4], []]


def test_map_that_reads_the_column_writes_signals_back_as_float32(viewed):
    found = viewed.map(lambda row: {"n": len(row["series"])}, load_from_cache_file=False)
    assert same(found[0]["series"][0].values)
    stored = found.cast_column("series", disk_features()["series"])[0]["series"][0]
    assert stored == encode(viewed[0]["series"][0])
    assert stored["dtype"] == "<f4"


def test_a_signal_under_numpy_is_an_ordinary_array(viewed):
    signal = viewed[0]["series"][0]
    for array in (np.asarray(signal), viewed.with_format("numpy")[0]["series"][0]):
        assert type(array) is np.ndarray
        assert array.ndim == 2
        assert same(array[0], VALUES[0])


def test_signals_can_be_stacked(viewed):
    signal = viewed[0]["series"][0]
    assert same(np.stack([signal, signal]), np.stack([VALUES, VALUES]))
    assert same(signal.__array__()[1, 1:], VALUES[1, 1:])  # as datasets asks for it


def test_map_that_does_not_read_the_column_leaves_the_view(viewed):
    found = viewed.map(lambda row: {"n": len(row["id"])}, load_from_cache_file=False)
    assert same(found[0]["series"][0].values)


def test_mapping_before_the_view_keeps_what_is_stored(plain):
    found = plain.map(lambda row: {"n": len(row["series"])}, load_from_cache_file=False)
    assert same(found.cast_column("series", Series())[0]["series"][0].values)


def test_decoded_rows_can_be_stored_again(viewed):
    again = datasets.Dataset.from_list([viewed[0], viewed[1]], features=viewed.features)
    assert same(again[0]["series"][0].values)
    assert again[1]["series"] == []


def test_a_stream_of_signals_can_be_mapped(viewed):
    stream = viewed.to_iterable_dataset().map(lambda row: {"n": len(row["series"])})
    row = next(iter(stream))
    assert (row["n"], type(row["series"][0])) == (1, Signal)


def test_filter_sees_signals(viewed):
    found = viewed.filter(
        lambda row: any(np.isnan(s.values).any() for s in row["series"]), load_from_cache_file=False
    )
    assert found["id"] == ["a"]


def test_a_batch_is_a_list_of_lists(viewed):
    found = viewed[:2]["series"]
    assert [len(row) for row in found] == [1, 0]


def there_and_back(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301 (our own bytes)


def test_a_viewed_dataset_pickles(viewed):
    assert same(there_and_back(viewed)[0]["series"][0].values)


def test_a_signal_pickles():
    assert same(there_and_back(decode(struct(CODES))).values)


def test_a_stream_can_be_viewed(plain):
    stream = plain.to_iterable_dataset().cast_column("series", Series())
    assert same(next(iter(stream))["series"][0].values)


def test_two_viewed_tables_join(viewed):
    joined = datasets.concatenate_datasets([viewed, viewed])
    assert [len(row["series"]) for row in joined] == [1, 0, 1, 0]


def test_a_viewed_dataset_comes_back_from_disk(viewed, tmp_path):
    viewed.save_to_disk(tmp_path / "saved")
    assert same(datasets.load_from_disk(tmp_path / "saved")[0]["series"][0].values)


def test_range_scaling_divides_all_channels_by_one_range():
    signal = Signal(np.float32([[1.0, 3.0], [-1.0, np.nan]]), 500.0, ("I", "II"), ("mV", "mV"))
    scaled = range_scaled(signal)
    # The range is 3 - (-1) = 4; nothing is centred.
    np.testing.assert_array_equal(scaled.values, np.float32([[0.25, 0.75], [-0.25, np.nan]]))
    assert scaled.units == ("1", "1")


def test_range_scaling_leaves_a_flat_signal_finite():
    flat = Signal(np.ones((2, 3), np.float32), 500.0, ("I", "II"), ("mV", "mV"))
    np.testing.assert_array_equal(range_scaled(flat).values, flat.values)


@pytest.mark.parametrize("form", [None, "numpy", "torch", "pandas"])
def test_rows_without_a_series_are_shown_under_every_format(form):
    from datasets import Dataset, Features

    features = Features({"series": disk_features()["series"]})
    table = Dataset.from_dict({"series": [[], []]}, features=features)
    shown = table.cast_column("series", Series()).with_format(form)[0]["series"]
    assert len(shown.iloc[0] if form == "pandas" else shown) == 0
