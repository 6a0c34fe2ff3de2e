"""What the two commands of ``polycompress bistil`` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polycompress.cli import console
from polycompress.cli.training_view import duration

if TYPE_CHECKING:
    from polycompress.pipelines.bistil_general import GeneralResult
    from polycompress.pipelines.bistil_task import TaskResult


def show_general(result: GeneralResult) -> None:
    """A student that was distilled on text."""
    manifest = result.manifest
    facts: dict[str, Any] = dict(manifest.get("distillation") or {})
    sizes: dict[str, Any] = dict(manifest.get("sizes") or {})
    before, after = dict(sizes.get("before") or {}), dict(sizes.get("after") or {})
    start: dict[str, Any] = dict(manifest.get("start") or {})
    console.print_facts(
        [
            *([("began as", str(start.get("name")))] if start else []),
            *(
                [("left out", "attention, masking: its tokenizer is not the teacher's")]
                if "left_out" in start
                else []
            ),
            *_words(manifest.get("words") or {}),
            ("layers of the teacher", ", ".join(map(str, manifest.get("layers") or ()))),
            *(
                (name, f"{console.number(before[key])} -> {console.number(after[key])}")
                for name, key in (("parameters", "parameters"), ("vocabulary", "vocab"))
                if key in before and key in after
            ),
            ("steps", console.number(facts.get("steps", 0))),
            *(
                (f"tokens of {code}", console.number(tokens))
                for code, tokens in (facts.get("language_tokens") or {}).items()
            ),
            ("time", duration(facts.get("seconds", 0.0))),
            *(
                [("loss on held-out text", f"{facts['held_out_loss']:.4f}")]
                if "held_out_loss" in facts
                else []
            ),
        ]
    )
    console.print_line(f"written to {result.final}")


def _words(words: Mapping[str, Any]) -> list[tuple[str, str]]:
    """By language, the share of each model's tokens that could be compared."""
    return [
        (
            f"compared in {code}",
            ", ".join(f"{share:.1%} of the {model}'s tokens" for model, share in shares.items()),
        )
        for code, shares in words.items()
    ]


def show_task(result: TaskResult) -> None:
    """A student that learnt a task."""
    tuning: dict[str, Any] = dict(result.manifest.get("finetuning") or {})
    sparse: dict[str, Any] = dict(result.manifest.get("sparse") or {})
    console.print_facts(
        [
            ("task", f"{tuning.get('task')} in {', '.join(tuning.get('train_languages') or ())}"),
            (
                "weights changed",
                f"{console.number(sparse.get('weights', 0))} of {console.number(sparse.get('of') or 0)}, and the head",
            ),
            ("best step", f"{tuning.get('best_step')} of {tuning.get('steps_planned')}"),
            (f"{tuning.get('metric')} on development examples", f"{tuning.get('dev_score', 0.0):.4f}"),
        ]
    )
    console.print_line(f"written to {result.final}; what was changed, to {result.diff}")
