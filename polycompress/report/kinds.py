"""Which page a directory gets: that of a recipe's run, of a training run, or of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from polycompress.errors import InputError
from polycompress.pipelines.recipes.directory import RECIPE
from polycompress.report.result_files import WANTED
from polycompress.report.results import write_results_report
from polycompress.report.run import write_report
from polycompress.report.whole.page import write_whole_report
from polycompress.report.whole.reading import is_recipe_run
from polycompress.training.run_files import CONFIG


class Report(Protocol):
    """What any page says."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""


def write_any_report(
    root: Path, page: Path | None = None, *, before: str | None = None
) -> tuple[Report, Path]:
    """Write the page of a directory.

    Args:
        root: A run of a recipe, a training run, or a directory of results.
        page: The file; by default ``report.html`` in the directory.
        before: Of a run of a recipe, the stage whose page it is; see ``read_recipe_run``.

    Returns:
        What the page says, and where it is.

    Raises:
        InputError: It is none of these, or damaged.
        StorageError: The disk refused.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such directory. {WANTED}")
    if is_recipe_run(root):
        return write_whole_report(root, page, before=before)
    if before is not None:
        raise InputError(
            f"--before {before[:60]!r}: {root} is no run of a recipe (there are no {RECIPE} and stages/). Leave it out."
        )
    if (root / CONFIG).exists():
        return write_report(root, page)
    return write_results_report(root, page)
