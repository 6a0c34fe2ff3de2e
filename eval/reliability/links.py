"""Links in a model directory that lead out of it, or to what is no file; and those that may be followed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from eval.reliability.larder import CORPUS
from eval.reliability.outcome import Found
from eval.reliability.warm import Warm
from eval.reliability.watching import snapshot

SECRET: Final = "a-secret-that-nobody-may-see"
FILES: Final = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
    "modules.json", "1_Pooling/config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
    "README.md", "LICENSE", "chat_template.jinja",
)  # fmt: skip
COMMANDS: Final = (
    ("inspect", "../in/m", *CORPUS), ("trim", "../in/m", *CORPUS, "--out", "out"),
    ("plan", "../in/m", *CORPUS, "--budget", "10K"),
    ("moe", "upcycle", "../in/m", "--langs", "de,en", "--layers", "1", "--out", "out"),
)  # fmt: skip
SECONDS: Final = 60.0


def hostile(place: Path) -> Mapping[str, str]:
    """Where a link of a model directory may lead that it must not; by what it is."""
    return {
        "a file elsewhere": str(place / "secret.json"),
        "a file elsewhere, by ..": "../../secret.json",
        "another model": str(place / "whole" / "config.json"),
        "a device": "/dev/zero",
        "a file of the system": "/etc/passwd",
        "a directory": str(place),
        "a link to a file elsewhere": str(place / "hop"),
        "a process's own files": "/proc/self/environ",
    }


def measure(room: Path, stock: Path) -> Found:
    """Put each kind of link into the place of each file, and run each command on it."""
    found = Found()
    refused = total = 0
    with Warm(_fresh(room, stock) / "log") as warm:
        for file in FILES:
            for kind, target in hostile(room).items():
                _fresh(room, stock)
                _link(room / "in" / "m" / file, target)
                for command in COMMANDS:
                    ending = warm.run(command, cwd=room / "desk", seconds=SECONDS)
                    told = SECRET in ending.output or any(
                        SECRET.encode() in path.read_bytes()
                        for path in (room / "desk").rglob("*")
                        if path.is_file()
                    )
                    total += 1
                    refused += ending.code == 2
                    harmless = ending.code == 2 or (
                        ending.code == 0 and command[0] != "trim"
                    )  # others read less
                    if told or "Traceback" in ending.output or not harmless:
                        found.faults.append(
                            {"file": file, "link": kind, "command": command[0], "code": ending.code, "told": told,
                             "printed": ending.output[-300:]}
                        )  # fmt: skip
                    shutil.rmtree(room / "desk" / "out", ignore_errors=True)
        cached = _hub_cache(room, stock)
        followed = {
            name: warm.run(("inspect", str(model), *CORPUS), cwd=room / "desk", seconds=SECONDS).code
            for name, model in cached.items()
        }
    if followed != {"into the cache's blobs": 0, "out of the cache": 2}:
        found.faults.append({"hub cache": followed})
    found.figures = {
        "links that lead out, times commands": total,
        "of files that the command does not read": total - refused,
        "refused": refused,
        "links of a hub cache into its blobs": "followed"
        if followed["into the cache's blobs"] == 0
        else "refused",
        "links of a hub cache out of it": "refused" if followed["out of the cache"] == 2 else "followed",
    }
    return found


def _fresh(room: Path, stock: Path) -> Path:
    """A whole model in ``in/m``, text, and a secret outside of the model."""
    shutil.rmtree(room / "in", ignore_errors=True)
    for name in ("desk", "in"):
        (room / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(stock / "shards", room / "in" / "m")
    shutil.copytree(stock / "text", room / "in" / "text")
    (room / "secret.json").write_text(f'{{"model_type": "{SECRET}", "{SECRET}": 1}}', encoding="utf-8")
    hop = room / "hop"
    hop.unlink(missing_ok=True)
    hop.symlink_to("secret.json")
    if not (room / "whole").exists():
        shutil.copytree(stock / "shards", room / "whole")
    return room


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _hub_cache(room: Path, stock: Path) -> Mapping[str, Path]:
    """A model as the hub's cache lays it out, and one whose snapshot links to another place."""
    _fresh(room, stock)
    models = {}
    for name, outside in (("into the cache's blobs", False), ("out of the cache", True)):
        home = room / "hub" / f"models--owner--{'b' if outside else 'a'}"
        place = home / "snapshots" / "0123456789"
        shutil.rmtree(home, ignore_errors=True)
        (home / "blobs").mkdir(parents=True)
        place.mkdir(parents=True)
        for number, path in enumerate(sorted((room / "in" / "m").glob("*.*"))):
            blob = (room if outside else home / "blobs") / f"blob{number}"
            shutil.copy(path, blob)
            (place / path.name).symlink_to(blob if outside else f"../../blobs/{blob.name}")
        shutil.copytree(room / "in" / "m" / "1_Pooling", place / "1_Pooling")
        models[name] = place
    assert snapshot(room / "hub")
    return models
