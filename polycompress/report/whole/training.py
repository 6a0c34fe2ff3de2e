"""What a run's stages learnt: curves of every training in them, finished or at work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.errors import InputError
from polycompress.modeldir.paths import safe_path
from polycompress.pipelines.recipes.directory import WORK
from polycompress.report.run import RunReport, read_report
from polycompress.report.whole.reading import RunFound
from polycompress.training.metrics import METRICS_FILE
from polycompress.training.run_files import CONFIG

MAX_TRAININGS: Final = 100


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a stage."""

    name: str
    """The stage's, and where in its output it lies if not at the top."""
    report: RunReport


def trainings_of(run: RunFound) -> tuple[tuple[Training, ...], tuple[str, ...]]:
    """All trainings of a run, and what could not be read of them."""
    found: list[Training] = []
    notes: list[str] = []
    for name, folder in _folders(run):
        if len(found) == MAX_TRAININGS:
            notes.append(f"the first {MAX_TRAININGS} trainings are shown")
            break
        try:
            safe_path(run.root, folder.relative_to(run.root).as_posix())
            found.append(Training(name, read_report(folder)))
        except InputError as error:
            notes.append(f"left out: {error}")
    return tuple(found), tuple(notes)


def _folders(run: RunFound) -> Iterator[tuple[str, Path]]:
    """Directories of trainings: a stage's own, and up to two levels below it."""
    for stage in run.stages:
        is_at_work = not stage.is_finished and run.times is not None
        root = run.root / WORK / stage.name if is_at_work else stage.place
        if stage.is_finished or is_at_work:
            for pattern in ("", "*/", "*/*/"):
                for path in sorted(root.glob(f"{pattern}{METRICS_FILE}")):
                    if (path.parent / CONFIG).is_file():
                        below = path.parent.relative_to(root).as_posix()
                        name = stage.name if below == "." else f"{stage.name}, {below}"
                        yield f"{name} (at work)" if is_at_work else name, path.parent
