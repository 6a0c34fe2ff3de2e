"""Outputs that appear whole or not at all.

An output is built under a hidden name beside its destination, synced to the disk, and renamed into place as
the last step. A failure removes it; after `kill -9` or a power cut it stays under its hidden name and the
next run beside it sweeps it.
"""

from __future__ import annotations

import ctypes
import errno
import io
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final, Literal, overload

from polycompress.errors import InputError, StorageError
from polycompress.modeldir.leftovers import MAX_NAME_BYTES, hold, remove, sweep, working_name

logger = logging.getLogger(__name__)

_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_AT_FDCWD: Final = -100
_NO_SUCH_CALL = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_NO_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES, errno.EPERM}

_ADVICE = {
    errno.ENOSPC: "the disk is full. Free space there, or write to another disk",
    errno.EDQUOT: "your quota on this disk is used up. Free space there, or write to another disk",
    errno.EFBIG: "a file would exceed the file-size limit (see ulimit -f). Raise the limit",
    errno.EACCES: "permission denied. Choose a place where you may write",
    errno.EPERM: "permission denied. Choose a place where you may write",
    errno.EROFS: "the file system is read-only. Choose a place where you may write",
    errno.EIO: "the disk reports an error. Check it, or write to another disk",
    errno.EBUSY: "it is in use, as a mount point perhaps. Choose another output",
}


def check_output(out: Path, *, overwrite: bool = False) -> None:
    """Refuse an output directory that must not be written, before any work is done.

    Args:
        out: The directory to be.
        overwrite: Whether an existing one may be replaced. Only a model directory (one with config.json or
            polycompress.json), one of word vectors (vectors.json) or an empty one is; never a link, the root,
            the home or the working directory or one above them, or a directory under version control.

    Raises:
        InputError: It exists and may not be replaced, or its name cannot be used.
    """
    path = _absolute(out)
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise InputError(f"{out}: the name is longer than {MAX_NAME_BYTES} bytes. Choose a shorter one.")
    if not path.name:
        raise InputError(f"{out}: cannot be an output directory. Name a new one.")
    try:
        exists = os.path.lexists(path)
        if exists and overwrite:
            _check_replaceable(out, path)
    except OSError as error:
        raise storage_error(error, out) from error
    if exists and not overwrite:
        raise InputError(f"{out}: already exists. Choose another output, or pass --overwrite to replace it.")
    beside = next(parent for parent in path.parents if os.path.lexists(parent))
    if not beside.is_dir():
        raise InputError(f"{out}: '{beside}' is not a directory. Choose another output.")


def check_output_file(out: Path, *, overwrite: bool = False) -> None:
    """Refuse an output file that must not be written, before any work is done.

    Args:
        out: The file to be.
        overwrite: Whether an existing one may be replaced.

    Raises:
        InputError: It is a directory, exists and may not be replaced, or lies in a directory that is not there.
    """
    if out.is_dir():
        raise InputError(f"{out}: is a directory. Name a file in it.")
    if os.path.lexists(out) and not overwrite:
        raise InputError(f"{out}: already exists. Choose another --out, or pass --overwrite to replace it.")
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no directory '{out.parent}'. Create it, or choose another --out.")


def check_apart(out: Path, source: Path) -> None:
    """Refuse an output directory that would replace the model it is made from.

    Raises:
        InputError: The source is the output, or lies in it.
    """
    if source.resolve().is_relative_to(_absolute(out).resolve()):
        raise InputError(
            f"{out}: is or holds the model it is to be made from, which would be lost. Choose another output."
        )


def storage_error(error: OSError, path: Path) -> StorageError:
    """Our error for what the operating system refused: which path, why, and what to do."""
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}. Check the place, or choose another")
    at = f" (at {error.filename})" if error.filename and str(error.filename) != str(path) else ""
    return StorageError(f"{path}: could not be written{at}: {advice}. Nothing was left behind.")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into our error; other errors pass."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in _ADVICE:
            raise
        raise storage_error(error, path) from error


@contextmanager
def atomic_directory(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Build a directory that appears whole at the end of the `with` block, or not at all.

    Directories above it that are missing are made, and removed again if the block fails. Leftovers of killed
    runs beside it are swept first.

    Args:
        out: The directory to be.
        overwrite: Whether to replace an existing one; see `check_output`. The two are exchanged in one step
            at the end, and only then is the old one removed.

    Yields:
        The hidden directory to fill.

    Raises:
        InputError: The output exists and may not be replaced.
        StorageError: The disk is full, or refuses for another reason.
    """
    target = _absolute(out)
    if target.parent.is_dir():
        sweep(target.parent)
    check_output(out, overwrite=overwrite)
    made: list[Path] = []
    work = target.parent / working_name(target.name)
    lock: int | None = None
    try:
        with _refusals(out):
            made = _make_parents(target.parent)
            work.mkdir()
            lock = hold(work)
            yield work
            sync_tree(work)
            _move_into_place(work, target, overwrite=overwrite)
            made = []
            _sync(target.parent)
    finally:
        if lock is not None:
            os.close(lock)
        _discard(work, made)


@contextmanager
def scratch_directory(out: Path) -> Iterator[Path]:
    """A hidden directory beside an output that is to be, for what is only needed on the way to it.

    It is gone at the end of the `with` block; after `kill -9` the next run beside it sweeps it.

    Args:
        out: The output. Directories above it need not be there; the scratch lies beside the first that is missing.

    Yields:
        The directory, empty, on the disk that the output goes to.

    Raises:
        StorageError: The disk is full, or refuses for another reason.
    """
    target = _absolute(out)
    while not target.parent.is_dir():
        target = target.parent
    sweep(target.parent)
    work = target.parent / working_name(target.name)
    lock: int | None = None
    try:
        with _refusals(out):
            work.mkdir()
            lock = hold(work)
            yield work
    finally:
        if lock is not None:
            os.close(lock)
        _discard(work, [])


@overload
def atomic_file(path: Path, mode: Literal["wb"] = "wb") -> AbstractContextManager[IO[bytes]]: ...


@overload
def atomic_file(path: Path, mode: Literal["w"]) -> AbstractContextManager[IO[str]]: ...


def atomic_file(
    path: Path, mode: Literal["wb", "w"] = "wb"
) -> AbstractContextManager[IO[bytes]] | AbstractContextManager[IO[str]]:
    """Write a file that appears whole at the end of the `with` block, or not at all.

    Args:
        path: The file to be. An existing file is replaced, the one behind a link if it is one.
        mode: "wb" for bytes, "w" for UTF-8 text with plain newlines.

    Returns:
        A context that gives the open file.

    Raises:
        InputError: The path is a directory or a device, or lies in one that does not exist.
        StorageError: The disk is full, or refuses for another reason.
    """
    return _atomic_bytes(path) if mode == "wb" else _atomic_text(path)


@contextmanager
def _atomic_text(path: Path) -> Iterator[IO[str]]:
    with _atomic_bytes(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
        try:
            yield text
        finally:
            text.detach()  # flushes, and leaves the file open to be synced


@contextmanager
def _atomic_bytes(path: Path) -> Iterator[IO[bytes]]:
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise InputError(f"{path}: is not a regular file. Name another file.")
    if not target.parent.is_dir():
        raise InputError(
            f"{path}: there is no directory '{target.parent}'. Create it, or choose another place."
        )
    sweep(target.parent)
    work = target.parent / working_name(target.name)
    try:
        with _refusals(path), work.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            work.replace(target)
            _sync(target.parent)
    finally:
        _discard(work, [])


def sync_tree(root: Path) -> None:
    """Bring every file and directory under a directory, and itself, onto the disk."""
    for directory, _, files in os.walk(root, topdown=False):
        for file in files:
            path = Path(directory) / file
            if stat.S_ISREG(path.lstat().st_mode):
                _sync(path)
        _sync(Path(directory))


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # a file linked from a source that we may not read cannot be ours to sync
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _absolute(path: Path) -> Path:
    # Path.absolute would leave ".." in, Path.resolve would follow a link that is the output itself.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _make_parents(parent: Path) -> list[Path]:
    """Make the missing directories above the output; the ones made, innermost first."""
    made: list[Path] = []
    missing = [each for each in (parent, *parent.parents) if not each.exists()]
    try:
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            made.insert(0, each)
    except OSError:
        _discard(None, made)
        raise
    return made


def _discard(work: Path | None, made: list[Path]) -> None:
    """Remove work in progress (or the old output it was exchanged for) and directories made for it."""
    try:
        if work is not None and os.path.lexists(work):
            remove(work)
        for directory in made:
            directory.rmdir()
    except OSError as error:
        logger.warning("%s: could not be removed (%s); the next run tries again", work or made, error)


def _check_replaceable(out: Path, path: Path) -> None:
    if path.is_symlink():
        raise InputError(
            f"{out}: is a link. --overwrite replaces directories only: name the directory itself."
        )
    if not path.is_dir():
        raise InputError(f"{out}: is a file. --overwrite replaces directories only: choose another output.")
    real = path.resolve()
    for place, name in ((Path.cwd(), "the working directory"), (Path.home(), "your home")):
        if place.resolve().is_relative_to(real):
            raise InputError(
                f"{out}: is {name} or lies above it, and is not replaced. Choose another output."
            )
    names = {entry.name for entry in path.iterdir()}
    if ".git" in names or (names and not names & {"config.json", "polycompress.json", "vectors.json"}):
        raise InputError(
            f"{out}: does not look like a model directory (no config.json, or under version control), so "
            "--overwrite does not replace it. Choose another output, or remove it yourself."
        )


def _move_into_place(work: Path, target: Path, *, overwrite: bool) -> None:
    """Rename the finished work to its destination, where the old output leaves for the hidden name."""
    if overwrite and os.path.lexists(target):
        _check_replaceable(target, target)  # it may have changed since the work began
        if _rename(work, target, _RENAME_EXCHANGE):
            return
        old = work.with_name(work.name + ".old")
        target.rename(old)
        try:
            work.rename(target)
        except OSError:
            old.rename(target)
            raise
        _discard(old, [])
        return
    try:
        if _rename(work, target, _RENAME_NOREPLACE):
            return
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        work.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise InputError(
                f"{target}: was made by someone else meanwhile. Choose another output, or pass --overwrite."
            ) from error
        raise


def _rename(source: Path, target: Path, flags: int) -> bool:
    """Linux's renameat2; False where the system or the file system has no such call."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    raise OSError(code, os.strerror(code), str(target))
