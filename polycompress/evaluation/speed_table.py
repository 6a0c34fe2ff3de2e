"""What a benchmark found, as tables of text: a column for each model, beside each figure its ratio to the first's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError

BENCH_KIND: Final = "bench"
BENCH_SCHEMA: Final = 1
MIB: Final = 1 << 20
_GAP: Final = "-"
_PARAMETERS: Final = (
    ("total", "parameters"),
    ("embedding", "  of the input table"),
    ("active", "  active"),
)
_BYTES: Final = (("all", "on disk"), ("weights", "  weights"))
_MEMORY: Final = (("peak_mib", "peak memory"), ("model_mib", "  beyond libraries"))


@dataclass(frozen=True, slots=True)
class SpeedTable:
    """Title, head, and rows of as many cells."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def speed_tables(found: Mapping[str, Any], where: Path | None = None) -> tuple[SpeedTable, ...]:
    """The tables of a benchmark: sizes and loading, then latency and tokens a second in each precision.

    Args:
        found: As ``BenchResult.as_dict`` gives it, perhaps from an untrusted file.
        where: That file, for messages.

    Raises:
        InputError: It is damaged, or of a later version.
    """
    if found.get("schema") != BENCH_SCHEMA:
        raise InputError(
            f"{where}: 'schema' is {found.get('schema')!r}, but this version reads {BENCH_SCHEMA}. Upgrade with: "
            "pip install -U polycompress"
        )
    try:
        names = [str(each["name"]) for each in found["models"]]
        tables = [SpeedTable("Size, loading and private memory", ("", *names), tuple(_sizes(found)))]
        for precision in found["settings"]["precisions"]:
            tables += [
                SpeedTable(title, (corner, *names), tuple(rows))
                for title, corner, rows in (
                    (f"Latency at batch 1, {precision}", "p50 (p95)", _latencies(found, precision)),
                    (f"Tokens a second, {precision}", "batch x tokens", _throughputs(found, precision)),
                )
            ]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{where}: is no whole result of a benchmark ({error!r}). Make it again with `polycompress bench --out`."
        ) from error
    return tuple(tables)


def _sizes(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    models, ratios = found["models"], found["ratios"]
    rows = [
        _row(title, [each["parameters"][key] for each in models], ratios["parameters"][key], _millions)
        for key, title in _PARAMETERS
    ]
    rows += [
        _row(title, [each["bytes"][key] for each in models], ratios["bytes"][key], _megabytes)
        for key, title in _BYTES
    ]
    for precision in found["settings"]["precisions"]:
        loadings = [each["loading"][precision] for each in models]
        ratio = ratios[f"loading, {precision}"]
        seconds = [each["seconds"] for each in loadings]
        rows.append(_row(f"load time, {precision}", seconds, ratio["seconds"], _seconds))
        for key, title in _MEMORY:
            values = [each["memory"][key] for each in loadings]
            rows.append(_row(f"{title}, {precision}", values, ratio[key], _mebibytes))
        on_device = [each["memory"]["accelerator_mib"] for each in loadings]
        if any(value is not None for value in on_device):
            rows.append(_row(f"peak memory of the GPU, {precision}", on_device, (), _mebibytes))
    return rows


def _latencies(found: Mapping[str, Any], precision: str) -> list[tuple[str, ...]]:
    rows = []
    for index, speed in enumerate(found["ratios"]["speed"]):
        if speed["precision"] == precision and speed["batch"] == 1:
            timings = [each["timings"][index] for each in found["models"]]
            cells = [f"{timing['p50_ms']:.1f} ms ({timing['p95_ms']:.1f})" for timing in timings]
            rows.append((f"{speed['length']} tokens", *_beside(cells, speed["speedup"])))
    return rows


def _throughputs(found: Mapping[str, Any], precision: str) -> list[tuple[str, ...]]:
    rows = []
    for index, speed in enumerate(found["ratios"]["speed"]):
        if speed["precision"] == precision:
            cells = [f"{each['timings'][index]['tokens_per_second']:,.0f}" for each in found["models"]]
            rows.append((f"{speed['batch']} x {speed['length']}", *_beside(cells, speed["speedup"])))
    return rows


def _row(
    title: str,
    values: Sequence[float | None],
    ratios: Sequence[float | None],
    write: Callable[[float], str],
) -> tuple[str, ...]:
    return title, *_beside([_GAP if value is None else write(value) for value in values], ratios)


def _beside(cells: Sequence[str], ratios: Sequence[float | None]) -> list[str]:
    """Cells with their ratios to the first, which needs none."""
    shown = [*ratios, *[None] * len(cells)]
    return [
        cell if not index or shown[index] is None else f"{cell}  {shown[index]:.2f}x"
        for index, cell in enumerate(cells)
    ]


def _millions(value: float) -> str:
    return f"{value / 1e6:.1f}M" if value >= 1e5 else f"{value:,.0f}"


def _megabytes(value: float) -> str:
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"


def _mebibytes(value: float) -> str:
    return _megabytes(value * MIB)


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 0.1 else f"{1000 * value:.0f} ms"
