"""How much memory a build of real, full-size volumes takes: MNI templates of nilearn.

    pip download --no-deps nilearn==0.14.1 && unzip nilearn-*.whl 'nilearn/datasets/data/*.nii.gz'
    python -m tests.bench.volume_memory nilearn/datasets/data [--copies 8] [--road whole|windows]

`whole` lays copies of the three templates out as cases of KiTS23, which go into rows as they are;
`windows` writes them as MetaImage in the layout of LNDb, and windows of 24 slices are cut. Each is
built in a process of its own. What is printed is the highest resident memory of that process, by
how much it is above what it held after the same build of a made tree of tiny volumes, and that in
volumes of 16 bits.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
TESTS = Path(__file__).parent.parent
ROADS = {"whole": "kits23", "windows": "lndb"}
TEMPLATES = "mni_icbm152_*_converted.nii.gz"


def write(road: str, folder: Path, root: Path, copies: int, times: int) -> None:
    """Writes a tree with each template so many times, `times` as many voxels along each axis."""
    paths = sorted(folder.glob(TEMPLATES))
    if not paths:
        sys.exit(f"no {TEMPLATES} in {folder}: see the top of this file.")
    if road == "whole":
        names = [f"case_{at:05}" for at in range(len(paths) * copies)]
        for at, name in enumerate(names):
            (root / name).mkdir()
            data = paths[at % len(paths)].read_bytes()
            (root / name / "imaging.nii.gz").write_bytes(data)
        cases = [{"case_id": name, "malignant": at % 2 == 0} for at, name in enumerate(names)]
        (root / "kits23.json").write_text(json.dumps(cases))
        return
    import SimpleITK as sitk

    (root / "trainNodules_gt.csv").write_text(
        "LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text\n"
    )
    numbers = range(1, len(paths) * copies + 1)
    for number in numbers:
        image = sitk.ReadImage(str(paths[number % len(paths)]), sitk.sitkInt16)
        image = sitk.Expand(image, [times] * 3) if times > 1 else image
        sitk.WriteImage(image, str(root / f"LNDb-{number:04}.mhd"))
    (root / "trainCTs.csv").write_text("LNDbID\n" + "".join(f"{one}\n" for one in numbers))


def run(road: str, root: Path) -> tuple[int, int, int]:
    """Builds what lies under `root`; returns rows, bytes read and bytes written."""
    from climb_hf.build import build
    from climb_hf.builder import ClimbConfig

    name = ROADS[road]
    made = build(ClimbConfig(name=name, sources=(name,)), root, root / "out")
    rows = sum(shard.rows for shard in made.manifest.sources[name].shards)
    return rows, made.raw_bytes, made.n_bytes


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB (1,000,000 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def child(road: str, tree: Path) -> None:
    """Builds a made tree, then that of the templates, and tells the peak of both."""
    sys.path.append(str(TESTS / "fake"))
    with tempfile.TemporaryDirectory() as folder:
        importlib.import_module(ROADS[road]).make(Path(folder) / ROADS[road], n=4)
        run(road, Path(folder))
    before, start = peak_mb(), time.process_time()
    rows, n_read, n_written = run(road, tree)
    took_s = time.process_time() - start
    facts = {"rows": rows, "read": n_read, "written": n_written, "s": took_s}
    print(json.dumps({**facts, "peak": peak_mb(), "above": peak_mb() - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with the templates, or a tree for --child")
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--times", type=int, default=1, help="voxels an axis, of windows only")
    parser.add_argument("--road", choices=ROADS, nargs="+", default=list(ROADS))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.child:
        child(known.road[0], known.folder)
        return
    import nibabel

    volume_mb = max(
        nibabel.load(path).get_fdata().size * 2 / 1e6 for path in known.folder.glob(TEMPLATES)
    )
    enlarged = known.times**3
    print(f"{'road':<8} rows read MB built MB peak MB above MB volumes  s")
    for road in known.road:
        with tempfile.TemporaryDirectory() as root:
            write(road, known.folder, Path(root), known.copies, known.times)
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.bench.volume_memory",
                    root,
                    "--road",
                    road,
                    "--child",
                ],
                cwd=TESTS.parent,
                capture_output=True,
                text=True,
                check=True,
            )
        facts = json.loads(done.stdout.splitlines()[-1])
        volumes = facts["above"] / volume_mb / (enlarged if road == "windows" else 1)
        print(
            f"{road:<8} {facts['rows']:>4} {facts['read'] / 1e6:>7.0f} "
            f"{facts['written'] / 1e6:>8.0f} {facts['peak']:>7.0f} {facts['above']:>8.0f} "
            f"{volumes:>7.1f} {facts['s']:>2.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
