"""An exported graph that answers as the model of transformers would, so that evaluation runs on it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn

from polycompress.errors import InputError
from polycompress.evaluation.onnx_session import Graph, open_graph
from polycompress.modeldir.exported import GRAPH_FILE


class OnnxModel(nn.Module):  # type: ignore[misc]  # torch is not followed
    """A graph in a model's place: on the processor, in the graph's own precision, without gradients."""

    def __init__(self, graph: Graph, outline: Any) -> None:
        """Take a graph.

        Args:
            graph: Opened.
            outline: The model of transformers that its configuration stands for, without weights.
        """
        super().__init__()
        self.graph = graph
        self._outline = (outline,)  # a tuple: the outline's empty parameters are not this module's

    @property
    def config(self) -> Any:
        """Of transformers."""
        return self._outline[0].config

    @property
    def base_model(self) -> Any:
        """Of the outline: which tables there are, not what is in them."""
        return self._outline[0].base_model

    def get_input_embeddings(self) -> Any:
        """The outline's table, which has a size and no values."""
        return self._outline[0].get_input_embeddings()

    def forward(
        self, *, return_dict: bool = True, output_hidden_states: bool = False, **inputs: Tensor
    ) -> transformers.utils.ModelOutput:
        """All outputs of the graph by name.

        Args:
            return_dict: As transformers' models take it; there is no other form here.
            output_hidden_states: Refused: a graph gives what it was exported with.
            inputs: ``input_ids``, ``attention_mask`` and ``token_type_ids``, each (B, L) int64.

        Raises:
            InputError: Hidden states are asked for, or onnxruntime refuses.
        """
        if output_hidden_states:
            raise InputError(
                f"{self.graph.path}: an exported graph gives no hidden states, which loyalty compares. Judge the model "
                "that it was exported from, or leave the teacher out."
            )
        found = self.graph.run({name: each.numpy(force=True) for name, each in inputs.items()})
        return transformers.utils.ModelOutput({name: torch.from_numpy(each) for name, each in found.items()})


def graph_settings(
    path: Path, device: str | torch.device, precision: Literal["auto", "fp32", "bf16"]
) -> tuple[str, Literal["fp32"]]:
    """Where and how a graph runs: on the processor and in its own precision, whatever ``auto`` means elsewhere.

    Raises:
        InputError: Something else is asked for.
    """
    if str(device) not in ("auto", "cpu") or precision == "bf16":
        raise InputError(
            f"{path}: an exported graph runs on the processor and in its own precision, not on {device} in "
            f"{precision}. Give cpu and fp32, or auto for both."
        )
    return "cpu", "fp32"


def load_onnx_model(path: Path, loader: Any, output: str) -> OnnxModel:
    """Open an exported directory in the place of a model.

    Args:
        path: The directory.
        loader: One of transformers' ``Auto`` classes.
        output: What the graph has to give, such as ``logits``.

    Raises:
        InputError: The graph cannot be opened, gives something else, or ``config.json`` makes no model.
        MissingExtraError: onnxruntime is not installed.
    """
    graph = open_graph(path, threads=torch.get_num_threads())
    if output not in graph.outputs:
        raise InputError(
            f"{path / GRAPH_FILE}: gives {', '.join(graph.outputs)}, but {output} is needed. Export the model anew "
            "with the head that the task takes, or for embeddings with --body."
        )
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            outline = loader.from_config(config, trust_remote_code=False)
    except MemoryError:
        raise
    except Exception as error:  # a wrong value in config.json may raise anything
        raise InputError(f"{path}/config.json: transformers makes no model of this: {error}") from error
    return OnnxModel(graph, outline.eval())
