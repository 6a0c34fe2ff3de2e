"""The files by which sentence-transformers knows how to make one vector of a text's hidden states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MODES: Final = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Ways of pooling, in the order in which several are put side by side."""
OLD_KEYS: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Of ``1_Pooling/config.json``, as all versions of the library read it."""
MODULES_FILE: Final = "modules.json"
_POOLING: Final = "1_Pooling"


def write_modules(
    out: Path, *, mode: str, width: int, max_length: int | None, model_args: Mapping[str, Any]
) -> None:
    """Write the files for a model that has none.

    Args:
        out: The model directory.
        mode: Of ``MODES``.
        width: Of the hidden states.
        max_length: Tokens of a text at most; None: the library asks the tokenizer.
        model_args: For the class of transformers, when the library loads it.
    """
    kinds = {"": "Transformer", _POOLING: "Pooling"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    pooling = {"word_embedding_dimension": width, **{key: mode == each for key, each in OLD_KEYS.items()}}
    transformer: dict[str, Any] = {"max_seq_length": max_length, "do_lower_case": False}
    if model_args:
        transformer["model_args"] = dict(model_args)
    (out / _POOLING).mkdir()
    for name, content in (
        (MODULES_FILE, modules),
        (f"{_POOLING}/config.json", pooling),
        ("sentence_bert_config.json", transformer),
    ):
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
