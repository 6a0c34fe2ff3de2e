"""A graph with matrices and tables in eight bits: onnxruntime's dynamic quantisation.

Weights become int8 with a scale each column (matrices) or one for all (tables); what flows between layers is brought to
eight bits when the graph runs, by its own range. Nothing is trained or calibrated.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import MissingExtraError, PolycompressError

_OPERATORS: Final = ("MatMul", "Gather")
"""Products with matrices, and tables that are looked up."""
_EXTERNAL_FROM: Final = 1_900_000_000
"""Bytes of the source from which weights are kept beside the graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantised:
    """What was brought to eight bits."""

    matrices: int
    """Products with a matrix of weights."""
    tables: int
    """Tables that are looked up."""
    left: int
    """Products of two activations, as in attention, which stay fp32."""
    bits: int
    """Of matrices; tables have eight."""
    bytes_before: int
    bytes_after: int

    def as_dict(self) -> dict[str, Any]:
        """For the manifest and JSON."""
        return asdict(self)


def quantise(source: Path, out: Path, *, reduce_range: bool = False) -> Quantised:
    """Write a quantised graph.

    Args:
        source: The graph in fp32; what is needed on the way is written beside it, and stays there.
        out: The file to write, in another directory.
        reduce_range: Matrices in seven bits: sums of products then fit into sixteen, which is what processors without
            VNNI add in.

    Raises:
        MissingExtraError: onnxruntime or onnx is not installed.
        PolycompressError: onnxruntime fails.
    """
    before = _bytes(source)
    external = before > _EXTERNAL_FROM
    ready = source.with_name("shapes.onnx")
    with _root_logger_kept():
        try:
            import onnx
            from onnxruntime.quantization import QuantType, quantize_dynamic
            from onnxruntime.quantization.shape_inference import quant_pre_process
        except ImportError as error:
            raise MissingExtraError("export --int8", "onnx") from error
        try:
            quant_pre_process(
                source,
                ready,
                skip_optimization=True,
                skip_symbolic_shape=True,
                save_as_external_data=external,
            )
            quantize_dynamic(
                ready,
                out,
                op_types_to_quantize=list(_OPERATORS),
                per_channel=True,
                reduce_range=reduce_range,
                weight_type=QuantType.QInt8,
                use_external_data_format=external,
            )
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the library raises what it likes
            raise PolycompressError(
                f"onnxruntime cannot quantise the graph: {error}. Leave --int8 out."
            ) from error
    if (beside := _beside(out)).is_file():
        beside.chmod(out.stat().st_mode)  # the library lets nobody else read it
    graph = onnx.load(out, load_external_data=False).graph
    counts = Counter(node.op_type for node in graph.node)
    # A table counts as an activation, so its numbers have no sign.
    tables = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.UINT8}
    return Quantised(
        matrices=counts["MatMulInteger"],
        tables=sum(node.op_type == "Gather" and node.input[0] in tables for node in graph.node),
        left=counts["MatMul"],
        bits=7 if reduce_range else 8,
        bytes_before=before,
        bytes_after=_bytes(out),
    )


def _bytes(file: Path) -> int:
    """Of a graph and what lies beside it."""
    beside = _beside(file)
    return file.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def _beside(file: Path) -> Path:
    """Where the weights lie that a graph has no room for."""
    return file.with_name(file.name + ".data")


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """The library gives its advice to the root logger, and sets that up when it is imported: both are undone."""
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
