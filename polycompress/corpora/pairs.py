"""Sentences and their translations: the two columns of a file, or the lines or the ids of two files."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.corpora.files import exists, find_files
from polycompress.corpora.joined import joined_pairs, shared_id
from polycompress.corpora.lines import MAX_LINE, decoded, record_lines
from polycompress.corpora.unpacking import BLOCK, HashedFile, unpacked
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.languages.finding import lookup_language

JOIN: Final = "+"
"""Between the names of two files that have one column each."""
_EXAMPLE: Final = "en-sw=pairs.tsv.gz"


@dataclass(frozen=True, slots=True)
class PairSpec:
    """Files of sentences in one language and what they are in another."""

    source: Language
    target: Language
    pattern: str
    """As the user wrote it, without the languages."""
    files: tuple[tuple[Path, ...], ...]
    """Of each part one file with two columns, or two files with one; at least one part."""

    @property
    def name(self) -> str:
        """Both codes."""
        return f"{self.source.code}-{self.target.code}"


def parse_pairs(
    specs: Sequence[str], languages: Sequence[Language], *, option: str = "pairs"
) -> tuple[PairSpec, ...]:
    """Read ``SOURCE-TARGET=PATTERN`` and find the files; those that several name count once.

    Args:
        specs: Languages by any code or name that ``find_language`` takes; a pattern as ``find_files`` takes it, of
            files with two columns, or ``FILE+FILE``, the source's lines and the target's, or tables of both whose
            first lines name a column ``text`` and one of ids (``index_id``, ``sent_id`` or ``id``), as SIB-200's.
        languages: Those that may be named.
        option: What the user wrote them after, for messages.

    Raises:
        InputError: The languages are not two that were asked for, or there is no such file.
    """
    found: list[PairSpec] = []
    taken: set[tuple[str, str, tuple[Path, ...]]] = set()
    for spec in specs:
        name, equals, pattern = spec.partition("=")
        if not equals or not pattern:
            raise InputError(f"{option} {spec!r}: write SOURCE-TARGET=FILE, such as {_EXAMPLE}.")
        source, target = _both(name, f"{option} {spec!r}")
        for language in (source, target):
            if language not in languages:
                asked = ", ".join(each.code for each in languages) or "none"
                raise InputError(
                    f"{option} {spec!r}: {language.name} ({language.code}) is none of the languages asked for, {asked}."
                )
        parts = {
            (source.code, target.code, tuple(file.absolute() for file in part)): part
            for part in _files(pattern, f"{option} {spec!r}")
        }
        if new := tuple(part for key, part in parts.items() if key not in taken):
            found.append(PairSpec(source, target, pattern, new))
        taken |= parts.keys()
    return tuple(found)


def read_pairs(spec: PairSpec) -> Iterator[tuple[str, str]]:
    """The pairs of some files, source first, streamed.

    A first line that names both languages is a header, and says which column is which; without one the source's comes
    first. Pairs of which a side is empty are left out. Of two tables with ids, rows with the same id are a pair; where
    they have a column ``split``, only rows of ``train`` are read.

    Raises:
        InputError: A line of two columns has more or fewer, or is no sentence by its length, two files have not as many
            lines, or a file cannot be read.
    """
    for files in spec.files:
        pairs = _two_columns(files[0], spec) if len(files) == 1 else _two_files(*files)
        for source, target in pairs:
            if (first := source.strip()) and (second := target.strip()):
                yield first, second


def _both(name: str, where: str) -> tuple[Language, Language]:
    """The languages of ``en-sw``; codes may have hyphens of their own."""
    parts = name.split("-")
    found = {}
    for cut in range(1, len(parts)):
        source, target = lookup_language("-".join(parts[:cut])), lookup_language("-".join(parts[cut:]))
        if source is not None and target is not None and source != target:
            found[source.code, target.code] = source, target
    if len(found) > 1:
        choices = " or ".join("-".join(codes) for codes in found)
        raise InputError(f"{where}: {name!r} may be {choices}: write the one that is meant.")
    if not found:
        raise InputError(f"{where}: {name[:60]!r} does not name two languages: write them like {_EXAMPLE}.")
    return next(iter(found.values()))


def _files(pattern: str, where: str) -> tuple[tuple[Path, ...], ...]:
    if JOIN not in pattern or exists(Path(pattern).expanduser()):
        return tuple((file,) for file in find_files(pattern, where))
    names = pattern.split(JOIN)
    both = tuple(file for name in names for file in find_files(name, where))
    if len(names) != 2 or len(both) != 2:
        raise InputError(f"{where}: {JOIN} stands between two files with a column each: name just two.")
    return (both,)


def _two_columns(path: Path, spec: PairSpec) -> Iterator[tuple[str, str]]:
    turned = False
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 2:
            raise InputError(
                f"{path}: line {number} has {len(cells)} columns: write a sentence and its translation with one tab "
                "between them."
            )
        if number == 1:
            named = [lookup_language(cell.strip()) for cell in cells]
            if named in ([spec.source, spec.target], [spec.target, spec.source]):
                turned = named[0] == spec.target
                continue
        yield (cells[1], cells[0]) if turned else (cells[0], cells[1])


def _two_files(first: Path, second: Path) -> Iterator[tuple[str, str]]:
    if id_ := shared_id(next(_lines(first), ""), next(_lines(second), "")):
        yield from joined_pairs(_lines(first), _lines(second), (first, second), id_)
        return
    for number, (source, target) in enumerate(itertools.zip_longest(_lines(first), _lines(second)), start=1):
        if source is None or target is None:
            if (source or target or "").strip():
                shorter, longer = (first, second) if source is None else (second, first)
                raise InputError(
                    f"{shorter}: has no line {number}, but {longer} has: line for line one has to be the other's "
                    "translation."
                )
            continue
        yield source, target


def _lines(path: Path) -> Iterator[str]:
    """Lines whole, since what is cut off one would stand against another sentence."""
    with HashedFile(path) as raw, io.BufferedReader(raw, BLOCK) as buffered:
        texts = decoded(unpacked(buffered, path), path)
        lines = itertools.chain.from_iterable(record_lines(texts, path))
        for number, line in enumerate(lines, start=1):
            if len(line) > MAX_LINE:
                raise InputError(
                    f"{path}: line {number} has more than {MAX_LINE} characters: write one sentence a line."
                )
            yield line
