"""Tokenizers for languages that a model splits to shreds: a new one, the model's own with new pieces, two compared."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from polycompress.corpora import Reading, parse_corpora
from polycompress.errors import InputError
from polycompress.languages import Language, find_languages
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.tokenizers.card import extended_card, trained_card
from polycompress.pipelines.tokenizers.figures import (
    language_changes,
    language_costs,
)
from polycompress.pipelines.tokenizers.opening import OpenTokenizer, made_tokenizer, open_tokenizer
from polycompress.pipelines.tokenizers.result import TokenizerResult
from polycompress.pipelines.tokenizers.text import (
    LanguageText,
    corpus_languages,
    read_checks,
    read_languages,
)
from polycompress.pipelines.tokenizers.writing import check_number, source_record, write_tokenizer
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.vocab.extending.document import extend_document
from polycompress.vocab.extending.finding import train_pieces
from polycompress.vocab.extending.measuring import same_tokens
from polycompress.vocab.extending.pieces import Extended
from polycompress.vocab.surface import piece_text
from polycompress.vocab.training.balancing import EXPONENT, balanced, times_each
from polycompress.vocab.training.layouts import LAYOUTS, TokenizerType
from polycompress.vocab.training.trainers import train_model

MAX_PIECES: Final = 1_000_000
DEFAULT_CHECKS: Final = ("en", "de", "fr", "es", "ru")
"""Languages whose segmentation is compared where none is named, by their word frequencies."""


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
    _check_exponent(exponent)
    languages = corpus_languages(corpus)
    texts = read_languages(languages, parse_corpora(corpus, languages, reading=Reading(field=field)))
    times = times_each({text.language.code: text.characters for text in texts}, exponent)
    lines = {text.language.code: (*text.training, *text.choosing) for text in texts}
    if progress is not None:
        progress("training", 0, None)
    document = train_model(name, balanced(lines, times), size)
    opened = made_tokenizer(document)
    costs = language_costs([(text.language, text.held_out) for text in texts], None, opened)
    notes = _size_notes(opened.size, size)
    result = TokenizerResult(
        out=place, kind=name, size=opened.size, old_size=None, shared=None, costs=tuple(costs), changes=(),
        notes=notes,
    )  # fmt: skip
    config = {"corpus": list(corpus), "size": size, "type": name, "exponent": exponent, "field": field}
    record = _record(command, config, texts, times, result)
    write_tokenizer(
        place, document, record, card=trained_card(result), roles=LAYOUTS[name].roles, overwrite=overwrite
    )
    return result


def extend_tokenizer(
    model: str | os.PathLike[str],
    *,
    langs: str | Sequence[str],
    corpus: Sequence[str],
    pieces: int,
    out: str | os.PathLike[str],
    check: Sequence[str] = (),
    exponent: float = EXPONENT,
    field: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> TokenizerResult:
    """Give a model's tokenizer new pieces for some languages.

    Args:
        model: A model or tokenizer directory, the word ``demo``, or ``owner/name[@revision]``.
        langs: Languages to find pieces for.
        corpus: ``[LANG=]PATTERN`` for each of them.
        pieces: How many.
        out: The directory to write.
        check: ``LANG`` or ``LANG=PATTERN``: languages whose segmentation is compared.
        exponent: How languages are balanced, see ``times_each``.
        field: Column of the text in JSON lines, CSV, TSV and Parquet.
        overwrite: Whether an existing directory is replaced.
        progress: Told of the work.
        command: The command line, for the record.

    Returns:
        What was written, with each new language's fertility on held-out text before and after, and how much other
        languages changed.

    Raises:
        InputError: The request, the tokenizer or the text is wrong; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = Path(out)
    check_output(place, overwrite=overwrite)
    check_number(pieces, "--pieces", 1, MAX_PIECES)
    _check_exponent(exponent)
    languages = find_languages(langs if isinstance(langs, str) else ",".join(langs))
    corpora = parse_corpora(corpus, languages, reading=Reading(field=field))
    source = resolve_model(model)
    check_apart(place, source.path)
    opened = open_tokenizer(source)
    codes = {language.code for language in languages}
    checks = read_checks(check, default=[code for code in DEFAULT_CHECKS if _code(code) not in codes])
    texts = read_languages(languages, corpora)
    extended, times = find_extension(opened, texts, pieces, exponent=exponent, progress=progress)
    after = made_tokenizer(extended.document)
    if progress is not None:
        progress("measuring", 0, None)
    notes = [*_size_notes(len(extended.pieces), pieces)]
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
    config = {
        "langs": [language.code for language in languages],
        "corpus": list(corpus),
        "pieces": pieces,
        "check": list(check),
        "exponent": exponent,
        "field": field,
    }
    record = _record(command, config, texts, times, result)
    record |= {"source": source_record(source, opened)}
    card = extended_card(result, source.name)
    more = write_tokenizer(place, extended.document, record, card=card, source=source, overwrite=overwrite)
    return _with_notes(result, more)


def find_extension(
    opened: OpenTokenizer,
    texts: Sequence[LanguageText],
    most: int,
    *,
    exponent: float = EXPONENT,
    progress: Progress | None = None,
) -> tuple[Extended, dict[str, float]]:
    """Find pieces in the text of some languages and add them.

    Args:
        opened: The tokenizer.
        texts: Of each language.
        most: Pieces wanted.
        exponent: How languages are balanced.
        progress: Told of the work.

    Returns:
        The extended tokenizer, and how often each language's texts counted.

    Raises:
        InputError: There is nothing to add, or the text cannot be worked on.
    """
    times = times_each({text.language.code: text.characters for text in texts}, exponent)
    training = {text.language.code: text.training for text in texts}
    choosing = {text.language.code: text.choosing for text in texts}
    found = train_pieces(
        opened.document,
        list(balanced(training, times)),
        list(balanced(choosing, times)),
        most=most,
        progress=progress,
    )
    if not found:
        names = ", ".join(text.language.name for text in texts)
        raise InputError(
            f"no piece would save a token in the text of {names}: there is nothing to add. Give more text"
        )
    return extend_document(opened.document, found), times


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


def _code(name: str) -> str:
    return find_languages(name)[0].code


def _check_exponent(exponent: float) -> None:
    if not 0 <= exponent <= 1:
        raise InputError(
            f"--exponent is a number from 0 (all languages equal) to 1 (as they are); got {exponent}"
        )


def _size_notes(got: int, wanted: int) -> tuple[str, ...]:
    if got < wanted:
        return (f"{got:,} of the {wanted:,} wanted: the text gives no more",)
    if got > wanted:
        return (f"{got:,} instead of the {wanted:,} wanted: single characters were needed",)
    return ()


def _with_notes(result: TokenizerResult, more: Sequence[str]) -> TokenizerResult:
    return replace(result, notes=(*result.notes, *more))


def _record(
    command: Sequence[str],
    config: Mapping[str, Any],
    texts: Sequence[LanguageText],
    times: Mapping[str, float],
    result: TokenizerResult,
) -> dict[str, Any]:
    languages: list[Language] = [text.language for text in texts]
    figures = {key: value for key, value in result.as_dict().items() if key not in ("out", "notes")}
    return {
        "command": list(command),
        "config": dict(config),
        "languages": [{"code": language.code, "name": language.name} for language in languages],
        "text": {
            text.language.code: {**text.as_dict(), "times": times[text.language.code]} for text in texts
        },
        "tokenizer": figures,
    }
