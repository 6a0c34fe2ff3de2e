"""What is to be exported: found, checked and loaded, with its head and its texts' encoder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from polycompress.errors import InputError
from polycompress.evaluation.encoding import TaskEncoder
from polycompress.evaluation.model_settings import padding_id, text_length, uses_segments
from polycompress.evaluation.pooling import read_pooling
from polycompress.evaluation.pretrained import load_pretrained
from polycompress.evaluation.speed_models import Parameters, count_parameters
from polycompress.modeldir.axes_table import is_moe
from polycompress.modeldir.exported import GRAPH_FILE, is_exported
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.sources import resolve_model
from polycompress.own_models import model_class
from polycompress.pipelines.exporting.graph import STATES, Traced, outputs_of
from polycompress.pipelines.trimming.loading import architectures
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model

_LONGEST: Final = 512
"""Tokens of a text that is compared, where the model has room for more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportSource:
    """A model in memory, and what was read beside it."""

    files: SourceModel
    traced: Traced
    encoder: TaskEncoder
    segments: bool
    """Whether the graph takes ``token_type_ids``."""
    parameters: Parameters

    @property
    def model(self) -> Any:
        """Of transformers."""
        return self.traced.model

    @property
    def over_vocabulary(self) -> bool:
        """Whether each token's output is as wide as the vocabulary."""
        return type(self.model).__name__.endswith("ForMaskedLM")


def find_export_source(model: str | os.PathLike[str], out: Path, *, body: bool) -> SourceModel:
    """Find a model and refuse what no graph is made of, before anything is loaded.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]``.
        out: What will be written, which must not hold the model.
        body: Leave the head out.

    Raises:
        InputError: There is no such model, or it is none that can be exported; the message says what can.
    """
    root = resolve_model(model).path
    if is_exported(root):
        raise InputError(
            f"{root}: is exported already: it holds {GRAPH_FILE} and no weights. Give the model that it was made from."
        )
    found = find_source_model(model, out)
    _check_kind(found, body)
    return found


def load_export_source(files: SourceModel, *, body: bool) -> ExportSource:
    """Load the weights in fp32, on the processor.

    Args:
        files: What ``find_export_source`` found.
        body: Leave the head out.

    Raises:
        InputError: transformers cannot load it, or the checkpoint lacks parameters that outputs depend on.
    """
    root = files.path
    loader = transformers.AutoModel if body else _loader(files.config)
    with torch.random.fork_rng(devices=[]):
        model, lacking = load_pretrained(loader, root, torch.float32)
    outputs = outputs_of(type(model).__name__) or (STATES,)
    missing = sorted(name for name in lacking if outputs != (STATES,) or "pooler" not in name.split("."))
    if missing:
        raise InputError(
            f"{root}: the checkpoint lacks {len(missing)} parameters, such as {missing[0]}, so the graph would hold "
            "numbers drawn at random. Restore it, or give --body to leave the head out."
        )
    pooled = outputs == (STATES,) and safe_file(root, "modules.json").is_file()
    traced = Traced(model.eval(), outputs, read_pooling(root) if pooled else None).eval()
    length = text_length(model, None, _LONGEST, files.tokenizer_config)
    segments = uses_segments(model.config, files.tokenizer_config)
    encoder = TaskEncoder(files.tokenizer_json, max_length=length, use_type_ids=segments)
    encoder.pad_id = padding_id(model.config, encoder.tokenizer, files.tokenizer_config)
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = encoder.pad_id  # decoders look for the last token that is no padding
    return ExportSource(
        files=files,
        traced=traced,
        encoder=encoder,
        segments=segments,
        parameters=count_parameters(model, lacking),
    )


def _check_kind(files: SourceModel, body: bool) -> None:
    config, where = files.config, files.path / "config.json"
    name = next(iter(architectures(config)), None)
    if is_moe(str(config.get("model_type"))):
        raise InputError(
            f"{where}: the model has experts, and a graph cannot choose among them for each token. Take one family's "
            f"model out of it first: polycompress moe extract {files.source.spec} --family NAME --out DIR"
        )
    if config.get("is_encoder_decoder"):
        raise InputError(
            f"{where}: {name or 'the model'} is an encoder-decoder, which runs a step for each token it writes. "
            "Encoders are exported, with or without a head."
        )
    if not body and name is not None and outputs_of(name) is None:
        raise InputError(
            f"{where}: a {name} is not exported: known are encoders without a head, and heads for the classes of texts "
            "and of tokens, for answers, and for masked words. Give --body for the model without its head."
        )


def _loader(config: Mapping[str, Any]) -> Any:
    """The class that the configuration names; without a name, the plain model."""
    name = next(iter(architectures(config)), None)
    return (model_class(name, config) if name is not None else None) or transformers.AutoModel
