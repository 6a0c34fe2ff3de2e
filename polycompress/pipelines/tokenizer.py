"""A new tokenizer for some languages, and two tokenizers compared."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from polycompress.corpora import Reading, parse_corpora
from polycompress.errors import InputError
from polycompress.modeldir.atomic import check_output
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.tokenizers.asked import (
    MAX_PIECES,
    check_exponent,
    check_number,
    size_notes,
    work_record,
)
from polycompress.pipelines.tokenizers.card import trained_card
from polycompress.pipelines.tokenizers.figures import language_changes, language_costs
from polycompress.pipelines.tokenizers.opening import made_tokenizer, open_tokenizer
from polycompress.pipelines.tokenizers.result import TokenizerResult
from polycompress.pipelines.tokenizers.text import corpus_languages, read_checks, read_languages
from polycompress.pipelines.tokenizers.writing import write_tokenizer
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.vocab.extending.measuring import same_tokens
from polycompress.vocab.surface import piece_text
from polycompress.vocab.training.balancing import EXPONENT, balanced, times_each
from polycompress.vocab.training.layouts import LAYOUTS, TokenizerType
from polycompress.vocab.training.trainers import train_model


def train_tokenizer(
    corpus: Sequence[str],
    *,
    size: int,
    out: str | os.PathLike[str],
    kind: str = "unigram",
    exponent: float = EXPONENT,
    field: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> TokenizerResult:
    """Train a tokenizer on text of some languages.

    Args:
        corpus: ``LANG=PATTERN``, at least one.
        size: Tokens in all.
        out: The directory to write.
        kind: ``unigram``, ``bpe``, ``byte-bpe`` or ``wordpiece``.
        exponent: How languages are balanced, see ``times_each``.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.
        overwrite: Whether an existing directory is replaced.
        progress: Told of the work.
        command: The command line, for the record.

    Returns:
        What was written, with the fertility of each language on text that was held out.

    Raises:
        InputError: The request or the text is wrong; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = Path(out)
    check_output(place, overwrite=overwrite)
    name = _kind(kind)
    check_number(size, "--size", len(LAYOUTS[name].special) + 1, MAX_PIECES)
    check_exponent(exponent)
    languages = corpus_languages(corpus)
    texts = read_languages(languages, parse_corpora(corpus, languages, reading=Reading(field=field)))
    times = times_each({text.language.code: text.characters for text in texts}, exponent)
    lines = {text.language.code: (*text.training, *text.choosing) for text in texts}
    if progress is not None:
        progress("training", 0, None)
    document = train_model(name, balanced(lines, times), size)
    opened = made_tokenizer(document)
    costs = language_costs([(text.language, text.held_out) for text in texts], None, opened)
    notes = size_notes(opened.size, size)
    result = TokenizerResult(
        out=place, kind=name, size=opened.size, old_size=None, shared=None, costs=tuple(costs), changes=(),
        notes=notes,
    )  # fmt: skip
    config = {"corpus": list(corpus), "size": size, "type": name, "exponent": exponent, "field": field}
    record = work_record(command, config, texts, times, result)
    write_tokenizer(
        place, document, record, card=trained_card(result), roles=LAYOUTS[name].roles, overwrite=overwrite
    )
    return result


def compare_tokenizers(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    *,
    corpus: Sequence[str] = (),
    check: Sequence[str] = (),
    field: str | None = None,
) -> TokenizerResult:
    """Compare two tokenizers on text.

    Args:
        before: A model or tokenizer directory, the word ``demo``, or ``owner/name[@revision]``.
        after: Another.
        corpus: ``LANG=PATTERN``: text whose fertility is compared, all of it.
        check: ``LANG`` or ``LANG=PATTERN``: languages whose segmentation is compared.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.

    Returns:
        The figures. Tokens of the two are the same where they say the same, whatever their ids.

    Raises:
        InputError: A tokenizer or the text is wrong, or there is no text.
    """
    if not corpus and not check:
        raise InputError(
            "no text was given to compare on. Give some: --corpus yo='texts/yo.txt.gz', or --check en"
        )
    one, other = open_tokenizer(resolve_model(before)), open_tokenizer(resolve_model(after))
    checks = read_checks(check)
    languages = corpus_languages(corpus) if corpus else ()
    corpora = parse_corpora(corpus, languages, reading=Reading(field=field))
    texts = read_languages(languages, corpora, to_learn=False)
    old_ids = same_tokens(piece_text(one.document), piece_text(other.document))
    whole = [(text.language, (*text.training, *text.choosing, *text.held_out)) for text in texts]
    return TokenizerResult(
        out=None,
        kind=other.kind,
        size=other.size,
        old_size=one.size,
        shared=int((old_ids >= 0).sum()),
        costs=tuple(language_costs(whole, one, other)),
        changes=tuple(language_changes(checks, one, other, old_ids)),
    )


def _kind(name: str) -> TokenizerType:
    for kind in LAYOUTS:
        if name == kind:
            return kind
    raise InputError(f"--type {name!r} is not known; there are {', '.join(LAYOUTS)}")
