"""Cut corpora into units of work: about as large as is good, whatever the sizes of their files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.corpora import CorpusSpec, Duplicates, Reading, Shard, find_duplicates, make_shards
from polycompress.corpora.formats import COMPRESSIONS
from polycompress.languages import Language
from polycompress.pipelines.counting.engines import Engine
from polycompress.pipelines.counting.parts import Part
from polycompress.pipelines.counting.units import Job, Unit, shard_size

BYTES_PER_UNIT: Final = (1 << 24, 1 << 27)
"""Least and most of a unit; in between, the corpora are cut into ``UNITS``. Packed bytes count ``PACKED`` times."""
UNITS: Final = 32
PACKED: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What there is to do, and what an earlier run has done."""

    units: list[Unit]
    """To do."""
    parts: list[Part]
    """Done."""
    size: int
    """Bytes of all files."""
    duplicates: Mapping[str, Duplicates]
    """By language, where duplicates are left out."""

    def jobs(self) -> Iterator[Job]:
        """The units as jobs, numbered as they come."""
        for number, unit in enumerate(self.units):
            found = self.duplicates.get(unit.code)
            skip = tuple(found[shard.key()] if found is not None else None for shard in unit.shards)
            yield Job(number=number, unit=unit, skip=skip)


def unit_bytes(specs: Iterable[CorpusSpec], readings: Mapping[str, Reading]) -> int:
    """How large units of some corpora should be.

    Raises:
        InputError: A file is missing or no regular file, or a data set cannot be opened.
    """
    total = sum(
        _weight(shard)
        for spec in specs
        for shard in make_shards(spec, readings[spec.language.code], bytes_per_shard=1 << 62)
    )
    least, most = BYTES_PER_UNIT
    return max(least, min(most, total // UNITS))


def cut(specs: Iterable[CorpusSpec], language: Language, reading: Reading, size: int) -> tuple[Shard, ...]:
    """The shards of a language's corpora, in order, each of about ``size`` bytes at most where that can be."""
    return tuple(
        shard
        for spec in specs
        if spec.language == language
        for shard in make_shards(spec, reading, bytes_per_shard=size)
    )


def make_plan(
    shards: Mapping[str, Sequence[Shard]],
    readings: Mapping[str, Reading],
    size: int,
    finished: Iterable[Part],
    *,
    engine: Engine,
    work: Path | None = None,
) -> Plan:
    """Join shards to units of work, in their order, but for those that are finished.

    Args:
        shards: By language code.
        readings: Likewise.
        size: See ``unit_bytes``.
        finished: What an earlier run has done; used where each of its shards is still the same.
        engine: Who looks for duplicates.
        work: Where to write what that needs; None: count every text.

    Raises:
        InputError: A file has changed, is binary, or has not the field.
    """
    duplicates = {}
    skipped: dict[str, dict[str, str]] = {code: {} for code in shards}
    if work is not None:
        for code, own in shards.items():
            folder = work / f"duplicates-{code}"
            duplicates[code] = find_duplicates(own, readings[code], folder, skip_bad=True, run=engine.map)
            skipped[code] = {
                key: hashlib.sha256(found.tobytes()).hexdigest() for key, found in duplicates[code].items()
            }
    left = {code: {shard.key(): shard for shard in own} for code, own in shards.items()}
    parts = [
        taken
        for part in finished
        if (taken := _taken(part, left.get(part.code, {}), skipped.get(part.code, {}))) is not None
    ]
    units = [
        Unit(
            code=code,
            shards=tuple(group),
            reading=readings[code],
            skipped=tuple(skipped[code].get(shard.key(), "") for shard in group),
        )
        for code, remaining in left.items()
        for group in _groups(remaining.values(), size)
    ]
    whole = sum(shard_size(shard) for own in shards.values() for shard in own)
    return Plan(units=units, parts=parts, size=whole, duplicates=duplicates)


def _taken(part: Part, left: dict[str, Shard], skipped: Mapping[str, str]) -> Part | None:
    """A part whose shards are all left to do, without damage that is no more; they are no longer left then."""
    if any(key not in left or skipped.get(key, "") != digest for key, digest in part.shards.items()):
        return None
    for key in part.shards:
        del left[key]
    still = tuple(damage for damage in part.damaged if left.pop(damage.key, None) is not None)
    return dataclasses.replace(part, damaged=still) if part.shards or still else None


def _groups(shards: Iterable[Shard], size: int) -> list[list[Shard]]:
    groups: list[list[Shard]] = []
    room = 0
    for shard in shards:
        if room <= 0:
            groups.append([])
            room = size
        groups[-1].append(shard)
        room -= _weight(shard) or size  # a part of unknown size is a unit of its own
    return groups


def _weight(shard: Shard) -> int:
    packed = shard.path is not None and shard.path.suffix.lower() in COMPRESSIONS
    return shard_size(shard) * (PACKED if packed else 1)
