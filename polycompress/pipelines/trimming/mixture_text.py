"""Candidate languages' text as weighted pre-tokenised words, in blocks that a bootstrap can draw from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import regex
from numpy.typing import NDArray

from polycompress.corpora import CorpusSpec, Reading, Shard, make_shards, read_shard, whole_shard
from polycompress.corpora.formats import Kind
from polycompress.errors import InputError, MissingExtraError
from polycompress.languages import Language
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import Vocabulary
from polycompress.vocab.alphabet import byte_symbols
from polycompress.vocab.counting import segmenting
from polycompress.vocab.document import boundary_mark, is_byte_level
from polycompress.vocab.frequencies import weighted_forms, word_buckets
from polycompress.vocab.organic_merges import Organic
from polycompress.vocab.splitting import word_rule

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BLOCKS: Final = 10
"""Parts of each language's text from which the bootstrap draws."""
LINES_TOGETHER: Final = 16
"""Neighbouring lines that go into the same block: they are about the same thing."""
MAX_LANGUAGE_BYTES: Final = 2_000_000
"""Text read of each language at most, about equally from each of its files."""
MAX_BYTES: Final = 10_000_000
"""The same for all together: what bounds time and memory (some 1.2 GB)."""
FORMS: Final = 50_000
"""Word forms that stand for a language without text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What stood for a language."""

    language: Language
    bytes: int
    """UTF-8 bytes of text read, line ends left out; 0 for word frequencies."""
    lines: int
    """Lines of text, or word forms."""
    source: str
    """What the text is."""
    rough: bool
    """Whether it is word frequencies rather than text."""
    cut: bool
    """Whether more text was there than was read."""

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"text": self.source, "bytes": self.bytes, "lines": self.lines, "cut": self.cut}


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateWords:
    """Distinct words of all candidates, and how often each occurs in each block of each."""

    candidates: tuple[Candidate, ...]
    words: list[str]
    """W distinct pre-tokenised words."""
    entries: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
    """Word, column (candidate * BLOCKS + block) and how often, for each word in each block that has it."""
    block_bytes: NDArray[np.float64]
    """(L, BLOCKS) bytes."""

    def matrix(self) -> csr_matrix:
        """(W, L * BLOCKS) how often each word occurs in each block."""
        try:
            from scipy.sparse import csr_matrix
        except ImportError as error:
            raise MissingExtraError("Mixture inference", "train") from error
        rows, columns, counts = self.entries
        return csr_matrix((counts, (rows, columns)), shape=(len(self.words), self.block_bytes.size))


def collect_words(
    vocabulary: Vocabulary,
    languages: Sequence[Language],
    specs: Sequence[CorpusSpec],
    merges: Organic,
    *,
    reading: Reading | None = None,
    progress: Progress | None = None,
) -> CandidateWords:
    """Read every candidate's text, or its word frequencies, through the tokenizer's own pre-tokeniser.

    Args:
        vocabulary: The tokenizer.
        languages: L candidates.
        specs: Text for some or all of them.
        merges: Tell where training kept words apart.
        reading: How files become texts; None: every file is plain text.
        progress: Called as work goes on.

    Raises:
        InputError: A corpus cannot be read or holds no text, or a language has neither text nor word frequencies.
    """
    split = word_splitter(vocabulary, merges)
    gathered = _Gathered(block_bytes=np.zeros((len(languages), BLOCKS)))
    quota = min(MAX_LANGUAGE_BYTES, MAX_BYTES // len(languages))
    candidates = []
    for place, language in enumerate(languages):
        own = [spec for spec in specs if spec.language == language]
        label = f"reading {language.name}"
        report = (lambda amount, label=label: progress(label, amount, None)) if progress is not None else None
        if own:
            candidates.append(_read_text(language, own, reading, quota, split, gathered, place, report))
        else:
            candidates.append(_read_forms(vocabulary, language, split, gathered, place))
    return CandidateWords(
        candidates=tuple(candidates),
        words=list(gathered.index),
        entries=(
            np.array(gathered.rows, dtype=np.int64),
            np.array(gathered.columns, dtype=np.int64),
            np.array(gathered.counts, dtype=np.float64),
        ),
        block_bytes=gathered.block_bytes,
    )


def word_splitter(vocabulary: Vocabulary, merges: Organic) -> Callable[[str], list[str]]:
    """A function from a line to the words within which pairs were counted in training.

    That is the tokenizer's own normaliser and pre-tokeniser. Tokenizers converted from SentencePiece often have none:
    if no token has a word boundary inside, words were kept apart in training, and are here.
    """
    tokenizer, document = vocabulary.tokenizer, vocabulary.document
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    boundary = None
    if not is_byte_level(document):
        mark = regex.escape(boundary_mark(document))
        inside = regex.compile(f"[^{mark}]{mark}")
        made = set(merges.result.tolist())
        pieces = (piece for piece, number in document["model"]["vocab"].items() if number in made)
        if not any(inside.search(piece) for piece in pieces):
            boundary = regex.compile(f"(?<=[^{mark}])(?={mark})", regex.V1)

    def split(line: str) -> list[str]:
        text = normalizer.normalize_str(line) if normalizer is not None else line
        parts = (
            [part for part, _ in pre_tokenizer.pre_tokenize_str(text)]
            if pre_tokenizer is not None
            else [text]
        )
        if boundary is not None:
            parts = [word for part in parts for word in boundary.split(part)]
        return [part for part in parts if part]

    return split


@dataclass(slots=True)
class _Gathered:
    """Words found so far."""

    block_bytes: NDArray[np.float64]
    index: dict[str, int] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)

    def add(self, column: int, words: Counter[str] | dict[str, float]) -> None:
        """Add the words of one block."""
        self.rows += [self.index.setdefault(word, len(self.index)) for word in words]
        self.columns += [column] * len(words)
        self.counts += words.values()


def _read_text(
    language: Language,
    specs: Sequence[CorpusSpec],
    reading: Reading | None,
    quota: int,
    split: Callable[[str], list[str]],
    gathered: _Gathered,
    place: int,
    report: Callable[[int], None] | None,
) -> Candidate:
    blocks: list[Counter[str]] = [Counter() for _ in range(BLOCKS)]
    budget = _Budget(quota)
    lines = 0
    for text in _texts(specs, reading, budget):
        block = lines // LINES_TOGETHER % BLOCKS
        with segmenting():
            blocks[block].update(split(text))
        gathered.block_bytes[place, block] += len(text.encode("utf-8", "surrogatepass"))
        lines += 1
        if report is not None:
            report(1)
    if not lines:
        raise InputError(
            f"--corpus {language.code}={specs[0].pattern!r}: no text in it. Give a file with one text a line."
        )
    for block, words in enumerate(blocks):
        gathered.add(place * BLOCKS + block, words)
    return Candidate(
        language=language,
        bytes=int(gathered.block_bytes[place].sum()),
        lines=lines,
        source=", ".join(spec.pattern for spec in specs),
        rough=False,
        cut=budget.cut,
    )


class _Budget:
    """Bytes of text that may still be read."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.cut = False


def _texts(specs: Sequence[CorpusSpec], reading: Reading | None, budget: _Budget) -> Iterator[str]:
    """Texts of all shards, of each at most its equal part of what is left."""
    chosen = reading or Reading()
    shards: list[Shard] = []
    for spec in specs:
        if spec.dataset is None and reading is None:
            shards += [whole_shard(path, Kind.TEXT) for path in spec.files]
        else:
            shards += make_shards(spec, chosen)
    for place, shard in enumerate(shards):
        part = budget.left // (len(shards) - place)
        for text in read_shard(shard, chosen):
            if part <= 0:
                budget.cut = True
                break
            size = len(text.encode("utf-8", "surrogatepass"))
            part -= size
            budget.left -= size
            yield text


def _read_forms(
    vocabulary: Vocabulary,
    language: Language,
    split: Callable[[str], list[str]],
    gathered: _Gathered,
    place: int,
) -> Candidate:
    """Word forms by their frequency, spread evenly over the blocks: drawing from a list would say nothing of text."""
    made = weighted_forms(word_buckets(language), language, FORMS)
    lead = word_rule(vocabulary.document).lead if language.spaced else ""
    # Where words are not written apart, pre-tokenisers still put a mark before each: in text it is not there.
    marks = "" if language.spaced else boundary_mark(vocabulary.document) + byte_symbols()[ord(" ")]
    words: dict[str, float] = {}
    size = 0.0
    with segmenting():
        for centibels, forms in made.groups.items():
            weight = 10 ** (-centibels / 100)
            for form in forms:
                size += weight * (len(form.encode("utf-8", "surrogatepass")) + language.spaced)
                for part in split(lead + form):
                    word = part.lstrip(marks) if marks else part
                    words[word] = words.get(word, 0.0) + weight / BLOCKS
    words.pop("", None)
    for block in range(BLOCKS):
        gathered.add(place * BLOCKS + block, words)
    gathered.block_bytes[place] = size / BLOCKS
    return Candidate(
        language=language,
        bytes=0,
        lines=made.forms,
        source="built-in word frequencies",
        rough=True,
        cut=False,
    )
