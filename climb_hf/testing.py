"""The battery of checks for sources, for this package's tests and for yours.

Over the sources of the catalogue, or your own, in pytest:

    from climb_hf.testing import Subject, parametrize_sources

    @parametrize_sources(["my_source"])
    def test_source(source, check):
        check(Subject(catalog.get(source), "raw/files", truth=what_i_wrote))

On real files: `climb-hf check my_source.py --data-dir raw/files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from datasets.exceptions import DatasetsError

from climb_hf import catalog
from climb_hf.battery import CHECKS
from climb_hf.battery.registry import Check
from climb_hf.check import check_option
from climb_hf.errors import CheckFailedError, ClimbError
from climb_hf.subject import LIMIT, NotApplicable, Subject

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailedError",
    "NotApplicable",
    "Result",
    "Subject",
    "check_source",
    "parametrize_sources",
]


# What the code of a source may raise when something in it is wrong.
_RAISED = (
    ClimbError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Result:
    """What a check came to.

    Attributes:
        check: its name.
        outcome: `passed`, `failed` or `not applicable`.
        message: why not, or an empty string.
    """

    check: str
    outcome: str
    message: str = ""


def run_check(name: str, subject: Subject) -> Result:
    """Runs one check; a source that raises fails it, and the message says with what."""
    try:
        CHECKS[name](subject)
    except NotApplicable as reason:
        return Result(name, "not applicable", str(reason))
    except CheckFailedError as error:
        return Result(name, "failed", str(error))
    except (*_RAISED, DatasetsError) as error:
        cause = error.__cause__ or error  # `datasets` wraps what a reader raises
        return Result(name, "failed", f"it raised {type(cause).__name__}: {cause}")
    return Result(name, "passed")


def chosen(only: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the names of the checks to run: those of `only`, else all.

    Raises:
        OptionError: for a check that does not exist; the message names the nearest.
    """
    names = (name.replace(" ", "_") for name in only)
    return tuple(check_option("check", name, tuple(CHECKS)) for name in names) or tuple(CHECKS)


def check_source(
    name: str,
    data_dir: str,
    *,
    truth: Any = None,
    limit: int = LIMIT,
    only: Sequence[str] = (),
) -> Iterator[Result]:
    """Runs the battery over one source, check by check.

    Args:
        name: of a source of the catalogue.
        data_dir: folder with raw files of it.
        truth: what is known of the files, as `Subject` takes it.
        limit: so many records are opened; the index is read whole.
        only: names of the checks to run; all when empty.

    Yields:
        A result for each check, in order.

    Raises:
        OptionError: for a check that does not exist.
    """
    subject = Subject(catalog.get(name), data_dir, truth, limit)
    try:
        for check in chosen(only):
            yield run_check(check, subject)
    finally:
        subject.close()


def parametrize_sources(names: Iterable[str] | None = None) -> Any:
    """Returns a pytest mark that gives a test every (`source`, `check`) pair.

    Ids read `<source>-<check>`. `check` raises `CheckFailedError` when the source fails it, and
    pytest reports it as skipped, with the reason, where it does not apply.

    Args:
        names: of sources; all of the catalogue when None.
    """
    from climb_hf.optional import need

    pytest = need("pytest", extra="dev")

    def run(check: Check) -> Check:
        def checked(subject: Subject) -> None:
            try:
                check(subject)
            except NotApplicable as reason:
                pytest.skip(str(reason))

        return checked

    pairs = [
        pytest.param(source, run(check), id=f"{source}-{name}")
        for source in (catalog.sources() if names is None else names)
        for name, check in CHECKS.items()
    ]
    return pytest.mark.parametrize(("source", "check"), pairs)
