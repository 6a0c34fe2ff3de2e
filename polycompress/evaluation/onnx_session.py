"""Exported graphs in onnxruntime: opened, checked, and given inputs of any size. Nothing here needs torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.exported import DATA_FILE, GRAPH_FILE
from polycompress.modeldir.paths import read_json, safe_file

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
"""What a graph may take, each (B, L) int64; the first it must take."""
_ERRORS_ONLY: Final = 3


@dataclass(frozen=True, slots=True)
class Graph:
    """An open session."""

    path: Path
    """The directory."""
    session: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, given: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.float32]]:
        """All outputs by name.

        Args:
            given: ``input_ids`` (B, L) and what else there is; of the rest, masks are ones and segments zeros.

        Raises:
            InputError: onnxruntime refuses.
        """
        ids = given["input_ids"]
        missing = {"attention_mask": np.ones_like, "token_type_ids": np.zeros_like}
        feed = {name: given[name] if name in given else missing[name](ids) for name in self.inputs}
        try:
            found = self.session.run(list(self.outputs), feed)
        except MemoryError:
            raise
        except Exception as error:  # the library's own classes of errors have no common base
            raise InputError(
                f"{self.path / GRAPH_FILE}: batch {ids.shape[0]}, length {ids.shape[1]}: onnxruntime cannot run the "
                f"graph: {_first_line(error)}"
            ) from error
        return dict(zip(self.outputs, found, strict=True))


def open_graph(path: Path, *, threads: int | None = None) -> Graph:
    """Open the graph of an exported directory on the processor.

    Args:
        path: The directory.
        threads: That one run may use; None: as onnxruntime chooses.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        InputError: The file is missing or damaged, or takes other inputs than ids, masks and segments.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("an exported model", "onnx") from error
    file = safe_file(path, GRAPH_FILE)
    safe_file(path, DATA_FILE)  # onnxruntime opens it, so it must not be a link that leads out
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    # Threads that wait by computing would slow down what takes turns with the graph.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # the library's own classes of errors have no common base
        raise InputError(f"{file}: onnxruntime cannot load the graph: {_first_line(error)}") from error
    inputs = tuple(each.name for each in session.get_inputs())
    unknown = [name for name in inputs if name not in INPUTS]
    if unknown or INPUTS[0] not in inputs:
        raise InputError(
            f"{file}: the graph takes {', '.join(inputs) or 'nothing'}; {INPUTS[0]}, and perhaps "
            f"{' and '.join(INPUTS[1:])}, can be given. Export the model anew with `polycompress export`."
        )
    return Graph(path, session, inputs, tuple(each.name for each in session.get_outputs()))


@dataclass(frozen=True, slots=True)
class TimedGraph:
    """A graph to be timed."""

    graph: Graph
    rows: int
    """Of the vocabulary."""

    def forward(self, batch: int, length: int, seed: int) -> Callable[[], None]:
        """A function that runs the graph once on a batch of random tokens.

        Args:
            batch: Texts.
            length: Tokens of each.
            seed: Of the tokens.

        Raises:
            InputError: When it is called, if the graph cannot take so much.
        """
        ids = np.random.default_rng(seed).integers(0, self.rows, (batch, length), dtype=np.int64)

        def run() -> None:
            self.graph.run({INPUTS[0]: ids})

        return run


def open_timed_graph(path: Path, *, threads: int) -> TimedGraph:
    """Open an exported directory for timing.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        InputError: The graph cannot be opened, or config.json does not say how large the vocabulary is.
    """
    config = read_json(path, "config.json") or {}
    rows = config.get("vocab_size")
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        raise InputError(
            f"{path}/config.json: 'vocab_size' is {rows!r}, no number of tokens. Restore the file."
        )
    return TimedGraph(open_graph(path, threads=threads), rows)


def _first_line(error: Exception) -> str:
    return inspect.cleandoc(str(error)).partition("\n")[0] or type(error).__name__
