"""Models for tasks: loaded from a directory with the head that a task needs, beside their tokenizer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import torch
import transformers
from tokenizers import Tokenizer

from polycompress.errors import InputError
from polycompress.evaluation.encoding import TaskEncoder
from polycompress.evaluation.labels import label_columns
from polycompress.evaluation.model_settings import padding_id, read_prompt, text_length, uses_segments
from polycompress.evaluation.onnx_model import graph_settings, load_onnx_model
from polycompress.evaluation.pooling import Pooling, read_pooling
from polycompress.evaluation.precision import Precision, choose_device, choose_precision
from polycompress.evaluation.pretrained import load_pretrained
from polycompress.evaluation.records import Kind
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import read_bytes, read_json
from polycompress.modeldir.exported import is_exported
from polycompress.vocab.document import MAX_DOCUMENT_BYTES

EMBEDDING_KINDS: Final[tuple[Kind, ...]] = ("retrieval", "word-translation")
"""Kinds of tasks that need vectors and no head."""
DEFAULT_LENGTHS: Final[Mapping[Kind, int]] = {
    "pair-classification": 256,
    "text-classification": 256,
    "token-classification": 256,
    "question-answering": 384,
    "retrieval": 256,
    "word-translation": 32,
}
"""Tokens of a text at most, where the model has room for them."""
_HEADS: Final[Mapping[Kind, tuple[str, str, str]]] = {
    "pair-classification": ("ForSequenceClassification", "AutoModelForSequenceClassification", "xnli"),
    "text-classification": ("ForSequenceClassification", "AutoModelForSequenceClassification", "sib200"),
    "token-classification": ("ForTokenClassification", "AutoModelForTokenClassification", "ner-wikiann"),
    "question-answering": ("ForQuestionAnswering", "AutoModelForQuestionAnswering", "xquad"),
}
"""End of the class's name, loader, and a task that makes such a head."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TaskModel:
    """A model ready for a kind of task, and all that is needed to put examples through it."""

    model: Any
    """Of transformers, fp32 weights, on ``device``."""
    tokenizer: Tokenizer
    config: Mapping[str, Any]
    """``config.json``."""
    encoder: TaskEncoder
    labels: tuple[str, ...]
    """Of the task, in the order of the logits that ``forward`` gives; empty where there are none."""
    kind: Kind
    device: torch.device
    precision: Precision
    """What ``auto`` came to; goes into results."""
    columns: tuple[int, ...] | None = None
    """The head's column of each label, where its order is another."""
    pooling: Pooling = field(default_factory=Pooling)
    """Of embeddings."""
    prompt: str = ""
    """Put before every text that is embedded, as the directory's prompts say."""


def load_task_model(
    path: str | os.PathLike[str],
    kind: Kind,
    labels: Sequence[str] = (),
    *,
    device: str | torch.device = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    max_length: int | None = None,
    task: str | None = None,
) -> TaskModel:
    """Load a model directory, or an exported one, for a kind of task.

    Only safetensors are read, or the graph, and no code of the directory is run. Weights are fp32; ``precision`` is
    that of the computation. A graph runs on the processor, in its own precision.

    Args:
        path: The model directory.
        kind: Decides about the head; retrieval and word translation take the model without any.
        labels: Of the task. The head's may stand in another order.
        device: ``auto``: a GPU where there is one.
        precision: ``auto``: bf16 where the device multiplies in it.
        max_length: Tokens of a text at most; by default see ``DEFAULT_LENGTHS``.
        task: Its id, for messages.

    Raises:
        InputError: The directory cannot be loaded, has another head or other labels than the task needs, or
            ``max_length`` is more than it has positions for; or a graph is to run elsewhere or otherwise than it can.
    """
    root = Path(path)
    config = read_json(root, "config.json") or {}
    check_head(root, kind, task)
    if is_exported(root):
        device, precision = graph_settings(root, device, precision)
        model = load_onnx_model(root, *_graph_head(kind))
    else:
        model = _load(root, config, kind, task)
    tokenizer_path = ensure_tokenizer_json(root)
    document = read_bytes(root, tokenizer_path.name, max_bytes=MAX_DOCUMENT_BYTES)
    return task_model(
        model,
        document,
        kind=kind,
        labels=labels,
        config=config,
        tokenizer_config=read_json(root, "tokenizer_config.json", required=False) or {},
        device=device,
        precision=precision,
        max_length=max_length,
        pooling=read_pooling(root) if kind in EMBEDDING_KINDS else Pooling(),
        prompt=read_prompt(root) if kind in EMBEDDING_KINDS else "",
        where=str(root),
        task=task,
    )


def task_model(
    model: Any,
    tokenizer_json: bytes | str | Tokenizer,
    *,
    kind: Kind,
    labels: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    tokenizer_config: Mapping[str, Any] | None = None,
    device: str | torch.device = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    max_length: int | None = None,
    pooling: Pooling | None = None,
    prompt: str = "",
    where: str = "the model",
    task: str | None = None,
) -> TaskModel:
    """Make a model ready that is in memory already; see ``load_task_model``.

    Args:
        model: Of transformers, with the head that ``kind`` needs; moved to the device.
        tokenizer_json: Content of ``tokenizer.json``, or the tokenizer made of it.
        kind: Of the task.
        labels: Of the task.
        config: ``config.json``; by default what the model carries.
        tokenizer_config: ``tokenizer_config.json``.
        device: See there.
        precision: See there.
        max_length: See there.
        pooling: Of embeddings; by default the mean.
        prompt: Of embeddings.
        where: The model's directory, for messages.
        task: Its id, for messages.

    Raises:
        InputError: The labels are others, or ``max_length`` is more than the model has positions for.
    """
    place = choose_device(device)
    settings = tokenizer_config or {}
    columns = None
    if kind not in (*EMBEDDING_KINDS, "question-answering"):
        columns = label_columns(model.config.id2label, labels, where, _advice(where, kind, task))
    chosen_length = text_length(model, max_length, DEFAULT_LENGTHS[kind], settings)
    encoder = TaskEncoder(
        tokenizer_json, max_length=chosen_length, use_type_ids=uses_segments(model.config, settings)
    )
    encoder.pad_id = padding_id(model.config, encoder.tokenizer, settings)
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = encoder.pad_id  # decoders look for the last token that is no padding
    return TaskModel(
        model=model.to(place),
        tokenizer=encoder.tokenizer,
        config=config if config is not None else model.config.to_dict(),
        encoder=encoder,
        labels=tuple(labels),
        kind=kind,
        device=place,
        precision=choose_precision(precision, place),
        columns=columns,
        pooling=pooling or Pooling(),
        prompt=prompt,
    )


def check_head(root: Path, kind: Kind, task: str | None = None) -> None:
    """Refuse a model directory whose configuration names no class with the head that a kind of task needs.

    Raises:
        InputError: Says what makes one.
    """
    if kind in EMBEDDING_KINDS:
        return
    named = (read_json(root, "config.json") or {}).get("architectures")
    names = [str(name) for name in named] if isinstance(named, list) else []
    if not any(name.endswith(_HEADS[kind][0]) for name in names):
        raise InputError(
            f"{root}/config.json: the model is {', '.join(names) or 'of no named class'}, which has no head for "
            f"{kind} ({_HEADS[kind][0]}). {_advice(str(root), kind, task)}"
        )


def _advice(where: str, kind: Kind, task: str | None) -> str:
    return f"Make one with: polycompress finetune {where} --task {task or _HEADS[kind][2]} --train-langs en --out DIR"


def _graph_head(kind: Kind) -> tuple[Any, str]:
    """Class of transformers whose outline stands behind a graph, and an output that the graph must have."""
    if kind in EMBEDDING_KINDS:
        return transformers.AutoModel, "last_hidden_state"
    output = "start_logits" if kind == "question-answering" else "logits"
    return getattr(transformers, _HEADS[kind][1]), output


def _load(root: Path, config: Mapping[str, Any], kind: Kind, task: str | None) -> Any:
    loader = getattr(transformers, "AutoModel" if kind in EMBEDDING_KINDS else _HEADS[kind][1])
    open_checkpoint(root)  # says what is wrong with the files better than transformers does
    # What a checkpoint lacks is made at random: that must not move the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model, lacking = load_pretrained(loader, root, torch.float32)
    missing = sorted(lacking)
    if kind in EMBEDDING_KINDS:
        missing = [name for name in missing if "pooler" not in name.split(".")]
    if missing:
        advice = "Restore it." if kind in EMBEDDING_KINDS else _advice(str(root), kind, task)
        raise InputError(
            f"{root}: the checkpoint lacks {len(missing)} parameters, such as {missing[0]}. {advice}"
        )
    if kind in EMBEDDING_KINDS and config.get("is_encoder_decoder"):
        model = model.get_encoder()
    return model.eval()
