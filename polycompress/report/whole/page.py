"""A run of a recipe as one page: what was made from what, how large, how good, how fast, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.figures import join, size
from polycompress.pipelines.recipes.kinds import KINDS
from polycompress.report.figures import Figure, Table
from polycompress.report.pages import PAGE, render_page, write_page
from polycompress.report.result_files import Model, Results, gather_results
from polycompress.report.results import ResultsReport, make_report, shown_scores
from polycompress.report.run import curve_figures
from polycompress.report.whole.languages import (
    certificate_table,
    coverage_table,
    fertility_table,
    language_name,
)
from polycompress.report.whole.lineage import lineage_figure
from polycompress.report.whole.models import SOURCE, MadeModel, model_table, models_of, size_figure
from polycompress.report.whole.provenance import (
    commands,
    hash_table,
    key_table,
    source_facts,
    version_facts,
)
from polycompress.report.whole.reading import RunFound, read_recipe_run
from polycompress.report.whole.routes import Experts, experts_of
from polycompress.report.whole.training import Training, trainings_of

_TEMPLATE: Final = "whole.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeReport:
    """What a page says."""

    name: str
    facts: tuple[tuple[str, str], ...]
    models: tuple[MadeModel, ...]
    """The recipe's own first."""
    lineage: Figure
    sizes: Figure | None
    size_table: Table
    languages: tuple[tuple[str, Table], ...]
    scores: ResultsReport
    trainings: tuple[Training, ...]
    experts: tuple[Experts, ...]
    source: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    hashes: Table | None
    keys: Table
    commands: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "facts": dict(self.facts),
            "models": [each.as_dict() for each in self.models],
            "scores": self.scores.as_dict(),
            "trainings": {each.name: each.report.as_dict() for each in self.trainings},
            "source": dict(self.source),
            "versions": dict(self.versions),
            "commands": dict(self.commands),
            "notes": list(self.notes),
        }


def read_whole_report(root: Path, *, before: str | None = None) -> WholeReport:
    """Gather what is to be said of a run of a recipe, finished or not.

    Args:
        root: Its directory.
        before: Only the stages before the one with this name, without times, as ``read_recipe_run`` says.

    Raises:
        InputError: Its recipe or its records are damaged. What else cannot be read is left out, and the notes say so.
    """
    try:
        run = read_recipe_run(root, before=before)
        results, faults = gather_results(_measured(run))
        models, unread = models_of(run, results.judged)
        trainings, unlearnt = trainings_of(run)
        experts, unseen = experts_of(run)
    except RecursionError as error:
        raise InputError(f"{root}: a file in it is nested too deeply to be one of a run.") from error
    scores = make_report(run.name, _renamed(results, run))
    tables = (
        ("Tokens a word", fertility_table(run)),
        ("Certificates", certificate_table(run)),
        ("What the vocabulary covers", coverage_table(run)),
    )
    return WholeReport(
        name=run.name,
        facts=_facts(run, models, scores),
        models=models,
        lineage=lineage_figure(run, models),
        sizes=size_figure(models),
        size_table=model_table(models),
        languages=tuple((title, found) for title, found in tables if found is not None),
        scores=scores,
        trainings=_called(trainings, run),
        experts=experts,
        source=tuple(source_facts(run, models)),
        versions=tuple(version_facts(run, results.versions)),
        hashes=hash_table(run),
        keys=key_table(run),
        commands=tuple(commands(run)),
        notes=(
            *run.notes,
            *(f"left out: {each}" for each in faults),
            *unread,
            *unlearnt,
            *unseen,
            *scores.notes,
        ),
    )


def render_whole(report: WholeReport) -> str:
    """The page. Whatever comes from files is escaped, and the page may load nothing.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return render_page(
        _TEMPLATE,
        report=report,
        scores=shown_scores(report.scores),
        trainings=[(each, curve_figures(each.report)) for each in report.trainings],
    )


def write_whole_report(
    root: Path, page: Path | None = None, *, before: str | None = None
) -> tuple[WholeReport, Path]:
    """Write the page of a run.

    Args:
        root: Its directory.
        page: The file; by default ``report.html`` in the run.
        before: As ``read_whole_report`` takes it.

    Returns:
        What the page says, and where it is.

    Raises:
        InputError: The run is damaged.
        StorageError: The disk refused.
    """
    report = read_whole_report(root, before=before)
    target = root / PAGE if page is None else page
    write_page(target, render_whole(report))
    return report, target


def _measured(run: RunFound) -> dict[str, Path]:
    """Outputs that hold results, by stage."""
    return {
        each.name: each.place
        for each in run.finished
        if each.do in KINDS and KINDS[each.do].leaves in ("results", "file")
    }


def _facts(
    run: RunFound, models: tuple[MadeModel, ...], scores: ResultsReport
) -> tuple[tuple[str, str], ...]:
    """What to see first: how far the run is, and its result, the model that was judged last or else made last."""
    judged = {each.name for each in scores.models}
    first, last = models[0], next((each for each in reversed(models) if each.name in judged), models[-1])
    facts = {
        "stages": f"{len(run.finished)} of {len(run.stages)} finished",
        "languages": join([language_name(each) for each in run.languages]) if run.languages else "",
        f"weights of {last.name}": f"{size(last.bytes)}{_share(last.bytes, first.bytes)}"
        if last.bytes
        else "",
        f"parameters of {last.name}": f"{last.parameters:,}{_share(last.parameters, first.parameters)}"
        if last.parameters
        else "",
    }
    for each in scores.heat_map.tasks if scores.heat_map is not None else ():
        means = {column.name: column.mean for column in each.columns}
        facts[f"{each.name}, mean of {last.name}"] = means.get(last.name, "")
    return tuple((name, value) for name, value in facts.items() if value)


def _share(value: int | None, first: int | None) -> str:
    return f", {value / first:.0%} of the model's" if value and first and value != first else ""


def _renamed(results: Results, run: RunFound) -> Results:
    """Results with models called as their stages are."""

    def called(path: str, name: str) -> str:
        stage = run.stage_at(path)
        return stage.name if stage is not None else SOURCE if path == run.model else name

    def renamed(model: Model) -> Model:
        return replace(model, name=called(model.path, model.name))

    names = {name: called(path, name) for each in results.rates for path, name in each.names.items()}
    judged = tuple(
        replace(each, model=renamed(each.model), teacher=called(each.teacher, each.teacher))
        for each in results.judged
    )
    speed = tuple(
        (title, tuple(replace(each, head=_heads(each.head, names)) for each in tables))
        for title, tables in results.speed
    )
    return replace(results, judged=judged, speed=speed)


def _called(trainings: tuple[Training, ...], run: RunFound) -> tuple[Training, ...]:
    """Trainings whose models are called as their stages are."""
    found = []
    for each in trainings:
        stage = run.stage_at(each.report.source)
        source = each.report.source if stage is None else stage.name
        found.append(replace(each, report=replace(each.report, source=source)))
    return tuple(found)


def _heads(head: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    return (*head[:1], *(names.get(each, each) for each in head[1:]))
