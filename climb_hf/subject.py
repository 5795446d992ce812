"""A source with raw files of it, loaded in every way that the battery's checks look at.

`climb_hf.battery` holds the checks and `climb_hf.testing` is where both are used from.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from climb_hf import catalog, collect
from climb_hf.builder import ClimbBuilder
from climb_hf.catalog import Source
from climb_hf.collect import Placed, Report
from climb_hf.errors import CheckFailedError
from climb_hf.io.tree import RawTree
from climb_hf.rows import Request, build_row
from climb_hf.schema import Example, Fault
from climb_hf.splits import fraction_of
from climb_hf.views import as_stored

LABEL_LISTS = ("labels", "labels_negative", "labels_uncertain")
SHOWN = 3  # of the records that a message names
LIMIT = 200  # records of a source that are opened


class NotApplicable(Exception):
    """A check has nothing to look at in this source, or needs to be told what is right."""


def require(right: bool, message: str) -> None:
    """Raises CheckFailedError with `message` where something is not right."""
    if not right:
        raise CheckFailedError(message)


def some(names: Any) -> str:
    """The first few of some names, and how many more there are."""
    ordered = sorted(map(str, names))
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more


class Subject:
    """One source and a folder with raw files of it.

    Args:
        source: with its card and reader.
        root: folder with raw files, as `data_dir` of `load_dataset`.
        truth: what the maker of the files knows about them, or None. Keys, all optional: `classes`
            (class names in label order), `layouts` (names of those that are there),
            `unknown_codes`, `faults` (record -> {"kind": ...}), and `records`: record -> facts, of
            which `labels`, `negative`, `uncertain`, `native`, `patient_id`, `age`, `sex`, `split`,
            and of the first series as recorded `rate_hz`, `n_samples`, `n_invalid` and
            `signal_sha1` (SHA-1 of its float32 values, channels in the card's order, physical
            units) are looked at. Of the first image `image_sha1`: SHA-1 over its bytes in the
            release, and `pixel_sha1`: over its decoded pixels, row by row. Of the first graph
            `graph_sha1`: SHA-1 over those of edge_index (`<i4`, by first, then second node),
            edge_attr (`<f4`), x (`<f4`), y (`|i1`) and matrix (`<f4`) that are given, each as the
            line "name kind rowsxcolumns" and its values in C order. Of the first profile
            `expression_sha1`: SHA-1 over the gene ids, a line each, a zero byte and the float32
            values, every NaN being NumPy's.
        limit: so many records, chosen by a hash of their patients, are opened; the index is
            always read whole.
    """

    def __init__(
        self,
        source: Source,
        root: str | Path,
        truth: Mapping[str, Any] | None = None,
        limit: int = LIMIT,
    ) -> None:
        self.source = source
        self.card = source.card
        self.root = Path(root).absolute()
        self._truth = truth
        self._limit = limit
        self._memory: dict[str, Any] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="climb-hf-check-")
        self.work = Path(self._folder.name)

    def close(self) -> None:
        """Removes what the checks wrote."""
        self._folder.cleanup()

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    # -- what is right --

    def knows(self, key: str) -> bool:
        """Whether the maker of the files says something."""
        return self._truth is not None and key in self._truth

    def truth(self, key: str) -> Any:
        """Returns what the maker of the files says.

        Raises:
            NotApplicable: if the maker does not say.
        """
        if self._truth is None or not self.knows(key):
            raise NotApplicable(f"needs the maker of the files to say {key!r}")
        return self._truth[key]

    def true_facts(self, name: str) -> dict[str, Any]:
        """Returns record -> fact, for those records of which the maker tells it."""
        facts = {r: known[name] for r, known in self.truth("records").items() if name in known}
        if not facts:
            raise NotApplicable(f"needs the maker of the files to say {name!r} of its records")
        return facts

    # -- the index --

    @cached_property
    def tree(self) -> RawTree:
        """The files of the source.

        Raises:
            DataNotFoundError: if there are none.
        """
        found = collect.locate([self.source], self.root)
        if self.card.name not in found:
            raise collect.not_found([self.source], self.root)
        return found[self.card.name]

    def request(self, **options: Any) -> Request:
        """Returns a request with the source's options complete."""
        own = self.card.check_options({})
        return Request(variant=self.card.check_variant(None), options=own, **options)

    def read(self, tree: RawTree | None = None) -> Iterator[Example | Fault]:
        """Yields what the source's reader finds."""
        return self.source.read(tree or self.tree, self.request().for_reader())

    def index(self, tree: RawTree | None = None, **options: Any) -> tuple[list[Placed], Report]:
        """Returns every record of the source with its split, and the report; opens no media."""
        rule = options.pop("split_rule", None)
        return collect.collect(
            self.source,
            tree or self.tree,
            self.request(**options),
            split_rule=rule,
            on_error="skip",
            max_error_rate=1.0,
        )

    @cached_property
    def placed(self) -> list[Placed]:
        """The records of `index()`, as the card's defaults place them."""
        return self.index()[0]

    # -- the part that is opened --

    @cached_property
    def chosen(self) -> frozenset[str]:
        """Names of the records that are opened: whole patients, by a stable hash."""

        def rank(example: Example) -> tuple[float, str]:
            key = example.patient_id or example.recording or example.record
            return fraction_of(key), example.record

        ordered = sorted((placed.example for placed in self.placed), key=rank)
        return frozenset(example.record for example in ordered[: self._limit])

    @cached_property
    def part(self) -> Source:
        """The source with the records that are opened, and all that its reader complains of."""
        read, chosen = self.source.read, self.chosen

        def some_of(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
            return (
                f
                for f in read(tree, options)
                if isinstance(f, Fault) or chosen & {f.record, f.recording}
            )

        return replace(self.source, read=some_of)

    def load(self, root: Path | None = None, *, fresh: str = "", **options: Any) -> Any:
        """Loads the chosen records as `load_dataset` does, undecoded.

        Args:
            root: another raw folder than the subject's.
            fresh: name of a cache of its own, so that nothing made before is served.
            **options: of `load_dataset`.

        Returns:
            The `DatasetDict` (or its iterable kind) and the reports.
        """
        key = repr((root, fresh, sorted(options.items())))
        return self._once(key, lambda: self._load(root or self.root, fresh, dict(options)))

    def _load(self, root: Path, fresh: str, options: dict[str, Any]) -> Any:
        streaming = options.pop("streaming", False)
        num_proc = options.pop("num_proc", None)
        options = {"decode": False, "max_error_rate": 1.0, **options}
        cache = self.work / f"cache-{fresh}"
        with catalog.standing_in(self.part):
            builder = ClimbBuilder(
                config_name=self.card.name, data_dir=str(root), cache_dir=str(cache), **options
            )
            if streaming:
                found = builder.as_streaming_dataset()
                return {name: list(undecoded(part)) for name, part in found.items()}, []
            builder.download_and_prepare(num_proc=num_proc)
            table = builder.as_dataset()
            for name, part in table.items():
                table[name] = undecoded(part)
            return table, builder.reports()

    def rows(self, root: Path | None = None, **options: Any) -> dict[str, dict[str, Any]]:
        """Returns id -> row of `load`, class names in place of integers, and `split` beside."""
        key = repr(("rows", root, sorted(options.items())))
        return self._once(key, lambda: self._rows(root, options))

    def _rows(self, root: Path | None, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
        found, _ = self.load(root, **options)
        rows: dict[str, dict[str, Any]] = {}
        for split, part in found.items():
            names = self.class_names(part)
            for row in part:
                require(row["id"] not in rows, f"the id {row['id']!r} stands in two rows.")
                rows[row["id"]] = {**named(row, names), "split": split}
        return rows

    def class_names(self, part: Any) -> tuple[str, ...]:
        """Returns the class names of a loaded split, in label order; none for questions."""
        features = getattr(part, "features", None) or {}
        return tuple(features["label"].names) if "label" in features else ()

    def stored(self) -> dict[str, dict[str, Any]]:
        """Returns id -> row as it is made, every stored column filled."""

        def make() -> dict[str, dict[str, Any]]:
            request = self.request()
            chosen = [p for p in self.placed if p.example.record in self.chosen]
            good = [p for p in chosen if p.id in self.rows()]
            return {p.id: build_row(self.card, p.example, request, p.split_origin) for p in good}

        return self._once("stored", make)

    def built(self) -> Any:
        """Prepares the chosen records as `climb-hf build` does; returns what it came to."""

        def make() -> Any:
            from climb_hf.build import build

            with catalog.standing_in(self.part):
                configs = {config.name: config for config in ClimbBuilder.BUILDER_CONFIGS}
                config = replace(configs[self.card.name], max_error_rate=1.0)
                return build(config, self.root, self.work / "built")

        return self._once("built", make)

    # -- harm --

    def victim(self) -> Placed:
        """Returns a good record with files and no copy elsewhere, the first by name.

        Raises:
            NotApplicable: if there is none.
        """
        copied = {fault.record for fault in self.index()[1].faults if fault.kind == "copy"}
        for placed in self.placed:
            name = placed.example.record
            if placed.id in self.rows() and name not in copied and self.files_of(placed.example):
                return placed
        raise NotApplicable("no record has a file of its own")

    def files_of(self, example: Example) -> list[str]:
        """Returns the files that a record's media are in, largest first, as paths in the tree.

        Other records may have theirs in the same files.
        """
        found: dict[str, int] = {}
        for path in example.paths:
            relative = PurePosixPath(path.relative_to(self.tree.root))
            found.update(self._by_stem.get((relative.parent, relative.stem), {}))
        return sorted(found, key=lambda name: (-found[name], name))

    @cached_property
    def _by_stem(self) -> dict[tuple[PurePosixPath, str], dict[str, int]]:
        """Folder and name without extension -> path -> bytes."""
        found: dict[tuple[PurePosixPath, str], dict[str, int]] = {}
        for name, size, _ in self.tree.files:
            path = PurePosixPath(name)
            found.setdefault((path.parent, path.stem), {})[name] = size
        return found

    def neighbours(self, victim: Placed) -> set[str]:
        """Returns the ids of the chosen records that share no file with `victim`."""
        harmed = set(self.files_of(victim.example))
        ids = set(self.rows())
        return {
            p.id for p in self.placed if p.id in ids and not harmed & set(self.files_of(p.example))
        }

    def harmed(self, name: str, harm: Callable[[Path], None], files: Sequence[str]) -> Path:
        """Returns a folder with links to the source's files in which some were harmed.

        Args:
            name: of the folder; one that was made before is returned as it is.
            harm: is given the path of a copy that it may change or remove.
            files: paths in the tree.
        """
        folder = self.work / name
        inside = folder / self.card.name
        if inside.exists():
            return folder
        for path, _, _ in self.tree.files:
            target = inside / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path in files:
                shutil.copyfile(self.tree.path(path), target)
                harm(target)
            else:
                target.symlink_to(self.tree.path(path))
        return folder


def undecoded(part: Any) -> Any:
    """Returns a loaded split with media as their bytes, not as what they decode to."""
    stored = as_stored(part.features)
    return part if stored == part.features else part.cast(stored)


def named(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Returns a row with class names where it has integers."""
    if not names:
        return dict(row)
    lists = {column: [names[index] for index in row[column]] for column in LABEL_LISTS}
    label = None if row["label"] is None else names[row["label"]]
    return {**row, **lists, "label": label}
