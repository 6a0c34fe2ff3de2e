r"""Lines of UTF-8 bytes that come in blocks. A line ends at ``\n``; one ``\r`` before it belongs to the end."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from polycompress.corpora.damage import DamagedShardError
from polycompress.errors import InputError

MAX_LINE: Final = 2**20
"""Characters of one text at most; a longer line is split behind the last white space before that."""
MAX_RECORD: Final = 2**26
"""Characters of one line of a structured file at most."""
_UNSEEN: Final = ("Cc", "Cf")
"""Categories of characters that show nothing by themselves, such as zero-width spaces."""
_HEAD: Final = 2**17
"""A zero byte this early says that the file is no text; later, that the text is damaged."""


def decoded(blocks: Iterable[bytes], path: Path, start: int = 0) -> Iterator[str]:
    """Blocks of UTF-8 as text, without a byte order mark at the start of the file.

    Args:
        blocks: Cut anywhere.
        path: For messages.
        start: Where in the file the first block begins, in bytes.

    Raises:
        InputError: It is a binary file.
        DamagedShardError: Something is not UTF-8; what comes before it is handed out first.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = start
    for block, final in _last_marked(blocks):
        zero = block.find(0)
        begin = position - len(decoder.getstate()[0])
        try:
            text = decoder.decode(block if zero < 0 else block[:zero], final)
        except UnicodeDecodeError as error:
            if 0 <= zero < _HEAD - position:  # UTF-16 and the like
                raise _zero_byte(path, position + zero) from error
            yield _unmarked(error.object[: error.start].decode(), begin)
            place = f"byte {begin + error.start}"
            raise DamagedShardError(
                f"{path}: {place} is not UTF-8 ({error.reason}). "
                "Convert the file, for example with iconv -f LATIN1 -t UTF-8.",
                place,
            ) from error
        yield _unmarked(text, begin)
        if zero >= 0:
            raise _zero_byte(path, position + zero)
        position += len(block)


def plain_lines(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of lines, empty ones too; a line longer than ``MAX_LINE`` comes in pieces.

    Args:
        texts: Cut anywhere.
    """
    tail = ""
    for text in texts:
        tail += text
        if "\n" in text:
            whole, _, tail = tail.rpartition("\n")
            yield split_lines(whole)
        if len(tail) > MAX_LINE + 1:  # one more, because a carriage return may end the line
            *pieces, tail = _pieces(tail, MAX_LINE + 1)
            yield pieces
    yield split_lines(tail)


def record_lines(texts: Iterable[str], path: Path) -> Iterator[list[str]]:
    """Lists of whole lines, empty ones too, the carriage returns of their ends left on.

    Args:
        texts: Cut anywhere.
        path: For messages.

    Raises:
        DamagedShardError: A line is longer than ``MAX_RECORD``.
    """
    number, length = 1, 0
    tail: list[str] = []
    for text in texts:
        rest = text
        if "\n" in text:
            *lines, rest = ("".join(tail) + text).split("\n")
            yield lines
            number += len(lines)
            tail, length = [], 0
        tail.append(rest)
        length += len(rest)
        if length > MAX_RECORD:
            raise DamagedShardError(
                f"{path}: line {number} has more than {MAX_RECORD} characters. Write one record a line.",
                f"line {number}",
            )
    if any(tail):
        yield ["".join(tail)]


def split_lines(text: str) -> list[str]:
    """The lines of a text that ends with its last line, empty ones too, those longer than ``MAX_LINE`` in pieces."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    lines = text.split("\n")
    if len(text) > MAX_LINE and max(map(len, lines)) > MAX_LINE:
        return [piece for line in lines for piece in _pieces(line, MAX_LINE)]
    return lines


def with_text(lines: list[str]) -> list[str]:
    """The lines that hold something to see: more than white space, format characters and control characters."""
    # the first character answers for nearly every line, at the price of white space alone
    return [line for line in lines if line and (line[0].isalnum() or not _is_blank(line))]


def _is_blank(line: str) -> bool:
    return all(char.isspace() or unicodedata.category(char) in _UNSEEN for char in line)


def _unmarked(text: str, begin: int) -> str:
    return text.removeprefix("\ufeff") if begin == 0 else text


def _zero_byte(path: Path, position: int) -> InputError:
    message = (
        f"{path}: byte {position} is zero: it is not a text file, or is UTF-16. "
        "Give UTF-8 text (iconv -f UTF-16 -t UTF-8)."
    )
    return InputError(message) if position < _HEAD else DamagedShardError(message, f"byte {position}")


def _last_marked(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for block in blocks:
        yield block, False
    yield b"", True


def _pieces(line: str, limit: int) -> list[str]:
    """Split a line that is longer than ``limit`` behind the last space of each ``MAX_LINE`` characters, if any."""
    pieces = []
    while len(line) > limit:
        head = line[:MAX_LINE]
        size = max((head.rfind(space) for space in " \t\u3000"), default=-1) + 1 or MAX_LINE
        pieces.append(line[:size])
        line = line[size:]
    return [*pieces, line]
