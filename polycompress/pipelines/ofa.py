"""Give a model new tokens for languages that it splits to shreds, their rows well initialised, its table factorised.

Method: Liu, Lin, Wang and Schuetze, "OFA: A Framework of Initializing Unseen Subword Embeddings for Efficient
Large-scale Multilingual Continued Pretraining" (Findings of NAACL 2024), on files instead of models, beside the ways
that it is compared with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from polycompress.embeddings.factorising import Split
from polycompress.embeddings.initialising.material import NEIGHBOURS, TEMPERATURE
from polycompress.languages import find_language
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.axes_table import is_factorised
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.factorising.writing import model_size
from polycompress.pipelines.initialising.checking import check_plan, check_vectors, special_notes
from polycompress.pipelines.initialising.configs import new_configs
from polycompress.pipelines.initialising.planning import plan_tokens
from polycompress.pipelines.initialising.request import PIECES, NewTokens, OfaSettings, check_request
from polycompress.pipelines.initialising.result import OfaResult
from polycompress.pipelines.initialising.spaces import read_vectors
from polycompress.pipelines.initialising.tables import (
    check_tables,
    factorise_source,
    new_sizes,
)
from polycompress.pipelines.initialising.target import new_target
from polycompress.pipelines.initialising.writing import facts, write_model
from polycompress.pipelines.tokenizers.opening import open_tokenizer
from polycompress.pipelines.trimming.gathering import Progress, counts_from_files
from polycompress.pipelines.trimming.loading import OpenModel, naming, open_model
from polycompress.vocab.counts import load_counts

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def ofa(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    extend: str | Sequence[str] = (),
    corpus: str | Sequence[str] = (),
    pieces: int = PIECES,
    check: str | Sequence[str] = (),
    field: str | None = None,
    vectors: Paths = (),
    words: int | None = None,
    init: str = "ofa",
    rank: int | None = None,
    split: Split = "balanced",
    weights: Paths = (),
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    fold_case: bool = True,
    seed: int = 0,
    force: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> OfaResult:
    """Write a model with new tokens; torch is not needed.

    Memory is needed for both vocabularies, the word vectors and the plan, and with a rank for the coordinates; plain
    tables are read and written in blocks.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        out: The directory to write; not needed for a dry run.
        tokenizer: A directory with the tokenizer that the model gets. Where it has all of the model's own tokens at
            their ids (as an extended one), these keep their rows.
        extend: Instead, languages that the model's own tokenizer gets new pieces for, as a list or joined by commas.
        corpus: ``LANG=PATTERN`` of text files: where pieces are found, and what FOCUS trains vectors on. With
            ``tokenizer`` it is needed for FOCUS alone; tokens are counted by its languages.
        pieces: New pieces, at most.
        check: ``LANG[=PATTERN]``: languages whose segmentation is compared before and after the extension.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.
        vectors: ``[LANG=]PATH`` of directories and files of word vectors, all of one space.
        words: Of each language use the vectors of its most frequent words only, so many.
        init: How rows of tokens are made that the model lacks: ``ofa``, ``focus``, ``wechsel``, ``pieces``,
            ``covariance`` or ``random``.
        rank: Of the factorised table; None, or the table's width, keeps it plain.
        split: How the singular values are shared between the factors; see ``factorise``.
        weights: Counts files of ``polycompress count``: rows that their languages use often lose less by factorising.
        neighbours: Source tokens that an average takes, at most.
        temperature: Of the softmax over their similarities.
        fold_case: Copy tokens that differ in upper and lower case only.
        seed: Of drawn rows, and of FOCUS' vectors.
        force: Go on although more than half of a language's new tokens are drawn, or vectors are of several spaces.
        overwrite: Replace an existing output.
        dry_run: Plan only.
        progress: Called as work goes on.
        command: What to record as the command.

    Returns:
        The plan, and unless it was a dry run, where the result lies.

    Raises:
        InputError: The request or a file is wrong, or too little is known of the new tokens; nothing was written.
        MissingExtraError: fastText is needed and not installed.
        StorageError: It could not be written; nothing was left behind.

    Example:
        >>> from polycompress.pipelines.ofa import ofa
        >>> ofa("demo", extend="yo", corpus="yo=yo.txt", init="pieces", out="demo-yo")  # doctest: +SKIP
    """
    settings = OfaSettings(
        init=init,
        rank=rank,
        split=split,
        neighbours=neighbours,
        temperature=temperature,
        fold_case=fold_case,
        words=words,
        seed=seed,
        force=force,
    )
    asked = NewTokens(
        tokenizer=None if tokenizer is None else os.fspath(tokenizer),
        extend=_listed(extend),
        corpus=(corpus,) if isinstance(corpus, str) else tuple(corpus),
        pieces=pieces,
        check=(check,) if isinstance(check, str) else tuple(check),
        field=field,
    )
    specs, weighing = _paths(vectors), _paths(weights)
    place = None if dry_run or out is None else Path(out)
    check_request(asked, settings, specs, out=None if out is None else os.fspath(out), dry_run=dry_run)
    if place is not None:
        check_output(place, overwrite=overwrite)
    source = resolve_model(model)
    own = open_tokenizer(source)
    opened = open_model(model)
    with naming(source.path):
        plain = check_tables(opened, rank)
        counted = _counts(weighing, opened)
    token_vectors = specs if init == "focus" and not asked.corpus else []
    given = read_vectors([] if token_vectors else specs, words)
    vector_notes = check_vectors(given, settings)
    target = new_target(source, own, asked, progress)
    for root in (source.path, target.root):
        if place is not None:
            check_apart(place, root)
    factorised = plain is not None or is_factorised(str(opened.config["model_type"]))
    plan, used = plan_tokens(
        opened,
        target,
        given,
        asked,
        settings,
        factorised=factorised,
        token_vectors=token_vectors,
        progress=progress,
    )
    configs = new_configs(opened, target, plan)
    notes = [
        *vector_notes,
        *target.notes,
        *check_plan(plan, target, given, used, force=force),
        *special_notes(plan, target),
        *_rank_notes(plain is not None, settings),
        *configs.notes,
    ]
    made = None if plain is None else factorise_source(plain, settings, counted, plan.uses, progress)
    before = model_size(opened, () if plain is None else plain.copies)
    sizes = {"before": before, "after": new_sizes(opened, plan, plain, rank, before)}
    manifest = None
    if place is not None:
        recorded = {**settings.as_dict(), **asked.as_dict(), "vectors": specs, "weights": weighing}
        manifest = facts(
            opened,
            target,
            plan,
            made,
            given,
            configs,
            sizes=sizes,
            settings=recorded,
            seed=seed,
            notes=notes,
            command=command,
            progress=progress,
        )
        write_model(
            opened,
            target,
            plan,
            made,
            configs,
            manifest,
            place,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        )
    return OfaResult(
        out=place,
        source=opened.source.name,
        plan=plan,
        target=target,
        factorised=made,
        sizes=sizes,
        notes=tuple(notes),
        manifest=manifest,
    )


def _rank_notes(factorised: bool, settings: OfaSettings) -> list[str]:
    if settings.rank is None or factorised:
        return []
    return [f"rank {settings.rank} is the table's width, so the table stays plain"]


def _counts(paths: Sequence[str], opened: OpenModel) -> dict[str, NDArray[Any]]:
    """Counts over the table's rows, by language."""
    codes = dict.fromkeys(code for path in paths for code in load_counts(Path(path)).languages)
    found = (
        counts_from_files(paths, opened.vocabulary, [find_language(code) for code in codes]) if paths else {}
    )
    return {code: each.dense(opened.axes.rows) for code, each in found.items()}


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    return (
        tuple(filter(None, (each.strip() for each in names.split(","))))
        if isinstance(names, str)
        else tuple(names)
    )


def _paths(given: Paths) -> list[str]:
    return [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(each) for each in given]
