"""A tiny teacher, a student made of it with experts, and text of all its languages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from polycompress.distill.layer_map import make_layer_map
from polycompress.pipelines.distilling.student_files import write_student
from polycompress.pipelines.experts.request import ExpertSettings
from polycompress.pipelines.moe_train import MoeTrainResult, moe_train
from polycompress.pipelines.moe_upcycle import moe_upcycle
from tests.pipelines.tiny_runs import write_corpora
from tests.tiny_models import make_tiny

CODES = {"deu-Latn": "Germanic", "nld-Latn": "Germanic", "fra-Latn": "Romance", "swh-Latn": "Narrow Bantu"}
TEXT: Mapping[str, Any] = {
    "training": {
        "steps": 9,
        "log_every": 3,
        "snapshots": {"every_steps": 4},
        "optimiser": {"learning_rate": 3e-3, "weight_decay": 0.0},
    },
    "batching": {"token_budget": 160},
    "max_length": 24,
    "device": "cpu",
}


class ExpertsKitchen:
    """See the module."""

    def __init__(self, root: Path, family: str = "xlm-roberta", head: str = "mlm") -> None:
        self.root = root
        self.teacher = make_tiny(family, head, root / "teacher", vocab_size=350, num_hidden_layers=4)
        write_student(
            self.teacher, make_layer_map(4, 2, "every-nth", (0, 3)), root / "dense", {"command": []}
        )
        self.moe = root / "moe"
        moe_upcycle(
            root / "dense", out=self.moe, langs="de,nl,fr,sw", settings=ExpertSettings(layers=1), noise=0.3
        )
        self.corpus = write_corpora(root, {"de": 40, "nl": 15, "fr": 25, "sw": 25})

    def train(self, out: Path, settings: Mapping[str, Any] | None = None, **options: Any) -> MoeTrainResult:
        """A run."""
        torch.manual_seed(0)
        given = {"teacher": self.teacher, "corpus": self.corpus, "out": out, **options}
        model = given.pop("model", self.moe)
        return moe_train(model, settings={"text": TEXT, **(settings or {})}, **given)
