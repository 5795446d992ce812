"""Checks of graphs, expression profiles and images, as `climb_hf.battery.rows` has for series."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.battery.registry import Register
from climb_hf.errors import CheckFailedError
from climb_hf.schema import ImageFile
from climb_hf.subject import NotApplicable, Subject, require

check = Register()
_KINDS = {"graphs": "a graph", "expression": "a profile", "images": "an image"}
# In the order of the digest that `Subject` documents.
_TENSORS = {"edge_index": "<i4", "edge_attr": "<f4", "x": "<f4", "y": "|i1", "matrix": "<f4"}


def _media(subject: Subject, column: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each row that has some of a column's media, with its first.

    Raises:
        NotApplicable: if none has.
    """
    rows = [row for row in subject.rows().values() if row.get(column)]
    if not rows:
        raise NotApplicable(f"no record has {_KINDS[column]}")
    return ((row, row[column][0]) for row in rows)


def _arrays(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a stored graph that are given."""
    from climb_hf.io.tensor import from_tensor

    arrays = {name: from_tensor(stored[name]) for name in _TENSORS}
    return {name: array for name, array in arrays.items() if array is not None}


@check
def graphs_fit_together(subject: Subject) -> None:
    """Edges join nodes that are there and stand in both directions; every node has its values."""
    for row, stored in _media(subject, "graphs"):
        identity, n_nodes, arrays = row["id"], stored["num_nodes"], _arrays(stored)
        names = stored["node_names"]
        require(n_nodes > 0, f"{identity}: its graph has no node.")
        require(len(names) in (0, n_nodes), f"{identity}: {len(names)} names, {n_nodes} nodes.")
        require(
            "edge_index" in arrays or "matrix" in arrays,
            f"{identity}: its graph has neither edges nor a matrix.",
        )
        for name, array in arrays.items():
            kind = array.dtype.str
            require(kind == _TENSORS[name], f"{identity}: {name} is {kind}, not {_TENSORS[name]}.")
        for name in {"x", "y"} & set(arrays):
            found = arrays[name].shape
            require(len(found) == 2 and found[0] == n_nodes, f"{identity}: {name} is {found}.")
        if "edge_index" in arrays:
            _check_edges(identity, n_nodes, arrays)


def _check_edges(identity: str, n_nodes: int, arrays: Mapping[str, Any]) -> None:
    import numpy as np

    edges = arrays["edge_index"]
    require(edges.ndim == 2 and len(edges) == 2, f"{identity}: edge_index is {edges.shape}.")
    if "edge_attr" in arrays:
        found = len(arrays["edge_attr"])
        require(found == edges.shape[1], f"{identity}: {found} edge_attr, {edges.shape[1]} edges.")
    inside = (edges >= 0) & (edges < n_nodes)
    require(bool(inside.all()), f"{identity}: an edge leads to a node beyond the {n_nodes}.")
    there = edges[0].astype(np.int64) * n_nodes + edges[1]
    back = edges[1].astype(np.int64) * n_nodes + edges[0]
    require(len(np.unique(there)) == len(there), f"{identity}: an edge stands there twice.")
    lost = np.setdiff1d(back, there)
    require(not lost.size, f"{identity}: {lost.size} edges stand in one direction only.")


@check
def matrices_are_sound(subject: Subject) -> None:
    """Dense matrices are square, of one size in a source, finite, and symmetric or flagged."""
    import numpy as np

    shapes: dict[tuple[int, ...], str] = {}
    for row, stored in _media(subject, "graphs"):
        matrix = _arrays(stored).get("matrix")
        if matrix is None:
            continue
        identity, n_nodes = row["id"], stored["num_nodes"]
        square = matrix.ndim == 3 and matrix.shape[1:] == (n_nodes, n_nodes)
        require(square, f"{identity}: matrix is {matrix.shape} for {n_nodes} nodes.")
        require(bool(np.isfinite(matrix).all()), f"{identity}: its matrix is not finite.")
        symmetric = bool(np.allclose(matrix, matrix.transpose(0, 2, 1), atol=1e-5))
        require(
            symmetric != ("asymmetric_matrix" in row["flags"]),
            f"{identity}: matrix and the flag asymmetric_matrix contradict each other.",
        )
        shapes.setdefault(matrix.shape, identity)
    if not shapes:
        raise NotApplicable("no record has a matrix")
    require(len(shapes) == 1, f"matrices are of several sizes: {shapes}.")


@check
def graphs_are_the_makers(subject: Subject) -> None:
    """Every tensor is exactly what was written."""
    wanted = subject.true_facts("graph_sha1")
    for row, stored in _media(subject, "graphs"):
        record = row["id"].split("/", 1)[1]
        if record in wanted:
            found = _graph_digest(_arrays(stored))
            require(found == wanted[record], f"{row['id']}: its graph is not the one written.")


def _graph_digest(arrays: Mapping[str, Any]) -> str:
    total = hashlib.sha1()
    for name in _TENSORS:
        if name in arrays:
            array = arrays[name]
            size = "x".join(map(str, array.shape))
            total.update(f"{name} {array.dtype.str} {size}\n".encode() + array.tobytes())
    return total.hexdigest()


@check
def profiles_fit_together(subject: Subject) -> None:
    """A profile has a float32 value for each gene, each gene once; one recording has one list."""
    import numpy as np

    from climb_hf.io.tensor import from_tensor

    lists: dict[str, list[str]] = {}
    recordings = {p.id: p.example.recording or p.id for p in subject.placed}
    for row, stored in _media(subject, "expression"):
        identity, genes, names = row["id"], stored["genes"], stored["names"]
        values = from_tensor(stored["values"])
        if values is None:
            raise CheckFailedError(f"{identity}: its profile has no values.")
        kind, shape = values.dtype.str, values.shape
        require(kind == "<f4", f"{identity}: values are {kind}, not <f4.")
        require(shape == (len(genes),), f"{identity}: {shape} values, {len(genes)} genes.")
        require(len(genes) > 0, f"{identity}: its profile is empty.")
        require(len(set(genes)) == len(genes), f"{identity}: a gene stands in its list twice.")
        require(len(names) in (0, len(genes)), f"{identity}: {len(names)} names of genes.")
        require(not np.isinf(values).any(), f"{identity}: a value is infinite.")
        require(not np.isnan(values).all(), f"{identity}: nothing was measured.")
        first = lists.setdefault(recordings[identity], genes)
        require(first == genes, f"{identity}: other genes than the rest of its recording.")


@check
def profiles_are_the_makers(subject: Subject) -> None:
    """Genes and values are exactly those that were written, gene by gene."""
    import numpy as np

    from climb_hf.io.tensor import from_tensor

    wanted = subject.true_facts("expression_sha1")
    for row, stored in _media(subject, "expression"):
        record = row["id"].split("/", 1)[1]
        if record in wanted:
            values = np.array(from_tensor(stored["values"]))
            values[np.isnan(values)] = np.nan
            told = "\n".join(stored["genes"]).encode() + b"\0" + values.tobytes()
            found = hashlib.sha1(told).hexdigest()
            require(found == wanted[record], f"{row['id']}: its profile is not the one written.")


@check
def images_open_as_described(subject: Subject) -> None:
    """Every image decodes to its last pixel, upright in the size and mode that stand beside it."""
    for row, _ in _media(subject, "images"):
        n_images, n_told = len(row["images"]), len(row["image_info"])
        require(n_images == n_told, f"{row['id']}: {n_images} images, {n_told} image_info.")
        for stored, info in zip(row["images"], row["image_info"], strict=True):
            _check_image(row["id"], stored, info)


def _check_image(identity: str, stored: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    import io

    from PIL import Image, ImageOps

    require(stored["path"] is None, f"{identity}: its image names a path.")
    try:
        with Image.open(io.BytesIO(stored["bytes"])) as decoded:
            decoded.load()
            width, height = ImageOps.exif_transpose(decoded).size
            found = {"height": height, "width": width, "mode": decoded.mode}
    except (OSError, SyntaxError, ValueError) as error:
        raise CheckFailedError(f"{identity}: its image does not open: {error}") from error
    wrong = {name: value for name, value in found.items() if info[name] != value}
    require(not wrong, f"{identity}: its image has {wrong}, but {dict(info)} is told.")


@check
def images_keep_their_bytes(subject: Subject) -> None:
    """An image's bytes are those of its file, its pixels those of the maker.

    A part of an image, a frame, and what becomes of a DICOM file have bytes of their own.
    """
    files = {placed.id: placed.example.images for placed in subject.placed}
    known = subject.truth("records") if subject.knows("records") else {}
    for row, stored in _media(subject, "images"):
        identity = row["id"]
        for one, file in zip(row["images"], files[identity], strict=True):
            released = _released(file)
            require(
                released in (None, one["bytes"]), f"{identity}: its image is not its file's bytes."
            )
        truth = known.get(identity.split("/", 1)[1], {})
        for fact, digest in (("image_sha1", _bytes_digest), ("pixel_sha1", _pixel_digest)):
            found = digest(stored["bytes"]) if fact in truth else None
            require(found == truth.get(fact), f"{identity}: its image is not the one written.")


def _released(file: ImageFile) -> bytes | None:
    """The bytes that a stored image must have, or None where it must not have those of its file."""
    from climb_hf.io.image import is_dicom

    if file.key is not None or file.crop is not None or file.frame is not None:
        return None
    data = file.path.read_bytes()
    return None if is_dicom(file.path.name, data) else data


def _bytes_digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _pixel_digest(data: bytes) -> str:
    import io

    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        return hashlib.sha1(np.ascontiguousarray(opened).tobytes()).hexdigest()
