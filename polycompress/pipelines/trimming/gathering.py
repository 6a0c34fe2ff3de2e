"""Gather what is known of each language: its corpus and its word frequencies, counted under one tokenizer."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polycompress.corpora import CorpusSpec, Reading, TextReader
from polycompress.errors import InputError, PolycompressError
from polycompress.languages import Language, find_language
from polycompress.modeldir.cache import cache_directory
from polycompress.pipelines.counting.units import OpenTokenizer, count_batches, language_counts
from polycompress.pipelines.trimming.loading import Vocabulary
from polycompress.vocab.counting import count_weighted
from polycompress.vocab.counts import (
    Counts,
    LanguageCounts,
    check_counts,
    load_counts,
    merge_named_counts,
    save_counts,
)
from polycompress.vocab.evidence import Distribution, expected_shares
from polycompress.vocab.frequencies import (
    BACKGROUND_FORMS,
    FORMS,
    FORMS_VERSION,
    weighted_forms,
    word_buckets,
)
from polycompress.vocab.held_out import HELD_OUT_TEXTS
from polycompress.vocab.splitting import WordRule, word_rule

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much more of it is done, and how much there is in all where that is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known of one language under one tokenizer."""

    language: Language
    shares: Distribution
    """(V,) the share of each token in text that is expected."""
    corpus: LanguageCounts | None
    words: LanguageCounts | None
    texts: tuple[str, ...]
    """Texts for the certificate."""
    texts_from: str
    """What those texts are."""

    @property
    def unseen(self) -> float | None:
        """Good and Turing's share of new text's tokens that the corpus never showed; None without a corpus."""
        corpus = self.corpus
        if corpus is None or corpus.seen_once is None or corpus.tokens == 0:
            return None
        return corpus.seen_once / corpus.tokens


def gather_evidence(
    vocabulary: Vocabulary,
    languages: Sequence[Language],
    corpora: Sequence[CorpusSpec],
    *,
    counts: Mapping[str, LanguageCounts] | None = None,
    frequencies: bool = True,
    progress: Progress | None = None,
) -> tuple[Evidence, ...]:
    """Count corpora and word lists.

    Args:
        vocabulary: The source's tokenizer.
        languages: Those that are kept.
        corpora: Text for some or all of them.
        counts: By language code, what was counted before (see ``counts_from_files``).
        frequencies: Use the built-in word frequencies too, English ones in the background among them.
        progress: See ``Progress``.

    Returns:
        One record per language, in their order.

    Raises:
        InputError: A language has neither text nor built-in frequencies, or a corpus cannot be read.
    """
    counts = counts or {}
    for language in languages:
        check_covered(language, corpora, counts, frequencies=frequencies)
    background = count_background(vocabulary, progress) if frequencies else None
    return tuple(
        gather_language(
            vocabulary, language, corpora, counts=counts, background=background, progress=progress
        )
        for language in languages
    )


def check_covered(
    language: Language,
    corpora: Sequence[CorpusSpec],
    counts: Mapping[str, LanguageCounts],
    *,
    frequencies: bool,
) -> None:
    """Raise where nothing tells how a language uses the vocabulary; nothing is read for it.

    Raises:
        InputError: It has neither a corpus, nor counts, nor built-in frequencies that may be used.
    """
    if language.code in counts or any(spec.language == language for spec in corpora):
        return
    if not frequencies:
        raise InputError(
            f"{language.name} ({language.code}) has no corpus, and built-in word frequencies are switched "
            f"off; add --corpus {language.code}='FILES'"
        )
    if language.wordfreq is None:
        word_buckets(language)


def counts_from_files(
    paths: Sequence[str | os.PathLike[str]], vocabulary: Vocabulary, languages: Sequence[Language]
) -> dict[str, LanguageCounts]:
    """Read counts files for some languages; what several files hold of one language is added up, no text twice.

    Args:
        paths: Files that ``polycompress count`` wrote.
        vocabulary: The tokenizer that they must have been counted with.
        languages: Those asked for; others in the files are left out.

    Returns:
        By language code.

    Raises:
        InputError: A file cannot be read, is of another tokenizer, or has none of the languages; or two are of partly
            the same text.
    """
    found: dict[str, list[tuple[str, LanguageCounts]]] = {}
    asked = {language.code for language in languages}
    for path in map(Path, paths):
        counts = load_counts(path)
        check_counts(counts, path, vocabulary.sha256, vocabulary.size)
        held = asked & counts.languages.keys()
        if not held:
            raise InputError(
                f"{path}: counts of {', '.join(counts.languages) or 'no language'}, but asked for is "
                f"{', '.join(sorted(asked))}; name its language or leave the file out"
            )
        for code in sorted(held):
            found.setdefault(code, []).append((str(path), counts.languages[code]))
    return {code: merge_named_counts(parts) for code, parts in found.items()}


def count_background(vocabulary: Vocabulary, progress: Progress | None = None) -> LanguageCounts:
    """The English words that stand behind every language: names and loans are everywhere."""
    return count_words(vocabulary, find_language("eng-Latn"), BACKGROUND_FORMS, progress)


def count_corpus(
    vocabulary: Vocabulary,
    files: Sequence[Path],
    progress: Progress | None = None,
    reading: Reading | None = None,
) -> LanguageCounts:
    """Count the tokens of files, keeping a share of the lines out."""
    reader = TextReader(files, reading or Reading())
    label = f"counting {files[0].name}" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    report = (lambda amount: progress(label, amount, None)) if progress is not None else None
    opened = OpenTokenizer(
        tokenizer=vocabulary.tokenizer,
        document=vocabulary.document,
        sha256=vocabulary.sha256,
        size=vocabulary.size,
    )
    tally, texts = count_batches(opened, reader.batches(), report)
    source: dict[str, Any] = {
        "kind": "corpus",
        "files": reader.provenance(),
        "counting": tally.rule.reason,
    }
    if reading is not None and reading != Reading():
        source["reading"] = reading.as_dict()
    return language_counts(tally, texts, source)


def count_words(
    vocabulary: Vocabulary, language: Language, forms: int, progress: Progress | None = None
) -> LanguageCounts:
    """Count the tokens of a language's word list, or take the counts of an earlier run from the user's cache."""
    path = _cache_path(vocabulary, language, forms)
    if path is not None and (cached := _load(path, vocabulary, language)) is not None:
        return cached
    buckets = word_buckets(language)
    made = weighted_forms(buckets, language, forms)
    label = f"counting {language.name} words"
    report = (lambda amount: progress(label, amount, made.forms)) if progress is not None else None
    totals = count_weighted(
        vocabulary.tokenizer,
        _list_rule(vocabulary, language),
        {10 ** (-centibels / 100): group for centibels, group in made.groups.items()},
        vocabulary.size,
        progress=report,
    )
    ids = np.flatnonzero(totals)
    texts = tuple(made.held_out[:HELD_OUT_TEXTS])
    counts = LanguageCounts(
        ids=ids,
        counts=totals[ids],
        texts=made.forms,
        characters=sum(len("".join(group)) for group in made.groups.values()),
        bytes=0,
        seen_once=None,
        source={"kind": "word frequencies", "list": language.wordfreq, "wordfreq": _version("wordfreq")},
        held_out_texts=texts,
    )
    if path is not None:
        _store(path, vocabulary, language, counts)
    return counts


def gather_language(
    vocabulary: Vocabulary,
    language: Language,
    corpora: Sequence[CorpusSpec],
    *,
    counts: Mapping[str, LanguageCounts],
    background: LanguageCounts | None,
    progress: Progress | None = None,
) -> Evidence:
    """What is known of one language.

    Args:
        vocabulary: The source's tokenizer.
        language: The language.
        corpora: Text of this and other languages.
        counts: By language code, what was counted before.
        background: See ``count_background``; None to do without all built-in frequencies.
        progress: See ``Progress``.

    Raises:
        InputError: A corpus cannot be read, or is partly what was counted before.
    """
    own = [spec for spec in corpora if spec.language == language]
    files = [file for spec in own for file in spec.files]
    parts = [("--counts", counts[language.code])] if language.code in counts else []
    if files:
        parts.append(("--corpus", count_corpus(vocabulary, files, progress, own[0].reading)))
    corpus = merge_named_counts(parts) if parts else None
    words = None
    if background is not None and language.wordfreq is not None:
        words = count_words(vocabulary, language, FORMS, progress)
    shares = expected_shares(
        language,
        corpus=corpus.dense(vocabulary.size) if corpus is not None else None,
        words=words.dense(vocabulary.size) if words is not None else None,
        background=background.dense(vocabulary.size) if background is not None else None,
        preference=vocabulary.preference,
        texts=vocabulary.texts,
    )
    if corpus is not None and corpus.held_out_texts:
        texts, texts_from = corpus.held_out_texts, "held-out lines of the corpus"
    elif words is not None and words.held_out_texts:
        texts, texts_from = words.held_out_texts, "held-out words of the frequency list"
    else:
        texts, texts_from = (), "nothing: the corpus is too small to hold lines out"
    return Evidence(
        language=language, shares=shares, corpus=corpus, words=words, texts=texts, texts_from=texts_from
    )


def _list_rule(vocabulary: Vocabulary, language: Language) -> WordRule:
    """How a list's words stand in text: a space before each, but none in a language that is written without."""
    rule = word_rule(vocabulary.document)
    if language.spaced or not rule.first_differs:
        return rule
    return WordRule(independent=False, reason="words of this language have no space before them")


def _cache_path(vocabulary: Vocabulary, language: Language, forms: int) -> Path | None:
    root = cache_directory()
    if root is None:
        return None
    key: tuple[Any, ...] = (vocabulary.sha256, language.code, _version("wordfreq"), _version("tokenizers"))
    digest = hashlib.sha256(repr((*key, forms, FORMS_VERSION)).encode()).hexdigest()[:32]
    return root / "word-counts" / f"{language.code}-{digest}.npz"


def _load(path: Path, vocabulary: Vocabulary, language: Language) -> LanguageCounts | None:
    try:
        if not path.exists():
            return None
        counts = load_counts(path)
        if (counts.tokenizer_sha256, counts.vocab_size) == (vocabulary.sha256, vocabulary.size):
            return counts.languages[language.code]
    except (OSError, InputError, KeyError):
        pass
    logger.warning("%s: damaged or not readable; counting the word list again", path)
    return None


def _store(path: Path, vocabulary: Vocabulary, language: Language, counts: LanguageCounts) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_counts(
            Counts(
                tokenizer_sha256=vocabulary.sha256,
                vocab_size=vocabulary.size,
                languages={language.code: counts},
            ),
            path,
        )
    except (OSError, PolycompressError) as error:
        logger.warning("%s: cannot keep the counts for later runs: %s", path, error)


@functools.cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)
