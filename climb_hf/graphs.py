"""What readers of graphs share: facts of their cards, and networks cut into records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from climb_hf.card import Modality, Proof, SplitRule
from climb_hf.errors import CorruptFileError
from climb_hf.schema import Example, Fault, MediaFile
from climb_hf.splits import fraction_of

# What the cards of these sources state alike; `SourceCard(..., **BRAIN)`.
BRAIN: dict[str, Any] = {"modality": Modality.BRAIN_GRAPH, "asked": "choice"}
MOLECULE: dict[str, Any] = {
    "modality": Modality.MOLECULE_GRAPH,
    "asked": "choice",
    "proof": Proof.PEER_READER,  # torch_geometric reads the same files
}
FOUR_FIFTHS = SplitRule(fractions={"train": 0.8, "test": 0.2})
UNKNOWN = ("patient_unknown",)


def graphs_of(media: MediaFile, split: str | None = None) -> Iterator[Example | Fault]:
    """Yields the graphs of a network, called by their numbers.

    Args:
        media: the network, as `climb_hf.io.node_link.read_graph` takes it.
        split: of all its graphs; None where the network says itself which split each is of.

    Raises:
        CorruptFileError: if a file is not there, malformed, or of another network.
    """
    from climb_hf.io.files import open_array
    from climb_hf.io.node_link import network_of

    lost = {"features", "labels", "ids" if split is None else "graphs"} - media.beside.keys()
    reason = f"of its files, {', '.join(sorted(lost)) or 'the network'} is not there"
    if split is None:
        if lost:
            raise CorruptFileError(f"{media.path.name}: {reason}.")
        splits = dict(network_of(media).split_of)
    else:
        splits = dict.fromkeys(set(open_array(media.beside["graphs"]).tolist()), split)
    for number in sorted(splits):
        if lost or not media.path.is_file():
            yield Fault(f"graph_{number}", "damaged", reason, media.path.name)
        else:
            part = replace(media, part=number)
            yield Example(f"graph_{number}", split=splits[number], flags=UNKNOWN, graphs=(part,))


def pairs_of(graph: Example) -> Iterator[Example]:
    """Yields each node of a graph with another one: code "1" where the two are linked, else "0".

    They are records `<graph>/<node>`, stay in the graph's split, and show both nodes with their
    neighbours; whether the two are linked is left out of what is shown.

    Raises:
        CorruptFileError: if the network's files are malformed, or not of one network.
    """
    from climb_hf.io.node_link import network_of, pairs

    (media,) = graph.graphs
    for first, second, linked in pairs(network_of(media), media.part, fraction_of):
        part = replace(media, reader="node_link_pair", part=(media.part, first, second))
        record, native = f"{graph.record}/{first}", ("1" if linked else "0",)
        yield replace(graph, record=record, recording=graph.record, native=native, graphs=(part,))
