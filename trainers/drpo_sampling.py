"""Which questions an epoch asks: domains more evenly than the data hold them, and resumable.

With n_g rows in domain g, an epoch draws from it a number proportional to n_g ** (1 - power): 0 is
the data as they are, 0.5 the square root, 1 the same for every domain. The numbers are exact (by
largest remainder), the epoch is as long as before, and no row of a domain comes up again before
all of its others have. All of it follows from seed and epoch alone, so that it is the same on every
process, and in a run that is resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from trl.trainer.utils import RepeatSampler

from climb_hf.check import nearest
from climb_hf.errors import OptionError

OFTEN = 10  # times that a row is asked before it is worth a word; from the project's simulation
_SHOWN = 3


def quotas(counts: Mapping[str, int], power: float) -> dict[str, int]:
    """Returns how many questions of each domain an epoch asks; they add up to all rows.

    Args:
        counts: rows of each domain, each at least 1.
        power: in [0, 1].
    """
    total = sum(counts.values())
    shares = {name: n ** (1 - power) for name, n in sorted(counts.items())}
    exact = {name: share * total / sum(shares.values()) for name, share in shares.items()}
    found = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in by_remainder[: total - sum(found.values())]:
        found[name] += 1
    return found


class DomainSampler(RepeatSampler):
    """TRL's `RepeatSampler` over an epoch in which each domain has its quota.

    With a power of 0 it yields what TRL's yields, epoch by epoch. TRL's goes on from where its
    generator stands, and a resumed run would begin again with the first epoch's order.

    Args:
        plain: the sampler of `GRPOTrainer`, whose repeats and seed it has.
        domains: of each row; unused with a power of 0.
        power: in [0, 1].

    Attributes:
        epoch: which epoch the next pass is; whoever runs it sets this. It is no method
            `set_epoch`, as accelerate would call that with a count of its own, which starts at 0
            in a resumed run.
    """

    def __init__(
        self, plain: RepeatSampler, domains: Sequence[str] | None = None, power: float = 0.0
    ) -> None:
        super().__init__(
            plain.data_source,
            plain.mini_repeat_count,
            plain.batch_size,
            plain.repeat_count,
            plain.shuffle,
            plain.seed,
        )
        self.epoch = 0
        self._rows: dict[str, np.ndarray] = {}
        self._quotas: dict[str, int] = {}
        if power > 0 and domains is not None:
            names = np.array(domains, dtype=object)
            self._rows = {name: np.flatnonzero(names == name) for name in sorted(set(domains))}
            counts = {name: len(rows) for name, rows in self._rows.items()}
            self._quotas = quotas(counts, power)

    def __iter__(self) -> Iterator[int]:
        drawn = self.drawn(self.epoch)
        if self.shuffle and self.seed is not None:
            self.generator.manual_seed(self.seed)
            for _ in range(self.epoch):  # as many orders as TRL's sampler would have drawn
                torch.randperm(self.num_samples, generator=self.generator)
        for place in super().__iter__():
            yield drawn[place]

    def drawn(self, epoch: int) -> Sequence[int]:
        """Returns the rows of an epoch, before they are shuffled."""
        if not self._quotas:
            return range(self.num_samples)
        return [
            int(row)
            for order, (name, quota) in enumerate(self._quotas.items())
            for row in self._turn(order, self._rows[name], epoch * quota, quota)
        ]

    def _turn(self, order: int, rows: np.ndarray, first: int, n: int) -> list[int]:
        """Places first ... first + n - 1 of the endless row of a domain's shuffles."""
        found: list[int] = []
        while len(found) < n:
            shuffle, start = divmod(first + len(found), len(rows))
            random = np.random.default_rng([self.seed or 0, order, shuffle])
            found += random.permutation(rows)[start : start + n - len(found)].tolist()
        return found


# ---- the domains of a data set -------------------------------------------------------------------


def domains_of(dataset: Any, column: str) -> list[str] | None:
    """Returns the domain of each row; None where a data set has no columns, or only streams.

    Args:
        dataset: of the run.
        column: that names the domain.

    Raises:
        OptionError: if the column is missing, or a row has no text there; it names the first.
    """
    columns = getattr(dataset, "column_names", None)
    if columns is None:
        return None
    if column not in columns:
        raise OptionError(
            f"domain_column={column!r} is not a column of train_dataset, which has: "
            f"{', '.join(columns)}.{nearest(column, columns)} Name the column that holds "
            "the domain, or set domain_scaling='none'."
        )
    if not hasattr(dataset, "select_columns") or not hasattr(dataset, "__len__"):
        return None
    # Without its format: a transform would open every image.
    found = list(dataset.select_columns([column]).with_format(None)[:][column])
    odd = [row for row, name in enumerate(found) if not isinstance(name, str) or not name]
    if odd:
        first = ", ".join(f"row {row}: {found[row]!r}" for row in odd[:_SHOWN])
        more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
        raise OptionError(
            f"domain_column={column!r} names no domain in {len(odd)} of {len(found)} rows "
            f"({first}{more}). Fill them with text, leave those rows out, or set "
            "domain_scaling='none'."
        )
    return found


def check_sampling(dataset: Any, domains: Sequence[str] | None, args: Any) -> None:
    """Checks that a data set can be drawn from as `domain_sampling_power` asks.

    Raises:
        OptionError: if it streams, or is not shuffled.
    """
    if not args.domain_sampling_power:
        return
    asked = f"domain_sampling_power={args.domain_sampling_power}"
    if domains is None:
        raise OptionError(
            f"{asked} needs a data set whose rows and columns are known beforehand, and "
            f"{type(dataset).__name__} streams. Load it without streaming, or mix domains with "
            "datasets.interleave_datasets(..., probabilities=...) and leave the option at 0."
        )
    if not args.shuffle_dataset:
        raise OptionError(
            f"{asked} draws rows at random, which shuffle_dataset=False forbids. Leave one of them "
            "at its default."
        )


def sampling_in_words(domains: Sequence[str], power: float, epochs: float) -> list[str]:
    """Returns what a power does to a data set, and a warning where rows come up too often.

    Args:
        domains: of each row.
        power: in (0, 1].
        epochs: of the run.
    """
    counts = Counter(domains)
    drawn = quotas(counts, power)
    shares = ", ".join(
        f"{name} {counts[name] / len(domains):.1%} -> {n / len(domains):.1%}"
        for name, n in drawn.items()
    )
    words = [f"domain_sampling_power={power} changes what an epoch asks: {shares}."]
    often = {name: epochs * n / counts[name] for name, n in drawn.items()}
    listed = ", ".join(
        f"{name} ({counts[name]} rows, {times:.0f} times each)"
        for name, times in often.items()
        if times > OFTEN
    )
    if listed:
        words.append(
            f"Rows come up more than {OFTEN} times in this run: {listed}. A model may learn them "
            "by heart: lower domain_sampling_power, or shorten the run."
        )
    return words
