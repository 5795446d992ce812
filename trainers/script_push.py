"""What goes to the Hub from a training run: the files that load again, and nothing else.

`climb_hf.trainers.scripting` passes these names on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import ClimbError, OptionError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from climb_hf.trainers.scripting import ScriptArguments

logger = logging.getLogger(__name__)

RECORD = ".climb/run.json"  # of a run: the sources that it was trained on, and whose licence binds
BASE_SUFFIX = "-base"  # of the repository for a base model that is on no Hub yet
# Names of what models, adapters, processors and the scaler are saved in, and the card.
_KEPT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "*processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "climb_hf_needed.py",
    "drpo_state.json",
    "README.md",
)


def check_push(args: ScriptArguments, training_args: Any) -> None:
    """Checks, before a run, that its result may be pushed; it is then pushed once, at the end.

    TRL's pushes in between send the whole folder: pickled arguments with paths of this machine, and
    completions with the questions of the data.

    Raises:
        OptionError: if what was trained on the sources may not be published, or checkpoints were
            to be pushed.
    """
    from climb_hf import catalog

    if not training_args.push_to_hub:
        return
    cards = [catalog.get(name).card for name in catalog.check_config(args.dataset_name)]
    closed = [f"{one.name} ({one.licence.name})" for one in cards if not one.licence.share_derived]
    if closed and not training_args.hub_private_repo:
        raise OptionError(
            "push_to_hub: what was trained on these sources may not be published: "
            f"{', '.join(closed)}. Leave them out, or push with --hub_private_repo true."
        )
    strategy = str(getattr(training_args.hub_strategy, "value", training_args.hub_strategy))
    if strategy in ("checkpoint", "all_checkpoints"):
        raise OptionError(
            f"hub_strategy={strategy!r} pushes checkpoints, which hold pickles with paths of this "
            "machine and the questions of logged completions. Leave it out: model, processor, card "
            "and the scaler's state are pushed at the end; resume from output_dir."
        )
    if strategy != "end":
        training_args.hub_strategy = "end"


def keep_sources(folder: str | Path, sources: Sequence[str]) -> None:
    """Writes down, beside what a run saved, what it was trained on: `push` asks for it."""
    from climb_hf import catalog

    cards = [catalog.get(name).card for name in sources]
    facts = [
        {"name": one.name, "licence": one.licence.name, "may_share": one.licence.share_derived}
        for one in cards
    ]
    record = Path(folder) / RECORD
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"sources": facts}, indent=1), encoding="utf-8")


def _closed_sources(folder: Path) -> list[str]:
    """The sources of a run, with their licence, that what was trained on may not be shared of."""
    record = folder / RECORD
    if not record.is_file():
        logger.warning(
            "%s does not say what it was trained on: no licence was checked.", folder.name
        )
        return []
    facts = json.loads(record.read_text(encoding="utf-8"))["sources"]
    return [f"{one['name']} ({one['licence']})" for one in facts if not one["may_share"]]


def push(
    folder: str | Path,
    name: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
) -> str:
    """Pushes what a run saved, in one commit; returns the name it can be loaded by.

    Of an adapter whose base model is a folder beside it, that goes first, into a repository of its
    own, `<name>-base`, and the pushed adapter names it as its base.

    Args:
        folder: of the run. Checkpoints, logs, completions and `.climb` stay where they are.
        name: of the repository, `namespace/name`.
        private: whether repositories that are made are private; None takes the Hub's default.
        token: of the Hub; None takes the one that is logged in.
        revision: branch to push to; None is main.

    Raises:
        OptionError: if the licence of a source keeps what was trained on it private, and the
            repository is not.
        ClimbError: if the Hub refuses or cannot be reached; the folder stays as it is.
    """
    import httpx2  # a connection that breaks off is an error of its own, and no OSError
    from huggingface_hub import HfApi

    try:
        pushed = _push(Path(folder), name, HfApi(token=token), private, revision)
    except (
        OSError,
        RuntimeError,
        httpx2.HTTPError,
    ) as error:  # of the Hub, of the way to it, of one file's upload
        raise ClimbError(
            f"cannot push to {name!r}: {error}. Nothing is lost: all is in {folder}. Once the "
            "reason is gone, push it with climb_hf.trainers.scripting.push(folder, name); files "
            "that arrived are not sent again."
        ) from error
    logger.warning("Pushed to %s", pushed)
    return pushed


def _push(folder: Path, name: str, api: HfApi, private: bool | None, revision: str | None) -> str:
    from climb_hf import hub

    closed = _closed_sources(folder)
    if closed and not private:
        raise OptionError(
            f"{folder.name} was trained on sources of which nothing derived may be published: "
            f"{', '.join(closed)}. Push it with private=True."
        )
    name = _made(api, name, private, closed)
    changed: dict[str, bytes] = {}
    base = folder / hub.BASE_FOLDER
    if hub.is_adapter(folder) and (base / "config.json").is_file():
        base_name = f"{name}{BASE_SUFFIX}"
        _made(api, base_name, private, closed)
        told = f"---\nlicense: other\n---\n\nThe model that [{name}]({name}) was trained from.\n"
        _commit(api, base_name, base, {"README.md": told.encode()}, "Base model", None)
        changed[hub.ADAPTER_FILE] = _with_base(folder / hub.ADAPTER_FILE, base_name)
    _commit(api, name, folder, changed, "End of training", revision)
    return name


def _made(api: HfApi, name: str, private: bool | None, closed: Sequence[str]) -> str:
    """The full name of a repository that is there now, and private if it has to be."""
    made = api.create_repo(name, private=private, exist_ok=True).repo_id
    if closed and not api.model_info(made).private:  # one that was there stays as it was
        raise OptionError(
            f"{made} is public, and this model has to stay private by the licence of "
            f"{', '.join(closed)}. Make the repository private, or choose another name."
        )
    return made


def _with_base(path: Path, base: str) -> bytes:
    facts = json.loads(path.read_text(encoding="utf-8"))
    return json.dumps({**facts, "base_model_name_or_path": base}, indent=2).encode()


def _commit(
    api: HfApi,
    name: str,
    folder: Path,
    changed: dict[str, bytes],
    message: str,
    revision: str | None,
) -> None:
    """Commits the files of a folder that are to be kept, some of them changed."""
    from huggingface_hub import CommitOperationAdd

    files: dict[str, Any] = {
        path.name: str(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and any(fnmatch(path.name, kept) for kept in _KEPT)
    }
    added = [CommitOperationAdd(path, content) for path, content in {**files, **changed}.items()]
    api.create_commit(name, added, commit_message=message, revision=revision)
