"""``polycompress students``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.bench import whole_numbers
from polycompress.cli.options import Corpus, Field, FirstSeed, Json, Model, Threads, codes_option, joined
from polycompress.errors import MissingExtraError

if TYPE_CHECKING:
    from polycompress.pipelines.distilling.search_request import RankedStudent, StudentsResult

Sizes = str | None


def students(
    model: Model,
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            metavar="SIZE",
            help="`20M` parameters, `60MB` of weights, or `15ms` for one text on this machine.",
        ),
    ],
    langs: Annotated[
        list[str],
        codes_option("--langs", help="Languages of the student, joined by commas. [default: English text]"),
    ] = [],  # noqa: B006
    corpus: Corpus = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Field = None,
    layers: Annotated[
        Sizes,
        typer.Option("--layers", metavar="N,...", help="[default: what divides the teacher's]"),
    ] = None,
    hidden: Annotated[
        Sizes,
        typer.Option("--hidden", metavar="N,...", help="[default: the teacher's, two thirds and half of it]"),
    ] = None,
    heads: Annotated[Sizes, typer.Option("--heads", metavar="N,...", help="[default: the teacher's]")] = None,
    feed_forward: Annotated[
        Sizes,
        typer.Option("--feed-forward", metavar="N,...", help="[default: in proportion to the hidden size]"),
    ] = None,
    tokens: Annotated[
        Sizes,
        typer.Option("--tokens", metavar="N,...", help="[default: what trimming keeps, and half of it]"),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Random students of each shape.")] = 3,
    seed: FirstSeed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Rank shapes of students that keep to a budget, without training any. Nothing is written.

    Students of random weights are compared with the teacher on a few texts: whether they tell tokens apart by like
    features (semantic) and find like texts alike (relation). Both scores are 0 at most. They were tested on networks
    for images alone; of four students of multilingual-e5-small, which we distilled, they put the best last, while the
    number of parameters told their order. --json tells both scores, heads and feed-forward widths as well.

    Examples:
        polycompress students demo --budget 20M

        polycompress students demo --budget 60MB --langs sw,en --corpus sw='swahili/*.txt' --seeds 5 --json
    """
    try:
        from polycompress.cli.determinism import use_threads
        from polycompress.pipelines.distilling.search_request import SearchSettings
        from polycompress.pipelines.students import students as run
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress students", "train") from error
    use_threads(threads)
    settings = SearchSettings(
        layers=_sizes("--layers", layers), hidden=_sizes("--hidden", hidden), heads=_sizes("--heads", heads),
        feed_forward=_sizes("--feed-forward", feed_forward), tokens=_sizes("--tokens", tokens), seeds=seeds, seed=seed,
    )  # fmt: skip
    with console.progress_bars() as progress:
        found = run(
            model,
            budget=budget,
            langs=joined(langs),
            corpus=corpus,
            field=field,
            settings=settings,
            progress=progress,
        )
    if json:
        console.print_json(found.as_dict())
    else:
        _show(found)


def _sizes(option: str, text: Sizes) -> tuple[int, ...]:
    return () if text is None else tuple(whole_numbers(option, text))


def _show(found: StudentsResult) -> None:
    timed = any(each.latency_ms is not None for each in found.students)
    console.print_facts(
        [_row(each, timed=timed) for each in found.students],
        f"{found.source}, within {found.budget}: {len(found.students)} of {found.considered} shapes",
        (
            "rank", "layers", "hidden", "tokens", "parameters", "weights", *(["latency"] if timed else []), "score",
        ),
    )  # fmt: skip
    for note in found.notes:
        console.print_line(f"note: {note}")


def _row(student: RankedStudent, *, timed: bool) -> tuple[str, ...]:
    shape = student.shape
    sizes = (shape.layers, shape.width.hidden, shape.tokens)
    return (
        str(student.rank),
        *(console.number(size) for size in sizes),
        console.millions(student.parameters),
        console.megabytes(student.bytes),
        *([f"{student.latency_ms:.1f} ms"] if timed and student.latency_ms is not None else []),
        f"{student.score.total:.4f}" + (f" ± {student.error:.4f}" if math.isfinite(student.error) else ""),
    )
