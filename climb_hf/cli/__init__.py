"""`climb-hf list | info | download | verify | repair | stats | preview | check | build | push | train | eval | ask | card | env`.

Everything heavy is imported inside the command that needs it, so that help is instant.
"""  # noqa: E501 (one line, which a test compares with the help)

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from climb_hf._version import __version__
from climb_hf.cli import (
    ask,
    build,
    card,
    check,
    download,
    env,
    evaluate,
    listing,
    preview,
    push,
    stats,
    train,
)
from climb_hf.errors import ClimbError

# In the order of the help.
COMMANDS = (listing, download, stats, preview, check, build, push, train, evaluate, ask, card, env)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; an expected error is one readable line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    known, rest = parser.parse_known_args(arguments)
    if known.command is None:
        parser.print_help()
        return 2
    if rest and not getattr(known, "takes_rest", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    known.rest = rest
    try:
        status = known.run(known)
        sys.stdout.flush()
        return status
    except ClimbError as error:
        message = " ".join(str(error).split())
        print(f"climb-hf: {type(error).__name__}: {message}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("climb-hf: stopped", file=sys.stderr)
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="climb-hf", description="Clinical data sets of CLIMB, and DRPO training on them."
    )
    parser.add_argument("--version", action="version", version=f"climb-hf {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return parser
