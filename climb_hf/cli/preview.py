"""`climb-hf preview`: a few examples, as text and as a picture."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from climb_hf.cli import shared


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser("preview", help="a few examples, as text and as a picture")
    shared.add_config(command)
    command.add_argument("--n", type=shared.positive, default=3, help="how many (default: 3)")
    command.add_argument("--split", default=None, help="default: the first split there is")
    command.add_argument("--out", type=Path, default=Path("preview.png"), help="the picture")
    command.set_defaults(run=_preview)


def _preview(known: argparse.Namespace) -> int:
    from climb_hf import catalog
    from climb_hf.loading import load_dataset
    from climb_hf.pictures import contact_sheet, drawable

    name = shared.config(known.config)
    options = {"data_dir": known.data_dir, "streaming": True}
    splits = load_dataset("climb", name, **options)
    split = known.split or next(iter(splits))
    if split not in splits:
        from climb_hf.errors import OptionError

        raise OptionError(f"--split {split!r} is not one of: {', '.join(splits)}.")
    names = splits[split].features["labels"].feature.names
    rows = list(splits[split].take(known.n))
    for row in rows:
        _describe(row, names)
    shown = [row for row in rows if drawable(row)]
    if shown:
        known.out.parent.mkdir(parents=True, exist_ok=True)
        cards = {row["source"]: catalog.get(row["source"]).card for row in shown}
        contact_sheet(shown, cards=cards).save(known.out)
        print(f"picture: {known.out}")
    return 0


def _describe(row: dict[str, Any], names: Sequence[str]) -> None:
    age = "unknown" if row["age_years"] is None else f"{row['age_years']:g}"
    named = {key: ", ".join(names[i] for i in row[key]) or "-" for key in _SHOWN}
    print(f"{row['id']}")
    print(f"  age {age}, sex {row['sex'] or 'unknown'}, patient {row['patient_id'] or 'unknown'}")
    print(f"  labels {named['labels']}; absent {named['labels_negative']}")
    print(f"  codes  {', '.join(row['native_labels']) or '-'}")
    for signal in row.get("series", []):
        seconds = signal.values.shape[1] / signal.rate_hz
        unit = ", ".join(dict.fromkeys(signal.units))
        shape = f"{len(signal.channels)} channels, {seconds:g} s, {signal.rate_hz:g} Hz"
        print(f"  series {shape}, {unit}")
    for info in row.get("image_info", []):
        view = f", {info['view']}" if info["view"] else ""
        print(f"  image  {info['width']} x {info['height']} px, {info['mode']}{view}")
    for volume in row.get("volumes", []):
        size, spacing = volume.shape[:3], volume.header.get_zooms()[:3]
        shape, voxel = (" x ".join(f"{one:g}" for one in sizes) for sizes in (size, spacing))
        print(f"  volume {shape} voxels, {voxel} mm")
    for info in row.get("video_info", []):
        size = f"{info['width']} x {info['height']} px"
        print(f"  video  {size}, {info['n_frames']} frames, {info['fps']:g} a second")
    for column in ("boxes", "masks", "volume_masks"):
        labels = Counter(one["label"] or "without a label" for one in row.get(column) or ())
        if labels:
            told = ", ".join(f"{n} x {label}" for label, n in labels.items())
            print(f"  {column}  {told}")
    for graph in row.get("graphs", []):
        print(f"  graph  {graph['num_nodes']} nodes")
    for profile in row.get("expression", []):
        print(f"  genes  {len(profile['genes'])}, {profile['unit'] or 'unit unknown'}")
    if row["flags"]:
        print(f"  flags  {', '.join(row['flags'])}")


_SHOWN = ("labels", "labels_negative")
