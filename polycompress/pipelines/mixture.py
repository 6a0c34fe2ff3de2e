"""Which languages, out of some candidates, was a BPE tokenizer trained on, and in what shares?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from polycompress.corpora import Reading, parse_corpora
from polycompress.errors import InputError, MissingExtraError
from polycompress.languages import Language
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import Vocabulary, asked_languages, open_vocabulary
from polycompress.pipelines.trimming.mixture_text import Candidate, CandidateWords, collect_words
from polycompress.vocab.document import boundary_mark, is_byte_level, model_type
from polycompress.vocab.frequencies import word_buckets
from polycompress.vocab.merge_replay import replay, word_ids
from polycompress.vocab.mixture import (
    bootstrap_shares,
    merge_ratios,
    merges_by_language,
    segment_counts,
    solve_shares,
)
from polycompress.vocab.mixture_trust import Signs, Trust, judge
from polycompress.vocab.organic_merges import Organic, organic_merges

DEFAULT_MERGES: Final = 3000
"""The first merges are made of the most counts: later ones cost time and add noise."""
DEFAULT_SAMPLES: Final = 20
MIN_MERGES: Final = 50
UNIT: Final = "share of bytes of UTF-8 text"
HARDLY: Final = 0.1
"""A merge whose pair occurs less than so often, by the most frequent pair, hardly occurs."""
VISIBLE: Final = 0.005
"""A share of half a per cent or more is one to warn of."""
_Z95: Final = 1.96

_NO_ORDER: Final = {
    "unigram": "a Unigram vocabulary is found by dropping pieces from a large set, not by merging pairs",
    "wordpiece": "a WordPiece file keeps only the finished pieces, not the merges that made them",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageShare:
    """One candidate."""

    language: Language
    share: float
    """Of the bytes."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    merges: int
    """Merges at least half of whose occurrences are this language's: what its share rests on."""
    candidate: Candidate
    """The text that stood for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MixtureReport:
    """Shares of the candidates, and what they rest on."""

    name: str
    languages: tuple[LanguageShare, ...]
    """In the order asked."""
    merges_listed: int
    """All merges of the tokenizer, those of converters included."""
    merges_considered: int
    """The first merges that training can have made."""
    merges_used: int
    merges_absent: int
    """Left out: their pair never occurs in any candidate's text."""
    merges_blank: int
    """Left out: white space only, often put in by hand."""
    merges_redundant: int
    """Left out: other ways to build a token, listed by converters."""
    unexplained: float
    """Share of the considered merges whose pair hardly occurs where it should be the most frequent."""
    violation: float
    """By how much the order of merges is wrong under these shares, by the occurrences of all merges."""
    trust: Trust
    samples: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "unit": UNIT,
            "shares": {
                item.language.code: {
                    "share": item.share,
                    "interval": [item.low, item.high],
                    "merges": item.merges,
                    **item.candidate.as_dict(),
                }
                for item in self.languages
            },
            "trust": {"level": self.trust.level, "text": self.trust.text},
            "merges": {
                "listed": self.merges_listed,
                "considered": self.merges_considered,
                "used": self.merges_used,
                "absent": self.merges_absent,
                "blank": self.merges_blank,
                "redundant": self.merges_redundant,
            },
            "unexplained": self.unexplained,
            "violation": self.violation,
            "interval": 0.95,
            "samples": self.samples,
            "seed": self.seed,
        }


def infer_mixture(
    model: str | os.PathLike[str],
    langs: str | Sequence[str],
    corpus: str | Sequence[str] = (),
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    merges: int | None = None,
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> MixtureReport:
    """Estimate the languages' shares of a BPE tokenizer's training text from the order of its merges.

    Args:
        model: A directory with a ``tokenizer.json`` (weights are not needed), ``demo``, or ``owner/name[@revision]``.
        langs: At least two candidates.
        corpus: ``[LANG=]PATTERN`` of text; a candidate without is stood for by its built-in word frequencies.
        samples: Bootstrap samples behind the intervals; at least 2.
        seed: Of the bootstrap.
        merges: At most so many merges are looked at, at least ``MIN_MERGES``; None: ``DEFAULT_MERGES``.
        reading: How files become texts; None: every file is plain text.
        progress: Called as work goes on.

    Returns:
        The shares of bytes with 95 % intervals, and how far to trust them.

    Raises:
        InputError: The tokenizer is no BPE or has no merges, too few candidates, nothing known of one of them, or a
            file cannot be read.
        MissingExtraError: scipy is not installed.

    Reference:
        Hayase et al., "Data Mixture Inference", 2024 (https://arxiv.org/abs/2407.16607).
    """
    languages = asked_languages(langs)
    merges = DEFAULT_MERGES if merges is None else merges
    _check_request(languages, samples, merges)
    specs = parse_corpora([corpus] if isinstance(corpus, str) else corpus, languages, datasets=True)
    for language in languages:
        if language.wordfreq is None and not any(spec.language == language for spec in specs):
            word_buckets(language)  # refuses it, with what would help
    source = resolve_model(model)
    vocabulary = open_vocabulary(source)
    chosen = _organic(vocabulary, merges, source.name)
    words = collect_words(vocabulary, languages, specs, chosen, reading=reading, progress=progress)
    return infer_from_words(
        vocabulary,
        words,
        chosen,
        name=source.name,
        trimmed=(source.path / "polycompress.json").is_file(),
        samples=samples,
        seed=seed,
        progress=progress,
    )


def infer_from_words(
    vocabulary: Vocabulary,
    words: CandidateWords,
    merges: Organic,
    *,
    name: str,
    trimmed: bool = False,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> MixtureReport:
    """Estimate shares from words that were collected already; for arguments and errors see ``infer_mixture``."""
    weights = words.matrix()
    symbols, owner = word_ids(words.words, vocabulary.document["model"])
    history = replay(symbols, owner, merges, progress=_part(progress, "replaying merges", len(merges.left)))
    pooling = np.zeros(words.block_bytes.shape + words.block_bytes.shape[:1])
    pooling[range(len(pooling)), :, range(len(pooling))] = 1 / words.block_bytes.sum(axis=1, keepdims=True)
    counts = segment_counts(history, weights @ pooling.reshape(-1, len(pooling)))
    used = np.where((history.merge_segment >= 0) & ~merges.blank, 1.0, 0.0)
    solution = solve_shares(history, counts, used)
    drawn = bootstrap_shares(
        history,
        weights,
        words.block_bytes,
        used,
        solution,
        samples=samples,
        seed=seed,
        progress=_part(progress, "bootstrap", samples),
    )
    owned = merges_by_language(history, counts, solution.shares)
    width = _Z95 * drawn.std(axis=0, ddof=1)
    shares = tuple(
        LanguageShare(
            language=candidate.language,
            share=float(share),
            low=float(max(0.0, share - half)),
            high=float(min(1.0, share + half)),
            merges=int(own),
            candidate=candidate,
        )
        for candidate, share, half, own in zip(words.candidates, solution.shares, width, owned, strict=True)
    )
    absent = int(np.count_nonzero((history.merge_segment < 0) & ~merges.blank))
    ratios = merge_ratios(history, counts, solution)[~merges.blank]
    unexplained = float(np.mean(ratios < HARDLY))
    return MixtureReport(
        name=name,
        languages=shares,
        merges_listed=merges.listed,
        merges_considered=len(merges.left),
        merges_used=int(np.count_nonzero(used)),
        merges_absent=absent,
        merges_blank=int(np.count_nonzero(merges.blank)),
        merges_redundant=len(merges.redundant),
        unexplained=unexplained,
        violation=solution.violation,
        trust=judge(
            Signs(
                widest=float(width.max()),
                unexplained=unexplained,
                violation=solution.violation,
                absent=absent / max(1, int(np.count_nonzero(~merges.blank))),
                merges=int(np.count_nonzero(used)),
                own_merges={item.language.name: item.merges for item in shares if item.share >= VISIBLE},
                text_bytes={item.language.name: item.bytes for item in words.candidates if not item.rough},
                rough=tuple(item.language.name for item in words.candidates if item.rough),
                trimmed=trimmed,
            )
        ),
        samples=samples,
        seed=seed,
    )


def _check_request(languages: Sequence[Language], samples: int, merges: int) -> None:
    if len(languages) < 2:
        named = ", ".join(language.code for language in languages) or "none"
        raise InputError(
            f"a mixture needs at least two candidate languages, and there is {named}; name more, for example de,en,fr"
        )
    if samples < 2:
        raise InputError(f"{samples} bootstrap samples give no interval; give at least 2")
    if merges < MIN_MERGES:
        raise InputError(f"--merges {merges} is too few to tell languages apart; give at least {MIN_MERGES}")
    try:
        import scipy  # noqa: F401  before any text is read
    except ImportError as error:
        raise MissingExtraError("Mixture inference", "train") from error


def _organic(vocabulary: Vocabulary, merges: int, name: str) -> Organic:
    document = vocabulary.document
    kind = model_type(document)
    if kind in _NO_ORDER:
        raise InputError(
            f"{name}: the tokenizer is {document['model'].get('type') or kind}, and the mixture is read from the order "
            f"of BPE merges: {_NO_ORDER[kind]}. Give a model with a BPE tokenizer"
        )
    chosen = organic_merges(
        document["model"], merges, byte_level=is_byte_level(document), mark=boundary_mark(document)
    )
    if not len(chosen.left):
        raise InputError(
            f"{name}: its BPE tokenizer lists no merges, so there is no order to read a mixture from"
        )
    return chosen


def _part(progress: Progress | None, label: str, total: int) -> Callable[[int], None] | None:
    return (lambda amount: progress(label, amount, total)) if progress is not None else None
