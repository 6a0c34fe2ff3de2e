"""Memory of trimming a checkpoint of several gigabytes whose files are holes: they take no room on the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eval.reliability.outcome import Found
from eval.reliability.warm import REPOSITORY
from tests.tiny_models import make_tiny

ALLOWANCE: Final = 200 << 20
"""Bytes that a trim may take beyond the bytes it keeps: interpreter, libraries, tokenizer, blocks read at a time."""
# A process's largest size counts that of the one it was forked from, so a small one stands between.
_ACCOUNT: Final = """
import json, os, sys, time
began = time.monotonic()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(json.dumps({"peak_bytes": usage.ru_maxrss * 1024, "seconds": time.monotonic() - began}))
sys.exit(os.waitstatus_to_exitcode(status))
"""
SHARD: Final = "model-{:05d}-of-{:05d}.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trimmed:
    """What a trim took and wrote."""

    source_bytes: int
    kept_bytes: int
    peak_bytes: int
    seconds: float


def make_checkpoint(folder: Path, *, width: int, rows: int, layers: int) -> int:
    """Write a model directory whose weights are holes in sparse files.

    Args:
        folder: The directory.
        width: Of the tables and of one square matrix a layer, float32.
        rows: Of the input table and, separately, of the output table; the tokenizer has fewer tokens.
        layers: Of the body; each is a shard of its own.

    Returns:
        Bytes of the weights.
    """
    make_tiny("llama", "clm", folder, vocab_size=400, tied=False)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {
        "hidden_size": width,
        "vocab_size": rows,
        "num_hidden_layers": layers,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shards: list[list[tuple[str, tuple[int, ...]]]] = [
        [("model.embed_tokens.weight", (rows, width))],
        [("lm_head.weight", (rows, width)), ("model.norm.weight", (width,))],
        *([(f"model.layers.{layer}.mlp.up_proj.weight", (width, width))] for layer in range(layers)),
    ]
    weight_map, total = {}, 0
    for number, tensors in enumerate(shards, 1):
        name, position = SHARD.format(number, len(shards)), 0
        header: dict[str, Any] = {}
        for tensor, shape in tensors:
            size = 4 * shape[0] * (shape[1] if len(shape) == 2 else 1)
            header[tensor] = {
                "dtype": "F32",
                "shape": list(shape),
                "data_offsets": [position, position + size],
            }
            position += size
            weight_map[tensor] = name
        raw = json.dumps(header).encode()
        raw += b" " * (-len(raw) % 8)
        with (folder / name).open("wb") as file:
            file.write(len(raw).to_bytes(8, "little") + raw)
            file.truncate(8 + len(raw) + position)
        total += position
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return total


def trim(model: Path, corpus: Path, out: Path) -> Trimmed:
    """Trim in a process of its own, hard-linking what does not change.

    Raises:
        RuntimeError: It failed.
    """
    command = [
        sys.executable, "-m", "polycompress", "trim", str(model), "--langs", "de", "--corpus", str(corpus),
        "--no-frequencies", "--link", "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-S", "-c", _ACCOUNT, *command],
        capture_output=True, text=True, cwd=out.parent, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"trim ended with {done.returncode}: {done.stderr}")
    account = json.loads(done.stdout.splitlines()[-1])
    kept = sum(path.stat().st_size for path in out.glob("*.safetensors") if path.stat().st_nlink == 1)
    source = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    return Trimmed(source_bytes=source, kept_bytes=kept, **account)


def measure(room: Path, *, gigabytes: float = 8.0) -> Found:
    """Trim a checkpoint of so many gigabytes in five shards, and one of a hundredth of its width."""
    found = Found()
    room.mkdir(parents=True, exist_ok=True)
    corpus = room / "de.txt"
    corpus.write_text("Der Fuchs springt über den faulen Hund.\n" * 50, encoding="utf-8")
    for name, share in (("large", 1.0), ("small", 0.01)):
        width = max(16, int(4096 * share))
        make_checkpoint(room / name, width=width, rows=int(gigabytes * 1e9 / 8 / 4096), layers=3)
        done = trim(room / name, corpus, room / f"{name}-de")
        bound = done.kept_bytes + ALLOWANCE
        found.figures[f"{name} checkpoint"] = {
            "bytes of its weights": done.source_bytes, "bytes kept": done.kept_bytes, "peak bytes": done.peak_bytes,
            "bound in bytes": bound, "seconds": round(done.seconds, 1),
        }  # fmt: skip
        if done.peak_bytes > bound:
            found.faults.append({"checkpoint": name, "peak_bytes": done.peak_bytes, "bound_bytes": bound})
        shutil.rmtree(room / f"{name}-de")
    return found
