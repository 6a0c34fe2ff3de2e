"""Where text comes from: files and directories, plain or compressed, one text a line, streamed.

Nothing here holds more than a block of a file in memory. Whatever is wrong with a file (not there, not UTF-8,
binary, cut off) ends in an ``InputError`` that names the file and the place.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.corpora.unpacking import BLOCK, open_hashed, unpacked

MAX_LINE: Final = 2**20
"""Characters of one text at most; a longer line is split behind the last white space before that."""


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """Files of one language."""

    language: Language
    pattern: str
    """As the user wrote it, without the language."""
    files: tuple[Path, ...]
    """Sorted, at least one."""


def parse_corpora(
    specs: Sequence[str], languages: Sequence[Language], *, option: str = "--corpus"
) -> tuple[CorpusSpec, ...]:
    """Read ``[LANG=]PATTERN`` arguments and find their files.

    A file that several patterns of a language name counts once.

    Args:
        specs: The arguments; for patterns see ``find_files``.
        languages: The languages asked for; a pattern without ``LANG=`` is legal only where it is one.
        option: What the user wrote them after, for messages.

    Raises:
        InputError: An unknown language or one not asked for, no language where it is needed, no such file, or
            nothing in the files.
    """
    found = []
    taken: set[tuple[str, Path]] = set()
    for spec in specs:
        language, pattern = _split_spec(spec, languages, option)
        new = [file for file in find_files(pattern, option) if (language.code, file.absolute()) not in taken]
        taken.update((language.code, file.absolute()) for file in new)
        if new:
            found.append(CorpusSpec(language, pattern, tuple(new)))
    return tuple(found)


def find_files(pattern: str, option: str = "--corpus") -> tuple[Path, ...]:
    """The files that a pattern names, sorted, each once.

    Args:
        pattern: A file, a directory (all regular files beneath it, hidden ones and links left out) or a
            glob with ``*``, ``?``, ``[...]`` and ``**``.
        option: What the user wrote it after, for messages.

    Raises:
        InputError: There is none, or all are empty.
    """
    path = Path(pattern).expanduser()
    if _exists(path):
        named = [path]
    else:
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        # "**" goes round a loop of links until the system has enough: each file counts once, by its real path.
        # For a directory that is not there it gives that directory.
        real = {
            os.path.realpath(match): Path(match)
            for match in sorted(matches, reverse=True)
            if os.path.lexists(match)
        }
        named = sorted(real.values()) if "**" in pattern else sorted(map(Path, matches))
    if not named:
        raise InputError(f"{option} {pattern!r}: no file matches it (looked from {Path.cwd()}).")
    files = dict.fromkeys(
        file for entry in named for file in (_beneath(entry) if entry.is_dir() else [entry])
    )
    if not files:
        raise InputError(f"{option} {pattern!r}: there is no file in {_names(named)}.")
    if all(file.is_file() and file.stat().st_size == 0 for file in files):
        raise InputError(
            f"{option} {pattern!r}: {_names(tuple(files))}: empty. Give a file with one text a line."
        )
    return tuple(files)


def read_texts(source: CorpusSpec | Iterable[Path]) -> Iterator[str]:
    """The lines of files; see ``TextReader``."""
    return iter(TextReader(source.files if isinstance(source, CorpusSpec) else source))


class TextReader:
    r"""Lines of text files in order, streamed, with the digests of what was read.

    Files are UTF-8, plain or compressed with gzip, zstd, bzip2 or xz (told by their first bytes). A byte
    order mark, ``\r`` before ``\n``, and lines of white space are left out; nothing else is changed. A line
    longer than ``MAX_LINE`` comes in pieces.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)
        self._read: list[dict[str, str | int]] = []

    def __iter__(self) -> Iterator[str]:
        """Read all files from the start.

        Raises:
            InputError: A file is missing, not UTF-8, binary, or its compressed data are cut off or damaged
                (with the offset of the byte), or there is no text in any of them.
        """
        self._read = []
        empty = True
        for file in self._files:
            with open_hashed(file) as raw, io.BufferedReader(raw, BLOCK) as buffered:
                for line in _lines(unpacked(buffered, file), file):
                    empty = False
                    yield line
                while buffered.read(BLOCK):
                    pass
                self._read.append({"name": file.name, "bytes": raw.size, "sha256": raw.digest.hexdigest()})
        if empty:
            raise InputError(f"{_names(self._files)}: no text in it. Give a file with one text a line.")

    def provenance(self) -> list[dict[str, str | int]]:
        """Name, bytes and SHA-256 of each file that the last iteration read to its end."""
        return list(self._read)


def describe(files: Iterable[Path]) -> list[dict[str, str | int]]:
    """Name and size in bytes of files, without reading them."""
    return [{"name": file.name, "bytes": file.stat().st_size} for file in files]


def is_held_out(text: str, share: float) -> bool:
    """Whether a text belongs to the share that is kept out of counting.

    The answer depends on the text alone: it is the same on every machine, in every order, for every copy.

    Args:
        text: One line.
        share: Of all texts, 0 to 1.
    """
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _split_spec(spec: str, languages: Sequence[Language], option: str) -> tuple[Language, str]:
    name, equals, pattern = spec.partition("=")
    asked = ", ".join(language.code for language in languages)
    if equals and os.sep not in name and not _exists(Path(spec)):
        language = find_language(name)
        if language not in languages:
            raise InputError(
                f"{option} {spec!r} is {language.name} ({language.code}), which was not asked for: "
                f"add it to --langs (now {asked or 'empty'}) or leave it out."
            )
    elif len(languages) == 1:
        language, pattern = languages[0], spec
    else:
        example = languages[0].code if languages else "deu-Latn"
        raise InputError(
            f"{option} {spec!r} does not say its language, and there are {len(languages)} ({asked}): "
            f"write {option} {example}={spec!r}."
        )
    if not pattern:
        raise InputError(f"{option} {spec!r} names no file: write it like {language.code}='texts/*.txt.gz'.")
    return language, pattern


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a directory that may not be entered
        return False


def _beneath(directory: Path) -> list[Path]:
    found: list[Path] = []
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        paths = (Path(root, name) for name in sorted(files) if not name.startswith("."))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)


def _names(files: Sequence[Path]) -> str:
    return str(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "") if files else "no files"


def _lines(blocks: Iterable[bytes], path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, tail = 0, ""
    for block, final in _last_marked(blocks):
        if (zero := block.find(0)) >= 0:
            raise InputError(
                f"{path}: byte {position + zero} is zero: it is not a text file, or is UTF-16. "
                "Give UTF-8 text (iconv -f UTF-16 -t UTF-8)."
            )
        start = position - len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: byte {start + error.start} is not UTF-8 ({error.reason}). "
                "Convert the file, for example with iconv -f LATIN1 -t UTF-8."
            ) from error
        if start == 0:
            text = text.removeprefix("\ufeff")
        position += len(block)
        *whole, tail = (tail + text).split("\n")
        for line in whole:
            yield from _pieces(line.removesuffix("\r"))
        while len(tail) > MAX_LINE:
            piece, tail = _cut(tail)
            yield from _pieces(piece)
    yield from _pieces(tail.removesuffix("\r"))


def _last_marked(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for block in blocks:
        yield block, False
    yield b"", True


def _pieces(line: str) -> Iterator[str]:
    while len(line) > MAX_LINE:
        piece, line = _cut(line)
        if not piece.isspace():
            yield piece
    if line and not line.isspace():
        yield line


def _cut(line: str) -> tuple[str, str]:
    """Split a line that is too long behind the last space of its first ``MAX_LINE`` characters, if any."""
    head = line[:MAX_LINE]
    size = max((head.rfind(space) for space in " \t\u3000"), default=-1) + 1 or MAX_LINE
    return line[:size], line[size:]
