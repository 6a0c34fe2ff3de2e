"""polycompress: make multilingual language models small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polycompress.pipelines.bench import bench
    from polycompress.pipelines.evaluate import evaluate
    from polycompress.pipelines.finetune import finetune
    from polycompress.pipelines.inspect import inspect
    from polycompress.pipelines.moe_extract import moe_extract
    from polycompress.pipelines.moe_routes import moe_routes
    from polycompress.pipelines.moe_upcycle import moe_upcycle
    from polycompress.pipelines.ofa import ofa
    from polycompress.pipelines.trim import trim
    from polycompress.pipelines.verify import verify

__version__ = "0.1.0"
__all__ = [
    "bench",
    "evaluate",
    "finetune",
    "inspect",
    "moe_extract",
    "moe_routes",
    "moe_upcycle",
    "ofa",
    "trim",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import the front door's functions when they are first asked for."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module(f"polycompress.pipelines.{name}"), name)
    raise AttributeError(f"module 'polycompress' has no attribute {name!r}")
