"""Where the lines of a run's log go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from polycompress.training.devices import Devices
from polycompress.training.metrics import (
    METRICS_FILE,
    JsonLines,
    MetricSink,
    Record,
    Sinks,
    TensorBoard,
    Told,
)


def make_sinks(
    out: Path,
    after: int,
    progress: Callable[[Record], None] | None,
    devices: Devices,
    *,
    tensorboard: bool = False,
) -> MetricSink:
    """The log of the main process; the others keep none.

    Args:
        out: The run's directory.
        after: The step that the run goes on from; lines of later ones are dropped.
        progress: Told each record.
        devices: The processes.
        tensorboard: Also write event files.
    """
    if not devices.is_main:
        return Sinks([])
    sinks: list[MetricSink] = [JsonLines(out / METRICS_FILE, after_step=after)]
    if tensorboard:
        sinks.append(TensorBoard(out / "tensorboard", after_step=after))
    if progress is not None:
        sinks.append(Told(progress))
    return Sinks(sinks)
