"""Whether a stage keeps what its teacher says, and where; and what cannot be kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from polycompress.modeldir.paths import user_path
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.recipe_settings import Kind, Settings
from polycompress.pipelines.distilling.recipe_table import Located
from polycompress.training.distilling import Weighted

KEPT: Final = "kept"
"""Directory in a stage's run."""


def read_keep(table: Located, kind: Kind, settings: Settings, teachers: int) -> Path | bool:
    """A directory, True (in the run) or False; what is wrong becomes faults of the table.

    Args:
        table: The stage.
        kind: Of the stage.
        settings: Of its training.
        teachers: How many it has.
    """
    given = table.value("keep")
    if given is None or given is False:
        return False
    if given is not True and not (isinstance(given, str) and given.strip()):
        table.fault(
            f"keep is {str(given)[:60]!r}: give true, to keep what the teacher says in the run, or a directory"
        )
        return False
    if kind != "distil" or not teachers:
        table.fault("keep is given, but there is no teacher in this stage: leave it out")
    elif teachers > 1:
        table.fault(
            "keep is given, but what several teachers say is not kept: name one teacher, or leave it out"
        )
    elif isinstance(settings, TextConfig) and settings.masked:
        table.fault(
            "keep is given, but other tokens are masked each time that a text is seen: write masked: false, or leave "
            "it out"
        )
    if given is True:
        return True
    path = table.tried("keep", lambda: user_path(given))
    if path is None:
        return False
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir():
        table.fault(f"keep: {there} is a file: give a directory")
    return path


def read_top(table: Located, keep: Path | bool, data: str) -> int | None:
    """How many of the likeliest answers over a vocabulary are kept at each token; None where it is not said.

    Args:
        table: The stage.
        keep: What it keeps, if anything.
        data: Of the stage.
    """
    top = table.count("keep_top")
    if top is not None and (keep is False or data != "text"):
        table.fault("keep_top is given, but no answers over a vocabulary are kept: leave it out")
        return None
    return top


def check_keep(
    table: Located,
    keep: Path | bool,
    top: int | None,
    data: str,
    losses: Sequence[Weighted],
    classes: int,
) -> None:
    """Add a fault for objectives that ask what cannot be kept.

    Args:
        table: The stage.
        keep: What it keeps, if anything.
        top: Of answers over a vocabulary, how many at each token.
        data: Of the stage.
        losses: Made for its models.
        classes: Rows of the teacher's vocabulary.
    """
    needs = {each.name: each.objective.teacher_needs for each in losses if keep}
    maps = [name for name, need in needs.items() if need.queries | need.keys | need.values]
    if maps:
        table.fault(
            f"keep: {', '.join(maps)} asks for the teacher's queries, keys or values, which are not kept: leave it "
            "out, or leave out keep"
        )
    words = [name for name, need in needs.items() if need.logits]
    if data == "text" and words and top is None:
        table.fault(
            f"keep: {', '.join(words)} asks for answers over a vocabulary at each token, of which the likeliest alone "
            "can be kept: say how many (keep_top: 64), or leave out keep"
        )
    elif data == "text" and words and top is not None and top > classes:
        table.fault(f"keep_top is {top}, but the teacher answers with one of {classes}: give at most that")
    elif top is not None and not words:
        table.fault("keep_top is given, but no objective asks for answers over a vocabulary: leave it out")


def root_of(keep: Path | bool, out: Path) -> Path:
    """The directory of stores.

    Args:
        keep: As a stage has it; in the run where it names no directory.
        out: Its run.
    """
    return keep if isinstance(keep, Path) else out / KEPT
