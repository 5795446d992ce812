"""`climb-hf push`: a prepared config to the Hub, where plain `datasets` loads it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from climb_hf.cli import shared

if TYPE_CHECKING:
    from climb_hf.publish import Plan, Pushed


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "push",
        help="a prepared config to the Hub, where plain datasets loads it",
        description="Sends the shards of a config that `climb-hf build` prepared, reads them back "
        "and compares their sha256, then sends the card, and tags it. A push that was broken off "
        "goes on where it was when the same command is given again; another config pushed to the "
        "same name joins the first. The token is that of `hf auth login`, or HF_TOKEN.",
        epilog="example: climb-hf push ORG/climb --config ecg --data-dir prepared --dry-run",
    )
    command.add_argument("repo", metavar="ORG/NAME", help="of the data set on the Hub")
    command.add_argument("--config", required=True, help="of the prepared folder, such as ecg")
    command.add_argument("--data-dir", help="the prepared folder (or CLIMB_HOME)")
    command.add_argument(
        "--private", action="store_true", help="make it private, and refuse a public one"
    )
    command.add_argument(
        "--acknowledge-licence",
        nargs="+",
        action="extend",
        default=[],
        metavar="SOURCE",
        help="push this source although its licence forbids to share it; only with --private",
    )
    command.add_argument("--tag", help="of what is pushed (default: config and digest of its rows)")
    command.add_argument(
        "--check",
        default="load",
        help="load (default) reads each shard back, tree takes the Hub's word for its sha256",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="show what would be sent and what refused, and stop"
    )
    shared.add_json(command)
    command.set_defaults(run=_push)


def _push(known: argparse.Namespace) -> int:
    from climb_hf.publish import plan_push, push

    plan = plan_push(
        known.repo,
        known.config,
        known.data_dir,
        private=known.private,
        acknowledged=known.acknowledge_licence,
        tag=known.tag,
    )
    if known.dry_run:
        shared.show(_facts(plan)) if known.json else _show_plan(plan)
        return int(bool(plan.refused))
    done = push(plan, check=known.check)
    if known.json:
        shared.show({**_facts(plan), **_outcome(done)})
    else:
        _show_outcome(done)
    return 0


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "repo": plan.repo,
        "config": plan.config,
        "private": plan.private,
        "tag": plan.tag,
        "bytes": plan.n_bytes,
        "files": {shard.path: shard.n_bytes for shard in plan.shards},
        "closed": dict(plan.closed),
        "refused": list(plan.refused),
        "notes": list(plan.notes),
    }


def _outcome(done: Pushed) -> dict[str, Any]:
    names = ("sent", "kept", "removed", "configs")
    return {**{name: list(getattr(done, name)) for name in names}, "commit": done.commit}


def _show_plan(plan: Plan) -> None:
    rows = [("FILE", "ROWS", "BYTES")]
    rows += [(one.path, f"{one.rows:,}", f"{one.n_bytes:,}") for one in plan.shards]
    rows += [("climb.json", "-", "-"), ("README.md", "-", "-")]
    shared.table(rows)
    where = "private data set" if plan.private else "data set"
    print(f"\n{len(plan.shards)} shards, {plan.n_bytes:,} bytes, to the {where} {plan.repo}")
    print(f"tag     {plan.tag}")
    for note in plan.notes:
        print(f"note    {note}")
    for why in plan.refused:
        print(f"refused {why}")
    print("nothing was sent (--dry-run)")


def _show_outcome(done: Pushed) -> None:
    plan = done.plan
    for note in plan.notes:
        print(f"note    {note}")
    print(f"shards  {len(done.sent)} sent, {len(done.kept)} there before")
    if done.removed:
        print(f"removed {len(done.removed)} shards of an earlier build")
    print(f"configs {', '.join(done.configs)}")
    print(f"tag     {plan.tag}")
    print("\npushed; load it with")
    print(f'  datasets.load_dataset("{plan.repo}", "{plan.config}")')
