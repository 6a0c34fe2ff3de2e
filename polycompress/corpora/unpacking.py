"""Bytes of a file: unpacked where it is compressed (gzip, zstd, bzip2, xz), digested while they are read."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from polycompress.corpora.damage import DamagedShardError
from polycompress.corpora.lines import decoded, record_lines
from polycompress.errors import InputError, StorageError

BLOCK: Final = 2**17
"""Bytes of a block at most."""
_ZSTD_BLOCK: Final = 2**11  # so few packed bytes at a time bound what one step can unpack
_ZSTD_WINDOW: Final = 2**27
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP: Final = b"\x1f\x8b"
_XZ: Final = b"\xfd7zXZ\x00"
_BZIP2: Final = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")


class HashedFile(io.RawIOBase):
    """A file that digests what is read from it."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        self.digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read some bytes and digest them."""
        count = self._file.readinto(buffer)
        if count:
            self.size += count
            self.digest.update(memoryview(buffer)[:count])
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def open_regular(path: Path) -> io.FileIO:
    """Open a regular file, unbuffered.

    Raises:
        InputError: It is missing, cannot be opened, or is a pipe or a device (which might never end).
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = (
                "a directory. Name a file" if path.is_dir() else "a pipe or a device. Save the text to a file"
            )
            raise InputError(f"{path}: is {what}.")
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        return io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file. Check the name.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}). Check its permissions.") from error


def is_packed(path: Path) -> bool:
    """Whether a file is compressed, told by its first bytes.

    Raises:
        InputError: See ``open_regular``.
    """
    with open_regular(path) as file:
        magic = file.read(10)
    return magic.startswith((_ZSTD, _GZIP, _XZ)) or _BZIP2.match(magic) is not None


def line_range(path: Path, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The lines of a plain file whose first byte lies in a range, as blocks, each with its offset.

    Neighbouring ranges have no line in common and leave none out, wherever they are cut.

    Args:
        path: A regular file.
        begin: First byte of the range.
        end: The byte behind the range.

    Raises:
        InputError: See ``open_regular``.
        StorageError: The system cannot read on.
    """
    with open_regular(path) as file:
        position = max(begin - 1, 0)
        try:
            file.seek(position)
            inside = begin == 0
            while block := file.read(BLOCK):
                start = position
                position += len(block)
                stop = len(block)
                if position >= end:  # the line that the last byte belongs to is the last one
                    found = block.find(b"\n", max(end - 1 - start, 0))
                    stop = found + 1 if found >= 0 else stop
                    last = found >= 0
                else:
                    last = False
                if not inside:
                    first = block.find(b"\n", 0, stop) + 1
                    if first:
                        inside = True
                        if first < stop:
                            yield start + first, block[first:stop]
                else:
                    yield start, block[:stop]
                if last:
                    return
        except OSError as error:
            raise _failed(path, position, error) from error


def unpacked_lines(path: Path) -> Iterator[str]:
    """Lines of a file of records, plain or compressed, without their ends.

    Raises:
        InputError: It cannot be read, is no text, or has a line that no record is as long as.
        DamagedShardError: Its bytes are no UTF-8, or its packing is broken.
    """
    with HashedFile(path) as raw, io.BufferedReader(raw, BLOCK) as buffered:
        for batch in record_lines(decoded(unpacked(buffered, path), path), path):
            for line in batch:
                yield line.removesuffix("\r")


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def unpacked(file: io.BufferedReader[Any], path: Path) -> Iterator[bytes]:
    """Blocks of a file's content, unpacked if its first bytes say that it is packed.

    Args:
        file: From its start.
        path: For messages.

    Raises:
        DamagedShardError: Packed data that are damaged or cut off.
        StorageError: The system cannot read on.
    """
    position = 0
    try:
        magic = file.peek(10)[:10]
        for block in _unpack(file, magic):
            position += len(block)
            yield block
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, _DamagedError) as error:
        raise DamagedShardError(
            f"{path}: the compressed data are damaged or cut off after {position} unpacked bytes ({error}). "
            "Compress or download it again.",
            f"byte {position}",
        ) from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error of its own
            raise DamagedShardError(
                f"{path}: the compressed data are damaged after {position} unpacked bytes ({error}). "
                "Compress or download it again.",
                f"byte {position}",
            ) from error
        raise _failed(path, position, error) from error


def _failed(path: Path, position: int, error: OSError) -> StorageError:
    return StorageError(error.errno, f"{path}: reading failed after {position} bytes ({error.strerror})")


class _DamagedError(Exception):
    """zstd data that end early or cannot be read."""


def _unpack(file: io.BufferedReader[Any], magic: bytes) -> Iterator[bytes]:
    opened: _Readable = file
    if magic.startswith(_ZSTD):
        yield from _unzstd(file)
        return
    if magic.startswith(_GZIP):
        opened = gzip.GzipFile(fileobj=file)
    elif magic.startswith(_XZ):
        opened = lzma.LZMAFile(file)
    elif _BZIP2.match(magic):
        opened = bz2.BZ2File(file)
    yield from _blocks(opened)


def _blocks(opened: _Readable) -> Iterator[bytes]:
    """All of a file; where it cannot be read on, first what came before, which ``read`` would drop."""
    trouble: Exception | None = None
    block = b""
    try:
        while piece := opened.read1(BLOCK):
            block += piece
            if len(block) >= BLOCK:
                yield block
                block = b""
    except Exception as error:
        trouble = error
    if block:
        yield block
    if trouble is not None:
        raise trouble


def _unzstd(file: io.BufferedReader[Any]) -> Iterator[bytes]:
    """Unpack frame after frame; the library's own reader takes a file that was cut off for a whole one."""
    import zstandard

    factory = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame = factory.decompressobj()
    fresh = True
    try:
        while data := file.read(_ZSTD_BLOCK):
            while data:
                block = frame.decompress(data)
                fresh, data = False, b""
                for start in range(0, len(block), BLOCK):
                    yield block[start : start + BLOCK]
                if frame.eof:
                    data, frame, fresh = frame.unused_data, factory.decompressobj(), True
    except zstandard.ZstdError as error:
        raise _DamagedError(str(error)) from error
    if not fresh:
        raise _DamagedError("the data end inside a frame")
