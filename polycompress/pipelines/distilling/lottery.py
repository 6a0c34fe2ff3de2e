"""Lottery-ticket sparse fine-tuning: train everything, keep the places that moved furthest, begin again with these.

Reference: Ansell, Ponti, Korhonen and Vulic, "Composable Sparse Fine-Tuning for Cross-Lingual Transfer" (ACL 2022),
section 3.1.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file
from polycompress.modeldir.leftovers import remove
from polycompress.pipelines.distilling.task_parts import SparseMaker, base_names, base_norms, copy_of
from polycompress.pipelines.tuning.config import FinetuneConfig, TrainingPlan
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.pipelines.tuning.parts import seeded
from polycompress.pipelines.tuning.run import Tuning, tune
from polycompress.training.devices import Devices
from polycompress.training.metrics import Record
from polycompress.training.run_files import SNAPSHOTS
from polycompress.training.runs import begun_run
from polycompress.training.sparse_tuning import select
from polycompress.training.task_model import HeadedModel

logger = logging.getLogger(__name__)

Mask = Mapping[str, NDArray[np.int64]]
FULL: Final = "full"
SPARSE: Final = "sparse"
MASK: Final = "mask.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseRun:
    """What a sparse tuning is asked for."""

    inputs: FinetuneInputs
    """Of the task."""
    load: Callable[[], HeadedModel]
    """Makes the model anew, the same each time, its head too."""
    config: FinetuneConfig
    """Of both trainings."""
    plan: TrainingPlan
    """What follows from it."""
    devices: Devices
    maker: SparseMaker
    """Puts loss and optimiser around a model; what it says of chosen weights does not count."""
    density: float
    """Share of the base model's weights that may move."""
    record: Mapping[str, Any]
    """For the runs' configuration and the manifest."""
    identity: Mapping[str, Any]
    """What decides the result."""
    progress: Callable[[Record], None] | None
    """Told each record of the logs."""
    tell: Callable[[str, int, int | None], None] | None
    """Told which training it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """What came of it."""

    loaded: HeadedModel
    """At its best state; only chosen weights and the head are other than they were."""
    mask: Mask
    """Flat places, by name."""
    full: Mapping[str, Any]
    """How the first training went."""
    sparse: Tuning


def tune_sparsely(run: SparseRun, out: Path) -> Ticket:
    """Both trainings; each is a run of its own in ``out``, and goes on where it was left.

    Args:
        run: What is asked for.
        out: Directory of the two runs.

    Raises:
        PolycompressError: See ``polycompress.training.loop.train``.
    """
    mask, figures = _kept(out / FULL)
    if mask is None:
        _say(run, "training all weights")
        mask, figures = _choose(run, run.load(), out / FULL)
    _say(run, "training the chosen weights")
    loaded = run.load()
    done = _train(run, loaded, mask, out / SPARSE)
    return Ticket(loaded=loaded, mask=mask, full=figures, sparse=done)


def _choose(run: SparseRun, loaded: HeadedModel, out: Path) -> tuple[Mask, Mapping[str, Any]]:
    """Train all weights, and choose those that moved furthest."""
    model = loaded.model
    count, total = number_of_weights(model, run.density, freeze_norms=run.maker.freeze_norms)
    before = copy_of(model, free_names(model, freeze_norms=run.maker.freeze_norms))
    done = _train(run, loaded, None, out)
    after = done.optimiser.exported_state(model)
    mask = select(before, after, count)
    figures = {"weights": count, "of": total, **done.figures}
    if run.devices.is_main:
        with atomic_file(out / MASK) as file:
            file.write(save(dict(mask), metadata={"figures": json.dumps(figures)}))
        remove(out / SNAPSHOTS)
    run.devices.wait()
    return mask, figures


def free_names(model: Any, *, freeze_norms: bool) -> list[str]:
    """Parameters below the head that may be chosen from."""
    norms = set(base_norms(model)) if freeze_norms else set()
    return [name for name in base_names(model) if name not in norms]


def number_of_weights(model: Any, density: float, *, freeze_norms: bool) -> tuple[int, int]:
    """K, a share of all weights below the head, and how many these are.

    Args:
        model: With its head.
        density: Above 0, at most 1.
        freeze_norms: Whether norms may not be chosen.

    Raises:
        InputError: More are asked for than may be chosen.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total = sum(sizes[name] for name in base_names(model))
    free = sum(sizes[name] for name in free_names(model, freeze_norms=freeze_norms))
    count = max(1, round(density * total))
    if count > free:
        raise InputError(
            f"density is {density}: {count} of {total} weights, but without norms there are {free}. Give a lower "
            "density, or let norms change too (--tune-norms)."
        )
    return count, total


def _train(run: SparseRun, loaded: HeadedModel, chosen: Mask | None, out: Path) -> Tuning:
    """One of the two, from its beginning or from where it was left; None: all weights move."""
    identity = {**run.identity, "stage": out.name}
    with (
        begun_run(out, run.record, identity, run.devices, resume=out.exists()) as snapshot,
        seeded(run.config.seed * 1_000_003 + run.devices.rank),
    ):
        return tune(
            run.inputs,
            loaded,
            run.config,
            run.plan,
            out,
            run.devices,
            snapshot,
            identity=identity,
            progress=run.progress,
            make=dataclasses.replace(run.maker, chosen=chosen),
        )


def _say(run: SparseRun, what: str) -> None:
    if run.tell is not None:
        run.tell(what, 0, None)


def _kept(out: Path) -> tuple[Mask | None, Mapping[str, Any]]:
    """The mask of a first training that is finished."""
    path = out / MASK
    if not path.is_file():
        return None, {}
    try:
        with safe_open(path, framework="np") as file:
            mask = {name: file.get_tensor(name) for name in file.keys()}
            figures = json.loads((file.metadata() or {})["figures"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: is damaged ({error}). Remove {out}; its training is done again."
        ) from error
    return mask, figures
