"""The `datasets` builder behind every config: raw files to rows, whatever the source.

`load_dataset("climb", "ecg")` reaches `ClimbBuilder` through `climb_hf.registration`; each source
file also offers a builder class of its own (`climb_hf.builders.<source>.Builder`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import datasets
import pyarrow as pa
from datasets.builder import Key
from datasets.iterable_dataset import ArrowExamplesIterable

import climb_hf
from climb_hf import catalog, collect
from climb_hf.catalog import Source
from climb_hf.check import check_type
from climb_hf.collect import Placed, Report
from climb_hf.config import ClimbConfig, asked_for
from climb_hf.errors import ClimbError, CorruptFileError, DataNotFoundError
from climb_hf.io.tree import RawTree
from climb_hf.labels import class_names
from climb_hf.rows import Request, build_row
from climb_hf.schema import SCHEMA_VERSION, SPLITS, Fault, features_for
from climb_hf.splits import check_split
from climb_hf.views import Series, as_stored

logger = logging.getLogger(__name__)
REPORT_FILE = "climb_report.json"
_FAULT_FILES = "climb_faults-*.jsonl"
# Folder in the cache of `datasets`. Not "climb": plain `datasets`, offline and without our import,
# would look for that name there and serve whatever it found.
CACHE_NAME = "climb_hf"
_told: set[str] = set()


@dataclass(frozen=True)
class Found:
    """What lies of one source: its files, its records with their splits, and the report."""

    source: Source
    tree: RawTree
    placed: list[Placed]
    report: Report


def gather(config: ClimbConfig, root: Path | None) -> list[Found]:
    """Reads the index of each source of a config that lies under `root`; no media are opened.

    Raises:
        DataNotFoundError: if none of them is there.
        CorruptFileError, TooManyBadRecordsError: see `collect.collect`.
    """
    sources = [catalog.get(name) for name in config.sources]
    trees = collect.locate(sources, root) if root else {}
    if not trees:
        raise collect.not_found(sources, root)
    found = []
    for name, tree in trees.items():
        show = partial(datasets.utils.tqdm, desc=f"Indexing {name}", unit=" records", disable=None)
        placed, report = collect.collect(
            catalog.get(name),
            tree,
            config.request(name),
            split_rule=config.split_rule,
            on_error=config.on_error,
            max_error_rate=config.max_error_rate,
            progress=show,
        )
        found.append(Found(catalog.get(name), tree, placed, report))
    return found


def row_or_fault(placed: Placed, request: Request, on_error: str) -> dict[str, Any] | Fault:
    """Opens a record's media and returns its row, or what is wrong with it.

    Raises:
        CorruptFileError: for a damaged record, if `on_error` is "raise".
    """
    card = catalog.get(placed.source).card
    try:
        return build_row(card, placed.example, request, placed.split_origin)
    except CorruptFileError as error:
        path = str(next(iter(placed.example.paths), ""))
        if on_error == "raise":
            raise CorruptFileError(
                f"cannot read record {placed.id}: {error} ({path}) "
                "Load with on_error='skip' to go on without it."
            ) from error
        return Fault(placed.example.record, "damaged", str(error), path)


def _config_list() -> list[ClimbConfig]:
    made = []
    for name, sources in catalog.configs().items():
        cards = [catalog.get(source).card for source in sources]
        described = cards[0].title if len(cards) == 1 else ", ".join(c.title for c in cards)
        version = max(card.version for card in cards)
        made.append(ClimbConfig(name=name, sources=sources, version=version, description=described))
    return made


class _Configs:
    """The class attribute BUILDER_CONFIGS, made from the catalogue whenever it is looked up."""

    def __get__(self, instance: Any, owner: Any) -> list[ClimbConfig]:
        only = getattr(owner, "only", None)
        return [config for config in _config_list() if only in (None, config.name)]


def code_digest(names: Iterable[str] | None = None) -> str:
    """Returns a digest of every module and table that decides what a row holds.

    Args:
        names: of the sources whose readers count; None means all.
    """
    total = hashlib.sha256(f"{climb_hf.__version__} {SCHEMA_VERSION}".encode())
    package = Path(climb_hf.__file__).parent
    files = [*package.glob("*.py"), *package.glob("io/*.py"), *package.glob("vocabularies/*.csv")]
    readers = catalog.sources().values() if names is None else map(catalog.get, names)
    files += [Path(str(source.module.__file__)) for source in readers]
    # By name: an installation in another folder has the same code.
    for file in sorted(files, key=lambda file: (file.name, file.parent.name)):
        total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()[:32]


class WithView:
    """What our builders add to those of `datasets`: the decoded view, and what was left out."""

    _decode: bool = True
    _cache_dir: str
    _output_dir: str
    info: datasets.DatasetInfo

    def as_dataset(self, split: Any = None, *args: Any, **kwargs: Any) -> Any:
        check_split(split)
        made = super().as_dataset(split, *args, **kwargs)  # type: ignore[misc]
        if self._cache_dir not in _told:  # once a process, however many splits are loaded
            _told.add(self._cache_dir)
            tell(self.reports())
        return self._with_view(made)

    def as_streaming_dataset(self, split: Any = None, *args: Any, **kwargs: Any) -> Any:
        check_split(split)
        made = super().as_streaming_dataset(split, *args, **kwargs)  # type: ignore[misc]
        if isinstance(made, dict):
            return type(made)({name: self._with_view(part) for name, part in made.items()})
        return self._with_view(made)

    def _with_view(self, made: Any) -> Any:
        if not self._decode:
            return _undecoded(made, self._cache_dir)
        if "series" not in self.info.features:
            return made
        return made.cast_column("series", Series())

    def reports(self) -> list[Report]:
        """Returns what was found of each source when the config was prepared."""
        file = Path(self._cache_dir) / REPORT_FILE
        return collect.from_json(json.loads(file.read_text())) if file.is_file() else []

    def _save_reports(self, reports: list[Report]) -> None:
        text = json.dumps(collect.as_json(reports), indent=1)
        (Path(self._output_dir) / REPORT_FILE).write_text(text)


def _undecoded(made: Any, origin: str) -> Any:
    """A set whose images are shown as their bytes; a cast would write its table anew.

    Args:
        origin: what the fingerprint of a table is made of, beside its split.
    """
    if isinstance(made, dict):
        return type(made)({name: _undecoded(part, origin) for name, part in made.items()})
    stored = as_stored(made.features)
    if stored == made.features:
        return made
    if isinstance(made, datasets.IterableDataset):
        return made.cast(stored)
    info = made.info.copy()
    info.features = stored
    known = datasets.fingerprint.Hasher.hash([origin, str(made.split), "as stored"])
    return datasets.Dataset(made.data, info=info, split=made.split, fingerprint=known)


@contextmanager
def bare_errors() -> Iterator[None]:
    """Raises our own errors without the wrapper of `datasets`, which says only that one is."""
    try:
        yield
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, ClimbError):
            raise error.__cause__ from None
        raise


def tell(reports: list[Report]) -> None:
    """Logs what was left out, and why."""
    absent = [report.source for report in reports if report.absent]
    if absent:
        logger.warning("nothing is there of: %s", ", ".join(absent))
    for report in reports:
        if report.faults or report.unknown_codes or report.not_questions:
            logger.warning("%s", report.summary())
            for fault in report.faults[:10]:
                logger.warning("  %s %s: %s", fault.kind, fault.record, fault.reason)
            if len(report.faults) > 10:
                logger.warning("  and %d more", len(report.faults) - 10)


class ClimbBuilder(WithView, datasets.GeneratorBasedBuilder):
    """Makes the rows of a config from raw files, eagerly or as a stream.

    Args:
        decode: whether a series is shown as `Signal`, and images are opened (otherwise both are
            as they are stored). It is no part of the cache key, as both are the same rows.
        **kwargs: as `datasets.GeneratorBasedBuilder`, and the fields of `ClimbConfig`.

    Raises:
        ConfigNameError: if no config is named or it is unknown.
        OptionError: for an unknown option or a value that is not allowed.
    """

    BUILDER_CONFIG_CLASS = ClimbConfig
    BUILDER_CONFIGS: Any = _Configs()
    only: ClassVar[str | None] = None  # the one config that a source's own class has
    DEFAULT_WRITER_BATCH_SIZE = 256  # rows; a 10 s ECG is 120 kB

    def __init__(self, *args: Any, decode: bool = True, **kwargs: Any) -> None:
        name = kwargs.get("config_name")
        sources = catalog.check_config(name)
        self._decode = check_type("decode", decode, bool)
        asked = asked_for(name, sources, kwargs)
        root = collect.data_root(asked.data_dir)
        if root is not None:
            kwargs["data_dir"] = str(root)
            found = fingerprint(sources, root, asked.options) if root.is_dir() else None
            kwargs["fingerprint"] = found
        self._places = catalog.places_of(sources)
        kwargs["hash"] = kwargs.get("hash") or code_digest()
        kwargs["dataset_name"] = kwargs.get("dataset_name") or CACHE_NAME
        super().__init__(*args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A worker process that was spawned knows the sources of this package only.
        catalog.add_places(state["_places"])
        super().__setstate__(state)

    @datasets.utils.py_utils.classproperty
    @classmethod
    def builder_configs(cls) -> dict[str, ClimbConfig]:
        """The configs by name. The parent remembers them, and sources may join later."""
        return {config.name: config for config in cls.BUILDER_CONFIGS}

    def _info(self) -> datasets.DatasetInfo:
        cards = [catalog.get(source).card for source in self.config.sources]
        classes = class_names(cards, self.config.label_set)
        return datasets.DatasetInfo(
            description="; ".join(f"{card.title}: {card.summary}" for card in cards),
            citation="\n".join(card.citation for card in cards),
            homepage=" ".join(dict.fromkeys(card.homepage for card in cards)),
            license=" ".join(dict.fromkeys(card.licence.name for card in cards)),
            features=features_for([c.modality for c in cards], classes, self.config.task),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        root = collect.data_root(self.config.data_dir)
        found = gather(self.config, root)
        placed = [record for source in found for record in source.placed]
        read = {source.report.source: source.report for source in found}
        absent = "no file of it is there"
        names = self.config.sources
        self._reports = [read.get(name) or Report(name, absent=absent) for name in names]
        if not placed:
            counts = "; ".join(report.summary() for report in read.values())
            raise DataNotFoundError(
                f"no question can be made from what lies under {root} ({counts}): their records "
                "carry no labels. Load task='classification', or fetch the label files too."
            )
        if dl_manager.is_streaming:
            tell(self._reports)
        folder = None if dl_manager.is_streaming else self._output_dir
        by_split = {name: [p for p in placed if p.split == name] for name in SPLITS}
        return [
            datasets.SplitGenerator(
                name=name,
                gen_kwargs={"chunks": collect.chunked(records), "fault_folder": folder},
            )
            for name, records in by_split.items()
            if records
        ]

    def _generate_examples(
        self, chunks: list[list[Placed]], fault_folder: str | None
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        columns = list(self.info.features)
        requests = {name: self.config.request(name) for name in self.config.sources}
        log = (
            Path(fault_folder) / f"climb_faults-{uuid.uuid4().hex}.jsonl" if fault_folder else None
        )
        for chunk_index, chunk in enumerate(chunks):
            for row_index, placed in enumerate(chunk):
                row = self._row(placed, requests[placed.source], log)
                if row is not None:
                    yield Key(chunk_index, row_index), {name: row[name] for name in columns}

    def _get_examples_iterable_for_split(
        self, split_generator: datasets.SplitGenerator
    ) -> ArrowExamplesIterable:
        # Without tables, the arrow and pandas formats and `to_parquet` of a stream guess types row
        # by row, and fail at the first null; numpy and torch show a null otherwise than eager rows.
        schema = self.info.features.arrow_schema  # once: it takes longer to make than a row
        tables = partial(self._generate_tables, schema)
        return ArrowExamplesIterable(tables, split_generator.gen_kwargs)

    def _generate_tables(self, schema: pa.Schema, **kwargs: Any) -> Iterator[tuple[Key, pa.Table]]:
        for key, row in self._generate_examples(**kwargs):
            encoded = self.info.features.encode_example(row)
            yield key, pa.Table.from_pylist([encoded], schema=schema)

    def _row(self, placed: Placed, request: Request, log: Path | None) -> dict[str, Any] | None:
        """The row of a record, or None for a damaged one that is counted instead."""
        found = row_or_fault(placed, request, self.config.on_error)
        if not isinstance(found, Fault):
            return found
        if log is None:
            logger.warning("skipped record %s: %s", placed.id, found.reason)
        else:
            with log.open("a") as file:
                file.write(json.dumps({"source": placed.source, **vars(found)}) + "\n")
        return None

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        with bare_errors():
            super()._download_and_prepare(*args, **kwargs)
        splits = self.info.splits
        for name in [split.name for split in splits.values() if not split.num_examples]:
            del splits[name]  # each of its records is damaged; `datasets` cannot load no rows
        self._add_late_faults(Path(self._output_dir))
        for report in self._reports:
            report.judge(self.config.max_error_rate)
        self._save_reports(self._reports)

    def _add_late_faults(self, folder: Path) -> None:
        """Adds what the workers found damaged while they read samples."""
        by_source = {report.source: report for report in self._reports}
        for file in folder.glob(_FAULT_FILES):
            for line in file.read_text().splitlines():
                entry = json.loads(line)
                report = by_source[entry.pop("source")]
                report.faults.append(Fault(**entry))
                report.good -= 1
            file.unlink()
        for report in self._reports:
            report.faults.sort(key=lambda fault: (fault.kind, fault.record))


def fingerprint(
    sources: tuple[str, ...], root: Path, options: Mapping[str, Mapping[str, Any]]
) -> str:
    """Returns a digest of what a config reads: another one as soon as one of its files changes."""
    trees = collect.locate([catalog.get(name) for name in sources], root)
    total = hashlib.sha256()
    for name, tree in sorted(trees.items()):
        total.update(f"{name} {tree.digest()}\n".encode())
    for name in sources:
        for option, value in sorted(options.get(name, {}).items()):
            known = catalog.get(name).card.options[option]
            if known.is_file and value and Path(value).is_file():
                total.update(Path(value).read_bytes())
    return total.hexdigest()[:32]


def builder_for(module: ModuleType) -> type[ClimbBuilder]:
    """Returns the builder class of one source file, its only config being that source."""
    name = catalog.get(module.CARD.name).card.name
    members = {
        "__module__": module.__name__,
        "__doc__": f"Builder of the source {name!r}; see `ClimbBuilder`.",
        "only": name,
        "__init__": _with_default_config(name),
        "__reduce__": _reduced,
    }
    return type("Builder", (ClimbBuilder,), members)


def _reduced(self: ClimbBuilder) -> tuple[Any, ...]:
    # By its name, the class of a source in a file of its own is found in this process only.
    return _made_again, (self.only, self._places), self.__getstate__()


def _made_again(name: str, places: tuple[str, ...]) -> ClimbBuilder:
    catalog.add_places(places)
    kind = catalog.get(name).module.Builder
    return kind.__new__(kind)


def _with_default_config(name: str) -> Any:
    def __init__(self: Any, *args: Any, config_name: str | None = None, **kwargs: Any) -> None:
        ClimbBuilder.__init__(self, *args, config_name=config_name or name, **kwargs)

    return __init__
