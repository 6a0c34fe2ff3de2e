"""What is said, and written out, where a run's loss or its weights are no longer finite."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

from polycompress.modeldir.atomic import atomic_file
from polycompress.training.errors import NonFiniteLossError
from polycompress.training.run_files import SNAPSHOTS
from polycompress.training.snapshots import newest_snapshot, snapshot_steps
from polycompress.training.step import BadBatches

FAILED: Final = "failed"
_ANOTHER_RUN: Final = (
    "Lower the learning rate, lengthen the warm-up or use fp32 (in a new run: this one goes on with its own options "
    "only)"
)


def written_out(
    out: Path, error: BadBatches, step: int, *, rank: int, locate: Callable[[int], str]
) -> NonFiniteLossError:
    """Write bad batches beside the run, and say where, and what there is to go on from.

    Args:
        out: The run's directory.
        error: With the batches.
        step: That failed, from 1.
        rank: Of this process.
        locate: Which text an id is, in words.
    """
    path = out / FAILED / f"step-{step}-process-{rank}.json"
    texts = [text_id for batch in error.batches for text_id in batch.text_ids]
    dump = [
        {"loss": str(loss) if not math.isfinite(loss) else loss, **batch.as_dict()}
        for batch, loss in zip(error.batches, error.losses, strict=True)
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, "w") as file:
            json.dump({"step": step, "texts": {i: locate(i) for i in texts}, "batches": dump}, file)
        where = f"written to {path}"
    except OSError as trouble:
        where = f"not written ({trouble})"
    return NonFiniteLossError(
        f"{error}; they are {where}. {_what_stays(out / SNAPSHOTS, step)} {_ANOTHER_RUN}, or look at the texts and at "
        "the model."
    )


def no_longer_finite(out: Path, place: str, step: int) -> NonFiniteLossError:
    """Say that a step left weights that are not saved.

    Args:
        out: The run's directory.
        place: Which tensor holds what is not finite.
        step: After which, from 1.
    """
    return NonFiniteLossError(
        f"step {step}: it left values in {place} that are not finite, so nothing was saved of it. "
        f"{_what_stays(out / SNAPSHOTS, None)} {_ANOTHER_RUN}."
    )


def _what_stays(root: Path, failed: int | None) -> str:
    """The snapshots there are; one whose very next step failed was never shown to be sound."""
    newest = newest_snapshot(root)
    if newest is None:
        return "There is no snapshot yet."
    if failed is None or newest.step < failed - 1:
        return f"The snapshot {newest.path} stays, and is the last good one."
    older = [f"step-{step}" for step in snapshot_steps(root) if step < newest.step]
    back = (
        f"To go back to {older[-1]}, remove it and use --resume (there {'are' if older[1:] else 'is'} "
        f"{', '.join(older)})."
        if older
        else "There is no older one to go back to."
    )
    return f"The snapshot {newest.path} stays, but no step succeeded from it: its weights may be ruined already. {back}"
