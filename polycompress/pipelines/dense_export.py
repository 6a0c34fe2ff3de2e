"""Make a model's factorised table plain again, so that transformers loads it without polycompress."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.stored_table import StoredTable, encoded_blocks
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.factorised_card import render_dense_card
from polycompress.pipelines.factorising.tables import find_factorised_table
from polycompress.pipelines.factorising.writing import (
    base_manifest,
    model_size,
    plain_config,
    write_rewritten,
)
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import naming, open_model


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseResult:
    """What was written."""

    out: Path
    source: str
    table: str
    rank: int
    sizes: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: tokens, parameters, those of them in the table, bytes."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": str(self.out),
            "source": self.source,
            "table": self.table,
            "rank": self.rank,
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
        }


@dataclass(frozen=True, slots=True)
class _Product:
    """The rows that stored coordinates stand for, block by block."""

    coordinates: StoredTable
    primitives: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        return self.coordinates.shape[0], self.primitives.shape[1]

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        for block in self.coordinates.blocks():
            yield block @ self.primitives


def export_dense(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    overwrite: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> DenseResult:
    """Write a model with the table that its factors stand for; torch is not needed.

    Rows are multiplied in float32 and stored in the factors' type.

    Args:
        model: A factorised model: a directory, or ``owner/name[@revision]`` on the Hugging Face hub.
        out: The directory to write.
        overwrite: Replace an existing output.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: The model is not factorised, or a file is wrong; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = Path(out)
    check_output(place, overwrite=overwrite)
    opened = open_model(model)
    check_apart(place, opened.source.path)
    with naming(opened.source.path):
        found = find_factorised_table(opened)
        product = _Product(found.coordinates, found.primitives.read())
        config = plain_config(opened.config)
        dtype = found.coordinates.dtype
        name = f"{found.coordinates.name.removesuffix('.coordinates')}.weight"
        before = model_size(opened)
        grown = product.shape[0] * product.shape[1] - before["embedding_parameters"]
        itemsize = opened.checkpoint.tensors[found.coordinates.name].itemsize
        sizes = {
            "before": before,
            "after": {
                "vocab": before["vocab"],
                "parameters": before["parameters"] + grown,
                "embedding_parameters": before["embedding_parameters"] + grown,
                "bytes": before["bytes"] + grown * itemsize,
            },
        }
        manifest = base_manifest(opened, config, command, {"dense": True}, progress)
        manifest["sizes"] = {when: dict(size) for when, size in sizes.items()}
        manifest["factorisation"] = {"table": name, "rank": found.rank, "dense": True}
        write_rewritten(
            opened,
            place,
            {
                found.coordinates.name: {name: (dtype, product.shape, encoded_blocks(product, dtype))},
                found.primitives.name: {},
            },
            config,
            manifest,
            render_dense_card,
            overwrite=overwrite,
            progress=progress,
        )
    return DenseResult(out=place, source=opened.source.name, table=name, rank=found.rank, sizes=sizes)
