"""Load the model, make its parts, train, and write the result: the half of ``mlm`` that needs torch."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer

from polycompress.corpora import CorpusSpec
from polycompress.errors import InputError
from polycompress.pipelines.mlm import SAMPLED_ABOVE, MlmConfig, MlmInputs
from polycompress.pipelines.tuning.mlm_writing import write_final
from polycompress.pipelines.tuning.sinks import make_sinks
from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.examples import Examples
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Parts, TrainState, resume, train
from polycompress.training.masking import Objective, causal_lm, masked_lm
from polycompress.training.metrics import Record
from polycompress.training.mixing import LanguageMixer, Stage
from polycompress.training.model import (
    LoadedModel,
    first_position,
    keeps_texts_apart,
    load_language_model,
    longest_text,
)
from polycompress.training.objective import LanguageModelling, LanguageTask, Loss
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.rows import find_tables
from polycompress.training.runs import begun_run
from polycompress.training.snapshots import Snapshot, load_snapshot
from polycompress.training.step import no_gradient
from polycompress.training.tokenising import Cutting, prepare_examples

logger = logging.getLogger(__name__)

HELD_OUT_BATCHES: Final = 32
"""At most, of one evaluation."""
_HELD_OUT_SEED: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trained:
    """What is made once for a run."""

    loaded: LoadedModel
    objective: LanguageModelling
    task: LanguageTask
    optimiser: SplitAdamW
    generator: torch.Generator


def run_mlm(
    inputs: MlmInputs,
    config: MlmConfig,
    out: Path,
    *,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    resume: bool,
    tensorboard: bool,
    progress: Callable[[Record], None] | None,
    tell: Callable[[str, int, int | None], None] | None,
) -> dict[str, Any]:
    """Train, from the beginning or from the newest whole snapshot; the manifest of the result.

    Raises:
        PolycompressError: See ``mlm``.
    """
    assert config.training.precision != "auto"
    devices = Devices(precision=config.training.precision, parallel=config.parallel, device=config.device)
    with begun_run(out, record, identity, devices, resume=resume) as snapshot:
        return _train(
            inputs,
            config,
            out,
            devices,
            snapshot,
            record=record,
            identity=identity,
            tensorboard=tensorboard,
            progress=progress,
            tell=tell,
        )


def _train(
    inputs: MlmInputs,
    config: MlmConfig,
    out: Path,
    devices: Devices,
    snapshot: Snapshot | None,
    *,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    tensorboard: bool,
    progress: Callable[[Record], None] | None,
    tell: Callable[[str, int, int | None], None] | None,
) -> dict[str, Any]:
    if tell is not None:
        tell("loading the model", 0, None)
    loaded = load_language_model(inputs.model.path, inputs.model.config)
    check_model(loaded, config)
    trained = _make(loaded, config, devices)
    training, held_out = _examples(inputs, config, trained.objective, out, devices, tell)
    parts = Parts(
        task=trained.task,
        model=trained.objective.model,
        optimiser=trained.optimiser,
        data=_loader(training, inputs, config, trained.objective, devices),
        devices=devices,
        metrics=make_sinks(out, snapshot.step if snapshot else 0, progress, devices, tensorboard=tensorboard),
        out=out,
        identity=identity,
        generators={"negatives": trained.generator},
        evaluate=_evaluation(held_out, inputs, config, trained, devices) if held_out is not None else None,
        locate=training.locate,
    )
    try:
        state = _resumed(parts, load_snapshot(snapshot)) if snapshot is not None else TrainState()
        trained.task.module.train()
        state = train(parts, config.training, state)
    finally:
        parts.metrics.close()
    return write_final(
        inputs,
        loaded,
        trained.optimiser,
        out,
        devices=devices,
        record=record,
        settings=identity,
        figures={
            **_figures(trained.objective, state, parts),
            "precision": config.training.precision,
            "device": str(devices.device),
            "processes": devices.world_size,
        },
    )


def check_model(loaded: LoadedModel, config: MlmConfig) -> None:
    """Refuse settings that the model cannot follow.

    Raises:
        InputError: Texts are longer than its positions, or it cannot take packed rows.
    """
    limit = longest_text(loaded.model)
    if limit is not None and config.max_length > limit:
        raise InputError(
            f"max_length is {config.max_length}, but the model has positions for {limit} tokens: give at most {limit}."
        )
    if config.batching.packed_length is None:
        return
    name = type(loaded.model).__name__
    if not keeps_texts_apart(loaded.model, loaded.kind):
        raise InputError(
            f"{name} cannot keep texts apart that are packed into one row: leave out packing (--pack)."
        )
    if not keeps_texts_apart(loaded.model, loaded.kind, (config.max_length,)):
        raise InputError(
            f"{name} does not give texts of {config.max_length} tokens (max_length) in packed rows what it gives them "
            "alone, as where attention sees a window that is shorter: leave out packing (--pack), or cut the texts "
            "shorter (--max-length)."
        )


def choose_loss(loaded: LoadedModel, config: MlmConfig) -> Loss:
    """The loss that the settings ask for; ``auto`` samples where the table is large."""
    if config.loss != "auto":
        return config.loss
    return "sampled" if loaded.model.get_input_embeddings().num_embeddings > SAMPLED_ABOVE else "full"


def _make(loaded: LoadedModel, config: MlmConfig, devices: Devices) -> _Trained:
    objective = LanguageModelling(
        loaded.model, loaded.kind, choose_loss(loaded, config), or_full=config.loss == "auto"
    )
    blocks = [
        module
        for module in loaded.model.modules()
        if type(module).__name__ in set(getattr(loaded.model, "_no_split_modules", None) or ())
    ]
    module = devices.wrap(objective, find_tables(objective), blocks)
    settings = config.training.optimiser
    optimiser = SplitAdamW(
        param_groups(objective, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        second_moment=settings.second_moment,
    )
    generator = torch.Generator().manual_seed((config.training.seed * 1_000_003 + devices.rank) % 2**63)
    task = LanguageTask(
        objective, module, negatives=config.negatives, generator=generator, device=devices.device
    )
    return _Trained(loaded=loaded, objective=objective, task=task, optimiser=optimiser, generator=generator)


def _examples(
    inputs: MlmInputs,
    config: MlmConfig,
    objective: LanguageModelling,
    out: Path,
    devices: Devices,
    tell: Callable[[str, int, int | None], None] | None,
) -> tuple[Examples, Examples | None]:
    """Tokenised text to train on and to measure on; the main process makes it, the others find it."""
    end = None
    if objective.kind == "causal":
        end = inputs.model.token_id("eos_token")
    cutting = Cutting(max_length=config.max_length, end_id=end)

    def made(specs: tuple[CorpusSpec, ...], name: str) -> Examples:
        report = (lambda code, amount: tell(f"tokenising {code}", amount, None)) if tell is not None else None
        return prepare_examples(
            inputs.model.tokenizer_json,
            specs,
            out / "data" / name,
            cutting,
            reading=inputs.reading,
            table_rows=objective.vocabulary,
            progress=report,
        )

    if not devices.is_main:
        devices.wait()
    training = made(inputs.corpora, "training")
    held_out = made(inputs.held_out, "held-out") if inputs.held_out else None
    if devices.is_main:
        devices.wait()
    return training, held_out


def _loader(
    examples: Examples, inputs: MlmInputs, config: MlmConfig, objective: LanguageModelling, devices: Devices
) -> BatchLoader:
    settings = config.training
    budget = settings.steps * settings.accumulation * config.batching.token_budget * devices.world_size
    return BatchLoader(
        examples,
        LanguageMixer(examples, (Stage(config.mixing),), seed=settings.seed, budget=budget),
        config.batching,
        pad_id=inputs.model.pad_id,
        objective=_objective(inputs, config, objective.kind, settings.seed),
        first_position=first_position(objective.model),
        seed=settings.seed,
        rank=devices.rank,
        world_size=devices.world_size,
    )


def _objective(inputs: MlmInputs, config: MlmConfig, kind: str, seed: int) -> Objective:
    if kind == "causal":
        return causal_lm
    mask = inputs.model.tokenizer_config.get("mask_token")
    if not isinstance(mask, str):
        raise InputError(
            f"{inputs.model.path}: its tokenizer names no mask_token, which masked language modelling needs."
        )
    return masked_lm(Tokenizer.from_str(inputs.model.tokenizer_json), mask, config.masking, seed)


def _evaluation(
    examples: Examples, inputs: MlmInputs, config: MlmConfig, trained: _Trained, devices: Devices
) -> Callable[[], dict[str, float]]:
    """Measures the mean loss over held-out text; masks and negatives are the same every time."""
    generator = torch.Generator()
    task = LanguageTask(
        trained.objective,
        trained.task.module,
        negatives=config.negatives,
        generator=generator,
        device=devices.device,
    )

    def evaluate() -> dict[str, float]:
        generator.manual_seed(_HELD_OUT_SEED)
        loader = BatchLoader(
            examples,
            LanguageMixer(examples, max_epochs=1),
            config.batching,
            pad_id=inputs.model.pad_id,
            objective=_objective(inputs, config, trained.objective.kind, _HELD_OUT_SEED),
            first_position=first_position(trained.objective.model),
        )
        batches: list[Batch] = [
            batch for batch in itertools.islice(loader, HELD_OUT_BATCHES) if batch.labelled
        ]
        losses = [no_gradient(task, trained.optimiser, devices, batch) for batch in batches]
        weights = [batch.labelled for batch in batches]
        total = math.fsum(loss * weight for loss, weight in zip(losses, weights, strict=True))
        return {"held_out_loss": total / max(1, sum(weights))}

    return evaluate


def _resumed(parts: Parts, saved: Mapping[str, Any]) -> TrainState:
    state = resume(parts, saved)
    logger.info("%s: going on after step %d", parts.out, state.step)
    return state


def _figures(objective: LanguageModelling, state: TrainState, parts: Parts) -> dict[str, Any]:
    return {
        "kind": objective.kind,
        "loss": objective.loss,
        "sparse_table": objective.is_sparse,
        "tied": objective.is_tied,
        "steps": state.step,
        "tokens": state.tokens,
        "language_tokens": dict(parts.data.tokens),
        "seconds": state.seconds,
        **state.held_out,
    }
