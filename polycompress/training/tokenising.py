"""Turn corpora into examples: tokenised once, streamed, kept in a directory that the next run finds again."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from polycompress.corpora import CorpusSpec, Reading, Shard, make_shards, read_shard
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.leftovers import remove
from polycompress.training.examples import FORMAT, IDS, META, OFFSETS, TEXTS, Examples, LanguageExamples
from polycompress.vocab.counting import segmenting

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

logger = logging.getLogger(__name__)

_TEXTS_AT_ONCE: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Cutting:
    """How a text becomes examples."""

    max_length: int
    """Tokens of an example at most, special ones included; a longer text becomes several."""
    end_id: int | None = None
    """Of a token to end every text with, where the tokenizer's own post-processor adds none; for decoders."""
    min_tokens: int = 1
    """Texts with fewer ordinary tokens are left out; at least 1."""


def prepare_examples(
    tokenizer_json: str,
    corpora: Sequence[CorpusSpec],
    work: Path,
    cutting: Cutting,
    *,
    reading: Reading | None = None,
    table_rows: int | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Examples:
    """The examples of corpora, tokenised now or by an earlier run.

    What is kept is found again by the tokenizer, the cutting, the reading and the corpus's files (names, sizes, times
    of the last change): where one of them is another, the language is tokenised again. Memory does not grow with the
    corpus.

    Args:
        tokenizer_json: The content of ``tokenizer.json``. Padding and truncation that it may ask for are left out.
        corpora: As ``parse_corpora`` gives them; several of a language are read one after another.
        work: Directory that keeps the tokenised texts; made if missing.
        cutting: How a text becomes examples.
        reading: How files become texts.
        table_rows: Rows of the model's embedding table, to refuse ids outside it.
        progress: Called with a language and the characters read since the last call.

    Returns:
        The languages in the order of the corpora.

    Raises:
        InputError: No corpus, a corpus with no usable text, a file that cannot be read, an id outside the table, or
            examples too short for the special tokens.
        StorageError: The disk refused.
    """
    how = reading or Reading()
    tokenizer = open_cutting(tokenizer_json, cutting)
    digest = hashlib.sha256(tokenizer_json.encode()).hexdigest()
    parts = []
    for code in dict.fromkeys(spec.language.code for spec in corpora):
        shards = tuple(
            shard for spec in corpora if spec.language.code == code for shard in make_shards(spec, how)
        )
        settings = {
            "format": FORMAT,
            "language": code,
            "tokenizer_sha256": digest,
            "cutting": asdict(cutting),
            "reading": how.as_dict(),
        }
        path = work / f"{code}-{settings_key(settings, shards)}"
        part = _kept(path)
        if part is None:
            report = (lambda amount, code=code: progress(code, amount)) if progress is not None else None
            _write(path, settings, tokenizer, shards, how, cutting, report)
            part = LanguageExamples(path)
        parts.append(part)
    examples = Examples(parts)
    if table_rows is not None:
        examples.check_table(table_rows)
    return examples


def open_cutting(document: str, cutting: Cutting) -> Tokenizer:
    """A tokenizer that cuts texts; what follows a piece overflows.

    Raises:
        InputError: Examples are too short for the special tokens.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(document)
    tokenizer.no_padding()
    special = tokenizer.num_special_tokens_to_add(is_pair=False) + (cutting.end_id is not None)
    if cutting.min_tokens < 1:
        raise InputError(f"min_tokens is {cutting.min_tokens!r}: give at least 1.")
    if cutting.max_length < special + cutting.min_tokens:
        raise InputError(
            f"max_length is {cutting.max_length}, which leaves no room for text beside {special} special tokens: give "
            f"at least {special + cutting.min_tokens}."
        )
    tokenizer.enable_truncation(cutting.max_length - (cutting.end_id is not None), stride=0)
    return tokenizer


def least_tokens(tokenizer: Tokenizer, cutting: Cutting) -> int:
    """Tokens of a text that is not left out, special ones included."""
    return int(tokenizer.num_special_tokens_to_add(is_pair=False)) + cutting.min_tokens


def pieces_of(encoding: Encoding, least: int) -> list[Encoding]:
    """The pieces that a text was cut into; none where it has too few tokens."""
    return [encoding, *encoding.overflowing] if len(encoding.ids) >= least else []


def settings_key(settings: Mapping[str, Any], shards: Iterable[Shard]) -> str:
    """What tokenised texts are found again by."""
    whole = json.dumps([settings, [shard.key() for shard in shards]], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _kept(path: Path) -> LanguageExamples | None:
    """What an earlier run left, or None if it has to be made."""
    if not path.exists():
        return None
    try:
        return LanguageExamples(path)
    except InputError as error:
        logger.warning("%s", error)
        remove(path)
        return None


def _write(
    path: Path,
    settings: dict[str, Any],
    tokenizer: Tokenizer,
    shards: Sequence[Shard],
    reading: Reading,
    cutting: Cutting,
    progress: Callable[[int], None] | None,
) -> None:
    """Tokenise a language's corpus into a directory that appears whole or not at all."""
    try:
        with atomic_directory(path) as directory:
            files: Counter[str] = Counter()
            dropped: Counter[str] = Counter()
            sources = []
            with (
                (directory / IDS).open("wb") as ids,
                (directory / OFFSETS).open("wb") as offsets,
                (directory / TEXTS).open("wb") as texts,
            ):
                writer = _Writer(tokenizer, cutting, ids, offsets, texts)
                for shard in shards:
                    reader = read_shard(shard, reading)
                    for batch in reader.batches():
                        writer.add(batch)
                        files[shard.name] += len(batch)
                        if progress is not None:
                            progress(sum(map(len, batch)))
                    dropped.update(reader.dropped)
                    sources.append(reader.provenance())
            if not writer.examples:
                raise InputError(_nothing(str(settings["language"]), shards, writer.texts))
            meta = {
                **settings,
                **writer.as_dict(),
                "dropped": dict(dropped),
                "files": [{"name": name, "texts": count} for name, count in files.items()],
                "sources": sources,
            }
            (directory / META).write_text(json.dumps(meta), encoding="utf-8")
    except InputError:
        if not path.is_dir():  # else another process was faster with the same
            raise


def _nothing(language: str, shards: Sequence[Shard], texts: int) -> str:
    names = list(dict.fromkeys(shard.name for shard in shards))
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    reason = f"none of its {texts} texts has enough tokens" if texts else "there is no text in it"
    return f"{shown}: no usable text for {language}: {reason}. Give a file with one text a line."


class _Writer:
    """Appends examples to the three files."""

    def __init__(
        self, tokenizer: Tokenizer, cutting: Cutting, ids: IO[bytes], offsets: IO[bytes], texts: IO[bytes]
    ) -> None:
        self._tokenizer, self._cutting = tokenizer, cutting
        self._least = least_tokens(tokenizer, cutting)
        self._ids, self._offsets, self._texts = ids, offsets, texts
        self._offsets.write(np.zeros(1, dtype="<i8").tobytes())
        self.examples = self.tokens = self.texts = self.without_tokens = self.longest = 0
        self.highest_id = -1

    def add(self, batch: Sequence[str]) -> None:
        """Tokenise texts and write their examples."""
        for begin in range(0, len(batch), _TEXTS_AT_ONCE):
            with segmenting():
                encodings = self._tokenizer.encode_batch_fast(list(batch[begin : begin + _TEXTS_AT_ONCE]))
            pieces: list[list[int]] = []
            numbers: list[int] = []
            for encoding in encodings:
                found = list(self._pieces(encoding))
                pieces += found
                numbers += [self.texts] * len(found)
                self.texts += 1
                self.without_tokens += not found
            self._append(pieces, numbers)

    def as_dict(self) -> dict[str, int]:
        """What was written."""
        names = ("examples", "tokens", "texts", "without_tokens", "longest", "highest_id")
        return {name: int(getattr(self, name)) for name in names}

    def _pieces(self, encoding: Encoding) -> Iterator[list[int]]:
        pieces = pieces_of(encoding, self._least)
        if not pieces:
            return
        *others, last = [piece.ids for piece in pieces]
        yield from others
        end = self._cutting.end_id
        yield last if end is None or last[-1] == end else [*last, end]

    def _append(self, pieces: list[list[int]], numbers: list[int]) -> None:
        if not pieces:
            return
        lengths = np.fromiter(map(len, pieces), dtype="<i8", count=len(pieces))
        flat = np.fromiter(itertools.chain.from_iterable(pieces), dtype="<u4", count=int(lengths.sum()))
        self._ids.write(flat.data)
        self._offsets.write((self.tokens + np.cumsum(lengths)).astype("<i8").data)
        self._texts.write(np.array(numbers, dtype="<i8").data)
        self.examples += len(pieces)
        self.tokens += len(flat)
        self.longest = max(self.longest, int(lengths.max()))
        self.highest_id = max(self.highest_id, int(flat.max()))
