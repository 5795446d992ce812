"""DICOM files: every step from stored values to shades, held against pydicom and the standard."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from climb_hf.errors import CorruptFileError, DependencyError, OptionError
from climb_hf.io import dicom, image
from climb_hf.schema import ImageFile

pydicom = pytest.importorskip("pydicom")
pydicom_pixels = pytest.importorskip("pydicom.pixels")
sys.path.append(str(Path(__file__).parents[1] / "fake"))
made_dicoms = importlib.import_module("made_dicoms")
made, film, jpeg = made_dicoms.dicom, made_dicoms.film, made_dicoms.jpeg
ExplicitVRLittleEndian = pydicom.uid.ExplicitVRLittleEndian
JPEGBaseline8Bit, RLELossless = pydicom.uid.JPEGBaseline8Bit, pydicom.uid.RLELossless

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(data, form="uint8", frame=None, name="image.dcm"):
    return dicom.load(ImageFile(Path(name), form=form, frame=frame), data)


def pixels(data, form="uint8", **how):
    return np.asarray(Image.open(io.BytesIO(shown(data, form, **how).data))).astype(int)


def linear(values, center, width):
    """PS3.3 C.11.2.1.2.1, from 0 to 255."""
    inside = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    low = values <= center - 0.5 - (width - 1) / 2
    high = values > center - 0.5 + (width - 1) / 2
    return np.where(low, 0, np.where(high, 255, inside)).round()


def table(entries, first=0, bits=8):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return [item]


# --- one step at a time ----------------------------------------------------------------------


def test_a_window_is_linear_unless_the_file_says_otherwise():
    data = made(RAMP, bits=12, WindowCenter=2000, WindowWidth=1000)
    assert np.array_equal(pixels(data), linear(RAMP.astype(float), 2000, 1000))


def test_an_exact_window_takes_nothing_off_its_width():
    how = {"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}
    expected = (((RAMP - 2000.0) / 1000 + 0.5).clip(0, 1) * 255).round()
    assert np.array_equal(pixels(made(RAMP, bits=12, **how)), expected)


def test_a_sigmoid_window_follows_the_standard():
    how = {"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}
    expected = (255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000))).round()
    assert np.array_equal(pixels(made(RAMP, bits=12, **how)), expected)


def test_the_first_of_several_windows_counts():
    several = made(RAMP, bits=12, WindowCenter=[2000, 100], WindowWidth=[1000, 50])
    one = made(RAMP, bits=12, WindowCenter=2000, WindowWidth=1000)
    assert np.array_equal(pixels(several), pixels(one))


@pytest.mark.parametrize("window", [(None, None), (40, None), (40, 0), (40, -100)])
def test_a_window_that_is_empty_or_without_width_is_no_window(window):
    center, width = window
    with_it = made(film(1), bits=12, WindowCenter=center, WindowWidth=width)
    assert np.array_equal(pixels(with_it), pixels(made(film(1), bits=12)))


def test_a_window_applies_to_what_was_measured_not_to_what_is_stored():
    scale = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    data = made(RAMP, bits=12, WindowCenter=1000, WindowWidth=2000, **scale)
    assert np.array_equal(pixels(data), linear(RAMP * 2.0 - 1000, 1000, 2000))


def test_without_a_window_the_percentiles_become_black_and_white():
    values = film(3, 64, 48).astype(float)
    low, high = np.percentile(values, dicom.PERCENTILES, method="inverted_cdf")
    expected = (((values - low) / (high - low)).clip(0, 1) * 255).round()
    found = shown(made(film(3, 64, 48), bits=12))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.data))), expected)
    assert found.meta == {"window": "percentiles 0.5 to 99.5"}


def test_a_file_whose_bits_are_more_than_its_values_is_not_black():
    dim = made(film(2, bits=8).astype(np.uint16), bits=16)
    assert pixels(dim).max() == 255
    inverted = made(film(2, bits=8).astype(np.uint16), bits=16, photometric="MONOCHROME1")
    assert pixels(inverted).min() == 0


def test_eight_bits_without_a_window_are_shades_already():
    values = film(4, bits=8) // 2
    assert np.array_equal(pixels(made(values)), values)


@pytest.mark.parametrize("first", [0, 100])
def test_a_table_of_values_of_interest_is_looked_up(first):
    entries = np.linspace(10, 210, 300).round()
    expected = entries[(RAMP.astype(int) - first).clip(0, 299)]
    expected = ((expected - 10) / 200 * 255).round()
    data = made(RAMP, bits=12, VOILUTSequence=table(entries, first))
    assert np.array_equal(pixels(data), expected)


def test_a_table_of_the_modality_comes_before_the_window():
    entries = np.arange(4096)[::-1]
    lut = table(entries, bits=16)
    data = made(RAMP, bits=12, ModalityLUTSequence=lut, WindowCenter=2000, WindowWidth=1000)
    assert np.array_equal(pixels(data), linear(4095.0 - RAMP, 2000, 1000))
    own = pydicom.dcmread(io.BytesIO(data))
    assert np.array_equal(
        pydicom_pixels.apply_modality_lut(pydicom_pixels.pixel_array(own), own), 4095 - RAMP
    )


@pytest.mark.parametrize(
    "how",
    [
        {"photometric": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"photometric": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 3000}])
def test_what_is_meant_inverted_is_inverted_once(how, window):
    upright = pixels(made(film(5), bits=12, **window))
    assert np.abs(pixels(made(film(5), bits=12, **how, **window)) - (255 - upright)).max() <= 1


def test_padding_is_black_whatever_the_polarity():
    values = film(6)
    values[:4] = 4000
    values[4:8] = 4090
    how = {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000}
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        found = pixels(made(values, bits=12, photometric=photometric, **how))
        assert (found[:8] == 0).all()
        assert found[8:].max() == 255


def test_padding_does_not_decide_what_is_black_and_white():
    values = film(7).astype(np.int16)
    padded = np.vstack([np.full((16, 24), -2000, np.int16), values])
    found = pixels(made(padded, PixelPaddingValue=-2000))
    assert np.array_equal(found[16:], pixels(made(values)))


@pytest.mark.parametrize("form", dicom.FORMS)
def test_a_constant_image_is_flagged(form):
    flat = made(np.full((32, 24), 700, np.uint16), bits=12)
    found = shown(flat, form)
    assert found.flags == ("constant_image",)
    assert (pixels(flat, form) == (700 if form == "raw" else 0)).all()


def test_signed_values_keep_their_order():
    values = np.linspace(-2000, 2000, 768).astype(np.int16).reshape(32, 24)
    found = pixels(made(values, WindowCenter=0, WindowWidth=2000))
    assert np.array_equal(found, linear(values.astype(float), 0, 2000))


# --- other forms -----------------------------------------------------------------------------


def test_sixteen_bits_show_the_same_in_finer_steps():
    data = made(RAMP, bits=12, photometric="MONOCHROME1", WindowCenter=2000, WindowWidth=1000)
    fine = pixels(data, "uint16")
    assert shown(data, "uint16").mode == "I;16"
    assert fine.max() == 65535
    assert np.abs(fine / 257 - pixels(data)).max() <= 0.5


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_raw_values_lead_back_to_what_was_measured(kind):
    values = film(8).astype(kind) - kind(0 if kind is np.uint16 else 1000)
    how = {"RescaleSlope": 2.5, "RescaleIntercept": -7, "WindowCenter": 1, "WindowWidth": 2}
    data = made(values, photometric="MONOCHROME1", **how)
    meta = shown(data, "raw").meta
    measured = pixels(data, "raw") * meta["RescaleSlope"] + meta["RescaleIntercept"]
    assert np.array_equal(measured, values.astype(int) * 2.5 - 7)
    assert meta["PhotometricInterpretation"] == "MONOCHROME1"


def test_values_are_what_was_measured(tmp_path):
    path = tmp_path / "slice.dcm"
    path.write_bytes(made(film(9).astype(np.int16), RescaleSlope=1, RescaleIntercept=-1024))
    found = dicom.values(path)
    assert found.dtype == np.float32
    assert np.array_equal(found, film(9) - 1024.0)


def test_an_unknown_form_is_refused():
    with pytest.raises(OptionError, match="uint16"):
        shown(made(film(1), bits=12), "float")


# --- how pixels lie in the file --------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, None])
def test_every_way_of_writing_gives_the_same_image(syntax):
    data = made(film(10), bits=12, syntax=syntax, WindowCenter=2000, WindowWidth=3000)
    assert np.array_equal(pixels(data), linear(film(10).astype(float), 2000, 3000))


def test_a_jpeg_that_needs_no_change_is_passed_on_byte_for_byte():
    values = film(11, bits=8)
    found = shown(made(values, syntax=JPEGBaseline8Bit))
    assert found.data.rstrip(b"\0") == jpeg(values).rstrip(b"\0")
    assert (found.height, found.width, found.mode) == (32, 24, "L")


def test_a_jpeg_with_a_window_that_changes_nothing_is_passed_on():
    whole = {"WindowCenter": 128, "WindowWidth": 256}
    found = shown(made(film(11, bits=8), syntax=JPEGBaseline8Bit, **whole))
    assert found.data[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "how",
    [
        {"photometric": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"WindowCenter": 100, "WindowWidth": 50},
        {"PixelPaddingValue": 200},
    ],
)
def test_a_jpeg_that_needs_a_change_is_decoded(how):
    data = made(film(11, bits=8), syntax=JPEGBaseline8Bit, **how)
    plain = np.asarray(Image.open(io.BytesIO(jpeg(film(11, bits=8))))).astype(int)
    found = shown(data)
    assert found.data[:4] == b"\x89PNG"
    if how.get("photometric") or how.get("PresentationLUTShape"):
        assert np.array_equal(pixels(data), 255 - plain)


def test_one_frame_of_several_is_taken():
    frames = np.stack([film(seed) for seed in (1, 2, 3)])
    data = made(frames, bits=12, NumberOfFrames=3, WindowCenter=2000, WindowWidth=3000)
    for frame in range(3):
        assert np.array_equal(pixels(data, frame=frame), linear(frames[frame] * 1.0, 2000, 3000))
        assert shown(data, frame=frame).info()["frame"] == frame
    assert np.array_equal(pixels(data), pixels(data, frame=0))
    with pytest.raises(CorruptFileError, match="3 frames, and frame 3"):
        shown(data, frame=3)


def test_a_window_of_a_frame_of_its_own_is_used():
    look = pydicom.Dataset()
    look.WindowCenter, look.WindowWidth = 2000, 1000
    groups = [pydicom.Dataset(), pydicom.Dataset()]
    groups[1].FrameVOILUTSequence = [look]
    frames = np.stack([film(1), film(2)])
    how = {"NumberOfFrames": 2, "PerFrameFunctionalGroupsSequence": groups}
    found = pixels(made(frames, bits=12, **how), frame=1)
    assert np.array_equal(found, linear(frames[1] * 1.0, 2000, 1000))


def test_colour_stays_colour():
    values = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)
    data = made(values, photometric="RGB")
    assert shown(data).mode == "RGB"
    assert np.array_equal(pixels(data), values)


def test_ybr_becomes_rgb():
    grey = np.full((32, 24, 3), 128, np.uint8)
    grey[..., 0] = film(12, bits=8)
    found = pixels(made(grey, photometric="YBR_FULL"))
    assert np.abs(found - grey[..., :1]).max() <= 1


# --- what is broken --------------------------------------------------------------------------


def test_a_file_without_pixels_says_so():
    with pytest.raises(CorruptFileError, match="without PixelData"):
        shown(made(None))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_corrupt(syntax, share):
    data = made(film(1), bits=12, syntax=syntax)
    with pytest.raises(CorruptFileError):
        shown(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_what_is_no_dicom_file_is_named(data):
    with pytest.raises(CorruptFileError, match=r"image\.dcm is no DICOM file"):
        shown(data)


def test_a_dicom_file_with_the_name_of_a_jpeg_is_refused():
    with pytest.raises(CorruptFileError, match="another kind by its name"):
        shown(made(film(1), bits=12), name="image.jpg")


def test_an_image_is_taken_for_dicom_by_its_content(tmp_path):
    path = tmp_path / "1-1"
    path.write_bytes(made(film(1), bits=12))
    assert image.load(ImageFile(path)).mode == "L"


def test_a_header_is_read_without_pixels(tmp_path):
    path = tmp_path / "1-1.dcm"
    path.write_bytes(made(film(1), bits=12, ImageLaterality="L", PatientAge="", Manufacturer=None))
    tags = ("ImageLaterality", "PatientAge", "Manufacturer", "Rows", "ViewPosition")
    assert dicom.header(path, tags) == {"ImageLaterality": "L", "Rows": 32}


# --- real files ------------------------------------------------------------------------------

NEEDS_A_DECODER = {
    "bad_sequence.dcm": "1.2.840.10008.1.2.4.70",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "1.2.840.10008.1.2.4.70",
    "emri_small_jpeg_ls_lossless.dcm": "1.2.840.10008.1.2.4.80",
}


@pytest.fixture
def real_files(real_data):
    found = sorted((real_data / "dicom").rglob("*.dcm"))
    assert len(found) == 20
    return found


@pytest.fixture
def without_decoders(monkeypatch):
    """pydicom as it is with Pillow and NumPy alone."""
    from pydicom.pixels.decoders import base

    for decoder in base._PIXEL_DATA_DECODERS.values():
        for plugin in set(decoder[0]._available) - {"pydicom", "pillow"}:
            monkeypatch.delitem(decoder[0]._available, plugin)


def by_pydicom(path):
    """What pydicom's own functions make of a file, from 0 to 1, with ends where it has none."""
    own = pydicom.dcmread(path)
    values = pydicom_pixels.pixel_array(own, index=0)
    if own.PhotometricInterpretation == "PALETTE COLOR":
        colours = pydicom_pixels.apply_color_lut(values, own)
        return colours / (255 if colours.dtype == np.uint8 else 65535)
    if values.ndim == 3:
        return values / 255
    measured = pydicom_pixels.apply_modality_lut(values, own).astype(float)
    if own.get("WindowWidth") is None:
        low, high = np.percentile(measured, dicom.PERCENTILES)
    else:
        slope, intercept = float(own.get("RescaleSlope", 1)), float(own.get("RescaleIntercept", 0))
        least = -(2 ** (own.BitsStored - 1)) if own.PixelRepresentation else 0
        low, high = ((least + n) * slope + intercept for n in (0, 2**own.BitsStored - 1))
        measured = pydicom_pixels.apply_voi_lut(measured, own)
    shade = ((measured - low) / (high - low)).clip(0, 1)
    return 1 - shade if own.PhotometricInterpretation == "MONOCHROME1" else shade


def test_real_files_have_the_shape_polarity_and_range_that_pydicom_gives(real_files):
    pytest.importorskip("gdcm")
    for path in real_files:
        found, expected = image.load(ImageFile(path)), by_pydicom(path)
        assert (found.height, found.width) == expected.shape[:2], path.name
        there = np.asarray(Image.open(io.BytesIO(found.data))) / 255
        assert there.shape == expected.shape, path.name
        # Percentiles of a file without a window are those of NumPy to within a stored value.
        windowed = "window" not in found.meta
        assert np.abs(there - expected).max() <= (1.01 / 255 if windowed else 3 / 255), path.name


def test_raw_real_files_lead_back_to_what_pydicom_reads(real_files):
    pytest.importorskip("gdcm")
    n_grey = 0
    for path in real_files:
        own = pydicom.dcmread(path)
        if own.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
            continue
        found = image.load(ImageFile(path, form="raw"))
        values = np.asarray(Image.open(io.BytesIO(found.data))).astype(float)
        measured = values * found.meta["RescaleSlope"] + found.meta["RescaleIntercept"]
        assert np.allclose(
            measured,
            pydicom_pixels.apply_modality_lut(pydicom_pixels.pixel_array(own, index=0), own),
        ), path.name
        n_grey += 1
    assert n_grey == 14


def test_a_real_cine_passes_its_jpeg_on(real_data):
    path = real_data / "dicom/us/pydicom/examples_ybr_color.dcm"
    for frame in (0, 29):
        found = image.load(ImageFile(path, frame=frame))
        assert found.data in path.read_bytes()
        there = np.asarray(Image.open(io.BytesIO(found.data))).astype(int)
        assert np.abs(there - pydicom_pixels.pixel_array(path, index=frame).astype(int)).mean() < 1


def test_without_decoders_those_that_need_one_name_it(real_files, without_decoders):
    for path in real_files:
        syntax = NEEDS_A_DECODER.get(path.name)
        if syntax is None:
            image.load(ImageFile(path))
            continue
        name = pydicom.uid.UID(syntax).name
        with pytest.raises(DependencyError) as raised:
            image.load(ImageFile(path))
        told = str(raised.value)
        assert name in told
        assert syntax in told
        assert "pip install 'climb-hf[dicom]'" in told


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_real_files_cut_short_are_corrupt(real_files, share):
    for path in real_files:
        data = path.read_bytes()
        with pytest.raises(CorruptFileError):
            shown(data[: int(len(data) * share)])
