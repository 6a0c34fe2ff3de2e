"""A distillation on text that is about to begin."""

from __future__ import annotations

from dataclasses import dataclass

from polycompress.training.devices import Devices
from polycompress.training.distilling_task import DistillationTask
from polycompress.training.loader import BatchLoader
from polycompress.training.optimisers import SplitAdamW


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """What those need who go along with it."""

    task: DistillationTask
    optimiser: SplitAdamW
    loader: BatchLoader
    devices: Devices
