"""What the commands that train have alike: what they need, how they speak, and the settings of training on text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from polycompress.cli import console
from polycompress.errors import MissingExtraError


class Result(Protocol):
    """What a pipeline returns."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""


Some = TypeVar("Some", bound=Result)


@contextmanager
def training_needed(command: str, *, seed: int | None = None) -> Iterator[None]:
    """Around the import of what trains; then the process is seeded, if it is to be.

    Raises:
        MissingExtraError: torch or another package of the extra is not installed.
    """
    try:
        yield
        if seed is not None:
            from polycompress.cli.determinism import seed_process

            seed_process(seed)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"polycompress {command}", "train") from error


def speak(result: Some, show: Callable[[Some], None], *, json: bool) -> None:
    """Show a result, or print it as JSON; of several processes one speaks for all."""
    if os.environ.get("RANK", "0") != "0":
        return
    if json:
        console.print_json(result.as_dict())
    else:
        show(result)


def text_settings(
    *,
    steps: int,
    seed: int,
    precision: str,
    accumulation: int,
    log_every: int,
    warmup_steps: int | None,
    learning_rate: float,
    weight_decay: float,
    snapshot_every: int,
    batch_tokens: int,
    no_masking: bool,
    freeze_embeddings: bool,
    max_length: int,
    device: str,
) -> Mapping[str, Any]:
    """The options of a distillation on text as fields of ``TextConfig``."""
    return {
        "training": {
            "steps": steps,
            "seed": seed,
            "precision": precision,
            "accumulation": accumulation,
            "log_every": log_every,
            "schedule": {"kind": "linear", "warmup_steps": warmup_of(steps, warmup_steps)},
            "optimiser": {"learning_rate": learning_rate, "weight_decay": weight_decay},
            "snapshots": {"every_steps": snapshot_every},
        },
        "batching": {"token_budget": batch_tokens},
        "masked": not no_masking,
        "freeze_embeddings": freeze_embeddings,
        "max_length": max_length,
        "device": device,
    }


def warmup_of(steps: int, asked: int | None) -> int:
    """Steps of warming up: what was asked for, or a tenth, at most 1000."""
    return min(steps // 10, 1000) if asked is None else asked
