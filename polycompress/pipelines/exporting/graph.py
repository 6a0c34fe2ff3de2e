"""From a model of transformers to a graph for onnxruntime, by torch's own exporter."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from polycompress.errors import InputError, MissingExtraError
from polycompress.evaluation.model_settings import position_limit
from polycompress.evaluation.pooling import Pooling, pool
from polycompress.evaluation.speed_models import random_ids

SENTENCE: Final = "sentence_embedding"
"""Name of the output that is pooled as the model's directory says."""
STATES: Final = "last_hidden_state"
_HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "ForSequenceClassification": ("logits",),
    "ForTokenClassification": ("logits",),
    "ForQuestionAnswering": ("start_logits", "end_logits"),
    "ForMaskedLM": ("logits",),
}
"""How the name of a class ends, and what such a model gives."""
_EXAMPLE: Final = (2, 8)
"""Texts and tokens of the input that the exporter follows; every graph takes others."""


class Traced(nn.Module):  # type: ignore[misc]  # torch is not followed
    """A model as a function from named tensors to a tuple of them."""

    def __init__(self, model: Any, outputs: tuple[str, ...], pooling: Pooling | None) -> None:
        """Take a model.

        Args:
            model: Of transformers.
            outputs: Of its outputs, which.
            pooling: Also give one vector for each text, made so of ``last_hidden_state``; None: do not.
        """
        super().__init__()
        self.model = model
        self.names = outputs
        self.pooling = pooling
        self._options = (
            {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what ``forward`` gives."""
        return self.names if self.pooling is None else (*self.names, SENTENCE)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The outputs, in order.

        Args:
            input_ids: (B, L) int64.
            attention_mask: (B, L) int64, 1 for tokens and 0 for padding on the right.
            token_type_ids: (B, L) int64, or None.
        """
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found = self.model(
            input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **segments, **self._options
        )
        outputs = tuple(found[name] for name in self.names)
        if self.pooling is None:
            return outputs
        return (*outputs, pool(found[STATES], attention_mask, self.pooling))


def outputs_of(architecture: str) -> tuple[str, ...] | None:
    """What a graph of a class of transformers gives; None: such a class is not exported.

    Args:
        architecture: Its name, such as ``BertForMaskedLM``.
    """
    for end, outputs in _HEADS.items():
        if architecture.endswith(end):
            return outputs
    return (STATES,) if architecture.endswith("Model") and "Head" not in architecture else None


def write_graph(traced: Traced, file: Path, *, segments: bool) -> None:
    """Export a model; batch and length of its inputs may be any.

    Args:
        traced: In evaluation mode, fp32.
        file: The file to write. Beyond 2 GB the weights lie in a second one beside it, named as it is with ``.data``.
        segments: Whether the graph takes ``token_type_ids``.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        InputError: The exporter cannot follow the model.
    """
    inputs = _example(traced.model, segments)
    limit = position_limit(traced.model)
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=limit)}
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                traced,
                kwargs=inputs,
                dynamo=True,
                input_names=list(inputs),
                output_names=list(traced.outputs),
                dynamic_shapes={name: dims for name in inputs},
                verbose=False,
            )
        except ImportError as error:
            raise MissingExtraError("export --onnx", "onnx") from error
        except (MemoryError, OSError):
            raise
        except Exception as error:  # a model may fail in the exporter in any way
            raise InputError(
                f"torch cannot export a {type(traced.model).__name__} to ONNX: {_reason(error)}"
            ) from error
        _forget_sources(program.model)
        program.save(file)


def _example(model: Any, segments: bool) -> dict[str, Tensor]:
    batch, length = _EXAMPLE
    ids = random_ids(model, batch, length, 0)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**inputs, "token_type_ids": torch.zeros_like(ids)} if segments else inputs


def _forget_sources(graph_model: Any) -> None:
    """Take out what the exporter notes of where code lies: paths of this machine, and a tenth of a small file."""
    graph_model.metadata_props.clear()
    graphs = [graph_model.graph, *graph_model.functions.values()]
    for graph in graphs:
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
    for value in (*graph_model.graph.inputs, *graph_model.graph.initializers.values()):
        value.metadata_props.clear()


def _reason(error: BaseException) -> str:
    """What the library says, without its colours and its report: the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of packages that are not needed."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
