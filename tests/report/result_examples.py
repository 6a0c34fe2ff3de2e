"""Result files as `eval` writes them, made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from polycompress.evaluation.packing import pack_counts
from polycompress.evaluation.results import write_result


def make_result(
    task: str,
    name: str,
    scores: Mapping[str, float | tuple[float, float, float]],
    *,
    parameters: int | None = 118_000_000,
    **more: Any,
) -> dict[str, Any]:
    """A result; scores by part, with their intervals or 0.02 around them."""
    rows = []
    for part, value in scores.items():
        score, low, high = value if isinstance(value, tuple) else (value, value - 0.02, value + 0.02)
        language, slash, subset = part.partition("/")
        rows.append(
            {
                "language": language, "subset": subset if slash else None, "examples": 100, "score": score, "low": low,
                "high": high, "per_seed": [score], "details": {},
                "outcomes": {"keys": "0", "per_seed": [pack_counts(np.ones((100, 1), np.uint16))]},
            }
        )  # fmt: skip
    return {
        "schema": 1, "kind": "evaluation", "task": task, "split": "test", "metric": "accuracy",
        "model": {
            "name": name, "path": name, "manifest_sha256": None, "bytes": 4 * (parameters or 0) or None,
            "parameters": {"total": parameters, "embedding": parameters and parameters // 2},
        },
        "seeds": [0], "scores": rows, "averages": {"missing": []}, "loyalty": None, "baseline": None, "published": [],
        "settings": {"limit": None}, **more,
    }  # fmt: skip


def write(path: Path, found: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_result(path, found)
    return path


def make_bench() -> dict[str, Any]:
    """What `bench` keeps."""
    model = {
        "name": "full", "parameters": {"total": 118_000_000, "embedding": 96_000_000, "active": None},
        "bytes": {"all": 480_000_000, "weights": 470_000_000, "tokenizer": 17_000_000},
        "loading": {
            "fp32": {
                "seconds": 1.5,
                "memory": {"peak_mib": 1000.0, "model_mib": 700.0, "accelerator_mib": None},
            }
        },
        "timings": [{"p50_ms": 20.0, "p95_ms": 31.0, "tokens_per_second": 1600.0}],
    }  # fmt: skip
    return {
        "schema": 1,
        "kind": "bench",
        "models": [model, {**model, "name": "small"}],
        "settings": {"precisions": ["fp32"]},
        "ratios": {
            "parameters": {"total": [1.0, 0.25], "embedding": [1.0, 0.1], "active": [None, None]},
            "bytes": {"all": [1.0, 0.3], "weights": [1.0, 0.2]},
            "loading, fp32": {"seconds": [1.0, 0.5], "peak_mib": [1.0, 0.6], "model_mib": [1.0, 0.4]},
            "speed": [{"precision": "fp32", "length": 32, "batch": 1, "speedup": [1.0, 1.25]}],
        },
    }
