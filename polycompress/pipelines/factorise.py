"""Factorise a model's table: coordinates of its tokens over a few primitive embeddings, everything else as it was.

Method: the factorisation of OFA (Liu, Lin, Wang and Schuetze, Findings of NAACL 2024), on files instead of models and
without new tokens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from polycompress.embeddings.blocks import ArrayTable
from polycompress.embeddings.factor_errors import (
    FactorError,
    language_errors,
    mixed_weights,
    row_errors,
    weighted_error,
)
from polycompress.embeddings.factorising import Factors, Method, Split, factorise
from polycompress.embeddings.stored_table import encoded_blocks
from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.axes_table import coordinates_name, primitives_name
from polycompress.modeldir.factorised_card import render_factorised_card
from polycompress.modeldir.rewriting import Entry
from polycompress.pipelines.factorising.tables import PlainTable, find_plain_table
from polycompress.pipelines.factorising.writing import (
    base_manifest,
    factorised_config,
    model_size,
    rows_told,
    write_rewritten,
)
from polycompress.pipelines.trimming.gathering import Progress, counts_from_files
from polycompress.pipelines.trimming.loading import OpenModel, naming, open_model
from polycompress.vocab.counts import load_counts

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FactoriseResult:
    """A factorised model, or a dry run's figures."""

    out: Path | None
    """The directory written; None after a dry run."""
    source: str
    table: str
    rows: int
    width: int
    rank: int
    split: Split
    sizes: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: tokens, parameters, those of them in the table, bytes."""
    overall: FactorError
    """Over all rows alike."""
    languages: Mapping[str, FactorError]
    """Rows counting by each language's use; empty without counts."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": None if self.out is None else str(self.out),
            "source": self.source,
            "table": self.table,
            "rows": self.rows,
            "width": self.width,
            "rank": self.rank,
            "split": self.split,
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
            **self.overall.as_dict(),
            "languages": {code: error.as_dict() for code, error in self.languages.items()},
            "notes": list(self.notes),
        }


def factorise_model(
    model: str | os.PathLike[str],
    *,
    rank: int,
    out: str | os.PathLike[str] | None = None,
    split: Split = "balanced",
    weights: Paths = (),
    counts: Paths = (),
    method: Method = "auto",
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> FactoriseResult:
    """Write a model whose table is factorised; torch is not needed.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        rank: Width of the coordinates, from 1 to the table's.
        out: The directory to write; not needed for a dry run.
        split: How the singular values are shared between the factors; see ``factorise``.
        weights: Counts files of ``polycompress count``: rows that their languages use often lose less, and errors are
            reported for each language.
        counts: Counts files that errors are only reported for.
        method: See ``factorise``.
        overwrite: Replace an existing output.
        dry_run: Compute the factors and their errors, and write nothing.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: The rank is above the width, the model is factorised already, or a file is wrong; nothing was
            written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = None if dry_run or out is None else Path(out)
    if place is None and not dry_run:
        raise InputError("no output directory was given; name one with --out, or look only with --dry-run")
    if place is not None:
        check_output(place, overwrite=overwrite)
    opened = open_model(model)
    if place is not None:
        check_apart(place, opened.source.path)
    weighing, reported = _paths(weights), _paths(counts)
    with naming(opened.source.path):
        plain = find_plain_table(opened)
        heavy = _uses(weighing, opened)
        uses = {**_uses(reported, opened), **heavy}
        rows, width = plain.table.shape
        factors = factorise(
            plain.table,
            rank,
            split=split,
            row_weights=mixed_weights(heavy, rows) if heavy else None,
            method=method,
            tell=rows_told(progress, "factorising", 2 * rows),
        )
        errors = row_errors(plain.table, factors, tell=rows_told(progress, "measuring errors", rows))
        result = FactoriseResult(
            out=place,
            source=opened.source.name,
            table=plain.table.name,
            rows=rows,
            width=width,
            rank=rank,
            split=split,
            sizes=_sizes(opened, plain, factors),
            overall=weighted_error(errors),
            languages=language_errors(errors, uses),
            notes=tuple(_notes(plain, factors)),
        )
    if place is not None:
        settings = {"rank": rank, "split": split, "method": method, "weights": weighing, "counts": reported}
        _write(opened, plain, factors, result, place, settings, command, overwrite, progress)
    return result


def _write(
    opened: OpenModel,
    plain: PlainTable,
    factors: Factors,
    result: FactoriseResult,
    place: Path,
    settings: Mapping[str, Any],
    command: Sequence[str],
    overwrite: bool,
    progress: Progress | None,
) -> None:
    config = factorised_config(opened.config, factors.rank, plain.config)
    manifest = base_manifest(opened, config, command, settings, progress)
    manifest["sizes"] = {when: dict(size) for when, size in result.sizes.items()}
    manifest["languages"] = [_entry(code) for code in result.languages] or manifest.get("languages", [])
    manifest["factorisation"] = {
        "table": result.table,
        "rows": result.rows,
        "width": result.width,
        "rank": result.rank,
        "split": result.split,
        **result.overall.as_dict(),
        "languages": {code: error.as_dict() for code, error in result.languages.items()},
    }
    manifest["notes"] = list(result.notes)
    write_rewritten(
        opened,
        place,
        factor_entries(plain, factors),
        config,
        manifest,
        render_factorised_card,
        overwrite=overwrite,
        progress=progress,
    )


def factor_entries(plain: PlainTable, factors: Factors) -> dict[str, dict[str, Entry]]:
    """What stands for a table in a checkpoint: its factors in its own type; nothing for its copies.

    Raises:
        InputError: While they are written: a value is larger than the type holds.
    """
    dtype = plain.table.dtype
    made: dict[str, Entry] = {
        name: (dtype, array.shape, encoded_blocks(ArrayTable(array), dtype))
        for name, array in (
            (coordinates_name(plain.table.name), factors.coordinates),
            (primitives_name(plain.table.name), factors.primitives),
        )
    }
    return {plain.table.name: made, **{name: {} for name in plain.copies}}


def _uses(paths: Sequence[str], opened: OpenModel) -> dict[str, NDArray[Any]]:
    """Counts over the table's rows, by language."""
    codes = dict.fromkeys(code for path in paths for code in load_counts(Path(path)).languages)
    languages: list[Language] = [find_language(code) for code in codes]
    found = counts_from_files(paths, opened.vocabulary, languages) if paths else {}
    return {code: each.dense(opened.axes.rows) for code, each in found.items()}


def _sizes(opened: OpenModel, plain: PlainTable, factors: Factors) -> dict[str, dict[str, int]]:
    before = model_size(opened, plain.copies)
    rows, width = plain.table.shape
    saved = rows * width - factors.parameters
    gone = sum(opened.checkpoint.tensors[name].nbytes for name in plain.copies)
    return {
        "before": before,
        "after": {
            "vocab": before["vocab"],
            "parameters": before["parameters"] - saved,
            "embedding_parameters": before["embedding_parameters"] - saved,
            "bytes": before["bytes"] - saved * opened.checkpoint.tensors[plain.table.name].itemsize - gone,
        },
    }


def _notes(plain: PlainTable, factors: Factors) -> list[str]:
    notes = []
    rows, width = plain.table.shape
    if factors.parameters >= rows * width:
        notes.append(
            f"at rank {factors.rank} the factors take {factors.parameters:,} parameters, and the table takes "
            f"{rows * width:,}: nothing is saved"
        )
    if plain.heads:
        notes.append(f"the output table is a tensor of its own and stays as it is: {', '.join(plain.heads)}")
    if plain.table.dtype != "F32":
        notes.append(
            f"the factors are rounded to {plain.table.dtype}, the table's type; errors are those before rounding"
        )
    return notes


def _entry(code: str) -> dict[str, str]:
    language = find_language(code)
    return {"code": language.code, "name": language.name}


def _paths(given: Paths) -> list[str]:
    return [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(each) for each in given]
