"""A model's own tokenizer with new pieces, for languages that it splits to shreds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from polycompress.corpora import Reading, parse_corpora
from polycompress.errors import InputError
from polycompress.languages import find_languages
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.tokenizers.asked import (
    MAX_PIECES,
    check_exponent,
    check_number,
    size_notes,
    work_record,
)
from polycompress.pipelines.tokenizers.card import extended_card
from polycompress.pipelines.tokenizers.extension import find_extension
from polycompress.pipelines.tokenizers.figures import language_changes, language_costs
from polycompress.pipelines.tokenizers.opening import made_tokenizer, open_tokenizer
from polycompress.pipelines.tokenizers.result import TokenizerResult
from polycompress.pipelines.tokenizers.text import default_checks, read_checks, read_languages
from polycompress.pipelines.tokenizers.writing import source_record, write_tokenizer
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.vocab.training.balancing import EXPONENT


def extend_tokenizer(
    model: str | os.PathLike[str],
    *,
    langs: str | Sequence[str],
    corpus: Sequence[str],
    pieces: int,
    out: str | os.PathLike[str] | None = None,
    check: Sequence[str] = (),
    exponent: float = EXPONENT,
    field: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> TokenizerResult:
    """Give a model's tokenizer new pieces for some languages.

    Args:
        model: A model or tokenizer directory, the word ``demo``, or ``owner/name[@revision]``.
        langs: Languages to find pieces for.
        corpus: ``[LANG=]PATTERN`` for each of them.
        pieces: How many.
        out: The directory to write; not needed for a dry run.
        check: ``LANG`` or ``LANG=PATTERN``: languages whose segmentation is compared.
        exponent: How languages are balanced, see ``times_each``.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.
        overwrite: Whether an existing directory is replaced.
        dry_run: Find the pieces, measure what they do, and write nothing.
        progress: Told of the work.
        command: The command line, for the record.

    Returns:
        What was written, or would be, with each new language's fertility on held-out text before and after, and how
        much other languages changed.

    Raises:
        InputError: The request, the tokenizer or the text is wrong; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = None if dry_run or out is None else Path(out)
    if place is None and not dry_run:
        raise InputError("no output directory was given; name one with --out, or look only with --dry-run")
    if place is not None:
        check_output(place, overwrite=overwrite)
    check_number(pieces, "--pieces", 1, MAX_PIECES)
    check_exponent(exponent)
    languages = find_languages(langs if isinstance(langs, str) else ",".join(langs))
    corpora = parse_corpora(corpus, languages, reading=Reading(field=field))
    source = resolve_model(model)
    if place is not None:
        check_apart(place, source.path)
    opened = open_tokenizer(source)
    checks = read_checks(check, default=default_checks(languages))
    texts = read_languages(languages, corpora)
    extended, times = find_extension(opened, texts, pieces, exponent=exponent, progress=progress)
    after = made_tokenizer(extended.document)
    if progress is not None:
        progress("measuring", 0, None)
    notes = [*size_notes(len(extended.pieces), pieces)]
    if extended.promoted:
        named = ", ".join(map(repr, extended.promoted[:8]))
        notes.append(
            f"{len(extended.promoted)} added tokens are pieces of the model now and keep their ids: {named}"
        )
    result = TokenizerResult(
        out=place,
        kind=opened.kind,
        size=after.size,
        old_size=extended.old_size,
        shared=extended.old_size,
        costs=tuple(language_costs([(text.language, text.held_out) for text in texts], opened, after)),
        changes=tuple(language_changes(checks, opened, after)),
        notes=tuple(notes),
    )
    if place is None:
        return result
    config = {
        "langs": [language.code for language in languages],
        "corpus": list(corpus),
        "pieces": pieces,
        "check": list(check),
        "exponent": exponent,
        "field": field,
    }
    record = work_record(command, config, texts, times, result)
    record |= {"source": source_record(source, opened)}
    card = extended_card(result, source.name)
    more = write_tokenizer(place, extended.document, record, card=card, source=source, overwrite=overwrite)
    return replace(result, notes=(*result.notes, *more))
