"""Tiny models with experts on disk, made out of tiny plain ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

from polycompress.modeldir.axes_table import moe_type
from polycompress.modeldir.directory import read_json
from polycompress.moe.config import MoeConfig
from polycompress.moe.places import plain_networks
from polycompress.own_models import register_for
from tests.tiny_models import HEADS, copy_tokenizer, make_tiny

FAMILIES: Final = {
    "bert": "mlm",
    "xlm-roberta": "mlm",
    "roberta": "sequence",
    "llama": "clm",
    "qwen2": "clm",
    "qwen3": "clm",
}
"""A head for each of some families."""
IDS: Final = torch.tensor([[5, 6, 7, 8, 9, 10], [9, 10, 11, 12, 13, 14]])
LANGUAGES: Final = {"deu-Latn": "A", "fra-Latn": "B", "ita-Latn": "B", "swh-Latn": "C"}


def settings(experts: int, top_k: int, **fields: Any) -> MoeConfig:
    """Families A, B and C, which have the first, the second and all other experts, as far as there are so many."""
    own = {"A": (0,), "B": (min(1, experts - 1),), "C": tuple(range(min(2, experts - 1), experts))}
    given = {"layers": (1,), "families": own, "languages": LANGUAGES, **fields}
    return MoeConfig(experts=experts, top_k=top_k, **given)


def make_moe(
    plain: Path, directory: Path, config: MoeConfig, *, noise: float = 0.0, router: float = 1.0, seed: int = 0
) -> Path:
    """Write a directory whose experts are copies of a plain one's networks, with noise of this standard deviation."""
    generator = np.random.default_rng(seed)
    tensors, fields = load_file(plain / "model.safetensors"), read_json(plain, "config.json")
    assert fields is not None
    for network in plain_networks(fields, tensors, config.layers):
        for name, experts in zip(network.plain, network.experts, strict=True):
            copies = np.stack([tensors.pop(name)] * config.experts)
            tensors[experts] = (copies + noise * generator.normal(size=copies.shape)).astype(np.float32)
        shape = (config.experts, network.hidden)
        tensors[network.router] = (router * generator.normal(size=shape)).astype(np.float32)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    fields |= {"model_type": moe_type(fields["model_type"]), "moe": config.as_dict()}
    fields["architectures"] = [f"Moe{name}" for name in fields["architectures"]]
    (directory / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    copy_tokenizer(plain, directory)
    return directory


def make_both(
    family: str, root: Path, config: MoeConfig, *, head: str | None = None, layers: int = 2, **options: Any
) -> tuple[Any, Any]:
    """A plain model and one with experts made out of it, both loaded for inference."""
    chosen = head or FAMILIES[family]
    plain = make_tiny(family, chosen, root / "plain", num_hidden_layers=layers)
    moe = make_moe(plain, root / "moe", config, **options)
    return load(plain, chosen), load(moe, chosen)


def load(path: Path, head: str, **options: Any) -> Any:
    """A model of a directory, for inference; nothing may be missing or left over."""
    register_for(read_json(path, "config.json") or {})
    loader = getattr(transformers, HEADS[head])
    model, info = loader.from_pretrained(path, output_loading_info=True, **options)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0
    return model.eval()
