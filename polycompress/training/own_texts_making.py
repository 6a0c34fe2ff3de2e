"""Cut texts by the student's tokenizer and by others, and find the words that all of them have; see ``own_texts``.

The student's pieces are those of ``tokenising.prepare_examples``. Another model is shown its own tokens of the same
stretch of text, between its own special tokens, so that no model sees text that another does not see.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import CorpusSpec, Reading, Shard, make_shards, read_shard
from polycompress.distill.alignment import NO_WORD, dark_spans
from polycompress.distill.matching import match_piece
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.leftovers import remove
from polycompress.training.examples import META, Examples
from polycompress.training.own_texts import (
    FORMAT,
    OwnLanguage,
    check_all,
    ids_file,
    offsets_file,
    words_file,
)
from polycompress.training.tokenising import Cutting, least_tokens, open_cutting, pieces_of, settings_key
from polycompress.vocab.counting import segmenting

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

logger = logging.getLogger(__name__)

_TEXTS_AT_ONCE: Final = 256
_PROBES: Final = ("a", "1", ".", "的")
"""Texts of which every tokenizer knows one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnCutting:
    """A model with tokens of its own."""

    tokenizer_json: str
    max_length: int
    """Tokens that it is shown at most, special ones included."""
    pad_id: int
    """Stands alone where it has no token of a piece, not even special ones."""


def prepare_own_texts(
    tokenizer_json: str,
    models: Sequence[OwnCutting],
    corpora: Sequence[CorpusSpec],
    examples: Examples,
    work: Path,
    cutting: Cutting,
    *,
    reading: Reading | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> tuple[OwnLanguage, ...]:
    """The same examples as other models see them, made now or by an earlier run.

    Args:
        tokenizer_json: Of the student.
        models: The others, at least one.
        corpora: That the examples were made of.
        examples: In the student's tokens.
        work: Directory that keeps what is made.
        cutting: How the student's examples were made; it ends no text with a token of its own.
        reading: How files become texts.
        progress: Called with a language and the characters read since the last call.

    Returns:
        The languages in the order of the examples.

    Raises:
        InputError: A file cannot be read, a model's room is too short for its special tokens, or no word of a language
            is common to all.
        StorageError: The disk refused.
    """
    assert cutting.end_id is None
    how = reading or Reading()

    @functools.cache
    def tools() -> tuple[Tokenizer, list[_Side], int]:
        student = open_cutting(tokenizer_json, cutting)
        return student, [_Side(each) for each in models], least_tokens(student, cutting)

    parts = []
    for code in examples.languages:
        shards = tuple(
            shard for spec in corpora if spec.language.code == code for shard in make_shards(spec, how)
        )
        settings = {
            "format": FORMAT,
            "language": code,
            "tokenizer_sha256": _digest(tokenizer_json),
            "models": [{**asdict(each), "tokenizer_json": _digest(each.tokenizer_json)} for each in models],
            "cutting": asdict(cutting),
            "reading": how.as_dict(),
        }
        path = work / f"{code}-own-{settings_key(settings, shards)}"
        if (found := _kept(path, len(models))) is None:
            report = (lambda amount, code=code: progress(code, amount)) if progress is not None else None
            _write(path, settings, functools.partial(_Writer, *tools()), len(models), shards, how, report)
            found = OwnLanguage(path, len(models))
        parts.append(found)
    check_all(parts, examples)
    return tuple(parts)


def special_ends(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids that a tokenizer puts before and behind a text.

    Raises:
        InputError: It has no token for any text.
    """
    for probe in _PROBES:
        plain, whole = (tokenizer.encode(probe, add_special_tokens=special) for special in (False, True))
        if plain.ids:
            begin = next((place for place, special in enumerate(whole.special_tokens_mask) if not special), 0)
            return whole.ids[:begin], whole.ids[begin + len(plain.ids) :]
    raise InputError(
        "A teacher's tokenizer gives no token for any text: it is not one that texts can be cut by."
    )


class _Side:
    """A model with tokens of its own, at work."""

    def __init__(self, cutting: OwnCutting) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(cutting.tokenizer_json)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        with segmenting():
            self.before, self.behind = special_ends(self.tokenizer)
        self.room = cutting.max_length - len(self.before) - len(self.behind)
        self.pad_id = cutting.pad_id
        if self.room < 1:
            raise InputError(
                f"A teacher is shown {cutting.max_length} tokens at most, which leaves no room for text beside "
                f"{len(self.before) + len(self.behind)} special ones: give more (max_length)."
            )

    def framed(self, ids: Sequence[int], words: NDArray[np.int64]) -> tuple[Sequence[int], NDArray[np.int64]]:
        """Tokens and their words between special tokens."""
        whole = [*self.before, *ids, *self.behind]
        if not whole:
            return [self.pad_id], np.full(1, NO_WORD, dtype=np.int64)
        return whole, np.pad(words, (len(self.before), len(self.behind)), constant_values=NO_WORD)


class _Writer:
    """Appends examples to the files."""

    def __init__(
        self, student: Tokenizer, sides: Sequence[_Side], least: int, files: Sequence[Sequence[IO[bytes]]]
    ) -> None:
        self._student, self._sides, self._least, self._files = student, sides, least, files
        for _, offsets, *_ids in files:
            offsets.write(np.zeros(1, dtype="<i8").tobytes())
        self.examples = 0
        self.tokens = [0] * len(files)
        self.ordinary = [0] * len(files)
        self.matched = [0] * len(files)

    def add(self, texts: Sequence[str]) -> None:
        """Cut texts and write their pieces."""
        for begin in range(0, len(texts), _TEXTS_AT_ONCE):
            some = list(texts[begin : begin + _TEXTS_AT_ONCE])
            with segmenting():
                own = self._student.encode_batch(some)
                others = [each.tokenizer.encode_batch(some, add_special_tokens=False) for each in self._sides]
            for text, encoding, *theirs in zip(some, own, *others, strict=True):
                self._add_text(text, encoding, theirs)

    def _add_text(self, text: str, own: Encoding, others: Sequence[Encoding]) -> None:
        pieces = pieces_of(own, self._least)
        spans = [dark_spans(text, each.offsets) for each in others] if pieces else []
        for piece in pieces:
            special = np.array(piece.special_tokens_mask, dtype=bool)
            offsets = np.array(piece.offsets, dtype=np.int64).reshape(-1, 2)
            offsets[special] = 0
            own_spans = dark_spans(text, offsets)
            found = match_piece(text, own_spans, spans, [each.room for each in self._sides])
            self._append(0, found.words[0], None, _with_text(own_spans))
            bounds = zip(self._sides, others, spans, found.begins, found.ends, strict=True)
            for number, (side, theirs, there, begin, end) in enumerate(bounds, start=1):
                ids, words = side.framed(theirs.ids[begin:end], found.words[number])
                self._append(number, words, ids, _with_text(there[begin:end]))
            self.examples += 1

    def _append(self, model: int, words: NDArray[np.int64], ids: Sequence[int] | None, ordinary: int) -> None:
        """An example of one model; ``ordinary`` of its tokens are of text, not special ones or spaces."""
        files = self._files[model]
        self.tokens[model] += len(words)
        self.ordinary[model] += ordinary
        self.matched[model] += int((words != NO_WORD).sum())
        files[0].write(words.astype("<i4").tobytes())
        files[1].write(np.array([self.tokens[model]], dtype="<i8").tobytes())
        if ids is not None:
            files[2].write(np.array(ids, dtype="<u4").tobytes())


def _write(
    path: Path,
    settings: Mapping[str, Any],
    writer_of: Callable[[Sequence[Sequence[IO[bytes]]]], _Writer],
    models: int,
    shards: Iterable[Shard],
    reading: Reading,
    progress: Callable[[int], None] | None,
) -> None:
    """A language's directory, which appears whole or not at all."""
    try:
        with atomic_directory(path) as directory:
            with ExitStack() as stack:
                files = [
                    [
                        stack.enter_context((directory / name(model)).open("wb"))
                        for name in (words_file, offsets_file, ids_file)[: 3 if model else 2]
                    ]
                    for model in range(models + 1)
                ]
                writer = writer_of(files)
                for shard in shards:
                    for batch in read_shard(shard, reading).batches():
                        writer.add(batch)
                        if progress is not None:
                            progress(sum(map(len, batch)))
            counts = {name: getattr(writer, name) for name in ("examples", "tokens", "ordinary", "matched")}
            (directory / META).write_text(json.dumps({**settings, **counts}), encoding="utf-8")
    except InputError:
        if not path.is_dir():  # else another process was faster with the same
            raise


def _kept(path: Path, models: int) -> OwnLanguage | None:
    """What an earlier run left, or None if it has to be made."""
    if not path.exists():
        return None
    try:
        return OwnLanguage(path, models)
    except InputError as error:
        logger.warning("%s", error)
        remove(path)
        return None


def _with_text(spans: NDArray[np.int64]) -> int:
    return int((spans[:, 0] < spans[:, 1]).sum())


def _digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()
