"""What a distillation on text, or on parallel sentences, is asked for, and the beginning of its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.corpora import CorpusSpec, Reading
from polycompress.modeldir.distilling_card import render_distilling_card
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import OBJECTIVES
from polycompress.training.devices import Devices
from polycompress.training.runs import begun_run
from polycompress.training.snapshots import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRun:
    """What a distillation on text is asked for."""

    layers: tuple[int, ...]
    """Of the teacher, for each layer of the student."""
    losses: tuple[LossSpec, ...]
    corpora: tuple[CorpusSpec, ...]
    held_out: tuple[CorpusSpec, ...]
    reading: Reading
    config: TextConfig
    record: Mapping[str, Any]
    """For the run's configuration and the manifest: command, languages."""
    identity: Mapping[str, Any]
    keep: Path | None = None
    """Directory of stores for what the teacher says of unmasked text; None: it is asked each time."""
    keep_top: int = 0
    """Of its answers over a vocabulary, how many of the likeliest are kept at each token."""

    render: Callable[[Mapping[str, Any]], str] = render_distilling_card
    """Makes the student's card of its manifest."""

    @property
    def answers(self) -> bool:
        """Whether answers of language models' heads are compared."""
        return any(OBJECTIVES[each.name].needs_logits for each in self.losses)

    @property
    def answers_alone(self) -> bool:
        """Whether nothing else is."""
        return all(OBJECTIVES[each.name].needs_logits for each in self.losses)


def begin_run(
    out: Path, devices: Devices, run: TextRun, *, resume_run: bool
) -> AbstractContextManager[Snapshot | None]:
    """Begin a run, or find the snapshot that all processes go on from; see ``begun_run``."""
    return begun_run(out, run.record, run.identity, devices, resume=resume_run)
