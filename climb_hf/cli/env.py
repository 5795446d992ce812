"""`climb-hf env`: versions, extras, devices and settings, for a bug report or a first look."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.cli import shared

DISTRIBUTION = "climb-hf"
PACKAGES = (
    "climb-hf",
    "datasets",
    "pyarrow",
    "numpy",
    "pillow",
    "wfdb",
    "scipy",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "matplotlib",
)
# Every environment variable that climb-hf reads, with what it means.
VARIABLES = {
    "CLIMB_DATA_DIR": "folder with raw files, where no data_dir is given",
    "CLIMB_HOME": "folder for prepared data",
    "CLIMB_HF_NO_HOOK": "1 leaves `datasets` as it is on import of climb_hf",
}


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "env",
        help="versions, extras, devices and settings",
        description="What a bug report needs. Tokens and other secrets are never read.",
    )
    shared.add_json(command)
    command.set_defaults(run=_env)


def _env(known: argparse.Namespace) -> int:
    facts = {
        "versions": _versions(),
        "extras": _extras(),
        "devices": _devices(),
        "hook": _hook(),
        "variables": {name: _without_secrets(os.environ.get(name)) for name in VARIABLES},
    }
    if known.json:
        shared.show(facts)
    else:
        _print(facts)
    return 0


def _versions() -> dict[str, str | None]:
    import platform

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, dict[str, Any]]:
    """extra -> what it lacks, and the line that installs it."""
    from importlib import metadata

    try:
        names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # run from a folder on the path, never installed
        return {}
    found = {}
    for name in names:
        lacking = list(dict.fromkeys(_lacking(name)))
        line = f"pip install 'climb-hf[{name}]'" if lacking else None
        found[name] = {"complete": not lacking, "lacking": lacking, "install": line}
    return found


def _lacking(extra: str) -> Iterator[str]:
    """Yields the requirements of an extra that are absent or too old; extras may name extras."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for text in metadata.requires(DISTRIBUTION) or []:
        wanted = Requirement(text)
        if wanted.marker is None or not wanted.marker.evaluate({"extra": extra}):
            continue
        if wanted.name == DISTRIBUTION:
            for inner in sorted(wanted.extras):
                yield from _lacking(inner)
            continue
        version = _version(wanted.name)
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            found = "not installed" if version is None else f"found {version}"
            yield f"{wanted.name}{wanted.specifier} ({found})"


def _devices() -> list[dict[str, Any]] | None:
    """The CUDA devices, or None where torch is not installed."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return []
    every = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return [{"name": one.name, "memory_bytes": one.total_memory} for one in every]


def _hook() -> dict[str, Any]:
    """Whether `load_dataset("climb")` reaches climb-hf with the `datasets` that is here."""
    from climb_hf import registration
    from climb_hf.errors import RegistrationError

    problem = None
    try:
        import datasets  # noqa: F401 - the hook is put in place once it is loaded
    except (ImportError, RegistrationError) as error:
        problem = str(error)
    if not registration.is_registered() and os.environ.get(registration.OFF_SWITCH):
        problem = f"{registration.OFF_SWITCH} is set; climb_hf.load_dataset does"
    return {"in_place": registration.is_registered(), "problem": problem}


def _without_secrets(value: str | None) -> str | None:
    """A setting without the name and password that an address may hold."""
    return None if value is None else re.sub(r"//[^/@\s]+@", "//***@", value)


def _print(facts: Mapping[str, Any]) -> None:
    shared.table(
        [("PACKAGE", "VERSION"), *((n, v or "not installed") for n, v in facts["versions"].items())]
    )
    rows = [("EXTRA", "STATE", "TO COMPLETE IT")]
    for name, extra in facts["extras"].items():
        state = "complete" if extra["complete"] else "lacks " + ", ".join(extra["lacking"])
        rows.append((name, state, extra["install"] or ""))
    if len(rows) > 1:
        print()
        shared.table(rows)
    print(f"\nCUDA devices: {_devices_line(facts['devices'])}")
    print(f"load_dataset('climb', ...): {_hook_line(facts['hook'])}")
    print()
    rows = [("VARIABLE", "VALUE", "MEANING")]
    values = facts["variables"]
    shared.table([*rows, *((n, values[n] or "not set", text) for n, text in VARIABLES.items())])


def _devices_line(devices: list[dict[str, Any]] | None) -> str:
    if devices is None:
        return "not known, torch is not installed"
    named = (f"{one['name']} ({one['memory_bytes'] / 2**30:.0f} GiB)" for one in devices)
    return ", ".join(named) or "none"


def _hook_line(hook: Mapping[str, Any]) -> str:
    return "reaches climb-hf" if hook["in_place"] else f"does not reach it: {hook['problem']}"
