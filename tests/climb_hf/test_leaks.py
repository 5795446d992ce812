"""Near-equal images: what is found, what is told apart, and how the command tells of it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import scipy.fft
from PIL import Image, ImageFilter

from climb_hf import cli
from climb_hf.errors import CorruptFileError
from climb_hf.io.fingerprint import Fingerprint, fingerprint, near_pairs


def scene(seed, side=128):
    """A picture of soft shapes that its seed decides; no two seeds are alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)
    soft = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(4))
    values = np.asarray(soft, float)
    return Image.fromarray(np.uint8(255 * (values - values.min()) / np.ptp(values)))


def encoded(image, kind="JPEG", scale=1.0, **how):
    size = [max(round(side * scale), 1) for side in image.size]
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(buffer, kind, **how)
    return buffer.getvalue()


def test_the_bits_are_those_of_a_cosine_transform():
    image = scene(0, side=32)
    low = scipy.fft.dctn(np.asarray(image, float), norm="ortho")[:16, :16].ravel()
    found = np.unpackbits(fingerprint(encoded(image, "PNG")).bits.view(np.uint8))
    assert found.tolist() == (low > np.median(low)).astype(int).tolist()


@pytest.mark.parametrize(
    "how",
    [
        {"quality": 50},
        {"quality": 75, "scale": 0.5},
        {"quality": 90, "scale": 0.25},
        {"quality": 80, "scale": 3.0},
        {"kind": "PNG", "scale": 0.7},
    ],
    ids=str,
)
def test_another_encoding_and_another_size_are_the_same_image(how):
    pictures = [scene(seed) for seed in range(40)]
    prints = [fingerprint(encoded(one, "PNG")) for one in pictures]
    prints += [fingerprint(encoded(one, **how)) for one in pictures]
    found = near_pairs(prints)
    assert {(one.first, one.second) for one in found} == {(i, i + 40) for i in range(40)}
    assert min(one.correlation for one in found) > 0.95


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16", "CMYK"])
def test_another_mode_is_the_same_image(mode):
    image = scene(5)
    if mode == "I;16":
        other = Image.fromarray(np.asarray(image, np.uint16) * 16 + 3)
    else:
        other = image.convert("RGB").convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    (pair,) = near_pairs([fingerprint(encoded(image, "PNG")), fingerprint(encoded(other, kind))])
    assert pair.n_bits <= 16


def test_an_image_is_compared_as_it_is_shown_upright():
    image = scene(6)
    exif = image.getexif()
    exif[0x0112] = 6
    turned = fingerprint(encoded(image.transpose(Image.Transpose.ROTATE_90), exif=exif))
    (pair,) = near_pairs([fingerprint(encoded(image)), turned])
    assert pair.n_bits <= 16


def test_an_image_of_one_shade_has_nothing_to_compare():
    assert fingerprint(encoded(Image.new("L", (40, 40), 90), "PNG")) is None


def test_what_cannot_be_decoded_is_an_error():
    with pytest.raises(CorruptFileError):
        fingerprint(encoded(scene(1))[:700])


def test_bands_find_what_comparing_all_pairs_finds():
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**16, (1500, 16), np.uint16)
    near = np.unpackbits(bits[:300].view(np.uint8), axis=1)
    for row, n_bits in zip(near, rng.integers(0, 25, 300), strict=True):
        row[rng.choice(256, n_bits, replace=False)] ^= 1
    bits = np.concatenate([bits, np.packbits(near, axis=1).view(np.uint16)])
    pixels = rng.integers(0, 256, 1024, np.uint8)
    found = near_pairs([Fingerprint(one, pixels) for one in bits])
    distances = np.bitwise_count(bits[:, None] ^ bits[None]).sum(axis=2)
    wanted = {(i, j) for i, j in np.argwhere(distances <= 32).tolist() if i < j}
    assert len(wanted) == 300
    assert len(wanted - {(one.first, one.second) for one in found}) <= 3
    assert all(distances[one.first, one.second] == one.n_bits for one in found)


def test_of_many_equal_images_each_is_paired_with_the_first():
    same = fingerprint(encoded(scene(2), "PNG"))
    found = near_pairs([same] * 50)
    assert [(one.first, one.second) for one in found] == [(0, i) for i in range(1, 50)]


def test_real_radiographs_are_found_again_and_not_taken_for_each_other(real_data):
    with np.load(
        real_data / "image/xray-classification/pneumoniamnist.npz", allow_pickle=False
    ) as file:
        pictures = [Image.fromarray(one).resize((224, 224)) for one in file["train_images"][:150]]
    prints = [fingerprint(encoded(one, "PNG")) for one in pictures]
    prints += [fingerprint(encoded(one, quality=60, scale=0.5)) for one in pictures]
    found = {(one.first, one.second) for one in near_pairs(prints)}
    again = {(i, i + 150) for i in range(150)}
    assert again <= found
    # What else is near is stored twice in the set itself, pixel by pixel.
    for first, second in found - again:
        assert np.array_equal(pictures[first % 150], pictures[second % 150])


# --- over sources -------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path, load_fake):
    """Two raw folders with a chest source each; every image of theirs is another scene."""
    for place, name in (("a", "coronahack"), ("b", "covid19_cxr")):
        load_fake(name).make(tmp_path / place / name, n=12)
    files = sorted(
        path
        for path in tmp_path.rglob("*")
        if path.suffix.lower() in (".jpeg", ".jpg", ".png") and "copy of" not in path.name
    )
    for seed, path in enumerate(files):
        path.write_bytes(encoded(scene(seed), "PNG" if path.suffix == ".png" else "JPEG"))
    for path in tmp_path.rglob("copy of*"):
        path.unlink()
    return tmp_path


def images_of(folder, part):
    found = {path for path in folder.rglob("*.*") if part in path.parts and path.stem != "smoke"}
    return sorted(path for path in found if path.suffix.lower() in (".jpeg", ".jpg"))


def run(capsys, *arguments):
    status = cli.main(["check", *arguments])
    return status, capsys.readouterr().out


def test_sources_without_a_common_image_pass(folders, capsys):
    a, b = (str(folders / name) for name in "ab")
    status, told = run(capsys, "chest_xray", "--leaks", "--data-dir", a, "--data-dir", b)
    assert status == 0
    assert "24 images of coronahack, covid19_cxr" in told
    assert "0 pairs are near-equal" in told
    assert "known: coronahack shares images with covid19_cxr" in told


def test_an_image_of_train_in_test_is_told_however_it_is_encoded(folders, capsys):
    seen, unseen = images_of(folders / "a", "train")[-1], images_of(folders / "a", "test")[-1]
    unseen.write_bytes(encoded(Image.open(seen), scale=0.5, quality=70))
    root = str(folders / "a")
    status, told = run(capsys, "coronahack", "--leaks", "--data-dir", root)
    assert status == 1
    assert "1 pairs are near-equal: 1 in different splits" in told
    assert f"coronahack/{seen.name} (train)" in told
    assert f"coronahack/{unseen.name} (test)" in told


def test_an_image_of_another_source_is_told(folders, capsys):
    theirs = images_of(folders / "b", "TrainData")[0]
    ours = images_of(folders / "a", "train")[-1]
    ours.write_bytes(encoded(Image.open(theirs), quality=60))
    arguments = ["chest_xray", "--leaks", "--json"]
    for name in "ab":
        arguments += ["--data-dir", str(folders / name)]
    status, told = run(capsys, *arguments)
    facts = json.loads(told)
    assert status == 1
    (leak,) = facts["leaks"]
    assert leak["splits"] == ["train", "train"]
    assert {leak["first"].split("/")[0], leak["second"].split("/")[0]} == {
        "coronahack",
        "covid19_cxr",
    }
    assert facts["known"][0]["shares"] == "images"


def test_two_images_of_one_split_and_source_are_no_leak(folders, capsys):
    one, other = images_of(folders / "a", "train")[-2:]
    other.write_bytes(encoded(Image.open(one), quality=60))
    assert run(capsys, "coronahack", "--leaks", "--data-dir", str(folders / "a"))[0] == 0


def test_the_same_source_in_two_folders_is_no_leak_of_itself(folders, capsys):
    root = str(folders / "a")
    status, told = run(capsys, "coronahack", "--leaks", "--data-dir", root, "--data-dir", root)
    assert status == 0
    assert "24 images of coronahack\n" in told


def test_images_that_cannot_be_compared_are_counted(folders, capsys):
    empty, cut = images_of(folders / "a", "train")[-2:]
    empty.write_bytes(encoded(Image.new("L", (40, 40))))
    cut.write_bytes(cut.read_bytes()[:300])
    _, told = run(capsys, "coronahack", "--leaks", "--data-dir", str(folders / "a"))
    assert "10 images of coronahack" in told
    assert "1 more show nothing" in told
    assert "1 more do not open" in told


def test_a_config_without_images_is_refused(ecg_tree, capsys):
    root = str(ecg_tree.root)
    assert cli.main(["check", "georgia", "--leaks", "--data-dir", root]) == 1
    assert "no record of georgia has an image" in capsys.readouterr().err


def test_the_battery_takes_one_folder(folders, capsys):
    root = str(folders / "a")
    assert cli.main(["check", "coronahack", "--data-dir", root, "--data-dir", root]) == 1
    assert "only --leaks takes several" in capsys.readouterr().err
