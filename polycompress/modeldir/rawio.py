"""Moving raw bytes: regular files only, whole reads, whole writes, copies inside the kernel."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from polycompress.errors import InputError

COPY_CHUNK_BYTES = 16 << 20
"""Bytes asked of the kernel at a time when a range is copied: the step of a progress bar."""

_BUFFER_BYTES = 1 << 20  # for copies through user space, where the kernel cannot copy by itself
_NOT_HERE = {
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EBADF,
    errno.ENOTSOCK,
    errno.ETXTBSY,
}

Progress = Callable[[int], None]


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """Open a regular file for reading and yield its descriptor.

    Args:
        path: The file. A device, a pipe or a directory is refused, and never waited for.

    Raises:
        InputError: It is missing, unreadable or not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file. Check the name, or fetch the model again.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError(f"{path}: is not a regular file. Put the file itself there.")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def creating(path: Path) -> Iterator[int]:
    """Create a file that must not exist yet and yield its descriptor for writing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_into(descriptor: int, buffer: memoryview, offset: int, path: Path) -> None:
    """Fill a buffer from an offset of an open file.

    Args:
        descriptor: An open file.
        buffer: Writable bytes, filled completely.
        offset: Where to start, in bytes from the beginning of the file.
        path: The file's name, for the message.

    Raises:
        InputError: The file ends before the buffer is full.
    """
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if count == 0:
            raise InputError(
                f"{path}: ends at byte {offset + done}, before the {len(buffer)} bytes at {offset} are "
                "read: it is truncated or was changed meanwhile. Fetch the file again."
            )
        done += count


def write_all(descriptor: int, data: memoryview | bytes) -> None:
    """Write every byte, however many calls the kernel takes."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(descriptor, view) :]


def copy_range(
    source: int, target: int, offset: int, count: int, path: Path, progress: Progress | None = None
) -> None:
    """Append a range of one open file to another, bit by bit, inside the kernel where it can.

    Args:
        source: Descriptor to read from.
        target: Descriptor to write to, at its current position.
        offset: First byte of the range in the source.
        count: Length of the range in bytes.
        path: Name of the source, for messages.
        progress: Told the number of bytes copied, chunk by chunk.

    Raises:
        InputError: The source ends before the range does.
    """
    ways = [_copy_file_range, _sendfile]
    end = offset + count
    while offset < end:
        step = min(COPY_CHUNK_BYTES, end - offset)
        copied = 0
        while ways and not copied:
            try:
                copied = ways[0](source, target, offset, step)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
            if not copied:
                ways.pop(0)
        if not copied:
            copied = min(step, _BUFFER_BYTES)
            buffer = memoryview(bytearray(copied))
            read_into(source, buffer, offset, path)
            write_all(target, buffer)
        offset += copied
        if progress is not None:
            progress(copied)


def _copy_file_range(source: int, target: int, offset: int, count: int) -> int:
    return os.copy_file_range(source, target, count, offset) if hasattr(os, "copy_file_range") else 0


def _sendfile(source: int, target: int, offset: int, count: int) -> int:
    return os.sendfile(target, source, offset, count)


def copy_file(source: Path, target: Path, progress: Progress | None = None) -> int:
    """Copy a whole file's bytes to a new file.

    Args:
        source: A regular file; links are followed.
        target: A file that does not exist yet.
        progress: Told the number of bytes copied, chunk by chunk.

    Returns:
        The number of bytes.
    """
    with reading(source) as reader, creating(target) as writer:
        size = os.fstat(reader).st_size
        copy_range(reader, writer, 0, size, source, progress)
    return size


def link_file(source: Path, target: Path) -> bool:
    """Make a hard link to a file (the one behind a link); say whether the file system let us."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        if error.errno in {
            errno.EXDEV,
            errno.EPERM,
            errno.EMLINK,
            errno.EOPNOTSUPP,
            errno.ENOSYS,
            errno.EACCES,
        }:
            return False
        raise
    return True


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputError: The file is missing, unreadable or not a regular file.
    """
    with reading(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
