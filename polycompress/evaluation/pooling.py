"""From hidden states to one vector a text: as sentence-transformers' modules say, else their mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from polycompress.errors import InputError
from polycompress.modeldir.directory import read_bytes, read_json, safe_file
from polycompress.modeldir.paths import load_json
from polycompress.modeldir.sentence_modules import MODES, OLD_KEYS

_ACTIVATIONS: Final = {
    "Identity": torch.nn.Identity,
    "Tanh": torch.nn.Tanh,
    "ReLU": torch.nn.ReLU,
    "GELU": torch.nn.GELU,
    "Sigmoid": torch.nn.Sigmoid,
}


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A layer after pooling, as LaBSE has one."""

    weight: torch.Tensor
    """(d_out, d_in)"""
    bias: torch.Tensor | None
    activation: Any
    """A function of a tensor."""


@dataclass(frozen=True, slots=True, eq=False)
class Pooling:
    """How a text's vector is made of its tokens' last hidden states."""

    modes: tuple[str, ...] = ("mean",)
    """Of ``MODES``; the vectors of several are put side by side."""
    steps: tuple[Dense | None, ...] = ()
    """What follows: layers, and None for dividing by the length."""
    include_prompt: bool = True
    """Whether the tokens of a prompt count."""


def read_pooling(path: Path) -> Pooling:
    """What ``modules.json`` says; the mean where there is none.

    Args:
        path: The model directory.

    Raises:
        InputError: A module or a way of pooling that is not known, or a damaged file.
    """
    if not safe_file(path, "modules.json").is_file():
        return Pooling()
    found = Pooling()
    for kind, folder in _modules(path):
        if kind == "Pooling":
            found = _read_modes(path, folder)
        elif kind == "Normalize":
            found = Pooling(found.modes, (*found.steps, None), found.include_prompt)
        elif kind == "Dense":
            found = Pooling(found.modes, (*found.steps, _read_dense(path, folder)), found.include_prompt)
        elif kind != "Transformer":
            raise InputError(
                f"{path}/modules.json: the module {kind!r} is not known. Known are Transformer, Pooling, Dense and "
                "Normalize; without modules.json hidden states are averaged."
            )
    return found


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector for each row.

    Args:
        states: (B, L, d) last hidden states.
        mask: (B, L) 1 for tokens, 0 for padding, which is on the right; every row has a token.
        pooling: How.

    Returns:
        (B, e) float32.
    """
    states = states.float()
    vectors = torch.cat([_MODES[mode](states, mask) for mode in pooling.modes], dim=-1)
    for step in pooling.steps:
        if step is None:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        else:
            bias = None if step.bias is None else step.bias.to(vectors.device)
            vectors = step.activation(
                torch.nn.functional.linear(vectors, step.weight.to(vectors.device), bias)
            )
    return vectors


def _mean(states: torch.Tensor, mask: torch.Tensor, power: float = 1.0) -> torch.Tensor:
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).pow(power)


def _weighted_mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def _last(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1]


_MODES: Final = {
    "cls": lambda states, mask: states[:, 0],
    "max": lambda states, mask: states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).max(dim=1).values,
    "mean": _mean,
    "mean_sqrt_len_tokens": lambda states, mask: _mean(states, mask, 0.5),
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}


def _modules(path: Path) -> list[tuple[str, str]]:
    """Type and folder of each module, in their order."""
    where = path / "modules.json"
    modules = load_json(read_bytes(path, "modules.json"), where)
    found = []
    for module in modules if isinstance(modules, list) else [None]:
        kind = module.get("type") if isinstance(module, Mapping) else None
        folder = module.get("path", "") if isinstance(module, Mapping) else None
        if not isinstance(kind, str) or not isinstance(folder, str):
            raise InputError(
                f"{where}: must be a list of modules with 'path' and 'type' in text. Restore the file."
            )
        found.append((kind.rpartition(".")[2], folder))
    return found


def _settings(path: Path, folder: str) -> dict[str, Any]:
    return read_json(path, f"{folder}/config.json" if folder else "config.json") or {}


def _read_modes(path: Path, folder: str) -> Pooling:
    settings = _settings(path, folder)
    named = settings.get("pooling_mode")
    if named is None:
        asked = [mode for key, mode in OLD_KEYS.items() if settings.get(key)] or ["mean"]
    else:
        asked = [named] if isinstance(named, str) else list(named) if isinstance(named, list) else [named]
    unknown = [mode for mode in asked if mode not in MODES]
    if unknown:
        raise InputError(
            f"{path}/{folder}/config.json: pooling_mode {unknown[0]!r} is not known. Known are {', '.join(MODES)}."
        )
    return Pooling(tuple(asked), include_prompt=settings.get("include_prompt") is not False)


def _read_dense(path: Path, folder: str) -> Dense:
    settings = _settings(path, folder)
    name = str(settings.get("activation_function", "Tanh")).rpartition(".")[2]
    if name not in _ACTIVATIONS or settings.get("use_residual"):
        what = (
            "use_residual"
            if name in _ACTIVATIONS
            else f"activation_function {settings['activation_function']!r}"
        )
        raise InputError(
            f"{path}/{folder}/config.json: {what} is not known. Known activations are {', '.join(_ACTIVATIONS)}, "
            "without residual."
        )
    file = safe_file(path, f"{folder}/model.safetensors")
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{file}: cannot be read ({error}). Weights are read from safetensors only: save the model anew with "
            "SentenceTransformer(directory).save_pretrained(new_directory)."
        ) from error
    if "linear.weight" not in tensors:
        raise InputError(f"{file}: holds no 'linear.weight'. Restore the file.")
    bias = tensors.get("linear.bias")
    return Dense(
        tensors["linear.weight"].float(), None if bias is None else bias.float(), _ACTIVATIONS[name]()
    )
