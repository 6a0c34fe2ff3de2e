"""How well a model's vocabulary suits each language, from what was gathered of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import CorpusSpec, read_texts
from polycompress.languages import Language
from polycompress.pipelines.trimming.certificate import unknown_id
from polycompress.pipelines.trimming.gathering import Evidence
from polycompress.pipelines.trimming.loading import Vocabulary
from polycompress.vocab.counting import encode_ids, segmenting
from polycompress.vocab.counts import LanguageCounts
from polycompress.vocab.evidence import normalised
from polycompress.vocab.frequencies import FORMS, weighted_forms, word_buckets
from polycompress.vocab.profile import (
    LetterCoverage,
    Overlap,
    WordFigures,
    blank_pieces,
    letter_coverage,
    lettered_pieces,
    mass_used_also,
    partial_pieces,
    weighted_jaccard,
    word_figures,
)
from polycompress.vocab.splitting import word_rule
from polycompress.vocab.surface import single_character_pieces

SAMPLE_CHARACTERS: Final = 1 << 21
"""Of the texts in which words are looked at one by one."""
SAMPLE_TEXTS: Final = 2000
"""Lines of a corpus that is too small to hold lines out."""
HEAVIEST_FORMS: Final = 8_000
"""Word forms that are looked at one by one; of the rest as many again, taken at even distances."""
MORPHEME_LISTS: Final = frozenset({"ko"})
"""Languages written with spaces whose word list holds parts of what stands between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageProfile:
    """How well a vocabulary suits one language."""

    language: Language
    text: str
    """What was looked at: a corpus, or word frequencies."""
    tokens_per_character: float | None
    """Spaces are characters too; None where nothing was counted."""
    tokens_per_word: float | None
    """Fertility; None for languages written without spaces, and without texts.

    Word frequencies know bare words: on text it is higher, by a tenth to a fifth for German, Finnish, Russian, Hindi.
    """
    continued_words: float | None
    """Share of words that take more than one token, punctuation around them left out; None as above."""
    unknown: float
    """Share of tokens that are the unknown token."""
    partial: float
    """Share of tokens that are no whole characters: bytes."""
    used: int
    """Tokens that occur at all."""
    used_share: float
    """The same by the size of the vocabulary."""
    letters: LetterCoverage | None
    """None where it is not known which letters the language needs."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        letters = self.letters
        return {
            "text": self.text,
            "tokens_per_character": self.tokens_per_character,
            "tokens_per_word": self.tokens_per_word,
            "continued_words": self.continued_words,
            "unknown": self.unknown,
            "bytes": self.partial,
            "used": self.used,
            "used_share": self.used_share,
            "letters": None
            if letters is None
            else {
                "needed": letters.letters,
                "single": letters.single,
                "coverage": letters.share,
                "missing": list(letters.missing),
            },
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """Texts to be looked at word by word."""

    texts: Sequence[str]
    weights: NDArray[np.float64] | None
    spaces: int
    """Characters at the beginning of each text that stand for the space before a word in running text, if any."""


def profile_languages(
    vocabulary: Vocabulary, evidence: Sequence[Evidence], corpora: Sequence[CorpusSpec] = ()
) -> tuple[LanguageProfile, ...]:
    """Measure how well a vocabulary suits some languages.

    A language's own corpus (or counts of one) is looked at where there is one, else its word frequencies, each form
    with its weight. Shares of tokens come from all that was counted; what words cost comes from the lines held out
    of the corpus, or from a sample of the word forms.

    Args:
        vocabulary: The tokenizer.
        evidence: One record per language.
        corpora: Where their texts came from, for corpora too small to hold lines out.

    Returns:
        One profile per language, in their order.
    """
    partial = partial_pieces(vocabulary.document, vocabulary.texts)
    unknown = unknown_id(vocabulary.document)
    singles = single_character_pieces(vocabulary.document, vocabulary.texts)
    characters = frozenset(character for _, character in singles)
    return tuple(_profile(vocabulary, record, corpora, partial, unknown, characters) for record in evidence)


def measure_overlap(vocabulary: Vocabulary, evidence: Sequence[Evidence]) -> Overlap:
    """What languages share of a vocabulary, from what was counted of each.

    Only whole characters with a letter, mark or digit among them are looked at: all languages share punctuation and
    bytes, and a list of words has a space before each, which text in Chinese or Japanese has not.
    """
    counts = np.stack([_counted(record).dense(vocabulary.size) for record in evidence])
    seen = np.flatnonzero(counts.any(axis=0)).tolist()
    left_out = ~lettered_pieces(vocabulary.texts, seen) | partial_pieces(
        vocabulary.document, vocabulary.texts
    )
    unknown = unknown_id(vocabulary.document)
    if unknown is not None:
        left_out[unknown] = True
    counts[:, left_out] = 0.0
    shares = np.stack([normalised(row) for row in counts])
    return Overlap(
        codes=tuple(record.language.code for record in evidence),
        jaccard=weighted_jaccard(shares),
        used_also=mass_used_also(shares),
    )


def _profile(
    vocabulary: Vocabulary,
    record: Evidence,
    corpora: Sequence[CorpusSpec],
    partial: NDArray[np.bool_],
    unknown: int | None,
    characters: frozenset[str],
) -> LanguageProfile:
    language, counts = record.language, _counted(record)
    sample = _sample(vocabulary, record, corpora)
    tokens, starts = _segment(vocabulary, sample)
    listed = record.corpus is None and language.wordfreq in MORPHEME_LISTS
    words = _words(vocabulary, sample, tokens, starts) if language.spaced and not listed else None
    if record.corpus is not None:
        per_character = counts.tokens / counts.characters if counts.characters else None
    else:
        per_character = _per_character(vocabulary, sample, tokens, spaced=language.spaced)
    if record.corpus is None and not language.spaced:
        seen = _weighted(sample, tokens, vocabulary.size)
    else:
        seen = counts.dense(vocabulary.size)
    total = float(seen.sum())
    used = int(np.count_nonzero(counts.counts))
    return LanguageProfile(
        language=language,
        text="corpus" if record.corpus is not None else "word frequencies",
        tokens_per_character=per_character,
        tokens_per_word=None if words is None else words.tokens_per_word,
        continued_words=None if words is None else words.continued,
        unknown=0.0 if unknown is None or not total else float(seen[unknown]) / total,
        partial=float(seen[partial].sum()) / total if total else 0.0,
        used=used,
        used_share=used / vocabulary.size,
        letters=_letters(vocabulary, language, partial, unknown, characters),
    )


def _counted(record: Evidence) -> LanguageCounts:
    """The corpus where there is one, else the word frequencies."""
    counts = record.corpus if record.corpus is not None else record.words
    assert counts is not None  # gathering refuses languages of which nothing is known
    return counts


def _sample(vocabulary: Vocabulary, record: Evidence, corpora: Sequence[CorpusSpec]) -> _Sample:
    if record.corpus is None:
        return _word_forms(vocabulary, record.language)
    texts: Sequence[str] = record.corpus.held_out_texts or ()
    if not texts:
        specs = [spec for spec in corpora if spec.language == record.language]
        texts = tuple(islice(chain.from_iterable(map(read_texts, specs)), SAMPLE_TEXTS))
    sizes = np.cumsum(list(map(len, texts)))
    return _Sample(
        texts=texts[: max(1, int(np.searchsorted(sizes, SAMPLE_CHARACTERS)))], weights=None, spaces=0
    )


def _word_forms(vocabulary: Vocabulary, language: Language) -> _Sample:
    """The heaviest word forms of one word, and a sample of the others with their weight in all."""
    made = weighted_forms(word_buckets(language), language, FORMS)
    groups = [[form for form in group if " " not in form] for group in made.groups.values()]
    forms = list(chain.from_iterable(groups))
    weights = np.repeat([10 ** (-centibels / 100) for centibels in made.groups], list(map(len, groups)))
    step = max(1, -(-(len(forms) - HEAVIEST_FORMS) // HEAVIEST_FORMS))
    tail = np.arange(HEAVIEST_FORMS + step // 2, len(forms), step)
    taken = np.concatenate([np.arange(min(HEAVIEST_FORMS, len(forms))), tail])
    chosen = weights[taken]
    if len(tail):
        chosen[HEAVIEST_FORMS:] *= weights[HEAVIEST_FORMS:].sum() / weights[tail].sum()
    # Where no spaces stand between words, a space before one would join its first bytes: no text has that.
    lead = word_rule(vocabulary.document).lead if language.spaced else ""
    return _Sample(texts=[lead + forms[index] for index in taken], weights=chosen, spaces=len(lead))


def _segment(vocabulary: Vocabulary, sample: _Sample) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of texts, and where in its text each token begins; 0 throughout where a text is one word."""
    if sample.weights is not None:
        tokens = list(encode_ids(vocabulary.tokenizer, sample.texts))
        return tokens, [[0] * len(ids) for ids in tokens]
    with segmenting():
        encodings = vocabulary.tokenizer.encode_batch(list(sample.texts), add_special_tokens=False)
    return [encoding.ids for encoding in encodings], [
        [begin for begin, _ in encoding.offsets] for encoding in encodings
    ]


def _words(
    vocabulary: Vocabulary, sample: _Sample, tokens: list[list[int]], starts: list[list[int]]
) -> WordFigures | None:
    seen = set(chain.from_iterable(tokens))
    return word_figures(sample.texts, tokens, starts, lettered_pieces(vocabulary.texts, seen), sample.weights)


def _per_character(
    vocabulary: Vocabulary, sample: _Sample, tokens: list[list[int]], *, spaced: bool
) -> float | None:
    """Tokens by character of word forms as running text would hold them, a space before each where there are any."""
    assert sample.weights is not None
    lengths = np.array([len(text) - sample.spaces + spaced for text in sample.texts])
    if spaced:
        amounts = np.array(list(map(len, tokens)))
    else:  # a space alone is a token before each word of a list, and none between the words of a text
        seen = set(chain.from_iterable(tokens))
        blank = blank_pieces(vocabulary.texts, seen)
        amounts = np.array([sum(not blank[token] for token in ids) for ids in tokens])
    characters = float((sample.weights * lengths).sum())
    return float((sample.weights * amounts).sum()) / characters if characters else None


def _weighted(sample: _Sample, tokens: list[list[int]], size: int) -> NDArray[np.float64]:
    """(V,) weight of each token in a sample of word forms."""
    assert sample.weights is not None
    flat = np.fromiter(chain.from_iterable(tokens), dtype=np.int64)
    weights = np.repeat(sample.weights, list(map(len, tokens)))
    return np.bincount(flat, weights, minlength=size).astype(np.float64)


def _letters(
    vocabulary: Vocabulary,
    language: Language,
    partial: NDArray[np.bool_],
    unknown: int | None,
    characters: frozenset[str],
) -> LetterCoverage | None:
    if not language.letters_known:
        return None
    tokens = list(encode_ids(vocabulary.tokenizer, language.letters))
    unreadable = partial.copy()
    if unknown is not None:
        unreadable[unknown] = True
    blank = blank_pieces(vocabulary.texts, set(chain.from_iterable(tokens)))
    return letter_coverage(language.letters, tokens, characters, unreadable, blank)
