"""``polycompress run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json
from polycompress.cli.training_command import training_needed

if TYPE_CHECKING:
    from polycompress.pipelines.recipes.planning import Planned


def run(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A recipe in YAML, or one that comes with the program: `swahili-ner`."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's directory. [default: runs/NAME]")
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Over what the recipe says: `data=DIR`, `stages.student.options.steps=500`. May be repeated.",
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check everything, show what is finished and what is to do, and stop."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Carry out a recipe: trim, distil, fine-tune, evaluate and so on, one after another, each fed by those before.

    DIR gets recipe.yaml, run.json (times and the machine, and nothing else has these), stages/1-NAME/ and so on, what
    each command writes, and stages/1-NAME.json, its key and its result. The same command again goes on: a stage whose
    settings and inputs are as they were is not repeated, one that was interrupted goes on from its last snapshot, one
    that changed runs again with all that use it.

    Examples:
        polycompress run swahili-ner --set data=DIR --dry-run

        polycompress run my-recipe.yaml --set stages.student.options.steps=500 --out runs/short
    """
    from polycompress.cli.recipe_commands import recipe_command
    from polycompress.cli.run_view import show_plan, show_run
    from polycompress.pipelines.run import run_recipe

    def tell(planned: Planned, what: str) -> None:
        if what == "begins" and planned.stage.kind.computes:
            with training_needed(
                "run", seed=0
            ):  # the same whether a stage before ran in this process or another
                pass
        if not json and what == "begins":
            console.print_line(
                f"stage {planned.stage.number}, {planned.stage.name}: {planned.stage.command.name} ({planned.why})"
            )

    result = run_recipe(recipe, recipe_command, out=out, settings=settings, dry_run=dry_run, tell=tell)
    if json:
        console.print_json(result.as_dict())
    elif result.stages is None:
        show_plan(result.plan)
    else:
        show_run(result.plan, result.stages)
