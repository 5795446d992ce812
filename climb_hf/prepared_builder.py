"""The `datasets` builder of a prepared folder: its Parquet files, with the decoded view.

`load_dataset("climb", "ecg", data_dir=<prepared folder>)` reaches it. Plain `datasets` needs none
of this: it reads the same rows by the folder's README.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.builder import Key
from datasets.packaged_modules.parquet.parquet import Parquet

from climb_hf import prepared
from climb_hf.builder import CACHE_NAME, WithView, bare_errors
from climb_hf.check import check_option
from climb_hf.collect import DATA_DIR_VARIABLE
from climb_hf.config import ClimbConfig, check_words
from climb_hf.dataset_card import config_features, config_info, content_digest
from climb_hf.errors import DataNotFoundError, PreparedFolderError

# Options of a raw folder's config that say what a row is, or what is done about bad records.
_ASKED = ("split_rule", "label_set", "length", "rate_hz", "variant", "options")
_ON_ERROR = ("on_error", "max_error_rate")
_OF_PARQUET = ("columns", "filters", "batch_size", "fragment_scan_options", "on_bad_files")


class PreparedBuilder(WithView, Parquet):
    """Loads a config of a prepared folder, eagerly or as a stream.

    Args:
        data_dir: the folder; None takes what `climb_hf.prepared.folder_meant` finds.
        config_name: of the folder, such as `ecg` or `ecg_qa`.
        task: `qa` makes `ecg` mean `ecg_qa`.
        decode: whether a series is shown as `Signal` (the stored struct otherwise).
        **kwargs: as `datasets.ArrowBasedBuilder`; `columns` and `filters` of its Parquet builder;
            and the options of `climb_hf.config.ClimbConfig`, which have to be those that the
            folder was built with. `on_error` was for the build and changes nothing here.

    Raises:
        PreparedFolderError: if the folder is unfinished, damaged or of another schema.
        ConfigNameError: if it has no such config.
        OptionError: if it was built with other options than those given.
    """

    def __init__(
        self,
        *args: Any,
        data_dir: str | None = None,
        config_name: str | None = None,
        task: str | None = None,
        decode: bool = True,
        **kwargs: Any,
    ) -> None:
        folder = prepared.folder_meant(data_dir)
        if folder is None:
            raise DataNotFoundError(
                f"{data_dir} is no prepared folder. Name one by data_dir, by {DATA_DIR_VARIABLE} "
                f"or by {prepared.HOME_VARIABLE}."
            )
        check_words(kwargs, _OF_PARQUET)
        manifest = prepared.open_folder(folder)
        name = prepared.config_named(folder, manifest, config_name, task)
        asked = {key: kwargs.pop(key) for key in (*_ASKED, *_ON_ERROR) if key in kwargs}
        _check_asked(folder, manifest, name, asked)
        prepared.check_shards(folder, manifest, name)
        self._decode = decode
        self._manifest = manifest
        self._whole = not kwargs.get("filters")  # then the number of rows is known
        held = manifest.shards(name)
        features = _features(manifest, name, kwargs)
        known = {
            "config_name": name,
            "data_files": {split: [str(folder / s.path) for s in held[split]] for split in held},
            "features": features,
            "columns": list(features),
            "hash": content_digest(manifest, name),
            "dataset_name": CACHE_NAME,
            "version": manifest.schema_version,
            "info": None,
        }
        super().__init__(*args, **{**kwargs, **known})

    def _info(self) -> datasets.DatasetInfo:
        info = config_info(self._manifest, self.config.name)
        info.features = super()._info().features
        if not self._whole:
            info.splits = None
        return info

    @datasets.utils.py_utils.classproperty
    @classmethod
    def builder_configs(cls) -> dict[str, datasets.BuilderConfig]:
        """The configs of CLIMB_HOME, for who lists them: another folder is known by instances."""
        folder = prepared.folder_meant(None)
        names = prepared.read_manifest(folder).configs if folder else ()
        return {name: cls.BUILDER_CONFIG_CLASS(name=name) for name in names}

    def _generate_tables(self, files: Any, **lists: Any) -> Iterator[tuple[Key, pa.Table]]:
        for index, file in enumerate(files):
            one = {name: [values[index]] for name, values in lists.items()}
            try:
                tables = super()._generate_tables(files=[file], **one)
                for batch, (_, table) in enumerate(tables):
                    yield Key(index, batch), table
            except (pa.ArrowException, OSError, ValueError) as error:
                raise PreparedFolderError(
                    f"{file} cannot be read as the config {self.config.name!r}: {error} Delete "
                    "that file and run the build again."
                ) from error

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        with bare_errors():
            super()._download_and_prepare(*args, **kwargs)
        self._save_reports(self._manifest.reports(self.config.name))


def _check_asked(
    folder: Path, manifest: prepared.Manifest, name: str, asked: Mapping[str, Any]
) -> None:
    given = {key: value for key, value in asked.items() if value is not None}
    plain = {key: value for key, value in given.items() if key != "options"}
    ClimbConfig(name=name, **plain).check()
    prepared.check_asked(folder, manifest, name, given)


def _features(
    manifest: prepared.Manifest, name: str, kwargs: Mapping[str, Any]
) -> datasets.Features:
    """The features to show: those of the config, of the columns that are asked for."""
    features = config_features(manifest.configs[name])
    columns = kwargs.get("columns") or list(features)
    for column in columns:
        check_option("columns", column, tuple(features))
    return datasets.Features({column: features[column] for column in columns})
