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
from polycompress.training.runs import open_run
from polycompress.training.sparse_tuning import select
from polycompress.training.task_model import HeadedModel

logger = logging.getLogger(__name__)

Mask = Mapping[str, NDArray[np.int64]]
FULL: Final = "full"
SPARSE: Final = "sparse"
MASK: Final = "mask.safetensors"


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


def tune_sparsely(
    inputs: FinetuneInputs,
    load: Callable[[], HeadedModel],
    config: FinetuneConfig,
    plan: TrainingPlan,
    out: Path,
    devices: Devices,
    maker: SparseMaker,
    density: float,
    *,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
    tell: Callable[[str, int, int | None], None] | None,
) -> Ticket:
    """Both trainings; each is a run of its own in ``out``, and goes on where it was left.

    Args:
        inputs: Of the task.
        load: Makes the model anew, the same each time, its head too.
        config: Of both trainings.
        plan: What follows from it.
        out: Directory of the two runs.
        devices: The processes.
        maker: Puts loss and optimiser around a model; what it says of chosen weights does not count.
        density: Share of the base model's weights that may move.
        record: For the runs.
        identity: What decides the result.
        progress: Told each record of the logs.
        tell: Told which training it is.

    Raises:
        PolycompressError: See ``polycompress.training.loop.train``.
    """
    mask, figures = _kept(out / FULL)
    if mask is None:
        if tell is not None:
            tell("training all weights", 0, None)
        mask, figures = _choose(
            inputs, load(), config, plan, out / FULL, devices, maker, density, record, identity, progress
        )
    if tell is not None:
        tell("training the chosen weights", 0, None)
    loaded = load()
    done = _train(
        inputs,
        loaded,
        config,
        plan,
        out / SPARSE,
        devices,
        dataclasses.replace(maker, chosen=mask),
        record,
        identity,
        progress,
    )
    return Ticket(loaded=loaded, mask=mask, full=figures, sparse=done)


def _choose(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    plan: TrainingPlan,
    out: Path,
    devices: Devices,
    maker: SparseMaker,
    density: float,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
) -> tuple[Mask, Mapping[str, Any]]:
    """Train all weights, and choose those that moved furthest."""
    model = loaded.model
    norms = set(base_norms(model)) if maker.freeze_norms else set()
    names = base_names(model)
    before = copy_of(model, [name for name in names if name not in norms])
    total = sum(dict(model.named_parameters())[name].numel() for name in names)
    count = number_of_weights(density, total, sum(tensor.numel() for tensor in before.values()))
    everything = dataclasses.replace(maker, chosen=None)
    done = _train(inputs, loaded, config, plan, out, devices, everything, record, identity, progress)
    after = done.optimiser.exported_state(model)
    mask = select(before, after, count)
    figures = {"weights": count, "of": total, **done.figures}
    if devices.is_main:
        with atomic_file(out / MASK) as file:
            file.write(save(dict(mask), metadata={"figures": json.dumps(figures)}))
        remove(out / SNAPSHOTS)
    devices.wait()
    return mask, figures


def number_of_weights(density: float, total: int, free: int) -> int:
    """K: a share of all weights of the base.

    Args:
        density: Above 0, at most 1.
        total: Weights of the base model.
        free: Those of them that may be chosen.

    Raises:
        InputError: More are asked for than may be chosen.
    """
    count = max(1, round(density * total))
    if count > free:
        raise InputError(
            f"density is {density}: {count} of {total} weights, but without norms there are {free}. Give a lower "
            "density, or train norms too."
        )
    return count


def _train(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    plan: TrainingPlan,
    out: Path,
    devices: Devices,
    maker: SparseMaker,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
) -> Tuning:
    """One run, from its beginning or from where it was left."""
    stage = {**identity, "stage": out.name}
    snapshot = open_run(out, record, stage, resume=out.exists())
    with seeded(config.seed * 1_000_003 + devices.rank):
        return tune(
            inputs,
            loaded,
            config,
            plan,
            out,
            devices,
            snapshot,
            identity=stage,
            progress=progress,
            make=maker,
        )


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
