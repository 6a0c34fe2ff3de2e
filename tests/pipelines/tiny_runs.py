"""Runs on tiny models: the text they read, the weights they write, and how they are killed and taken up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file

from tests.tiny_models import TEXTS

T = TypeVar("T")


def write_corpora(root: Path, texts: Mapping[str, int]) -> list[str]:
    """So many different texts of each language, and how ``--corpus`` names them."""
    for code, number in texts.items():
        lines = [f"{TEXTS[(3 * index) % 16]} {code} {index}" for index in range(number)]
        (root / f"{code}.txt").write_text("\n".join(lines), encoding="utf-8")
    return [f"{code}={root / code}.txt" for code in texts]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Of a model directory."""
    found: dict[str, torch.Tensor] = load_file(path / "model.safetensors")
    return found


def equal(one: Path, other: Path) -> bool:
    """Whether two models have the same weights."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Killed(BaseException):
    """The process ends without a chance to save anything."""


def kill_at(steps: list[int]) -> Callable[[Mapping[str, Any]], None]:
    """A ``progress`` that ends the process at each of the steps, once; what it did is taken out of the list."""

    def progress(record: Mapping[str, Any]) -> None:
        if record["step"] in steps:
            steps.remove(record["step"])
            raise Killed

    return progress


def until_done(run: Callable[[], T]) -> T:
    """Take a run up as often as it is killed."""
    for _ in range(20):
        try:
            return run()
        except Killed:
            continue
    raise AssertionError("killed too often")
