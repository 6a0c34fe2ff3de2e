"""The files beside a graph: configuration, tokenizer, manifest and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polycompress.evaluation.provenance import machine, versions
from polycompress.modeldir.exported import GRAPH_FILE, graph_bytes, graph_files
from polycompress.modeldir.manifest import write_manifest
from polycompress.modeldir.onnx_card import render_onnx_card
from polycompress.modeldir.rewriting import copy_beside
from polycompress.modeldir.tensors import open_checkpoint
from polycompress.pipelines.exporting.record import write_settings, write_tokenizer
from polycompress.pipelines.exporting.source import ExportSource
from polycompress.pipelines.factorising.writing import plain_config


def write_beside(source: ExportSource, out: Path) -> list[str]:
    """Write configuration and tokenizer, and copy what else a model directory holds.

    Returns:
        Names of the files that were copied.
    """
    config = {**plain_config(source.files.config), "architectures": [_plain_name(source.model)]}
    write_settings(out / "config.json", config)
    write_tokenizer(source.files, out)
    return copy_beside(source.files.path, out)


def finish(
    source: ExportSource,
    out: Path,
    record: Mapping[str, Any],
    export: Mapping[str, Any],
    copied: Sequence[str],
) -> dict[str, Any]:
    """Write manifest and card.

    Args:
        source: What was exported.
        out: The directory, which holds everything else.
        record: See ``base_record``.
        export: What is known of the graph.
        copied: Names of files.

    Returns:
        The manifest.
    """
    parameters = source.parameters.as_dict()
    checkpoint = open_checkpoint(source.files.path)
    before = sum((source.files.path / name).stat().st_size for name in checkpoint.files)
    vocab = int(source.model.get_input_embeddings().num_embeddings)
    sizes = {
        "vocab": vocab,
        "parameters": parameters["total"],
        "embedding_parameters": parameters["embedding"],
    }
    manifest = {
        **record,
        "architectures": [_plain_name(source.model)],
        "sizes": {"before": {**sizes, "bytes": before}, "after": {**sizes, "bytes": graph_bytes(out)}},
        "export": {
            "form": "onnx",
            "graph": GRAPH_FILE,
            "files": list(graph_files(out)),
            "outputs": list(source.traced.outputs),
            "parameters": parameters,
            "machine": machine(),
            "versions": versions(),
            **export,
        },
        "copied": list(copied),
        "notes": list(source.files.notes),
    }
    write_manifest(out, manifest)
    (out / "README.md").write_text(render_onnx_card(manifest), encoding="utf-8")
    return manifest


def _plain_name(model: Any) -> str:
    """The name of its class, of a factorised model that of the plain one: a graph needs none of ours."""
    return type(model).__name__.removeprefix("Factorised")
