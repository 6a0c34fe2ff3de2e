"""Where the runs of a fine-tuning lie: one seed in the directory itself, several in one of their own each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from polycompress.errors import InputError
from polycompress.modeldir.leftovers import remove
from polycompress.pipelines.tuning.summary import SUMMARY
from polycompress.training.run_files import FINAL, SNAPSHOTS, check_run


def run_folders(out: Path, first: int, seeds: int) -> dict[int, Path]:
    """The run's directory of each seed."""
    if seeds == 1:
        return {first: out}
    return {seed: out / f"seed-{seed}" for seed in range(first, first + seeds)}


def check_folders(out: Path, runs: Mapping[int, Path], *, resume: bool) -> None:
    """Refuse a directory that the runs must not be started or taken up in.

    Raises:
        InputError: It holds something already and is not to be resumed, or something else.
    """
    if len(runs) == 1:
        check_run(out, resume=resume)
        return
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file. Give a directory for the runs.")
    names = (
        {entry.name for entry in out.iterdir() if not entry.name.startswith(".")} if out.exists() else set()
    )
    if names and not resume:
        raise InputError(
            f"{out}: already exists. Go on with the runs in it with --resume, or choose another directory."
        )
    if strange := sorted(name for name in names if name != SUMMARY and not name.startswith("seed-")):
        raise InputError(
            f"{out}: holds {strange[0]}, so it is no run of several seeds that could be resumed. Choose another "
            "directory."
        )
    for run in runs.values():
        check_run(run, resume=resume)


def unfinished(runs: Mapping[int, Path]) -> dict[int, Path]:
    """The runs that are not finished; of the others, snapshots that a kill in the last moment left are removed."""
    for run in runs.values():
        if (run / FINAL).is_dir() and (run / SNAPSHOTS).is_dir():
            remove(run / SNAPSHOTS)
    return {seed: run for seed, run in runs.items() if not (run / FINAL).is_dir()}
