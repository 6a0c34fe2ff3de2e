from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import polycompress

ROOT = Path(__file__).parent.parent
TRAINED = (
    *("auto", "kernels.", "own_models", "training."),
    *(f"embeddings.{name}" for name in ("models", "module", "registering")),
    *(
        f"moe.{name}"
        for name in (
            "context",
            "experts",
            "fused",
            "identifying",
            "layer",
            "models",
            "reference",
            "registering",
            "router",
            "segments",
            "sorting",
        )
    ),
    *(
        f"pipelines.{name}"
        for name in (
            *("bench", "bistil_", "distil", "evaluate", "experts_training", "export", "finetune", "mlm"),
            *("moe_routes", "moe_train", "students"),
        )
    ),
    *(
        f"distill.{name}"
        for name in (
            "basis",
            "capture",
            "diswot",
            "exit_heads",
            "head_places",
            "kept",
            "narrow",
            "objective",
            "outputs",
            "plain_",
            "shelf",
            "shrinking",
            "watching",
        )
    ),
    *(
        f"pipelines.judging.{name}"
        for name in ("embeddings", "judges", "loyalty", "published", "request", "tuning")
    ),
    *(
        f"pipelines.tuning.{name}"
        for name in ("config", "data", "dev", "folders", "inputs", "mlm_", "parts", "run", "sinks", "summary")
    ),
    *("pipelines.tuning.trained_writing", "pipelines.tuning.writing"),
    *("ui.answers", "ui.page", "ui.playground"),
    *(
        f"evaluation.{name}"
        for name in (
            "batches",
            "forward",
            "models",
            "onnx_model",
            "pooling",
            "precision",
            "pretrained",
            "speed_",
        )
    ),
)
"""Torch, or the library of the page, from end to end; commands open them when they are needed."""
HEAVY = (
    *("torch", "transformers", "datasets", "sentencepiece", "scipy", "matplotlib", "huggingface_hub"),
    *("onnx", "onnxruntime", "sentence_transformers"),
)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_front_door() -> None:
    assert polycompress.__all__ == [
        *("bench", "evaluate", "finetune", "inspect", "moe_extract", "moe_routes", "moe_upcycle"),
        *("ofa", "trim", "verify"),
    ]
    assert polycompress.__all__ == sorted(polycompress.__all__)
    for name in polycompress.__all__:
        assert callable(getattr(polycompress, name))
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        polycompress.distil  # noqa: B018


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    loaded = run(
        "import sys, polycompress; print(*sorted(n for n in sys.modules if n.startswith('polycompress')))"
    )
    assert loaded == "polycompress"


def test_no_module_needs_a_heavy_library_to_be_imported() -> None:
    run(
        f"""
import importlib, pathlib, sys

TRAINED = {TRAINED!r}

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise AssertionError(f"{{name}} was imported")

sys.meta_path.insert(0, Forbidden())
import polycompress
for path in pathlib.Path(polycompress.__path__[0]).rglob("*.py"):
    name = ".".join(path.relative_to(polycompress.__path__[0]).with_suffix("").parts)
    if name != "__main__" and not name.startswith(TRAINED):
        importlib.import_module(f"polycompress.{{name}}".removesuffix(".__init__"))
"""
    )
