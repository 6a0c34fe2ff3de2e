"""Tiny models with experts, made out of tiny plain ones: in memory or on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from polycompress.modeldir.axes_table import moe_type
from polycompress.modeldir.directory import read_json
from polycompress.moe.config import MoeConfig
from polycompress.moe.places import plain_networks
from polycompress.moe.registering import register
from polycompress.own_models import register_for
from tests.tiny_models import HEADS, RECIPES, copy_tokenizer

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
PADDED: Final = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
"""An attention mask for ``IDS``."""
NO_DROPOUT: Final = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LANGUAGES: Final = {"deu-Latn": "A", "fra-Latn": "B", "ita-Latn": "B", "swh-Latn": "C"}
"""Their ids are 0 to 3."""


def settings(experts: int, top_k: int, **fields: Any) -> MoeConfig:
    """Families A, B and C, which have the first, the second and all other experts, as far as there are so many."""
    own = {"A": (0,), "B": (min(1, experts - 1),), "C": tuple(range(min(2, experts - 1), experts))}
    given = {"layers": (1,), "families": own, "languages": LANGUAGES, **fields}
    return MoeConfig(experts=experts, top_k=top_k, **given)


def upcycled(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    moe: MoeConfig,
    *,
    noise: float = 0.0,
    router: float = 1.0,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Tensors whose experts are copies of a plain model's networks, with noise of this standard deviation."""
    found, generator = dict(tensors), torch.Generator().manual_seed(seed)
    for network in plain_networks(config, found, moe.layers):
        for name, experts in zip(network.plain, network.experts, strict=True):
            plain = found.pop(name)
            copies = plain.expand(moe.experts, *plain.shape)
            found[experts] = copies + noise * torch.randn(copies.shape, generator=generator)
        found[network.router] = router * torch.randn(moe.experts, network.hidden, generator=generator)
    return found


def both(
    family: str, moe: MoeConfig, *, head: str | None = None, noise: float = 0.0, **options: Any
) -> tuple[Any, Any]:
    """A plain model and one with experts made out of it, for inference.

    Args:
        family: Of ``RECIPES``.
        moe: What the second one has.
        head: A key of ``HEADS``.
        noise: See ``upcycled``, as of ``router`` and ``seed``.
        options: These, or fields of the configuration.
    """
    drawn = {name: options.pop(name) for name in ("router", "seed") if name in options}
    fields = {**RECIPES[family].sizes, "vocab_size": 40, "pad_token_id": 1, **options}
    auto = getattr(transformers, HEADS[head or FAMILIES.get(family, "mlm")])
    torch.manual_seed(0)
    plain = auto.from_config(transformers.AutoConfig.for_model(family, **fields)).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
            else:
                parameter.add_(torch.randn(parameter.shape) * 0.2)
    register(family)
    config = transformers.AutoConfig.for_model(moe_type(family), moe=moe.as_dict(), **fields)
    model = auto.from_config(config).eval()
    tensors = upcycled(plain.config.to_dict(), plain.state_dict(), moe, noise=noise, **drawn)
    model.load_state_dict(tensors)
    return plain, model


def make_moe(plain: Path, directory: Path, moe: MoeConfig, **options: Any) -> Path:
    """Write a directory with experts out of a plain one's; options as of ``upcycled``."""
    config = read_json(plain, "config.json")
    assert config is not None
    tensors = upcycled(config, load_file(plain / "model.safetensors"), moe, **options)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config |= {"model_type": moe_type(config["model_type"]), "moe": moe.as_dict()}
    config["architectures"] = [f"Moe{name}" for name in config["architectures"]]
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    copy_tokenizer(plain, directory)
    return directory


def load(path: Path, head: str, **options: Any) -> Any:
    """A model of a directory, for inference; nothing may be missing or left over."""
    register_for(read_json(path, "config.json") or {})
    loader = getattr(transformers, HEADS[head])
    model, info = loader.from_pretrained(path, output_loading_info=True, **options)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0
    return model.eval()


def blocks(model: Any) -> list[Any]:
    """Routers and experts of a model, in order of its layers."""
    from polycompress.moe.layer import MoeBlock

    return [module for module in model.modules() if isinstance(module, MoeBlock)]


def gap(one: Tensor, other: Tensor, mask: Tensor | None = None) -> float:
    """The largest difference, of the larger one's share; of (B, n, ...) only where the mask is set."""
    if mask is not None and one.ndim == 3:
        one, other = one[mask != 0], other[mask != 0]
    return float((one - other).detach().abs().max() / other.detach().abs().max())
