"""Train tiny fastText models.

The library's training reads memory that it has not written, so that every other tiny model fails with "Encountered
NaN"; its predictions do not. In a process of its own that memory can be made zero.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = """
import json, sys
import fasttext
text, out, kind, train, quantize = json.loads(sys.argv[1])
model = getattr(fasttext, f"train_{kind}")(text, thread=1, verbose=0, **train)
if quantize is not None:
    model.quantize(input=text, retrain=False, verbose=0, **quantize)
model.save_model(out)
"""


def train_model(
    text: Path,
    out: Path,
    *,
    kind: str = "supervised",
    quantize: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Train on a file of labelled lines and save the model."""
    pytest.importorskip("fasttext")
    arguments = json.dumps([str(text), str(out), kind, options, quantize])
    command = [sys.executable, "-c", _SCRIPT, arguments]
    # glibc fills what it allocates with the complement of this
    environment = os.environ | {"MALLOC_PERTURB_": "255"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out
