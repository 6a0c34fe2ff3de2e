"""Write a model as a graph for onnxruntime, compared with its source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import CertificateError
from polycompress.evaluation.onnx_session import open_graph
from polycompress.modeldir.atomic import atomic_directory, check_output, scratch_directory
from polycompress.modeldir.exported import GRAPH_FILE
from polycompress.pipelines.exporting.checking import Agreement, batches_of, compare
from polycompress.pipelines.exporting.graph import write_graph
from polycompress.pipelines.exporting.quantising import Quantised, quantise
from polycompress.pipelines.exporting.record import base_record, known_before
from polycompress.pipelines.exporting.scores import TaskRequest, find_scores, measure_scores
from polycompress.pipelines.exporting.source import ExportSource, find_export_source, load_export_source
from polycompress.pipelines.exporting.texts import Sample, find_sample
from polycompress.pipelines.exporting.writing import finish, write_beside
from polycompress.pipelines.trimming.gathering import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """What was written."""

    out: Path
    source: str
    outputs: tuple[str, ...]
    sizes: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: tokens, parameters, those of them in the table, bytes."""
    texts: str
    """Where the texts are from that were compared."""
    fp32: Agreement
    int8: Agreement | None
    quantised: Quantised | None
    scores: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": str(self.out),
            "source": self.source,
            "outputs": list(self.outputs),
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
            "texts": self.texts,
            "fp32": self.fp32.as_dict(),
            "int8": None if self.int8 is None else self.int8.as_dict(),
            "quantised": None if self.quantised is None else self.quantised.as_dict(),
            "scores": None if self.scores is None else dict(self.scores),
        }


def export_onnx(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    int8: bool = False,
    reduce_range: bool = False,
    body: bool = False,
    text: Sequence[str | os.PathLike[str]] = (),
    task: TaskRequest | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> ExportResult:
    """Write a model as a graph for onnxruntime.

    The graph in fp32 is compared with the model on texts; where they differ by more than rounding, nothing is written.
    What eight bits change is measured and told, never judged.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub: an encoder,
            without a head or with one for classes of texts or tokens, for answers, or for masked words.
        out: The directory to write.
        int8: Bring matrices and tables to eight bits.
        reduce_range: Matrices to seven.
        body: Leave the head out.
        text: Text files to compare on, one text a line; without any, words of the model's languages are used.
        task: Also score model and graph on a task.
        overwrite: Replace an existing output.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: The model cannot be exported, or a file is wrong; nothing was written.
        MissingExtraError: A package is not installed.
        CertificateError: The graph does not give what the model does; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = Path(out)
    tell = progress or (lambda label, amount, total: None)
    check_output(place, overwrite=overwrite)
    files = find_export_source(model, place, body=body)
    if task is not None:
        find_scores(files.source.spec, task)
    sample = find_sample(text, known_before(files.path))
    tell("loading the model", 0, None)
    source = load_export_source(files, body=body)
    settings = {"int8": int8, "reduce_range": reduce_range, "body": body}
    record = base_record(files, command, settings)
    with atomic_directory(place, overwrite=overwrite) as building:
        found = _write_graph(source, building, place, sample, int8=int8, reduce_range=reduce_range, tell=tell)
        copied = write_beside(source, building)
        scores = (
            None if task is None else measure_scores(files.source.spec, building, task, progress=progress)
        )
        export = {
            "inputs": list(found.inputs),
            "texts": sample.origin,
            "fp32": found.fp32.as_dict(),
            "int8": None if found.int8 is None else found.int8.as_dict(),
            "quantised": None if found.quantised is None else found.quantised.as_dict(),
            "scores": scores,
        }
        manifest = finish(source, building, record, export, copied)
    return ExportResult(
        out=place,
        source=files.source.name,
        outputs=source.traced.outputs,
        sizes=manifest["sizes"],
        texts=sample.origin,
        fp32=found.fp32,
        int8=found.int8,
        quantised=found.quantised,
        scores=scores,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    inputs: tuple[str, ...]
    fp32: Agreement
    int8: Agreement | None
    quantised: Quantised | None


def _write_graph(
    source: ExportSource,
    building: Path,
    place: Path,
    sample: Sample,
    *,
    int8: bool,
    reduce_range: bool,
    tell: Progress,
) -> _Found:
    """Write the graph and compare it; with ``int8`` the one in fp32 lies elsewhere, and is gone at the end."""
    batches = batches_of(source.encoder, sample.texts, over_vocabulary=source.over_vocabulary)
    with scratch_directory(place) as scratch:
        first = scratch if int8 else building
        tell("exporting the graph", 0, None)
        write_graph(source.traced, first / GRAPH_FILE, segments=source.segments)
        graph = open_graph(first)
        tell("comparing graph and model", 0, None)
        fp32 = compare(source.traced, graph, batches)
        if not fp32.passed:
            raise CertificateError(
                f"The graph does not give what the model does: outputs of up to {fp32.largest_output:.3g} differ by up "
                f"to {fp32.largest_difference:.3g}. The exporter cannot be trusted with this kind of model."
            )
        if not int8:
            return _Found(inputs=graph.inputs, fp32=fp32, int8=None, quantised=None)
        tell("quantising", 0, None)
        quantised = quantise(first / GRAPH_FILE, building / GRAPH_FILE, reduce_range=reduce_range)
        tell("comparing graph and model", 0, None)
        small = compare(source.traced, open_graph(building), batches)
        return _Found(inputs=graph.inputs, fp32=fp32, int8=small, quantised=quantised)
