"""What ``polycompress moe train`` and ``moe routes`` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polycompress.cli import console
from polycompress.cli.training_view import duration

if TYPE_CHECKING:
    from polycompress.pipelines.moe_routes import RoutesResult
    from polycompress.pipelines.moe_train import MoeTrainResult


def show_trained(result: MoeTrainResult) -> None:
    """A model whose experts were trained."""
    manifest = result.manifest
    facts: dict[str, Any] = dict(manifest.get("distillation") or {})
    after: dict[str, Any] = dict((manifest.get("sizes") or {}).get("after") or {})
    shares: Mapping[str, float] = facts.get("language_shares") or {}
    console.print_facts(
        [
            ("parameters", console.millions(after.get("parameters", 0))),
            ("that one token meets", console.millions(after.get("active_parameters", 0))),
            ("layers of the teacher", ", ".join(map(str, manifest.get("layers") or ()))),
            ("steps", console.number(facts.get("steps", 0))),
            *(
                (
                    f"tokens of {code}",
                    console.number(tokens)
                    + (f", last share {console.percent(shares[code])}" if code in shares else ""),
                )
                for code, tokens in (facts.get("language_tokens") or {}).items()
            ),
            ("experts that no token reaches", console.number(facts.get("idle_experts", 0))),
            ("time", duration(facts.get("seconds", 0.0))),
            *(
                [("loss on held-out text", f"{facts['held_out_loss']:.4f}")]
                if "held_out_loss" in facts
                else []
            ),
        ]
    )
    console.print_line(f"written to {result.final}")


def show_routes(result: RoutesResult) -> None:
    """Which experts the tokens of each language reach, a table a layer."""
    from polycompress.report.routing import HEADER, expert_names, routing_rows

    report = result.report
    for layer in report.layers:
        moved = None if result.drift is None else result.drift.get(layer, {})
        header = (*HEADER, *map(str, range(report.experts)), *([] if moved is None else ["moved"]))
        console.print_facts(routing_rows(report, layer, moved), f"layer {layer}", header)
    console.print_line(f"experts: {'; '.join(expert_names(report))}")
    if overlaps := report.mean_overlap:
        shown = ", ".join(f"layer {layer} {console.percent(value)}" for layer, value in overlaps.items())
        console.print_line(f"overlap of two languages, on the mean: {shown}")
    console.print_line(
        f"{console.millions(result.parameters)} parameters, of which a token meets "
        f"{console.millions(result.active_parameters)}"
    )
    if result.plot is not None:
        console.print_line(f"drawn to {result.plot}")
