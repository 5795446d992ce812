"""One encoder for every series: what must not change its answer, what must, what is refused."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from climb_hf import Signal
from climb_hf.errors import CheckpointError, DataNotFoundError, OptionError
from climb_hf.models.series import SeriesEncoder
from climb_hf.models.series_config import SeriesConfig
from climb_hf.models.series_input import as_signal, collate, prepare
from climb_hf.views import encode

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}


def small(**options):
    """A small encoder; its names weigh more than a fresh one's, so that a mix-up shows."""
    torch.manual_seed(0)
    encoder = SeriesEncoder(SeriesConfig(**SMALL, **options)).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


@pytest.fixture(scope="module")
def encoder():
    return small()


def waves(channels=LEADS, seconds=4.0, rate_hz=250.0, unit="mV", seed=0):
    """A sum of two sines per channel, each with its own frequencies and sizes."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    shape = (len(channels), 1)
    values = rng.uniform(0.2, 1, shape) * np.sin(time * rng.uniform(5, 30, shape))
    values += rng.uniform(0.2, 1, shape) * np.sin(time * rng.uniform(30, 90, shape))
    return Signal(values.astype(np.float32), rate_hz, tuple(channels), (unit,) * len(channels))


def with_values(signal, values):
    return Signal(values, signal.rate_hz, signal.channels, signal.units)


def tokens_of(encoder, *signals):
    pieces = [piece for one in signals for piece in prepare(one, encoder.config)]
    with torch.no_grad():
        return encoder(**collate(pieces))


# ---- what must not change the answer ------------------------------------------------------------


@pytest.mark.parametrize("channels", [LEADS, ("Fp1", "T3", "O2", "C3-P3", "acc_rf_x", "PPG")])
def test_channels_permuted_with_their_names_give_the_same_bits(encoder, channels):
    signal = waves(channels)
    order = np.random.default_rng(1).permutation(len(channels))
    moved = Signal(
        signal.values[order],
        signal.rate_hz,
        tuple(channels[at] for at in order),
        tuple(signal.units[at] for at in order),
    )
    assert torch.equal(encoder.encode(signal), encoder.encode(moved))


def test_the_encoder_itself_orders_channels_too(encoder):
    inputs = collate(prepare(waves(), encoder.config))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    moved = {name: tensor[:, order] for name, tensor in inputs.items() if tensor.ndim > 1}
    moved["series_lengths"] = inputs["series_lengths"]
    with torch.no_grad():
        expected, got = encoder(**inputs), encoder(**moved)
    assert torch.equal(got.last_hidden_state, expected.last_hidden_state)


def test_values_moved_to_other_names_change_the_answer(encoder):
    signal = waves()
    renamed = Signal(signal.values[::-1].copy(), signal.rate_hz, signal.channels, signal.units)
    assert (encoder.encode(signal) - encoder.encode(renamed)).abs().max() > 1e-3


@pytest.mark.parametrize("lost", [[0], [3, 7, 11], list(range(1, 12))])
def test_a_masked_channel_is_one_left_out(encoder, lost):
    signal = waves()
    masked = signal.values.copy()
    masked[lost] = np.nan
    kept = [at for at in range(12) if at not in lost]
    fewer = Signal(signal.values[kept], 250.0, tuple(LEADS[at] for at in kept), ("mV",) * len(kept))
    whole = encoder.encode(with_values(signal, masked))
    assert torch.allclose(whole, encoder.encode(fewer), atol=1e-5)
    # The encoder masks by itself as well, where the batch holds the channel as NaN.
    inputs = collate(prepare(signal, encoder.config))
    numbers = [encoder.config.channel_number(LEADS[at]) for at in lost]
    gone = torch.isin(inputs["series_channels"], torch.tensor(numbers))
    inputs["series_values"][gone] = torch.nan
    with torch.no_grad():
        assert torch.allclose(encoder(**inputs).pooler_output, whole, atol=1e-5)


@pytest.mark.parametrize("n_tokens", [None, 5])
def test_a_batch_of_different_shapes_changes_no_member(n_tokens):
    encoder = small(n_tokens=n_tokens)
    signals = [waves(), waves(("V1",), seconds=1.3), waves(("Fz", "Cz"), seconds=7, rate_hz=128)]
    together = tokens_of(encoder, *signals)
    for at, signal in enumerate(signals):
        alone = tokens_of(encoder, signal)
        n_own = alone.last_hidden_state.shape[1]
        assert together.token_mask[at].sum() == n_own
        own = together.last_hidden_state[at, :n_own]
        assert torch.allclose(own, alone.last_hidden_state[0], atol=1e-5)
        assert torch.allclose(together.pooler_output[at], alone.pooler_output[0], atol=1e-5)


def test_one_signal_in_millivolts_and_microvolts_is_one(encoder):
    signal = waves()
    micro = Signal(
        signal.values * 1000, 250.0, LEADS, ("uV", "µV", "\N{GREEK SMALL LETTER MU}V") * 4
    )
    assert torch.allclose(encoder.encode(signal), encoder.encode(micro), atol=1e-5)


def test_ten_times_the_amplitude_is_not(encoder):
    signal = waves()
    larger = encoder.encode(with_values(signal, signal.values * 10))
    assert (encoder.encode(signal) - larger).abs().max() > 1e-3


def test_a_sine_is_the_same_at_another_rate():
    config = SeriesConfig(**SMALL)
    for rate_hz in (500, 360, 100, 62.5):
        time = np.arange(round(4 * rate_hz)) / rate_hz
        signal = as_signal(np.sin(2 * np.pi * 3 * time)[None], rate_hz=rate_hz, channels=["II"])
        (piece,) = prepare(signal, config)
        # A sine has standard deviation 1 / sqrt 2; the filter rings at the ends.
        expected = math.sqrt(2) * np.sin(2 * np.pi * 3 * np.arange(400) / 100)
        assert piece.values.shape == (1, 400)
        assert np.abs(piece.values[0] - expected)[40:-40].max() < 0.02


def test_an_offset_does_not_ring_through_the_filter():
    time = np.arange(2000) / 500
    values = np.sin(2 * np.pi * 3 * time)[None] + 50
    (piece,) = prepare(as_signal(values, rate_hz=500, channels=["II"]), SeriesConfig(**SMALL))
    assert np.abs(piece.values).max() < 1.6


def test_levels_tell_what_the_scaling_took_away():
    signs = np.where(np.arange(400) % 2, 1.0, -1.0)  # median 0, standard deviation 1
    values = np.stack([0.5 * signs + 2.0, 300 * signs, 7 * signs])
    signal = Signal(values, 100.0, ("I", "II", "PPG"), ("mV", "uV", "adu"))
    (piece,) = prepare(signal, SeriesConfig(**SMALL))
    expected = [[1, math.log10(0.5), math.asinh(4)], [1, math.log10(0.3), 0], [0, 0, 0]]
    assert piece.levels == pytest.approx(np.array(expected), abs=1e-6)
    assert piece.values == pytest.approx(np.stack([signs] * 3), abs=1e-6)


# ---- missing samples ----------------------------------------------------------------------------


def test_missing_samples_are_masked_and_not_taken_for_zeros(encoder):
    signal = waves(rate_hz=100.0)
    holes = signal.values.copy()
    holes[2, 50:90] = np.nan
    (piece,) = prepare(with_values(signal, holes), encoder.config)
    assert np.isnan(piece.values[2]).tolist() == np.isnan(holes[2]).tolist()
    filled = collate([piece])
    filled["series_values"] = filled["series_values"].nan_to_num(0.0)
    with torch.no_grad():
        masked, zeroed = encoder(**collate([piece])), encoder(**filled)
    assert masked.pooler_output.isfinite().all()
    assert (masked.pooler_output - zeroed.pooler_output).abs().max() > 1e-4


def test_a_stretch_that_nobody_recorded_keeps_its_tokens(encoder):
    signal = waves(rate_hz=100.0)
    holes = signal.values.copy()
    holes[:, 100:250] = np.nan
    made = tokens_of(encoder, with_values(signal, holes))
    assert made.last_hidden_state.shape == (1, 8, 32)  # 400 samples, 50 a token
    assert made.last_hidden_state.isfinite().all()


def test_a_flat_channel_and_an_infinite_sample_do_no_harm(encoder):
    signal = waves()
    values = signal.values.copy()
    values[4] = 0.7
    values[5, 10] = np.inf
    assert encoder.encode(with_values(signal, values)).isfinite().all()


def test_padding_after_the_recorded_part_is_not_read(encoder):
    signal = waves()
    padded = Signal(
        np.pad(signal.values, ((0, 0), (0, 500))), 250.0, LEADS, signal.units, n_valid=1000
    )
    assert torch.equal(encoder.encode(padded), encoder.encode(signal))


def test_gradients_are_finite_where_samples_are_missing():
    encoder = small().train()
    signal = waves()
    holes = signal.values.copy()
    holes[0], holes[:, 300:] = np.nan, np.nan
    pieces = [
        *prepare(with_values(signal, holes), encoder.config),
        *prepare(signal, encoder.config),
    ]
    encoder(**collate(pieces)).last_hidden_state.sum().backward()
    gradients = [one.grad for one in encoder.parameters() if one.grad is not None]
    assert all(one.isfinite().all() for one in gradients)


# ---- channels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("AVR", "aVR"),
        ("T3", "T7"),
        ("EEG FP1-REF", "Fp1"),
        ("F7-T3", "F7-T7"),
        ("T5-O1", "P7-O1"),
        ("EKG1", "ecg"),
        ("Pleth", "PPG"),
        ("GYRO_LT_Z", "gyro_lt_z"),
    ],
)
def test_several_spellings_mean_one_channel(one, other):
    config = SeriesConfig(**SMALL)
    assert config.channel_number(one) == config.channel_number(other) > 0


def test_a_derivation_is_not_its_reverse_nor_its_electrodes():
    index = SeriesConfig(**SMALL).channel_index()
    numbers = {index.find(name) for name in ("Fp1-F7", "Fp1", "F7")}
    assert len(numbers) == 3
    assert index.find("F7-Fp1") is None


@pytest.mark.parametrize(("name", "near"), [("V11", "V1"), ("Fp-1", "Fp1"), ("acc_rf", "acc_rf_")])
def test_an_unknown_channel_is_an_error_that_names_the_nearest(name, near):
    with pytest.raises(OptionError, match=rf"channel '{name}'.*Did you mean '{near}"):
        prepare(waves((name,)), SeriesConfig(**SMALL))


def test_a_generic_slot_takes_any_name_in_any_order():
    encoder = small(unknown_channel="generic")
    names = ("II", "left antenna", "Right antenna", "tail", "wing", "V1")
    signal = waves(names)
    order = [4, 2, 5, 1, 0, 3]
    moved = Signal(signal.values[order], 250.0, tuple(names[at] for at in order), signal.units)
    (one,), (other,) = (prepare(each, encoder.config) for each in (signal, moved))
    assert np.array_equal(one.values, other.values)
    assert torch.equal(encoder.encode(signal), encoder.encode(moved))


def test_a_vocabulary_grows_and_keeps_what_it_knew():
    encoder = small()
    signal = waves()
    before = encoder.encode(signal)
    encoder.add_channels(["left antenna"])
    assert torch.equal(encoder.encode(signal), before)
    assert encoder.encode(waves(("LEFT antenna",))).isfinite().all()
    with pytest.raises(OptionError, match="'II' is in the vocabulary already"):
        encoder.add_channels(["II"])


# ---- length -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "n_tokens"), [(0.01, 1), (0.5, 1), (0.51, 2), (10, 20)])
def test_tokens_grow_with_the_length(encoder, seconds, n_tokens):
    # 100 Hz, 25 samples a patch, 2 patches a token: half a second.
    signal = waves(seconds=seconds, rate_hz=100)
    made = tokens_of(encoder, signal)
    assert made.token_mask.tolist() == [[True] * n_tokens]
    assert encoder.config.token_count(signal.values.shape[1]) == n_tokens


def test_a_fixed_number_of_tokens_stays_fixed():
    encoder = small(n_tokens=3)
    shapes = [tokens_of(encoder, waves(seconds=s)).last_hidden_state.shape[1] for s in (1, 9)]
    assert shapes == [3, 3]


def test_a_series_too_long_is_refused_unless_told_otherwise():
    with pytest.raises(OptionError, match="lasts 5 s, longer than max_seconds=2"):
        prepare(waves(seconds=5), SeriesConfig(max_seconds=2, **SMALL))


def test_truncation_keeps_the_start_and_says_so(caplog):
    encoder = small(max_seconds=2, too_long="truncate")
    signal = waves(seconds=5, rate_hz=100)
    made = encoder.encode(signal)
    assert "lasts 5 s, longer than max_seconds=2: only its start is used" in caplog.text
    assert torch.equal(made, encoder.encode(with_values(signal, signal.values[:, :200])))


def test_windows_cover_the_whole_series():
    config = SeriesConfig(max_seconds=2, too_long="window", **SMALL)
    pieces = prepare(waves(seconds=5, rate_hz=250), config)
    assert [piece.values.shape[1] for piece in pieces] == [200, 200, 100]
    whole = prepare(waves(seconds=5, rate_hz=250), SeriesConfig(**SMALL))[0]
    assert np.array_equal(np.concatenate([one.values for one in pieces], axis=1), whole.values)


# ---- what a series may come as ------------------------------------------------------------------


def test_a_stored_series_an_array_and_a_signal_are_one(encoder):
    signal = waves()
    facts = {"rate_hz": 250.0, "channels": LEADS, "units": "mV"}
    expected = encoder.encode(signal)
    assert torch.equal(encoder.encode(encode(signal)), expected)
    assert torch.equal(encoder.encode(signal.values, **facts), expected)
    assert torch.equal(encoder.encode(torch.from_numpy(signal.values), **facts), expected)
    assert torch.equal(encoder.encode(signal.__array__()), expected)  # what formats hand on


def test_a_wfdb_record_is_read_by_its_path(encoder, real_data):
    header = real_data / "ecg/challenge-2021/training/georgia/g8/E07500.hea"
    wfdb = pytest.importorskip("wfdb")
    record = wfdb.rdrecord(str(header.with_suffix("")))
    by_hand = Signal(
        record.p_signal.T.astype(np.float32), record.fs, tuple(record.sig_name), tuple(record.units)
    )
    made = encoder.encode(header)
    assert torch.allclose(made, encoder.encode(by_hand), atol=1e-5)
    assert torch.equal(made, encoder.encode(str(header.with_suffix(""))))


def test_an_icu_record_with_three_kinds_of_channel_is_read(real_data):
    encoder = small(too_long="window")
    pieces = prepare(as_signal(real_data / "ecg/mimic-wave/03700181.hea"), encoder.config)
    assert sum(piece.values.shape[1] for piece in pieces) == 60_000  # 600 s at 100 Hz
    names = [encoder.config.channels[at - 1] for at in pieces[0].channels]
    assert names == ["MCL1", "ABP", "RESP"]
    made = encoder(**collate(pieces[:4]))
    assert made.last_hidden_state.isfinite().all()


ARRAY = np.ones((2, 100), dtype=np.float32)
FACTS = {"rate_hz": 100.0, "channels": ("I", "II"), "units": "mV"}


@pytest.mark.parametrize(
    ("values", "facts", "match"),
    [
        (ARRAY, {"rate_hz": 0.0}, "rate_hz=0.0"),
        (ARRAY, {"rate_hz": -1.0}, "rate_hz=-1.0"),
        (ARRAY, {"rate_hz": math.nan}, "rate_hz=nan"),
        (ARRAY * np.nan, {}, "no valid sample"),
        (ARRAY[:, :0], {}, "no valid sample"),
        (ARRAY.T, {}, "swapped: transpose"),
        (ARRAY[0], {}, r"shape \(100,\)"),
        (ARRAY[None], {}, r"shape \(1, 2, 100\)"),
        (ARRAY, {"channels": ("I",)}, "1 channel names"),
        (ARRAY, {"units": ("mV",)}, "1 units"),
        (ARRAY, {"rate_hz": None}, "without rate_hz and channels"),
        (ARRAY, {"channels": None}, "without rate_hz and channels"),
        ("words", {}, None),
        ({"data": b""}, {}, "without 'dtype'"),
        (object(), {}, "no array of numbers"),
    ],
)
def test_what_is_no_series_is_refused(values, facts, match):
    kind = OptionError if match else DataNotFoundError
    with pytest.raises(kind, match=match or "words.hea is not there"):
        as_signal(values, **{**FACTS, **facts})


@pytest.mark.parametrize("names", [("I", "i"), ("T3", "T7")])
def test_one_channel_twice_is_refused(names):
    signal = as_signal(ARRAY, **{**FACTS, "channels": names})
    with pytest.raises(
        OptionError, match=f"{names[0]!r} and {names[1]!r} of a series are the same"
    ):
        prepare(signal, SeriesConfig(**SMALL))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rate_hz": 0}, "rate_hz=0"),
        ({"too_long": "cut"}, "too_long='cut'"),
        ({"patch_samples": 0}, "patch_samples=0"),
        ({"n_tokens": 0}, "n_tokens=0"),
        ({"hidden_size": 30}, "hidden_size=30"),
        ({"max_seconds": 0.1}, "shorter than one patch"),
        ({"channels": ["I", "i"]}, "'i' is there twice|'I' is there twice"),
        ({"channels": ["I"], "aliases": {"x": "II"}}, "'x' stands for 'II'"),
        ({"unknown_channel": "guess"}, "unknown_channel='guess'"),
    ],
)
def test_settings_are_checked(options, match):
    with pytest.raises(OptionError, match=match):
        SeriesConfig(**{**SMALL, "aliases": {}, **options})


# ---- saving -------------------------------------------------------------------------------------

FRESH = """
import sys, torch, climb_hf
from transformers import AutoModel
encoder = AutoModel.from_pretrained(sys.argv[1])
print(type(encoder).__name__, float(encoder.encode(torch.load(sys.argv[2]).numpy(),
      rate_hz=250.0, channels=encoder.config.channels[:12], units="mV").double().sum()))
"""


def test_it_reloads_by_the_auto_class_in_a_fresh_process(encoder, tmp_path):
    signal = waves()
    encoder.save_pretrained(tmp_path / "encoder")
    torch.save(torch.from_numpy(signal.values), tmp_path / "values.pt")
    arguments = [str(tmp_path / "encoder"), str(tmp_path / "values.pt")]
    ran = subprocess.run(
        [sys.executable, "-c", FRESH, *arguments], capture_output=True, text=True, check=True
    )
    kind, total = ran.stdout.split()
    assert kind == "SeriesEncoder"
    assert float(total) == pytest.approx(float(encoder.encode(signal).double().sum()), rel=1e-6)


def test_a_saved_vocabulary_does_not_follow_a_later_default(tmp_path, monkeypatch):
    encoder = small()
    encoder.save_pretrained(tmp_path)
    known = list(encoder.config.channels)
    shuffled = ("new", *reversed(known))
    monkeypatch.setattr("climb_hf.models.series_config.CHANNELS", shuffled)
    assert SeriesConfig(**SMALL).channels == list(shuffled)
    assert SeriesConfig.from_pretrained(tmp_path).channels == known


def test_a_checkpoint_of_another_type_is_refused(tmp_path):
    from transformers import LlamaConfig

    LlamaConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="type 'llama', not 'climb_series_encoder'"):
        SeriesEncoder.from_pretrained(tmp_path)


def test_checkpointed_gradients_are_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        encoder = small().train()
        if checkpointing:
            encoder.gradient_checkpointing_enable()
        tokens_of_training(encoder, waves()).pooler_output.pow(2).sum().backward()
        gradients.append(encoder.patches.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-7)


def tokens_of_training(encoder, signal):
    return encoder(**collate(prepare(signal, encoder.config)))


def test_it_runs_in_bfloat16(encoder):
    made = tokens_of(small().to(torch.bfloat16), waves())
    assert made.pooler_output.dtype == torch.bfloat16
    expected = encoder.encode(waves())
    assert torch.allclose(made.pooler_output.float(), expected, atol=0.1)


def test_it_learns_which_lead_carries_a_pulse():
    # The two classes differ in nothing but the name of the lead that has the pulse.
    torch.manual_seed(0)
    encoder = SeriesEncoder(SeriesConfig(**SMALL, patch_samples=10)).train()
    head = torch.nn.Linear(32, 2)
    rng = np.random.default_rng(0)

    def batch(size):
        labels = rng.integers(0, 2, size)
        values = rng.normal(0, 1, (size, 2, 100)).astype(np.float32)
        values[np.arange(size), labels, 40:60] += 4
        signals = [Signal(one, 100.0, ("V1", "V5"), ("mV",) * 2) for one in values]
        pieces = [prepare(one, encoder.config)[0] for one in signals]
        return collate(pieces), torch.from_numpy(labels)

    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(60):
        inputs, labels = batch(32)
        loss = torch.nn.functional.cross_entropy(head(encoder(**inputs).pooler_output), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inputs, labels = batch(200)
    with torch.no_grad():
        found = head(encoder.eval()(**inputs).pooler_output).argmax(dim=1)
    assert (found == labels).float().mean() > 0.9
