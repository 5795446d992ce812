"""README.md of a prepared folder: the settings that plain `datasets` reads, and a card for people.

The file ends with a seal, a digest of either part, so that a change by hand is noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from climb_hf.card import Modality
from climb_hf.schema import COLUMNS_MEANING, features_for
from climb_hf.shards import Shard, stem

if TYPE_CHECKING:
    from datasets import DatasetInfo, Features

    from climb_hf.prepared import ConfigEntry, Manifest, SourceEntry

# Licence names of the Hub that sources of ours have; any other one is "other" there.
_HUB_LICENCES = ("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc0-1.0", "mit")
_SEAL = re.compile(r"^<!-- climb-hf build: settings (\w{16}), text (\w{16}) -->$", re.MULTILINE)


def readme(manifest: Manifest) -> str:
    """Returns the text of README.md; the same manifest gives the same text."""
    text = _template().substitute(
        settings=_settings(manifest).strip(),
        title=" and ".join(_titles(manifest)) if len(manifest.sources) < 3 else "Clinical data",
        summary=_summary(manifest),
        example=_example(manifest),
        configs=_configs(manifest),
        sources=_sources(manifest.sources.values()),
        sharing=_sharing(manifest.sources.values()),
        left_out=_left_out(manifest.sources.values()),
        columns=_columns(),
        built=_built(manifest),
        citations="\n".join(f"- {entry.citation}" for entry in manifest.sources.values()),
    )
    settings, body = _parts(text)
    return f"{text}\n<!-- climb-hf build: settings {_short(settings)}, text {_short(body)} -->\n"


def changed_parts(text: str) -> tuple[str, ...]:
    """Returns which parts of a README, `settings` and `text`, are not as a build wrote them."""
    text = text.replace("\r\n", "\n")
    seal = _SEAL.search(text)
    if seal is None:
        return ("settings", "text")
    settings, body = _parts(text[: seal.start()] + text[seal.end() :])
    found = (("settings", settings, seal[1]), ("text", body, seal[2]))
    return tuple(name for name, part, digest in found if _short(part) != digest)


def _parts(text: str) -> tuple[str, str]:
    """The settings between the first two lines of dashes, and the rest."""
    pieces = re.split(r"^---$", text, maxsplit=2, flags=re.MULTILINE)
    settings = pieces[1] if len(pieces) == 3 and not pieces[0].strip() else ""
    return settings.strip(), pieces[-1].strip()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _template() -> Template:
    return Template((files("climb_hf") / "templates" / "dataset_card.md").read_text("utf-8"))


# ---- settings -----------------------------------------------------------------------------------


def _settings(manifest: Manifest) -> str:
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        pretty_name="Clinical data sets, prepared by climb-hf",
        tags=["medical", "climb-hf", *sorted({e.modality for e in manifest.sources.values()})],
        **_licence(manifest),
    )
    configs = {name: _config_settings(manifest, name) for name in manifest.configs}
    infos = {name: config_info(manifest, name) for name in manifest.configs}
    MetadataConfigs(configs).to_dataset_card_data(data)
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return data.to_yaml()


def _licence(manifest: Manifest) -> dict[str, Any]:
    names = sorted({entry.licence for entry in manifest.sources.values()})
    if len(names) == 1 and names[0].lower() in _HUB_LICENCES:
        return {"license": names[0].lower()}
    slug = "-and-".join(re.sub(r"[^a-z0-9.]+", "-", name.lower()) for name in names)
    return {"license": "other", "license_name": slug}


def _config_settings(manifest: Manifest, name: str) -> dict[str, Any]:
    entry = manifest.configs[name]
    paths = {
        split: list(dict.fromkeys(_pattern(shard) for shard in shards))
        for split, shards in manifest.shards(name).items()
    }
    return {
        "data_files": [{"split": split, "path": found} for split, found in paths.items()],
        "columns": list(config_features(entry)),
        # `datasets` keys its cache by the settings alone, not by the files: so they tell of them.
        "description": f"sha256:{content_digest(manifest, name)}",
        "version": manifest.schema_version,
    }


def _pattern(shard: Shard) -> str:
    """The files of a source's split; the folder is of one build, so that no other file fits."""
    path = Path(shard.path)
    n_shards = path.stem.rsplit("-", 1)[1]
    return f"{path.parent.as_posix()}/{stem(shard.split, shard.asked)}-*-of-{n_shards}.parquet"


def content_digest(manifest: Manifest, name: str) -> str:
    """Returns a digest of all that a config shows."""
    entry = manifest.configs[name]
    held = [[s.sha256 for s in shards] for shards in manifest.shards(name).values()]
    facts = [list(entry.classes), list(entry.modalities), entry.task, held]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def config_features(entry: ConfigEntry) -> Features:
    """Returns the columns that a config shows."""
    modalities = [Modality(name) for name in entry.modalities]
    return features_for(modalities, entry.classes, entry.task)


def config_info(manifest: Manifest, name: str) -> DatasetInfo:
    """Returns the `DatasetInfo` of a config: features, and the rows of each split."""
    from datasets import DatasetInfo, SplitDict, SplitInfo

    entry = manifest.configs[name]
    members = [manifest.sources[source] for source in entry.sources]
    held = manifest.shards(name)
    splits = SplitDict()
    for split, shards in held.items():
        rows = sum(shard.rows for shard in shards)
        n_bytes = sum(shard.arrow_bytes for shard in shards)
        splits.add(SplitInfo(split, num_examples=rows, num_bytes=n_bytes))
    return DatasetInfo(
        description="; ".join(member.title for member in members),
        citation="\n".join(member.citation for member in members),
        homepage=" ".join(dict.fromkeys(member.homepage for member in members)),
        license=" ".join(dict.fromkeys(member.licence for member in members)),
        features=config_features(entry),
        splits=splits,
        download_size=sum(shard.n_bytes for shards in held.values() for shard in shards),
        dataset_size=sum(shard.arrow_bytes for shards in held.values() for shard in shards),
    )


# ---- for people ---------------------------------------------------------------------------------


def _titles(manifest: Manifest) -> list[str]:
    return [entry.title for entry in manifest.sources.values()]


def _summary(manifest: Manifest) -> str:
    rows = sum(shard.rows for entry in manifest.sources.values() for shard in entry.shards)
    size = sum(entry.n_bytes for entry in manifest.sources.values())
    listed = "; ".join(_titles(manifest))
    return f"{rows:,} records ({size / 1e6:,.1f} MB) of: {listed}. Prepared by climb-hf."


def _example(manifest: Manifest) -> str:
    """The config to show first: that of a modality where there is one."""
    modalities = {entry.modality for entry in manifest.sources.values()}
    return next((name for name in manifest.configs if name in modalities), "all")


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    def cells(line: Iterable[object]) -> str:
        shown = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in line)
        return f"| {' | '.join(shown)} |"

    return "\n".join([cells(head), f"|{'---|' * len(head)}", *map(cells, lines)])


def _configs(manifest: Manifest) -> str:
    lines = []
    for name, entry in manifest.configs.items():
        held = manifest.shards(name).items()
        rows = ", ".join(f"{split} {sum(s.rows for s in shards):,}" for split, shards in held)
        lines.append((f"`{name}`", ", ".join(entry.sources), rows))
    return _table(("config", "sources", "rows"), lines)


def _sources(entries: Iterable[SourceEntry]) -> str:
    lines = []
    for entry in entries:
        rows = f"{sum(shard.rows for shard in entry.shards):,}"
        linked = f"[{entry.title}]({entry.homepage})"
        lines.append((f"`{entry.name}`", linked, rows, entry.licence, entry.release))
    return _table(("source", "title", "records", "licence", "release of its card"), lines)


def _sharing(entries: Iterable[SourceEntry]) -> str:
    kept = [entry.name for entry in entries if not entry.may_share]
    if not kept:
        return "The licence of each source lets prepared data be passed on under its conditions."
    return f"**Not to be passed on**, by their licences: {', '.join(kept)}."


def _left_out(entries: Iterable[SourceEntry]) -> str:
    lines = []
    for entry in entries:
        faults = entry.report["faults"]
        kinds = {kind: sum(f["kind"] == kind for f in faults) for kind in ("damaged", "missing")}
        codes = ", ".join(sorted(entry.report["unknown_codes"])) or "none"
        lines.append((f"`{entry.name}`", kinds["damaged"], kinds["missing"], codes))
    head = ("source", "damaged records", "missing records", "codes in no table")
    return _table(head, lines) + "\n\nEach of them stands, with its reason, in `climb.json`."


def _columns() -> str:
    lines = ((f"`{name}`", meaning) for name, meaning in COLUMNS_MEANING.items())
    return _table(("column", "meaning"), lines)


def _built(manifest: Manifest) -> str:
    lines = [
        f"By climb-hf {manifest.package_version}, schema {manifest.schema_version}; "
        "`climb.json` holds the digest of every file."
    ]
    for entry in manifest.sources.values():
        asked: Mapping[str, Any] = {**entry.asked, **entry.asked["options"]}
        told = ", ".join(
            f"{key} {value}"
            for key, value in asked.items()
            if key != "options" and value is not None
        )
        lines.append(f"- `{entry.name}` (card {entry.card_version}): {told}")
    return "\n\n".join([lines[0], "\n".join(lines[1:])])
