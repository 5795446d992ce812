"""What can be asked of a config, as `datasets` takes it: checked before any file is opened."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import datasets

from climb_hf import catalog
from climb_hf.card import SourceCard
from climb_hf.check import check_option, check_type, nearest
from climb_hf.errors import OptionError
from climb_hf.rows import Request
from climb_hf.splits import SPLIT_RULES

ON_ERROR = ("skip", "raise")
MOST_TIMES = 100  # a rate further than that from the card's is a slip, not a wish
_NOT_OPTIONS = ("name", "version", "description", "data_files", "sources", "fingerprint")
_REFUSED = {
    "data_files": "name the folder by data_dir=",
    "features": "a row's columns follow from task= and label_set=",
}


@dataclass
class ClimbConfig(datasets.BuilderConfig):
    """What can be asked of a config.

    Attributes:
        task: `classification` or `qa`.
        split_rule: `official`, `stratified`, `hash` or `csv`; None takes the card's.
        label_set: None takes the default of each card.
        length: `10s` crops and pads a recording, `raw` keeps it.
        rate_hz: samples per second; None takes the card's.
        variant: another form of a source, where its card has some; None takes the first.
        on_error: `skip` counts and lists a damaged record, `raise` stops at the first.
        max_error_rate: share of damaged records above which a source fails.
        options: {source: {option: value}} for what only one source knows.
        fingerprint: digest of the raw files; set by the builder, never by hand.
    """

    sources: tuple[str, ...] = ()
    task: str = "classification"
    split_rule: str | None = None
    label_set: str | None = None
    length: str = "10s"
    rate_hz: float | None = None
    variant: str | None = None
    on_error: str = "skip"
    max_error_rate: float = 0.05
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fingerprint: str | None = None

    def request(self, source: str) -> Request:
        """Returns what is asked of one source, its options checked and complete."""
        card = catalog.get(source).card
        options = card.check_options(self.options.get(source, {}))
        return Request(
            task=self.task,
            label_set=self.label_set,
            length=self.length,
            rate_hz=self.rate_hz,
            variant=card.check_variant(self.variant),
            options=options,
        )

    def check(self) -> None:
        """Raises OptionError for any value that is not allowed."""
        Request(self.task, self.label_set, self.length, self.rate_hz).check()
        check_option("on_error", self.on_error, ON_ERROR)
        check_type("max_error_rate", self.max_error_rate, (int, float))
        if not 0 <= self.max_error_rate <= 1:
            raise OptionError(f"max_error_rate={self.max_error_rate!r} is no share from 0 to 1.")
        if self.split_rule is not None:
            check_option("split_rule", self.split_rule, SPLIT_RULES)
        for source in check_type("options", self.options, Mapping):
            check_option("options for source", source, self.sources)
        for source in self.sources:
            card = catalog.get(source).card
            given = self.options.get(source, {})
            card.check_options(check_type(f"options[{source!r}]", given, Mapping))
            card.check_variant(self.variant)
            self._check_rate(card)
            if self.label_set is not None:
                check_option(f"label_set of {source!r}", self.label_set, tuple(card.label_sets))

    def _check_rate(self, card: SourceCard) -> None:
        if self.rate_hz is None or card.rate_hz is None:
            return
        if not 1 / MOST_TIMES <= self.rate_hz / card.rate_hz <= MOST_TIMES:
            raise OptionError(
                f"rate_hz={self.rate_hz!r} is more than {MOST_TIMES} times away from the "
                f"{card.rate_hz:g} Hz of source {card.name!r}. Ask for another rate, in Hz."
            )


def asked_for(name: str | None, sources: tuple[str, ...], kwargs: Mapping[str, Any]) -> ClimbConfig:
    """Returns the config as the keywords ask for it, checked before any file is opened.

    Raises:
        OptionError: for a keyword that is neither the builder's nor the config's, or its value.
    """
    check_words(kwargs)
    # `datasets` takes None for "not given", whatever the option.
    given = {word: kwargs[word] for word in option_names() if kwargs.get(word) is not None}
    check_type("data_dir", given.get("data_dir", ""), (str, os.PathLike))
    config = ClimbConfig(name=name or "", sources=sources, **given)
    config.check()
    return config


def option_names() -> list[str]:
    """Returns the keywords that a config takes."""
    return [f.name for f in fields(ClimbConfig) if f.name not in _NOT_OPTIONS]


def check_words(kwargs: Mapping[str, Any], more: Iterable[str] = ()) -> None:
    """Raises OptionError for a keyword that is neither the builder's nor the config's.

    Args:
        more: keywords that are right as well.
    """
    parent = inspect.signature(datasets.DatasetBuilder.__init__).parameters
    own = [*option_names(), *more]
    for word, instead in _REFUSED.items():
        if kwargs.get(word) is not None:
            raise OptionError(f"{word}={kwargs[word]!r} does not go with climb: {instead}.")
    for word in kwargs:
        if word not in (*parent, *own) or word == "config_kwargs":
            ours = sorted([*own, "decode"])
            theirs = list(inspect.signature(datasets.load_dataset).parameters)[2:-1]
            raise OptionError(
                f"there is no option {word!r}; there are: {', '.join(ours)}."
                + nearest(word, [*ours, *theirs])
            )
