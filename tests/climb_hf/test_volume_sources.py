"""Sources of volumes and videos: what the battery cannot know of each."""

from __future__ import annotations

import numpy as np
import pytest

from climb_hf import as_images, catalog
from climb_hf.loading import load_dataset

pytest.importorskip("nibabel")
pytest.importorskip("av")


@pytest.fixture
def tree_of(tmp_path, load_fake):
    """A function that makes a source's tree for this test alone."""

    def of(name, **how):
        root = tmp_path / "raw"
        return root, load_fake(name).make(root / name, **how)

    return of


def rows_of(root, name, **options):
    splits = load_dataset("climb", name, data_dir=str(root), **options)
    return {
        row["id"].split("/", 1)[1]: {**row, "split": split}
        for split, part in splits.items()
        for row in part
    }


# ---- KiTS23 -------------------------------------------------------------------------------------


def test_a_case_without_pathology_has_no_label(tree_of):
    root, _ = tree_of("kits23", n=6)
    row = rows_of(root, "kits23", decode=False)["case_00002"]
    assert (row["label"], row["labels"], row["labels_negative"]) == (None, [], [])


def test_the_tumour_comes_first_and_has_a_box(tree_of):
    root, _ = tree_of("kits23", n=6)
    rows = rows_of(root, "kits23")
    card = catalog.get("kits23").card
    shown = as_images(rows["case_00000"], 4, card=card)
    # The ball of radius 4 lies at slice 8 of 20, counted from the head.
    assert shown["image_info"][0]["frame"] == 20 - 1 - 8
    first = [box["xyxy"] for box in shown["boxes"] if box["image"] == 0]
    assert first == [[12.0, 22.0, 21.0, 31.0]]
    without = as_images(rows["case_00004"], 4, card=card)
    assert (without["boxes"], without["masks"]) == ([], [])


def test_annotators_are_kept_apart_where_asked(tree_of):
    root, _ = tree_of("kits23", n=3)
    asked = {"kits23": {"instances": True}}
    masks = rows_of(root, "kits23", options=asked, decode=False)["case_00000"]["volume_masks"]
    assert [one["reader"] for one in masks] == [None, "1", "2", "3"]
    assert [one["label"] for one in masks] == [None, "kidney", "kidney", "kidney"]


# ---- EchoNet-Dynamic ----------------------------------------------------------------------------


def test_the_larger_ventricle_comes_first_whatever_the_order_of_its_tracing(tree_of):
    root, _ = tree_of("echonet_dynamic", n=6)
    for record, row in rows_of(root, "echonet_dynamic").items():
        if not row["images"]:
            continue
        inside = [np.asarray(one["mask"]) > 0 for one in row["masks"]]
        assert inside[0].sum() > inside[1].sum(), record
        grey = [np.asarray(image.convert("L")).astype(float) for image in row["images"]]
        for shade, where in zip(grey, inside, strict=True):
            assert shade[where].mean() < 45 < shade[~where].mean()  # the ventricle is dark
        assert [one["view"] for one in row["image_info"]] == ["end-diastole", "end-systole"]


def test_the_edges_of_the_bands_belong_to_the_class_above(tree_of):
    root, _ = tree_of("echonet_dynamic", n=5)
    names = catalog.get("echonet_dynamic").card.vocabularies[0].names
    found = {
        row["targets"][0]["value"]: names[row["label"]]
        for row in rows_of(root, "echonet_dynamic").values()
    }
    assert (found[30.0], found[40.0], found[50.0]) == ("Reduced", "Mildly reduced", "Preserved")


def test_the_table_of_a_sister_set_is_named(tree_of):
    root, _ = tree_of("echonet_dynamic", n=4)
    table = root / "echonet_dynamic" / "EchoNet-Dynamic" / "VolumeTracings.csv"
    table.write_text("FileName,X,Y,Frame\n0X00000000ABCD.avi,1,2,No Systolic\n")
    with pytest.raises(Exception, match="X1"):
        load_dataset("climb", "echonet_dynamic", data_dir=str(root))


# ---- COVID-BLUES --------------------------------------------------------------------------------


def test_takes_and_scores_of_a_clip_are_told(tree_of):
    root, _ = tree_of("covid_blues", n=4)
    row = rows_of(root, "covid_blues")["patient_1_L1_2"]
    assert (row["meta"]["blue_point"], row["meta"]["take"]) == ("L1", 2)
    assert row["targets"] == [{"name": "severity", "value": 1.0, "unit": None}]
    assert rows_of(root, "covid_blues")["patient_4_L1"]["age_years"] is None


# ---- CT-ICH -------------------------------------------------------------------------------------


def test_volumes_of_the_later_release_are_a_variant(tmp_path, load_fake):
    truth = load_fake("hemorrhage").make_volumes(tmp_path / "raw" / "hemorrhage", with_faults=True)
    rows = rows_of(tmp_path / "raw", "hemorrhage", variant="volumes", decode=False)
    assert set(rows) == set(truth["records"])
    names = catalog.get("hemorrhage").card.vocabularies[0].names
    for record, known in truth["records"].items():
        assert [names[rows[record]["label"]]] == known["labels"]
        assert (rows[record]["age_years"], rows[record]["sex"]) == (known["age"], known["sex"])
        assert len(rows[record]["volume_masks"]) == 1


def test_a_missing_window_is_not_replaced_by_the_other(tree_of):
    root, _ = tree_of("hemorrhage", n=10)
    rows = rows_of(root, "hemorrhage")
    views = {record: [one["view"] for one in row["image_info"]] for record, row in rows.items()}
    assert views["049-1"] == ["brain", "bone"]
    assert views["049-2"] == ["brain"]


def test_shades_lost_to_compression_are_no_lesion(tree_of):
    root, _ = tree_of("hemorrhage", n=30)
    row = rows_of(root, "hemorrhage")["051-3"]
    inside = np.asarray(row["masks"][0]["mask"]) > 0
    assert inside.sum() == 10 * (24 + 12 % 4 - 8)


# ---- RSPECT -------------------------------------------------------------------------------------


def test_slices_of_a_study_become_a_volume_in_order(tmp_path, load_fake):
    import nibabel

    fake = load_fake("rspect")
    truth = fake.make_volumes(tmp_path / "raw" / "rspect", n=18)
    rows = rows_of(tmp_path / "raw", "rspect", variant="volumes", decode=False)
    names = catalog.get("rspect").card.vocabularies[0].names
    assert set(rows) == set(truth["records"])
    for study, known in truth["records"].items():
        image = nibabel.Nifti1Image.from_bytes(rows[study]["volumes"][0]["bytes"])
        written = fake.volume_sha1(np.asarray(image.dataobj), image.affine)
        assert written == known["volume_sha1"]
        assert [names[rows[study]["label"]]] == known["labels"]


def test_slices_of_a_study_stay_in_one_split(tree_of):
    root, _ = tree_of("rspect", n=60)
    splits = {}
    for row in rows_of(root, "rspect").values():
        splits.setdefault(row["study_id"], set()).add(row["split"])
    assert len(splits) == 10
    assert all(len(found) == 1 for found in splits.values())


# ---- LNDb ---------------------------------------------------------------------------------------


def test_windows_of_a_scan_are_24_slices_and_stay_in_one_split(tree_of):
    root, _ = tree_of("lndb", n=6)
    rows = rows_of(root, "lndb", decode=False)
    of_first = {record: row for record, row in rows.items() if record.startswith("LNDb-0001/")}
    parts = [row["meta"]["slices"] for _, row in sorted(of_first.items())]
    assert parts == [[0, 24], [12, 36], [24, 48]]  # of 50
    assert len({row["split"] for row in of_first.values()}) == 1
    assert [one for one in rows if one.startswith("LNDb-0005/")] == ["LNDb-0005/000"]  # 20 slices
    apart = rows_of(root, "lndb", decode=False, options={"lndb": {"stride": 24}})
    assert [one for one in sorted(apart) if "0001" in one] == ["LNDb-0001/000", "LNDb-0001/001"]


def test_a_finding_lies_where_any_of_its_readers_drew_it(tree_of):
    root, _ = tree_of("lndb", n=6)
    rows = rows_of(root, "lndb", decode=False)
    (found,) = rows["LNDb-0001/000"]["meta"]["findings"]
    assert found["slices"] == [10 - 3, 10 + 3 + 1]
    assert found["readers"] == [["1", 7], ["2", 2]]
    assert round(found["diameter_mm"], 3) == 5.0
    masks = rows["LNDb-0001/000"]["volume_masks"]
    assert [(one["reader"], one["label"]) for one in masks] == [("1", "nodule"), ("2", "nodule")]
    # Nobody drew that of the last scan: two slices beside its centre are meant.
    (centre,) = (f for f in rows["LNDb-0011/000"]["meta"]["findings"] if f["finding_id"] == 1)
    assert (centre["slices"], rows["LNDb-0011/000"]["volume_masks"]) == ([8, 13], [])


def test_a_nodule_of_3_mm_is_small_and_no_answer_to_the_question(tree_of):
    root, _ = tree_of("lndb", n=6)
    names = catalog.get("lndb").card.label_sets
    assert list(names) == ["nodule2", "nodule3"]
    asked = rows_of(root, "lndb", task="qa", decode=False)["LNDb-0001/002"]
    assert asked["answer"] == "No nodule"  # at its end lies the small one, slices 42 to 46
    kinds = rows_of(root, "lndb", label_set="nodule3", decode=False)
    assert kinds["LNDb-0001/002"]["native_labels"] == ["nodule < 3 mm", "no nodule >= 3 mm"]
    assert kinds["LNDb-0001/002"]["labels"] == [1]
    assert kinds["LNDb-0011/002"]["labels"] == [2]  # a non-nodule


def test_the_slice_with_the_largest_nodule_comes_first_with_a_box_of_each_reader(tree_of):
    root, _ = tree_of("lndb", n=6)
    card = catalog.get("lndb").card
    shown = as_images(rows_of(root, "lndb")["LNDb-0001/000"], 4, card=card)
    assert shown["image_info"][0]["frame"] == 10
    boxes = {one["reader"]: one["xyxy"] for one in shown["boxes"] if one["image"] == 0}
    # Row 20, column 12; of x in LPS the first column is the patient's right.
    assert boxes == {"1": [9.0, 17.0, 16.0, 24.0], "2": [10.0, 18.0, 15.0, 23.0]}


def test_a_fold_of_the_release_is_the_test_where_asked(tree_of):
    root, _ = tree_of("lndb", n=8)
    rows = rows_of(root, "lndb", decode=False, options={"lndb": {"test": "Fold1"}})
    tested = {record.split("/")[0] for record, row in rows.items() if row["split"] == "test"}
    assert tested == {"LNDb-0003", "LNDb-0011"}


def test_what_is_stored_of_lndb_lies_where_simpleitk_says(tree_of):
    import nibabel

    sitk = pytest.importorskip("SimpleITK")
    root, _ = tree_of("lndb", n=2)
    for record, row in rows_of(root, "lndb", decode=False).items():
        scan, first = record.split("/")[0], row["meta"]["slices"][0]
        (path,) = root.rglob(f"{scan}.mhd")
        theirs = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(theirs)
        ours = nibabel.Nifti1Image.from_bytes(row["volumes"][0]["bytes"])
        down = theirs.GetDirection()[8] < 0
        begin = len(values) - first - ours.shape[2] if down else first
        for corner in np.ndindex(2, 2, 2):
            i, j, k = (int(at * (n - 1)) for at, n in zip(corner, ours.shape, strict=True))
            x, y, z = theirs.TransformIndexToPhysicalPoint((i, j, begin + k))
            assert np.allclose((ours.affine @ [i, j, k, 1])[:3], [-x, -y, z], atol=1e-3)
            assert np.asarray(ours.dataobj)[i, j, k] == values[begin + k, j, i]


# ---- Cholec80 -----------------------------------------------------------------------------------


@pytest.fixture
def operation(tmp_path, load_fake):
    """A function that writes an operation of 2 minutes, with phases and tools, into a tree."""

    def write(n_seconds=120, group=250, **how):
        fake, root = load_fake("cholec80"), tmp_path / "raw" / "cholec80"
        made = {"size": (160, 96), "group": group, "fps": 25, **how}
        fake.write_video(root / "videos" / "video01.mp4", [1], n_seconds * 25, **made)
        names = list(fake.PHASES)
        phases = [names[7 * at // (n_seconds * 25)] for at in range(n_seconds * 25)]
        fake._write_phases(root, "video01", phases)
        fake._write_tools(root, "video01", [("Hook",) * (at % 4 == 0) for at in range(n_seconds)])
        return root.parent

    return write


def test_90_clips_of_an_operation_take_little_more_than_its_video(operation):
    # Groups of 10 s as x264 makes them where nobody asks otherwise, intervals of 12 s.
    root = operation(n_seconds=90 * 12)
    clips = [row["videos"][0]["bytes"] for row in rows_of(root, "cholec80", decode=False).values()]
    held = (root / "cholec80" / "videos" / "video01.mp4").stat().st_size
    # What is stored is packed once more; clips of one spot that comes and goes pack too well.
    assert len(clips) == 90
    assert held <= sum(map(len, clips)) <= 1.2 * held


def test_a_frame_of_an_operation_lies_in_one_clip(operation):
    root = operation(n_seconds=120)
    options = {"cholec80": {"intervals": 9}}
    rows = rows_of(root, "cholec80", decode=False, options=options)
    clips = [row["video_info"][0] for _, row in sorted(rows.items())]
    assert sum(one["n_frames"] for one in clips) == 120 * 25
    assert [one["stop_s"] for one in clips[:-1]] == [one["start_s"] for one in clips[1:]]
    assert [one["start_s"] for one in clips] == [0, 20, 30, 40, 60, 70, 80, 100, 110]


def test_labels_are_those_of_what_a_clip_shows_not_of_the_interval(operation):
    root = operation(n_seconds=120)
    options = {"cholec80": {"intervals": 9}}
    rows = rows_of(root, "cholec80", decode=False, options=options)
    # The second interval begins at 13.3 s, its clip at 20 s; a phase is 17.1 s long.
    assert rows["video01/001"]["native_labels"] == ["CalotTriangleDissection", "Hook"]
    assert rows["video01/000"]["native_labels"][:2] == ["Preparation", "CalotTriangleDissection"]


def test_rows_of_annotations_out_of_order_change_nothing(tree_of):
    root, truth = tree_of("cholec80", n=1)
    (path,) = root.rglob("video01-phase.txt")
    header, *lines = path.read_text().splitlines()
    np.random.default_rng(0).shuffle(lines)
    path.write_text("\n".join([header, *lines]) + "\n")
    rows = rows_of(root, "cholec80", decode=False)
    assert {r: row["native_labels"] for r, row in rows.items()} == {
        r: known["native"] for r, known in truth["records"].items()
    }


def test_tools_are_a_label_set_of_their_own(tree_of):
    root, truth = tree_of("cholec80", n=3)
    names = catalog.get("cholec80").card.vocabularies[1].names
    rows = rows_of(root, "cholec80", label_set="cholec_tool8", decode=False)
    for record, known in truth["records"].items():
        tools = [name for name in names if name in known["native"]]
        assert [names[one] for one in rows[record]["labels"]] == tools
    assert rows["video03/000"]["labels_negative"] == []  # nobody looked for tools there
    asked = rows_of(root, "cholec80", label_set="cholec_tool8", task="qa", decode=False)
    assert {one.split("/")[0] for one in asked} == {"video01", "video02"}


def test_frames_of_a_clip_are_its_own(operation):
    root = operation(n_seconds=60, group=25)
    row = rows_of(root, "cholec80", options={"cholec80": {"intervals": 6}})["video01/003"]
    shown = as_images(row, 4)
    assert [info["frame"] for info in shown["image_info"]] == [31, 93, 156, 218]
    assert [image.size for image in shown["images"]] == [(160, 96)] * 4


@pytest.mark.parametrize("intervals", [0, -1])
def test_no_intervals_at_all_are_refused(tree_of, intervals):
    root, _ = tree_of("cholec80", n=1)
    with pytest.raises(Exception, match="intervals"):
        rows_of(root, "cholec80", options={"cholec80": {"intervals": intervals}})


# ---- Places in space ----------------------------------------------------------------------------


def test_volumes_of_ct_ich_lie_alike_in_simpleitk_and_nibabel_and_in_rows(tmp_path, load_fake):
    import nibabel

    sitk = pytest.importorskip("SimpleITK")
    load_fake("hemorrhage").make_volumes(tmp_path / "raw" / "hemorrhage")
    rows = rows_of(tmp_path / "raw", "hemorrhage", variant="volumes", decode=False)
    paths = {int(path.name[:3]): path for path in (tmp_path / "raw").rglob("ct_scans/*.nii*")}
    assert len(paths) == len(rows) > 0
    for row in rows.values():
        path = paths[int(row["patient_id"])]
        itk, theirs = sitk.ReadImage(str(path)), nibabel.load(path)
        ours = nibabel.Nifti1Image.from_bytes(row["volumes"][0]["bytes"])
        assert ours.shape == theirs.shape == itk.GetSize()
        assert np.array_equal(ours.get_fdata(), sitk.GetArrayFromImage(itk).transpose(2, 1, 0))
        for corner in np.ndindex(2, 2, 2):
            at = [int(c * (n - 1)) for c, n in zip(corner, ours.shape, strict=True)]
            x, y, z = itk.TransformIndexToPhysicalPoint(at)
            for affine in (ours.affine, theirs.affine):
                assert np.allclose((affine @ [*at, 1])[:3], [-x, -y, z], atol=1e-3)
