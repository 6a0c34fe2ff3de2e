"""Count one unit of work: some shards of one language, in whichever process it is done."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import DamagedShardError, Reading, Shard, ShardReader, is_held_out, read_shard
from polycompress.corpora.formats import Kind
from polycompress.errors import InputError, PolycompressError
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import read_bytes
from polycompress.modeldir.sources import ModelSource
from polycompress.pipelines.trimming.loading import make_tokenizer, naming
from polycompress.vocab.counting import Tally, count_texts
from polycompress.vocab.counts import Counts, LanguageCounts, merge_counts, pack_counts
from polycompress.vocab.document import MAX_DOCUMENT_BYTES, document_hash, parse_document, pieces
from polycompress.vocab.held_out import HELD_OUT_SHARE, Sample

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNIT: Final = "unit"
"""Entry of the ``source`` of a unit's counts that says which shards they are of, and which were left out."""

Report = Callable[[int], None]
"""Called with bytes of text counted since the last call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerFile:
    """A ``tokenizer.json``, as it travels to workers."""

    name: str
    """Its path."""
    raw: bytes
    sha256: str
    size: int
    """V: one more than the highest token id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTokenizer:
    """What counting needs of a tokenizer."""

    tokenizer: Tokenizer
    document: Mapping[str, Any]
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Some shards of one language that are counted together."""

    code: str
    shards: tuple[Shard, ...]
    reading: Reading
    skipped: tuple[str, ...]
    """For each shard a digest of the numbers of the texts to leave out, or nothing."""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(map(shard_size, self.shards))

    @property
    def key(self) -> str:
        """What it is, for recognising it later."""
        keys = [shard.key() for shard in self.shards]
        return hashlib.sha256(repr((self.code, keys, self.skipped)).encode()).hexdigest()[:40]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A unit on its way to a worker."""

    number: int
    unit: Unit
    skip: tuple[NDArray[np.int64] | None, ...]
    """For each shard the numbers of the texts to leave out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a job."""

    number: int
    packed: bytes = b""
    """A counts file of the unit's language."""
    bytes: int = 0
    """Of text counted."""
    failure: str = ""
    """Why there is none, if there is none."""
    failure_is_input: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A shard that could not be read to its end, and what is lost with it."""

    key: str
    shard: str
    message: str
    position: str
    bytes: int
    """Of the shard in its file, packed if that is packed."""
    texts_read: int
    """Texts before the damage; they are not counted either."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "key": self.key,
            "shard": self.shard,
            "message": self.message,
            "position": self.position,
            "bytes": self.bytes,
            "texts_read": self.texts_read,
        }

    def describe(self) -> str:
        """One sentence for people."""
        return (
            f"{self.message} Left out: {self.bytes:,} bytes, with {self.texts_read:,} texts before the damage"
        )


def read_tokenizer(source: ModelSource) -> TokenizerFile:
    """Read a model directory's ``tokenizer.json``.

    Raises:
        InputError: It is missing or cannot be used.
    """
    path = ensure_tokenizer_json(source.path)
    raw = read_bytes(source.path, path.name, max_bytes=MAX_DOCUMENT_BYTES)
    with naming(source.path):
        opened = open_tokenizer(TokenizerFile(name=str(path), raw=raw, sha256=document_hash(raw), size=0))
    return TokenizerFile(name=str(path), raw=raw, sha256=opened.sha256, size=opened.size)


def reread_tokenizer(name: str, sha256: str) -> TokenizerFile:
    """Read a ``tokenizer.json`` that another process has read.

    Args:
        name: Its path.
        sha256: Of its bytes, in hexadecimal.

    Raises:
        InputError: It is not what it was, or cannot be read.
    """
    path = Path(name)
    raw = read_bytes(path.parent, path.name, max_bytes=MAX_DOCUMENT_BYTES)
    if document_hash(raw) != sha256:
        raise InputError(f"{path}: has changed since counting began. Run the command again.")
    return TokenizerFile(name=name, raw=raw, sha256=sha256, size=0)


def open_tokenizer(file: TokenizerFile) -> OpenTokenizer:
    """Build a tokenizer from its file's bytes."""
    document = parse_document(file.raw, file.name)
    return OpenTokenizer(
        tokenizer=make_tokenizer(file.raw), document=document, sha256=file.sha256, size=len(pieces(document))
    )


def count_batches(
    opened: OpenTokenizer, batches: Iterable[Sequence[str]], report: Report | None = None
) -> tuple[Tally, tuple[str, ...]]:
    """Count texts, keeping a share of them out.

    Args:
        opened: The tokenizer.
        batches: Texts in lists; none is kept in memory but some of those held out.
        report: See ``Report``.

    Returns:
        The tally, and a sample of the texts that were not counted.
    """
    held_out = Sample()

    def counted() -> Iterator[str]:
        for batch in batches:
            for text in batch:
                if is_held_out(text, HELD_OUT_SHARE):
                    held_out.add(text)
                else:
                    yield text

    tally = count_texts(opened.tokenizer, opened.document, counted(), opened.size, progress=report)
    return tally, held_out.texts()


def language_counts(tally: Tally, texts: tuple[str, ...], source: Mapping[str, Any]) -> LanguageCounts:
    """The record of what was counted."""
    ids = np.flatnonzero(tally.counts)
    return LanguageCounts(
        ids=ids,
        counts=tally.counts[ids],
        texts=tally.texts,
        characters=tally.characters,
        bytes=tally.bytes,
        seen_once=tally.seen_once,
        source=source,
        held_out_texts=texts,
    )


def count_unit(opened: OpenTokenizer, job: Job, report: Report | None = None) -> LanguageCounts:
    """Count a unit. Shards that are damaged are left out, and named in ``source``.

    Raises:
        InputError: A file is missing, has changed, is binary, or has not the field.
        PolycompressError: The tokenizer or the system fails.
    """
    unit = job.unit
    pairs = list(zip(unit.shards, job.skip, strict=True))
    counted, damaged = [], []
    try:
        counted = [_count_shards(opened, pairs, unit.reading, report)]
    except DamagedShardError:
        # Which texts came before the damage cannot be told from the sums: one by one, then.
        for pair in pairs:
            try:
                counted.append(_count_shards(opened, [pair], unit.reading, None))
            except DamagedShardError as error:
                damaged.append(_damage(pair[0], error))
    merged = merge_counts(counted or [_count_shards(opened, [], unit.reading, None)])
    lost = {damage.key for damage in damaged}
    shards = zip(unit.shards, unit.skipped, strict=True)
    record = {
        "shards": {shard.key(): digest for shard, digest in shards if shard.key() not in lost},
        "damaged": [damage.as_dict() for damage in damaged],
    }
    return dataclasses.replace(merged, source={**merged.source, UNIT: record})


def do_job(opened: OpenTokenizer, job: Job, report: Report | None = None) -> Outcome:
    """Count a unit, and let nothing escape but what ends the process."""
    try:
        counts = count_unit(opened, job, report)
    except PolycompressError as error:
        return Outcome(number=job.number, failure=str(error), failure_is_input=isinstance(error, InputError))
    except MemoryError:
        return Outcome(number=job.number, failure="out of memory: use fewer --workers")
    except OSError as error:
        return Outcome(number=job.number, failure=f"{error}")
    packed = pack_counts(
        Counts(tokenizer_sha256=opened.sha256, vocab_size=opened.size, languages={job.unit.code: counts})
    )
    return Outcome(number=job.number, packed=packed, bytes=counts.bytes)


def shard_size(shard: Shard) -> int:
    """Bytes of a shard in its file, packed if that is packed; 0 for a part that has no such size."""
    if shard.end is None:
        return shard.size
    in_bytes = shard.kind in (Kind.TEXT, Kind.JSONL)
    return min(shard.end, shard.size) - shard.begin if in_bytes else 0


def _count_shards(
    opened: OpenTokenizer,
    pairs: Sequence[tuple[Shard, NDArray[np.int64] | None]],
    reading: Reading,
    report: Report | None,
) -> LanguageCounts:
    readers = [read_shard(shard, reading, skip) for shard, skip in pairs]
    tally, texts = count_batches(opened, (batch for reader in readers for batch in reader.batches()), report)
    return language_counts(tally, texts, _source(readers, reading, tally))


def _source(readers: Sequence[ShardReader], reading: Reading, tally: Tally) -> dict[str, Any]:
    source: dict[str, Any] = {
        "kind": "corpus",
        "files": [reader.provenance() for reader in readers],
        "counting": tally.rule.reason,
    }
    dropped: Counter[str] = Counter()
    for reader in readers:
        dropped.update(reader.dropped)
    dropped.pop("empty", None)
    if reading != Reading():
        source["reading"] = reading.as_dict()
    if dropped:
        source["dropped"] = dict(sorted(dropped.items()))
    return source


def _damage(shard: Shard, error: DamagedShardError) -> Damage:
    return Damage(
        key=shard.key(),
        shard=shard.name,
        message=str(error),
        position=error.position,
        bytes=shard_size(shard),
        texts_read=error.texts_read,
    )
