"""What a fresh process does to tell how long a model takes to load and how much memory it needs.

Started by ``speed_loading``. After each stage it writes one line of JSON and waits for a line, so that whoever watches
it can look at its memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any


def main() -> None:
    """Do what the argument, a JSON object, asks for."""
    request: dict[str, Any] = json.loads(sys.argv[1])
    # What libraries print must not come between the lines.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as lines:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        try:
            work(request, lines)
        except Exception as error:
            from polycompress.errors import PolycompressError

            if not isinstance(error, PolycompressError):
                raise
            say(lines, {"error": str(error), "input": isinstance(error, ValueError)})


def work(request: Mapping[str, Any], lines: IO[str]) -> None:
    """Import, load, run."""
    (work_on_graph if request["exported"] else work_on_model)(request, lines)


def work_on_model(request: Mapping[str, Any], lines: IO[str]) -> None:
    """With torch."""
    begun = time.perf_counter()
    import torch
    import transformers
    from tokenizers import Tokenizer

    from polycompress.evaluation.precision import choose_device
    from polycompress.evaluation.speed_models import load_timed_model

    torch.set_num_threads(request["threads"])
    device = choose_device(request["device"])
    getattr(transformers, "PreTrainedModel")  # noqa: B009  imported on first use
    torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)  # starts what multiplies matrices
    say(lines, {"stage": "libraries", "seconds": time.perf_counter() - begun})
    path = Path(request["path"])
    begun = time.perf_counter()
    model = load_timed_model(path, precision=request["precision"], device=device, body=request["body"])
    tokenizer = load_tokenizer(Tokenizer, path, begun, lines)
    run = model.forward(request["batch"], request["length"], 0)
    for _ in range(2):
        run()
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    say(lines, {"stage": "run", "accelerator_mib": peak})
    del tokenizer  # in memory until here


def work_on_graph(request: Mapping[str, Any], lines: IO[str]) -> None:
    """With onnxruntime alone, as where graphs are served."""
    begun = time.perf_counter()
    from tokenizers import Tokenizer

    from polycompress.errors import MissingExtraError

    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("an exported model", "onnx") from error
    from polycompress.evaluation.onnx_session import open_timed_graph

    onnxruntime.get_available_providers()
    say(lines, {"stage": "libraries", "seconds": time.perf_counter() - begun})
    path = Path(request["path"])
    begun = time.perf_counter()
    graph = open_timed_graph(path, threads=request["threads"])
    tokenizer = load_tokenizer(Tokenizer, path, begun, lines)
    run = graph.forward(request["batch"], request["length"], 0)
    for _ in range(2):
        run()
    say(lines, {"stage": "run", "accelerator_mib": None})
    del tokenizer  # in memory until here


def load_tokenizer(loader: Any, path: Path, begun: float, lines: IO[str]) -> Any:
    """The tokenizer of a directory, if it has one; tell how long the model and it took since ``begun``."""
    loaded = time.perf_counter()
    document = path / "tokenizer.json"
    tokenizer = loader.from_file(str(document)) if document.is_file() else None
    ended = time.perf_counter()
    say(
        lines,
        {
            "stage": "loaded",
            "model_seconds": loaded - begun,
            "tokenizer_seconds": None if tokenizer is None else ended - loaded,
        },
    )
    return tokenizer


def say(lines: IO[str], found: Mapping[str, Any]) -> None:
    """Write a line and wait until it was seen."""
    lines.write(json.dumps(found) + "\n")
    lines.flush()
    with contextlib.suppress(ValueError):
        sys.stdin.readline()


if __name__ == "__main__":
    main()
