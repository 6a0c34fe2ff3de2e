"""Cut corpora into units of work: about as large as is good, whatever the sizes of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.corpora import CorpusSpec, Duplicates, Reading, Shard, find_duplicates, make_shards
from polycompress.corpora.formats import COMPRESSIONS
from polycompress.languages import Language
from polycompress.pipelines.counting_engines import Engine
from polycompress.pipelines.counting_units import Job, Unit, shard_size

BYTES_PER_UNIT: Final = (1 << 24, 1 << 27)
"""Least and most of a unit; in between, a corpus is cut into ``UNITS``. Packed bytes count ``PACKED`` times."""
UNITS: Final = 32
PACKED: Final = 4


def make_units(
    code: str, shards: Sequence[Shard], reading: Reading, skipped: Mapping[str, str] | None = None
) -> list[Unit]:
    """Join shards to units of work, in their order.

    Args:
        code: Of the language.
        shards: Of its corpus.
        reading: How they become texts.
        skipped: By shard key a digest of the numbers of the texts to leave out.
    """
    wanted = _unit_bytes(sum(map(_weight, shards)))
    groups: list[list[Shard]] = []
    room = 0
    for shard in shards:
        if room <= 0:
            groups.append([])
            room = wanted
        groups[-1].append(shard)
        room -= _weight(shard) or wanted  # a part of unknown size is a unit of its own
    digests = skipped or {}
    return [
        Unit(
            code=code,
            shards=tuple(group),
            reading=reading,
            skipped=" ".join(digests.get(shard.key(), "") for shard in group).strip(),
        )
        for group in groups
    ]


def cut(specs: Sequence[CorpusSpec], language: Language, reading: Reading) -> tuple[Shard, ...]:
    """The shards of a language's corpora, in order."""
    own = [spec for spec in specs if spec.language == language]
    whole = sum(
        _weight(shard) for spec in own for shard in make_shards(spec, reading, bytes_per_shard=1 << 62)
    )
    size = _unit_bytes(whole)
    return tuple(shard for spec in own for shard in make_shards(spec, reading, bytes_per_shard=size))


def _unit_bytes(total: int) -> int:
    least, most = BYTES_PER_UNIT
    return max(least, min(most, total // UNITS))


def _weight(shard: Shard) -> int:
    packed = shard.path is not None and shard.path.suffix.lower() in COMPRESSIONS
    return shard_size(shard) * (PACKED if packed else 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What there is to do."""

    units: list[Unit]
    duplicates: Mapping[str, Duplicates]
    """By language, where duplicates are left out."""

    def jobs(self, units: Iterable[Unit]) -> Iterator[Job]:
        """The units as jobs, numbered as they come."""
        for number, unit in enumerate(units):
            found = self.duplicates.get(unit.code)
            skip = tuple(found[shard.key()] if found is not None else None for shard in unit.shards)
            yield Job(number=number, unit=unit, skip=skip)


def plan_units(
    shards: Mapping[str, Sequence[Shard]],
    readings: Mapping[str, Reading],
    work: Path | None,
    engine: Engine,
) -> Plan:
    """Cut corpora into units of work, and find the texts to leave out where each is to count once.

    Args:
        shards: By language code.
        readings: Likewise.
        work: Where to look for duplicates; None: count every text.
        engine: Who looks.

    Raises:
        InputError: A file is missing, has changed, is binary, or has not the field.
    """
    units: list[Unit] = []
    duplicates = {}
    for code, own in shards.items():
        skipped = None
        if work is not None:
            found = find_duplicates(
                own, readings[code], work / f"duplicates-{code}", skip_bad=True, run=engine.map
            )
            duplicates[code] = found
            skipped = {key: hashlib.sha256(found[key].tobytes()).hexdigest() for key in found}
        units += make_units(code, own, readings[code], skipped)
    return Plan(units=units, duplicates=duplicates)
