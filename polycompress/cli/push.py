"""``polycompress push``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json
from polycompress.modeldir.figures import size

if TYPE_CHECKING:
    from polycompress.pipelines.push import PushPlan


def push(
    model: Annotated[
        Path, typer.Argument(metavar="DIR", help="A model directory, or a finished training run.")
    ],
    repo: Annotated[str, typer.Option("--repo", metavar="OWNER/NAME", help="On the Hugging Face hub.")],
    yes: Annotated[bool, typer.Option("--yes", help="Send it. Without this the plan is printed.")] = False,
    private: Annotated[bool, typer.Option("--private", help="For its owner's eyes alone.")] = False,
    revision: Annotated[
        str, typer.Option("--revision", "--branch", metavar="NAME", help="Branch; made if it is not there.")
    ] = "main",
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="TEXT", help="Of the commit. [default: names the model]"),
    ] = None,
    json: Json = False,
) -> None:
    """Send a model and its card to the Hugging Face hub, in one commit.

    Without --yes the plan is printed: files, sizes, target, licence and base model as the card says; nothing is sent,
    and the network is not asked. What should not leave is refused by name: pickles, links out of the directory,
    snapshots and states of training, hidden files. Log in first with `hf auth login`, or set HF_TOKEN.

    Examples:
        polycompress push sw-ner --repo me/sw-ner

        polycompress push sw-ner --repo me/sw-ner --private --yes
    """
    from polycompress.pipelines.push import plan_push
    from polycompress.pipelines.push import push as send

    plan = plan_push(model, repo, revision=revision, private=private, message=message)
    if not json:
        _print_plan(plan)
    url = send(plan, bars=sys.stderr.isatty() and not json) if yes else None
    if json:
        console.print_json({**plan.as_dict(), "sent": yes, "url": url})
    else:
        console.print_line(f"sent: {url}" if yes else "Nothing was sent. Send it with --yes.")


def _print_plan(plan: PushPlan) -> None:
    rows = [(each.name, size(each.bytes)) for each in plan.files]
    console.print_facts([*rows, ("together", size(plan.bytes))], title=str(plan.folder))
    who = "private" if plan.private else "public"
    console.print_facts(
        [
            ("to", f"{plan.repo}, branch {plan.revision}, {who}"),
            ("licence", plan.licence),
            ("base model", plan.base_model),
            ("languages", ", ".join(plan.languages) or "unknown"),
            ("message", plan.message),
        ]
    )
