"""The card of a trained model: what it is, what it was trained on and how, and what to expect."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from climb_hf.metrics.answers import as_markdown

ADAPTER_FILE = "adapter_config.json"
PACKAGES = ("climb-hf", "trl", "transformers", "peft", "accelerate", "datasets", "torch")
METHOD_CITATIONS = {
    "DRPOTrainer": """@article{dai2025qoqmed,
  title   = {{QoQ-Med}: Building Multimodal Clinical Foundation Models with Domain-Aware
             GRPO Training},
  author  = {Dai, Wei and Chen, Peilin and Ekbote, Chanakya and Liang, Paul Pu},
  journal = {arXiv preprint arXiv:2506.00711},
  year    = {2025}
}""",
}
METHODS = {
    "DRPOTrainer": "Domain-aware Relative Policy Optimisation (DRPO), introduced with "
    "[QoQ-Med](https://huggingface.co/papers/2506.00711) and implemented anew in climb-hf on top "
    "of TRL's GRPO",
    "SFTTrainer": "supervised fine-tuning on the answers only, with TRL",
}


def model_card(
    name: str,
    *,
    base_model: str | None,
    trainer: str,
    data: Iterable[Mapping[str, str]] = (),
    metrics: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    settings: Mapping[str, Any] | None = None,
    domains: Sequence[Mapping[str, Any]] = (),
    adapter: bool = False,
    series: bool = False,
    hub_id: str | None = None,
    tags: Iterable[str] = (),
) -> str:
    """Writes the card of a trained model.

    Args:
        name: of the model: its Hub id or the name of its folder.
        base_model: Hub id or folder of the model that was trained; of a folder only the name is
            shown.
        trainer: name of the trainer's class.
        data: one entry per source, with `name`, `licence` and, where known, `url` and `note`.
        metrics: tables by title, each the lines of `climb_hf.metrics.answers.evaluate_answers`.
        settings: what the run was told, worth showing.
        domains: one entry per domain of a DRPO run, with `domain`, `questions`, `reward` and
            `weight`; the last two are means over the run.
        adapter: whether the weights are a PEFT adapter.
        series: whether the model takes series.
        hub_id: under which name the model is on the Hub; None for a folder.
        tags: more tags for the Hub.
    """
    data = [dict(source) for source in data]
    base = _shown_base(base_model)
    template = Template((files("climb_hf") / "templates" / "model_card.md").read_text("utf-8"))
    return template.substitute(
        front_matter=_front_matter(base_model, trainer, adapter, tags),
        name=name,
        base=base,
        kind="a LoRA adapter" if adapter else "a model with all its weights",
        method=METHODS.get(trainer, trainer),
        data=_data_table(data),
        settings=_settings_table(settings or {}),
        domains=_domains_text(domains),
        quick_start=_quick_start(hub_id, series),
        metrics=_metrics_text(metrics or {}),
        versions="\n".join(f"- {package}: {found}" for package, found in versions().items()),
        method_citation=_citation(trainer),
    )


def write_model_card(folder: str | Path, **facts: Any) -> Path:
    """Writes `README.md` into `folder` from the facts that `model_card` takes.

    `name` defaults to the folder's name and `adapter` to whether the folder holds one.

    Returns:
        Path of the card.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"name": folder.resolve().name, "adapter": (folder / ADAPTER_FILE).is_file(), **facts}
    card = folder / "README.md"
    card.write_text(model_card(**facts), encoding="utf-8")
    return card


def versions() -> dict[str, str]:
    """Returns the installed version of each package that a result depends on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _front_matter(base_model: str | None, trainer: str, adapter: bool, tags: Iterable[str]) -> str:
    """The YAML head; JSON strings are YAML strings, so nothing can break out of a line."""
    method = trainer.removesuffix("Trainer").lower()
    lines = [
        "license: other",
        "license_name: see-data-sources",
        f"library_name: {'peft' if adapter else 'transformers'}",
        "pipeline_tag: image-text-to-text",
    ]
    if base_model and not _is_folder(base_model):
        lines.append(f"base_model: {json.dumps(base_model)}")
    every = dict.fromkeys(("climb-hf", "medical", "trl", method, *tags))
    return "\n".join([*lines, "tags:", *(f"- {json.dumps(tag)}" for tag in every)])


def _is_folder(name: str) -> bool:
    return Path(name).is_absolute() or Path(name).is_dir() or name.startswith(".")


def _shown_base(base_model: str | None) -> str:
    """How a card names the base: a link for a Hub id; paths of a person's disk are not shown."""
    if not base_model:
        return "a model built from a configuration"
    if _is_folder(base_model):
        return f"`{Path(base_model).resolve().name}` (a local folder)"
    return f"[{base_model}](https://huggingface.co/{base_model})"


def _quick_start(hub_id: str | None, series: bool) -> str:
    """Three lines that let the model answer."""
    loaded = hub_id or "path/to/this/folder"
    shown = "series=[signal]" if series else "images=[image]"
    what = "signal: a climb_hf.Signal" if series else "image: a PIL image"
    return (
        "from climb_hf.hub import answer, load_for_inference\n"
        f"model, processor = load_for_inference({json.dumps(loaded)})\n"
        f"print(answer(model, processor, question, {shown}))  # {what}"
    )


def _domains_text(domains: Sequence[Mapping[str, Any]]) -> str:
    if not domains:
        return ""
    lines = [
        "",
        "What the run asked of each domain; reward (on a scale from 0 to 1) and weight are means "
        "over the run.",
        "",
        "| domain | questions | mean reward | mean weight |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {_cell(one['domain'])} | {one['questions']:,} | {one['reward']:.3f} "
        f"| {one['weight']:.2f} |"
        for one in domains
    ]
    return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _data_table(data: Sequence[Mapping[str, str]]) -> str:
    if not data:
        return "The run did not name its data."
    lines = ["| source | licence | note |", "|---|---|---|"]
    for source in data:
        name = _cell(source["name"])
        linked = f"[{name}]({source['url']})" if source.get("url") else name
        licence = _cell(source.get("licence") or "not stated")
        lines.append(f"| {linked} | {licence} | {_cell(source.get('note') or '')} |")
    return "\n".join(lines)


def _settings_table(settings: Mapping[str, Any]) -> str:
    if not settings:
        return ""
    lines = ["", "| setting | value |", "|---|---|"]
    lines += [f"| {_cell(key)} | {_cell(_short(value))} |" for key, value in settings.items()]
    return "\n".join(lines)


def _short(value: Any) -> Any:
    """A float as people write it; all else as it is."""
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else value


def _metrics_text(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    if not metrics:
        return "This run was not evaluated."
    return "\n\n".join(f"### {title}\n\n{as_markdown(lines)}" for title, lines in metrics.items())


def _citation(trainer: str) -> str:
    if trainer not in METHOD_CITATIONS:
        return ""
    return f"The method:\n\n```bibtex\n{METHOD_CITATIONS[trainer]}\n```\n"
