"""Directories with pickles, which run code in whoever loads them: no command does."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from eval.reliability.larder import CORPUS
from eval.reliability.outcome import Found
from eval.reliability.warm import TORCH, Warm

SECONDS: Final = 120.0
TEXT: Final = "de=../in/text/de.txt"
TRAIN: Final = ("--steps", "2", "--device", "cpu", "--max-length", "32", "--batch-tokens", "200")
COMMANDS: Final = (
    ("inspect", "../in/m", *CORPUS),
    ("plan", "../in/m", *CORPUS, "--budget", "10K"),
    ("trim", "../in/m", *CORPUS, "--out", "out"),
    ("trim", "../in/m", *CORPUS, "--out", "out", "--full"),
    ("verify", "../in/m", "../in/m"),
    ("count", "../in/m", "--lang", "de", "--corpus", TEXT, "--engine", "process", "--out", "out.npz"),
    ("factorise", "../in/m", "--rank", "4", "--out", "out"),
    ("moe", "upcycle", "../in/m", "--langs", "de,en", "--layers", "1", "--out", "out"),
    ("export", "../in/m", "--sentence-transformers", "--pooling", "mean", "--out", "out"),
    ("mlm", "../in/m", "--corpus", TEXT, *TRAIN, "--out", "out"),
    ("bistil", "general", "../in/m", "--source", "en", "--target", "de", "--corpus", TEXT, *TRAIN, "--out", "out"),
    ("finetune", "../in/m", "--task", "sib200", "--data", "../in/data", *TRAIN, "--out", "out"),
    ("eval", "../in/m", "--task", "retrieval-sib200", "--langs", "de", "--data", "../in/data", "--device", "cpu"),
    ("bench", "../in/m", "--device", "cpu"),
    ("sft", "show", "../in/m"),
    ("students", "../in/m", "--budget", "10K"),
)  # fmt: skip


class _Payload:
    """Unpickled, it makes a directory."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        import os

        return os.mkdir, (str(self.mark),)


def payload(mark: Path) -> bytes:
    """A pickle that makes a directory when it is loaded."""
    return pickle.dumps(_Payload(mark))


def archive(mark: Path) -> bytes:
    """The same in the layout that ``torch.save`` writes and ``torch.load`` reads."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("archive/data.pkl", payload(mark))
        zipped.writestr("archive/version", "3\n")
    return file.getvalue()


def layouts(model: Path, mark: Path) -> Mapping[str, Callable[[], object]]:
    """What is done to a sound model directory, by name."""

    def write(*names: str, instead: bool = False) -> Callable[[], object]:
        def do() -> None:
            for path in model.glob("*.safetensors*") if instead else ():
                path.unlink()
            for name in names:
                (model / name).parent.mkdir(exist_ok=True)
                (model / name).write_bytes(
                    archive(mark) if name.endswith((".bin", ".pt", ".ckpt")) else payload(mark)
                )

        return do

    return {
        "pytorch_model.bin alone": write("pytorch_model.bin", instead=True),
        "a pickle named model.safetensors": write("model.safetensors", instead=True),
        "shards of pickles": write("pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", instead=True),
        "pickles beside the weights": write(
            "pytorch_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "x.pkl",
            "model.ckpt", "spiece.pkl", "sentencepiece.bpe.model.pkl",
        ),
        "tokenizer.json is a pickle": write("tokenizer.json"),
        "code of its own": lambda: _code(model, mark),
    }  # fmt: skip


def _code(model: Path, mark: Path) -> None:
    import json

    (model / "modeling_evil.py").write_text(
        f"import os\nos.mkdir({str(mark)!r})\nclass Evil: pass\n", encoding="utf-8"
    )
    config = json.loads((model / "config.json").read_text("utf-8"))
    config["auto_map"] = {
        name: "modeling_evil.Evil" for name in ("AutoConfig", "AutoModel", "AutoModelForMaskedLM")
    }
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")


def measure(room: Path, stock: Path, commands: tuple[tuple[str, ...], ...] = COMMANDS) -> Found:
    """Run each command on each layout; a directory appears if anything was loaded."""
    found, mark = Found(), room / "loaded"
    runs = refused = 0
    names = list(layouts(room, mark))
    (room / "desk").mkdir(parents=True, exist_ok=True)
    with Warm(
        room / "log", TORCH, {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(room / "home")}
    ) as warm:
        for name in names:
            for command in commands:
                shutil.rmtree(room / "in", ignore_errors=True)
                shutil.rmtree(room / "desk")
                (room / "desk").mkdir()
                for part in ("text", "data"):
                    shutil.copytree(stock / part, room / "in" / part)
                shutil.copytree(stock / "unigram", room / "in" / "m")
                layouts(room / "in" / "m", mark)[name]()
                ending = warm.run(command, cwd=room / "desk", seconds=SECONDS)
                runs += 1
                refused += ending.code == 2
                loaded = mark.exists()
                if loaded:
                    mark.rmdir()
                if loaded or "Traceback" in ending.output or ending.code not in (0, 1, 2):
                    found.faults.append(
                        {"layout": name, "command": " ".join(command), "loaded": loaded, "code": ending.code,
                         "printed": ending.output[-300:]}
                    )  # fmt: skip
    loaded_anywhere = sum(fault["loaded"] for fault in found.faults)
    found.figures = {
        "layouts": len(names),
        "commands": len(commands),
        "runs": runs,
        "refused": refused,
        "loaded": loaded_anywhere,
    }
    return found
