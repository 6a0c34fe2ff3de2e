"""What ``polycompress bench`` prints: a column for each model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polycompress.cli import console
from polycompress.evaluation.speed_table import speed_tables


def show_bench(found: Mapping[str, Any]) -> None:
    """Print sizes, load times and memory, then latencies and tokens a second."""
    for table in speed_tables(found):
        if table.rows:
            console.print_facts(table.rows, table.title, table.head)
    settings = found["settings"]
    head = " without heads" if settings["body"] else ""
    console.print_line(
        f"{settings['device']}, threads: {settings['threads']}; one forward pass{head} over random tokens, models in "
        "turns; ratios are medians over turns"
    )
    graphs = [each["name"] for each in found["models"] if each["engine"] == "onnxruntime"]
    if graphs:
        console.print_line(
            f"graphs in onnxruntime, each in the precision it was exported in: {', '.join(graphs)}"
        )
    if len(found["models"]) > 1:
        console.print_line(f"x: against {found['models'][0]['name']}; of speeds, how many times as fast")
