"""`climb_hf.load_dataset`: the road to the builder that no private name of `datasets` guards."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from climb_hf import catalog
from climb_hf.check import check_option
from climb_hf.collect import Report, data_root, from_json, locate, not_found
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.rows import Request
from climb_hf.schema import Fault
from climb_hf.splits import check_split


def load_dataset(path: str = "climb", name: str | None = None, **kwargs: Any) -> Any:
    """Loads a config; the signature is that of `datasets.load_dataset`.

    Args:
        path: "climb", or anything else that `datasets.load_dataset` takes.
        name: the config: a source, a modality (`ecg`) or `all`.
        **kwargs: `data_dir`, `split`, `streaming`, `num_proc`, ... of `datasets`, the fields of
            `climb_hf.config.ClimbConfig` (`task`, `split_rule`, ...), and `decode=False` for
            stored series in place of `Signal`. `data_dir` is a folder with raw files, or one
            that `climb-hf build` prepared; of a prepared one `columns` and `filters` may be asked.

    Returns:
        A `Dataset` or `DatasetDict`, or their iterable kind with `streaming=True`.

    Raises:
        ConfigNameError, OptionError, DataNotFoundError, TooManyBadRecordsError: see there.
        PreparedFolderError: if a prepared folder is unfinished, damaged or of another schema.
    """
    import datasets

    from climb_hf import registration

    if path != registration.NAME:
        return datasets.load_dataset(path, name, **kwargs)
    return _from_builder(name, **kwargs)


def _from_builder(
    name: str | None,
    *,
    split: Any = None,
    streaming: bool = False,
    num_proc: int | None = None,
    download_mode: Any = None,
    download_config: Any = None,
    verification_mode: Any = None,
    keep_in_memory: bool = False,
    save_infos: bool = False,
    revision: Any = None,
    **builder_kwargs: Any,
) -> Any:
    builder = _builder_of(builder_kwargs.get("data_dir"))(config_name=name, **builder_kwargs)
    check_split(split)
    if streaming and num_proc is not None:
        raise OptionError(
            f"num_proc={num_proc!r} does not go with streaming=True: a stream is read where it is "
            "iterated. Give it to a torch DataLoader with num_workers for several processes."
        )
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(
        download_config=download_config,
        download_mode=download_mode,
        verification_mode=verification_mode,
        num_proc=num_proc,
    )
    return builder.as_dataset(split=split, in_memory=keep_in_memory)


def _builder_of(data_dir: Any) -> Any:
    """The builder class of raw files, or of the prepared folder that `data_dir` means."""
    from climb_hf.prepared import folder_meant

    if folder_meant(data_dir) is None:
        from climb_hf.builder import ClimbBuilder

        return ClimbBuilder
    from climb_hf.prepared_builder import PreparedBuilder

    return PreparedBuilder


def gene_list(source: str, platform: str, data_dir: Any = None) -> dict[str, str]:
    """Returns every gene of a platform, id -> name, as the raw tables of a source list them.

    Written into a file, or a part of it, it makes rows of one width: as `gene_file` of the
    source's options, with `genes_in_rows=False` without a list of genes in each row. Each table of
    the platform is read once.

    Args:
        source: one of gene expression.
        platform: as `meta["platform"]` of its rows says, such as GPL96; where there is no array,
            the species.
        data_dir: folder with the raw files; None takes CLIMB_DATA_DIR.

    Raises:
        OptionError: if the source has no rows of that platform; the message lists what there is.
        DataNotFoundError: if no file of the source is there.
    """
    from climb_hf.io import expression

    found, root = catalog.get(source), data_root(data_dir)
    tree = locate([found], root).get(source) if root else None
    if tree is None:
        raise not_found([found], root)
    options = found.card.check_options({"n_genes": 0})
    genes: dict[str, str] = {}
    tables: set[tuple[str, str]] = set()  # platform, and experiment whose samples share their genes
    for one in found.read(tree, Request(options=options).for_reader()):
        if isinstance(one, Fault):
            continue
        table = str(one.meta.get("platform")), one.recording or one.record
        if table[0] == platform and table not in tables:
            with suppress(CorruptFileError):  # a load tells which tables are damaged
                profile = expression.load(one.expression[0])
                for gene, name in zip(profile.genes, profile.names, strict=True):
                    genes.setdefault(gene, name)
        tables.add(table)
    if not genes:
        known = tuple(sorted({name for name, _ in tables}))
        check_option(f"platform of source {source!r}", platform, known)
    return genes


def load_report(dataset: Any) -> list[Report]:
    """Returns what was found, skipped and left out when a loaded `dataset` was prepared.

    Args:
        dataset: a `Dataset` or `DatasetDict` that came from a climb config.

    Returns:
        One report a source; empty when the data set came from elsewhere.
    """
    from climb_hf.builder import REPORT_FILE

    parts = dataset.values() if isinstance(dataset, dict) else [dataset]
    folders = {Path(file["filename"]).parent for part in parts for file in part.cache_files}
    found = [folder / REPORT_FILE for folder in sorted(folders)]
    return [
        report
        for file in found
        if file.is_file()
        for report in from_json(json.loads(file.read_text()))
    ]
