"""Volumes keep their place in space: an asymmetric phantom through every format and cut."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.io import dicom_series, volume
from climb_hf.schema import VolumeFile, VolumeMaskFile

nibabel = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")
pydicom = pytest.importorskip("pydicom")

SIZE = (12, 10, 8)  # i, j, k
SPACING = (0.7, 0.9, 2.5)
ORIGIN = (-31.0, 17.0, 240.0)  # LPS
TILT = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])  # about the left-right axis
MARK = (9, 2, 5)  # the one bright voxel, i, j, k


def phantom(dtype=np.int16):
    values = np.arange(np.prod(SIZE), dtype=np.float64).reshape(SIZE, order="F") - 500
    values[MARK] = 3000
    return values.astype(dtype)


def as_sitk(values, direction=TILT):
    made = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    made.SetSpacing(SPACING)
    made.SetOrigin(ORIGIN)
    made.SetDirection(direction.flatten().tolist())
    return made


def mark_mm(direction=TILT):
    """Where the bright voxel lies (RAS), by SimpleITK."""
    x, y, z = as_sitk(phantom(), direction).TransformIndexToPhysicalPoint(MARK)
    return np.array([-x, -y, z])


def opened(row):
    data = gzip.decompress(row.data) if row.data[:2] == b"\x1f\x8b" else row.data
    return nibabel.Nifti1Image.from_bytes(data)


def bright_mm(row):
    image = opened(row)
    at = np.unravel_index(np.argmax(image.get_fdata()), image.shape)
    return (image.affine @ [*at, 1])[:3]


def write_series(folder, gap=None, turned=None, padding=False):
    """A DICOM series whose names and instance numbers say nothing of its order."""
    folder.mkdir(exist_ok=True)
    values, paths = phantom(), []
    rows, columns, normal = TILT[:, 0], TILT[:, 1], TILT[:, 2]
    for place, k in enumerate(np.random.default_rng(0).permutation(SIZE[2])):
        if gap == k:
            continue
        one = pydicom.Dataset()
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = pydicom.uid.CTImageStorage
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.{place + 1}"
        one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2.3", "1.2.9"
        one.Modality, one.PatientID, one.InstanceNumber = "CT", "SYNTH", place
        one.Rows, one.Columns = SIZE[1], SIZE[0]
        one.PixelSpacing, one.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        one.ImagePositionPatient = (np.array(ORIGIN) + normal * SPACING[2] * k).tolist()
        one.ImageOrientationPatient = [*rows.tolist(), *columns.tolist()]
        if turned == k:
            one.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.RescaleSlope, one.RescaleIntercept = 1, -1000
        stored = values[:, :, k].T + 1000
        if padding:
            stored[0, 0], one.PixelPaddingValue = -2000, -2000
        one.PixelData = stored.astype("<i2").tobytes()
        paths.append(folder / f"{place:02}.dcm")
        one.save_as(paths[-1], enforce_file_format=True)
    return tuple(paths)


FORMATS = ("v.mhd", "v.mha", "v.nii", "v.nii.gz")


@pytest.mark.parametrize("name", FORMATS)
def test_the_phantom_keeps_its_place_and_values(name, tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / name)
    row = volume.load(VolumeFile(tmp_path / name))
    assert np.allclose(bright_mm(row), mark_mm(), atol=1e-3)
    assert np.array_equal(opened(row).get_fdata(), phantom())


def test_a_nifti_file_is_taken_byte_by_byte(tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.nii.gz")
    row = volume.load(VolumeFile(tmp_path / "v.nii.gz"))
    assert row.data == (tmp_path / "v.nii.gz").read_bytes()


@pytest.mark.parametrize("squeezed", [True, False])
def test_a_packed_metaimage_is_unpacked(squeezed, tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.mhd", useCompression=squeezed)
    assert np.array_equal(
        opened(volume.load(VolumeFile(tmp_path / "v.mhd"))).get_fdata(), phantom()
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_part_is_cut_with_its_place(name, tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / name)
    row = volume.load(VolumeFile(tmp_path / name, slices=(4, 7)))
    assert np.array_equal(opened(row).get_fdata(), phantom()[:, :, 4:7])
    assert np.allclose(bright_mm(row), mark_mm(), atol=1e-3)


def test_slices_are_counted_from_the_feet_whatever_the_axes(tmp_path):
    towards_feet = np.array([[0, 0, -70.0, 60], [0, -0.9, 0, 30], [-2.0, 0, 0, 100], [0, 0, 0, 1]])
    towards_feet[0, 2] = -0.7
    values = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)  # the first axis goes down
    nibabel.save(nibabel.Nifti1Image(values, towards_feet), tmp_path / "ipl.nii.gz")
    row = volume.load(VolumeFile(tmp_path / "ipl.nii.gz", slices=(0, 2)))
    assert np.array_equal(opened(row).get_fdata(), values[4:6])
    assert np.allclose(opened(row).affine @ [0, 0, 0, 1], towards_feet @ [4, 0, 0, 1])


def test_a_scaled_file_is_cut_with_its_scale(tmp_path):
    image = nibabel.Nifti1Image(phantom().astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "s.nii")
    whole = nibabel.load(tmp_path / "s.nii").get_fdata()
    row = volume.load(VolumeFile(tmp_path / "s.nii", slices=(2, 5)))
    assert np.allclose(opened(row).get_fdata(), whole[:, :, 2:5])
    assert opened(row).get_data_dtype() == np.int16


def test_a_dicom_series_is_ordered_by_place(tmp_path):
    row = volume.load(VolumeFile(tmp_path, write_series(tmp_path / "s")))
    assert np.array_equal(opened(row).get_fdata(), phantom())
    assert np.allclose(bright_mm(row), mark_mm(), atol=1e-3)
    assert (row.irregular, row.flags, row.frame_of_reference) == (False, (), "1.2.9")
    assert opened(row).get_data_dtype() == np.int16


def test_a_series_agrees_with_simpleitk(tmp_path):
    paths = write_series(tmp_path / "s")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s"))
    assert len(names) == len(paths)
    sitk.WriteImage(sitk.ReadImage(names), tmp_path / "peer.nii.gz")
    ours, theirs = (
        opened(volume.load(VolumeFile(tmp_path, paths))),
        nibabel.load(tmp_path / "peer.nii.gz"),
    )
    assert np.allclose(ours.affine, theirs.affine, atol=1e-3)
    assert np.array_equal(ours.get_fdata(), theirs.get_fdata())


def test_a_part_of_a_series_reads_its_own_files_only(tmp_path):
    paths = write_series(tmp_path / "s")
    ordered = dicom_series.stack(paths).slices
    ordered[0].path.write_bytes(ordered[0].path.read_bytes()[:-40])  # pixels cut short
    row = volume.load(VolumeFile(tmp_path, paths, slices=(4, 7)))
    assert np.array_equal(opened(row).get_fdata(), phantom()[:, :, 4:7])
    with pytest.raises(CorruptFileError):
        volume.load(VolumeFile(tmp_path, paths))


def test_a_missing_slice_is_found_and_flagged(tmp_path):
    row = volume.load(VolumeFile(tmp_path, write_series(tmp_path / "s", gap=3)))
    assert (row.irregular, row.flags) == (True, ("irregular_spacing",))
    assert row.info()["irregular_spacing"] is True


def test_uneven_steps_are_flagged_and_the_common_one_is_told(tmp_path):
    paths = write_series(tmp_path / "s")
    for path in paths:  # of the last two slices, one lies 3 steps further away, one 9
        one = pydicom.dcmread(path)
        k = round(float((np.array(one.ImagePositionPatient) - ORIGIN) @ TILT[:, 2]) / SPACING[2])
        moved = SPACING[2] * {SIZE[2] - 2: 3, SIZE[2] - 1: 9}.get(k, 0)
        one.ImagePositionPatient = (
            np.array(one.ImagePositionPatient) + TILT[:, 2] * moved
        ).tolist()
        one.save_as(path)
    row = volume.load(VolumeFile(tmp_path / "s", tuple(paths)))
    assert (row.irregular, row.flags) == (True, ("irregular_spacing",))
    assert np.isclose(np.linalg.norm(row.grid.affine[:3, 2]), SPACING[2])


def test_slices_of_another_orientation_are_left_out_and_told_of(tmp_path, caplog):
    found = dicom_series.stack(write_series(tmp_path / "s", turned=0))
    assert (len(found.slices), len(found.left_out)) == (SIZE[2] - 1, 1)
    assert f"1 of {SIZE[2]} files" in caplog.text


def test_padding_is_air(tmp_path):
    row = volume.load(VolumeFile(tmp_path, write_series(tmp_path / "s", padding=True)))
    assert set(np.unique(opened(row).get_fdata()[0, 0])) == {-1024.0}


def test_a_header_that_names_another_case_of_letters_finds_its_voxels(tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "Case-1.mhd")
    text = (tmp_path / "Case-1.mhd").read_text()
    (tmp_path / "Case-1.mhd").write_text(text.replace("Case-1.raw", "data\\CASE-1.RAW"))
    row = volume.load(VolumeFile(tmp_path / "Case-1.mhd"))
    assert np.array_equal(opened(row).get_fdata(), phantom())


def broken(tmp_path, name, change):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.mhd")
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.nii.gz")
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.nii")
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    return tmp_path / name.replace(".raw", ".mhd")


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("v.nii.gz", lambda data: data[: len(data) // 2], "cut short"),
        ("v.nii", lambda data: data[:-100], "cut short"),
        ("v.raw", lambda data: data[:-100], "cut short"),
        ("v.nii", lambda data: b"", "no NIfTI"),
        ("v.nii.gz", lambda data: gzip.compress(b"nothing of the kind"), "no NIfTI"),
        ("v.mhd", lambda data: b"hello", "no MetaImage"),
        ("v.mhd", lambda data: data.replace(b"v.raw", b"w.raw"), None),
    ],
)
def test_what_is_broken_is_named(name, change, says, tmp_path):
    path = broken(tmp_path, name, change)
    if says is None:  # a renamed pair of files
        assert volume.load(VolumeFile(path)).grid.shape == SIZE
        return
    with pytest.raises(CorruptFileError, match=says):
        volume.load(VolumeFile(path))


def test_a_mask_keeps_its_codes_and_its_reader(tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.mhd")
    codes = (phantom() > 0).astype(np.uint8) * 3
    sitk.WriteImage(as_sitk(codes), tmp_path / "m.mhd")
    under = [volume.load(VolumeFile(tmp_path / "v.mhd", slices=(1, 4)))]
    found = volume.load_mask(VolumeMaskFile(tmp_path / "m.mhd", reader="2", slices=(1, 4)), under)
    values = nibabel.Nifti1Image.from_bytes(found.data).get_fdata()
    assert np.array_equal(values, codes[:, :, 1:4])
    assert found.as_struct()["reader"] == "2"


def test_a_mask_on_another_grid_is_refused(tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.mhd")
    under = [volume.load(VolumeFile(tmp_path / "v.mhd"))]
    sitk.WriteImage(as_sitk(phantom()[:, :, :-1].copy()), tmp_path / "short.mhd")
    with pytest.raises(CorruptFileError, match="voxels"):
        volume.load_mask(VolumeMaskFile(tmp_path / "short.mhd"), under)
    away = as_sitk(phantom())
    away.SetOrigin((0.0, 0.0, 0.0))
    sitk.WriteImage(away, tmp_path / "away.mhd")
    with pytest.raises(CorruptFileError, match="mm away"):
        volume.load_mask(VolumeMaskFile(tmp_path / "away.mhd"), under)


def test_slices_that_are_not_there_are_refused(tmp_path):
    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.nii")
    with pytest.raises(CorruptFileError, match="of a volume of 8"):
        volume.load(VolumeFile(tmp_path / "v.nii", slices=(6, 9)))


def test_datasets_decodes_what_is_stored(tmp_path):
    from datasets import Nifti

    sitk.WriteImage(as_sitk(phantom()), tmp_path / "v.mhd")
    row = volume.load(VolumeFile(tmp_path / "v.mhd"))
    decoded = Nifti().decode_example(row.as_struct())
    assert np.array_equal(np.asarray(decoded.get_fdata()), phantom())
    assert io.BytesIO(row.data).read(4) == b"\x5c\x01\x00\x00"


@pytest.mark.parametrize("squeezed", [False, True])
@pytest.mark.parametrize("down", [False, True])
def test_codes_of_a_mask_are_found_in_slices_counted_from_the_feet(tmp_path, down, squeezed):
    from climb_hf.io import metaimage

    codes = np.zeros(SIZE, np.uint8)
    codes[3, 4, 1:4], codes[5, 5, 6], codes[6, 5, 3] = 7, 2, 2
    image = as_sitk(codes, np.diag([1.0, 1.0, -1.0]) if down else np.eye(3))
    sitk.WriteImage(image, str(tmp_path / "a_rad1.mhd"), squeezed)
    found = metaimage.extents(tmp_path / "a_rad1.mhd")
    assert found == ({7: (4, 7), 2: (1, 5)} if down else {7: (1, 4), 2: (3, 7)})


REAL_VOLUMES = ("anatomical.nii", "example4d.nii.gz", "functional.nii")


@pytest.mark.parametrize("name", REAL_VOLUMES)
def test_a_real_volume_lies_where_nibabel_and_simpleitk_say(name, real_data):
    path = real_data / "nifti" / "nibabel" / name
    row = volume.load(VolumeFile(path))
    assert row.data == path.read_bytes()
    theirs, itk = nibabel.load(path), sitk.ReadImage(str(path))
    assert nibabel.aff2axcodes(row.grid.affine) == ("L", "A", "S")
    assert row.grid.shape == theirs.shape[:3] == itk.GetSize()[:3]
    assert np.allclose(row.grid.affine, theirs.affine, atol=1e-4)
    for corner in np.ndindex(2, 2, 2):
        at = [int(c * (n - 1)) for c, n in zip(corner, row.grid.shape, strict=True)]
        rest = [0] * (itk.GetDimension() - 3)
        x, y, z = itk.TransformIndexToPhysicalPoint([*at, *rest])[:3]
        assert np.allclose((row.grid.affine @ [*at, 1])[:3], [-x, -y, z], atol=0.01)


@pytest.mark.parametrize("name", REAL_VOLUMES)
def test_slices_cut_from_a_real_volume_are_its_own(name, real_data):
    path = real_data / "nifti" / "nibabel" / name
    theirs = nibabel.load(path)
    part = opened(volume.load(VolumeFile(path, slices=(1, 3))))
    first = theirs.get_fdata().reshape(*theirs.shape[:3], -1)[..., 0]
    assert np.array_equal(part.get_fdata(), first[:, :, 1:3])
    assert np.allclose(part.affine @ [0, 0, 0, 1], theirs.affine @ [0, 0, 1, 1], atol=1e-4)


def test_a_real_slice_of_ct_lies_where_simpleitk_says(real_data):
    path = real_data / "dicom" / "ct" / "pydicom" / "CT_small.dcm"
    row = volume.load(VolumeFile(path.parent, (path,)))
    theirs = sitk.ReadImage(str(path))
    ours = opened(row)
    values = sitk.GetArrayFromImage(theirs).transpose(2, 1, 0)
    assert np.array_equal(np.asarray(ours.dataobj)[..., 0], values[..., 0])
    for at in ((0, 0, 0), (127, 0, 0), (0, 127, 0)):
        x, y, z = theirs.TransformIndexToPhysicalPoint(at)
        assert np.allclose((ours.affine @ [*at, 1])[:3], [-x, -y, z], atol=1e-3)
