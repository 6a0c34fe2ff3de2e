"""What both sides of ``distil.py`` are given: one teacher, one student, one text, in one directory."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from polycompress.corpora import parse_corpora
from polycompress.distill.layer_map import LayerMap, every_nth
from polycompress.languages import find_language
from polycompress.pipelines.distilling.general_config import MIN_SHARE
from polycompress.pipelines.distilling.general_run import START, TEACHER
from polycompress.pipelines.distilling.student_files import write_student
from polycompress.pipelines.trim import trim
from polycompress.training.examples import Examples, LanguageExamples
from polycompress.training.mixing import LanguageMixer, Stage
from polycompress.training.shares import Mixing
from polycompress.training.tokenising import Cutting, prepare_examples

LANGUAGES = ("en", "sw")
RATE = 1e-4
DECAY = 0.01
MAX_NORM = 1.0
MASKED = 0.15
"""Share of the tokens that both models see masked, as in BiStil."""
PEAK_STEPS = 10
"""After which peak memory is read: on both sides the same, for it grows with what a process has seen."""
_FACTS = "room.json"


@dataclass(frozen=True, slots=True)
class Room:
    """The directory: ``teacher/`` (trimmed), ``start/`` (the student), ``data/`` (tokenised), ``room.json``."""

    path: Path

    @property
    def facts(self) -> dict[str, Any]:
        """Layers, rows of the table, padding id."""
        found: dict[str, Any] = json.loads((self.path / _FACTS).read_text(encoding="utf-8"))
        return found

    @property
    def layers(self) -> LayerMap:
        """Which layers of the teacher the student's are."""
        return LayerMap(tuple(self.facts["layers"]), int(self.facts["teacher_layers"]))

    @property
    def teacher(self) -> Path:
        """Its model directory."""
        return self.path / TEACHER

    @property
    def student(self) -> Path:
        """Its model directory, as it begins."""
        return self.path / START

    def examples(self) -> Examples:
        """The tokenised text of all languages."""
        return Examples([LanguageExamples(path) for path in sorted((self.path / "data").iterdir())])


def make_room(path: Path, model: str, files: dict[str, Path], layers: int, max_length: int) -> Room:
    """Trim the teacher to the text, cut the student out of it, and tokenise.

    Args:
        path: The directory.
        model: The teacher, as of any command.
        files: Of each language's text.
        layers: Of the student.
        max_length: Tokens of a text at most.
    """
    room = Room(path)
    corpus = [f"{code}={file}" for code, file in files.items()]
    trim(model, langs=list(files), out=room.teacher, corpus=corpus, min_share=MIN_SHARE, frequencies=False)
    config = json.loads((room.teacher / "config.json").read_text(encoding="utf-8"))
    layer_map = every_nth(int(config["num_hidden_layers"]), layers)
    write_student(room.teacher, layer_map, room.student, {"command": []})
    tokenizer = (room.teacher / "tokenizer.json").read_text(encoding="utf-8")
    specs = parse_corpora(corpus, [find_language(code) for code in files])
    prepare_examples(tokenizer, specs, path / "data", Cutting(max_length=max_length))
    facts = {
        "layers": layer_map.layers,
        "teacher_layers": layer_map.teacher_layers,
        "rows": config["vocab_size"],
        "pad_id": config["pad_token_id"],
    }
    (path / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return room


def mix(examples: Examples) -> LanguageMixer:
    """Every language has an equal share of the tokens."""
    shares = dict.fromkeys(examples.languages, 1.0)
    return LanguageMixer(examples, (Stage(Mixing(strategy="fixed", shares=shares)),))


def set_dropout_to_zero(model: nn.Module) -> None:
    """As BiStil has its student."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def peak_mib() -> float:
    """Of this process, without those before it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024
