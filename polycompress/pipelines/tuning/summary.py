"""Several seeds of one fine-tuning in a few numbers, those that learnt nothing among them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from polycompress.evaluation.metrics.averages import COLLAPSE_MARGIN, over_seeds
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.pipelines.tuning.config import DEV_SCORE

logger = logging.getLogger(__name__)

SUMMARY: Final = "summary.json"
SCHEMA: Final = 1
_NOTHING_BY_CHANCE: Final = ("entity-f1", "squad-f1")
"""Metrics of which guessing gives next to nothing, whether a task says so or not."""
_OF_A_SEED: Final = (DEV_SCORE, "dev_loss", "best_step", "steps", "stopped_early", "seconds")


def summarise(task: TaskSpec, figures: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Put seeds together, and warn of those that ended where guessing does.

    Args:
        task: Which.
        figures: Of each seed, as its manifest has them.
    """
    scores = {
        seed: float(found[DEV_SCORE]) for seed, found in figures.items() if found.get(DEV_SCORE) is not None
    }
    chance = 0.0 if task.chance is None and task.metric in _NOTHING_BY_CHANCE else task.chance
    spread = over_seeds(list(scores.values()), chance=chance).as_dict() if scores else None
    lost = [
        seed for seed, score in scores.items() if chance is not None and score <= chance + COLLAPSE_MARGIN
    ]
    if lost:
        logger.warning(
            "seed %s collapsed: its development score is that of guessing (%.3g). Lower the learning rate, lengthen "
            "the warm-up, or leave it out",
            ", ".join(map(str, lost)),
            chance,
        )
    return {
        "schema": SCHEMA,
        "kind": "fine-tuning",
        "task": task.id,
        "metric": task.metric,
        "chance": chance,
        "seeds": [
            {"seed": seed, **{name: found.get(name) for name in _OF_A_SEED}, "collapsed": seed in lost}
            for seed, found in figures.items()
        ],
        "dev": spread,
    }


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write it as JSON, whole or not at all.

    Raises:
        StorageError: The disk refused.
    """
    try:
        with atomic_file(path, "w") as file:
            json.dump(summary, file, indent=1, ensure_ascii=False)
            file.write("\n")
    except OSError as error:
        raise storage_error(error, path) from error
