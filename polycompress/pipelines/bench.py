"""Size, load time, memory and speed of models, side by side on this machine."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import torch

from polycompress.errors import InputError
from polycompress.evaluation.onnx_session import TimedGraph, open_timed_graph
from polycompress.evaluation.precision import choose_device
from polycompress.evaluation.provenance import machine, versions
from polycompress.evaluation.speed import (
    LOAD_TURNS,
    Precision,
    SpeedSettings,
    Timing,
    compare,
    plan_cells,
    size_ratios,
    take_turns,
    turns_of,
)
from polycompress.evaluation.speed_loading import Loading, measure_loading
from polycompress.evaluation.speed_models import TimedModel, has_bf16, load_timed_model
from polycompress.evaluation.speed_table import BENCH_KIND, BENCH_SCHEMA
from polycompress.modeldir.exported import stated_parameters
from polycompress.pipelines.judging.bench_models import BenchModel, check_graphs, find_bench_models

if TYPE_CHECKING:
    from polycompress.pipelines.trimming.gathering import Progress

_MEMORY: Final = ("peak_mib", "model_mib", "loaded_mib", "libraries_mib", "mapped_mib", "accelerator_mib")


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchResult:
    """What was measured of each model, and each against the first."""

    models: tuple[Mapping[str, Any], ...]
    """Of each its name, parameters, bytes, loading by precision, and timings."""
    ratios: Mapping[str, Any]
    """By what was measured, a number for each model; the first one's is 1."""
    settings: Mapping[str, Any]
    seconds: float
    command: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and the result file."""
        return {
            "schema": BENCH_SCHEMA,
            "kind": BENCH_KIND,
            "models": [dict(each) for each in self.models],
            "ratios": dict(self.ratios),
            "settings": dict(self.settings),
            "machine": machine(),
            "versions": versions(),
            "seconds": self.seconds,
            "date": datetime.now(UTC).date().isoformat(),
            "command": list(self.command),
        }


def bench(
    models: Sequence[str | os.PathLike[str]],
    *,
    batches: Sequence[int] = (1, 8, 32),
    lengths: Sequence[int] = (32, 128),
    precisions: Sequence[str] | None = None,
    rounds: int = 5,
    device: str = "auto",
    body: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> BenchResult:
    """Measure some models in turns.

    Load time and private memory are those of fresh processes, which take turns as well; that of a graph has onnxruntime
    in it and no torch. Latency (at batch 1) and tokens
    a second are those of one forward pass over random tokens, all models being in this process. Encoder-decoders get as
    many tokens on either side; of causal language models only the next token's logits are asked for.

    Args:
        models: Each a directory (of a model, a run or an exported graph), the word ``demo``, or
            ``owner/name[@revision]``; the others are compared with the first.
        batches: Texts of a batch.
        lengths: Tokens of each text.
        precisions: ``fp32``, ``bf16``, to which the weights are converted; None: the first, and the second where the
            device has it and no model is a graph.
        rounds: Turns of each size; ten times as many at batch 1.
        device: ``auto``, ``cpu`` or ``cuda``.
        body: Leave heads out.
        seed: Of the tokens.
        progress: Called as work goes on.
        command: For the record.

    Returns:
        What was found.

    Raises:
        InputError: A model cannot be found, loaded, or run at one of the sizes, or a setting is out of range.
    """
    begun = time.perf_counter()
    place = choose_device(device)
    found = find_bench_models(models)
    if precisions is None and any(each.exported for each in found):
        precisions = ("fp32",)
    settings = SpeedSettings(
        batches=tuple(batches), lengths=tuple(lengths), precisions=_precisions(precisions, place), rounds=rounds,
        body=body, seed=seed,
    )  # fmt: skip
    check_graphs(found, precisions=settings.precisions, device=place.type, body=body)
    tell = progress or (lambda label, amount, total: None)
    loadings = _load_in_turns(found, settings, device, tell)
    timings: list[list[Timing]] = [[] for _ in found]
    counts: list[Mapping[str, int | None]] = []
    for precision in settings.precisions:
        ready, counts = _load(found, settings, precision, place)
        for index, column in enumerate(_time(ready, settings, precision, tell)):
            timings[index] += column
        del ready
        gc.collect()
    described = tuple(
        _describe(model, parameters, loading, timing)
        for model, parameters, loading, timing in zip(found, counts, loadings, timings, strict=True)
    )
    return BenchResult(
        models=described,
        ratios=_ratios(described, timings, settings),
        settings={
            **asdict(settings),
            "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
        },
        seconds=time.perf_counter() - begun,
        command=tuple(command),
    )


def _load(
    models: Sequence[BenchModel], settings: SpeedSettings, precision: Precision, device: torch.device
) -> tuple[list[TimedModel | TimedGraph], list[Mapping[str, int | None]]]:
    """All models, ready to be timed, and how many parameters each has."""
    ready: list[TimedModel | TimedGraph] = []
    counts: list[Mapping[str, int | None]] = []
    for each in models:
        if each.exported:
            ready.append(open_timed_graph(each.path, threads=torch.get_num_threads()))
            counts.append(stated_parameters(each.path))
        else:
            model = load_timed_model(each.path, precision=precision, device=device, body=settings.body)
            ready.append(model)
            counts.append(model.parameters.as_dict())
    return ready, counts


def _precisions(asked: Sequence[str] | None, device: torch.device) -> tuple[Precision, ...]:
    if asked is None:
        return ("fp32", "bf16") if has_bf16(device) else ("fp32",)
    if "bf16" in asked and not has_bf16(device):
        raise InputError(
            f"precision is 'bf16', which this {'GPU' if device.type == 'cuda' else 'processor'} cannot compute in: its "
            "times would be those of an emulation. Leave --precision out, or give fp32."
        )
    return tuple(dict.fromkeys(asked))  # type: ignore[arg-type]  # SpeedSettings refuses other words


def _load_in_turns(
    models: Sequence[BenchModel],
    settings: SpeedSettings,
    device: str,
    tell: Callable[[str, int, int | None], None],
) -> list[dict[Precision, list[Loading]]]:
    """Load each model in fresh processes, several times where there are rounds for it."""
    turns = min(LOAD_TURNS, settings.rounds)
    total = turns * len(settings.precisions) * len(models)
    found: list[dict[Precision, list[Loading]]] = [{} for _ in models]
    for _ in range(turns):
        for precision in settings.precisions:
            for model, loadings in zip(models, found, strict=True):
                loading = measure_loading(
                    model.path, precision=precision, device=device, threads=torch.get_num_threads(),
                    batch=max(settings.batches), length=max(settings.lengths), body=settings.body,
                )  # fmt: skip
                loadings.setdefault(precision, []).append(loading)
                tell("loading in fresh processes", 1, total)
    return found


def _time(
    models: Sequence[TimedModel | TimedGraph],
    settings: SpeedSettings,
    precision: Precision,
    tell: Callable[[str, int, int | None], None],
) -> Iterator[list[Timing]]:
    """Time each size in turns: the timings of each model."""
    cells = plan_cells(settings, precision)
    columns: list[list[Timing]] = [[] for _ in models]
    for cell in cells:
        forwards = [model.forward(cell.batch, cell.length, settings.seed) for model in models]
        taken = take_turns(forwards, turns_of(cell, settings), warm_up=2)
        for column, seconds in zip(columns, taken, strict=True):
            column.append(Timing(cell, seconds))
        tell("timing in turns", 1, len(cells) * len(settings.precisions))
    yield from columns


def _describe(
    model: BenchModel,
    parameters: Mapping[str, int | None],
    loadings: Mapping[Precision, Sequence[Loading]],
    timings: Sequence[Timing],
) -> dict[str, Any]:
    return {
        **model.as_dict(),
        "parameters": dict(parameters),
        "loading": {precision: _median_loading(each) for precision, each in loadings.items()},
        "timings": [timing.as_dict() for timing in timings],
    }


def _median_loading(loadings: Sequence[Loading]) -> dict[str, Any]:
    """The median of each figure over the processes."""

    def middle(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    memories = [each.memory for each in loadings]
    return {
        "processes": len(loadings),
        "seconds": middle([each.seconds for each in loadings]),
        "model_seconds": middle([each.model_seconds for each in loadings]),
        "tokenizer_seconds": middle([each.tokenizer_seconds for each in loadings]),
        "libraries_seconds": middle([each.libraries_seconds for each in loadings]),
        "memory": {
            name: middle([getattr(memory, name) for memory in memories if memory is not None])
            for name in _MEMORY
        },
    }


def _ratios(
    models: Sequence[Mapping[str, Any]], timings: Sequence[Sequence[Timing]], settings: SpeedSettings
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "parameters": {
            name: size_ratios([each["parameters"] for each in models], name)
            for name in ("total", "embedding", "active")
        },
        "bytes": {name: size_ratios([each["bytes"] for each in models], name) for name in ("all", "weights")},
        "speed": compare(timings),
    }
    for precision in settings.precisions:
        loadings = [each["loading"][precision] for each in models]
        found[f"loading, {precision}"] = {
            "seconds": size_ratios(loadings, "seconds"),
            "peak_mib": size_ratios([each["memory"] for each in loadings], "peak_mib"),
            "model_mib": size_ratios([each["memory"] for each in loadings], "model_mib"),
        }
    return found
