"""The model card of a model that was fine-tuned on a task, made from its manifest and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.card_making import how_it_was_made, how_to_load, notes_of
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.figures import (
    UNKNOWN,
    count,
    items_of,
    join,
    language_entries,
    number,
    part_of,
    share,
)
from polycompress.modeldir.markdown import code, escape, front_matter, table

_HUB_TASKS: Final[Mapping[str, str]] = {
    "pair-classification": "text-classification",
    "text-classification": "text-classification",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
}


def render_tuning_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a fine-tuned model.

    Args:
        manifest: The facts, as ``write_manifest`` takes them. Whatever is missing is called unknown.

    Returns:
        README.md: YAML front matter, then Markdown. Names and texts from elsewhere are escaped for both.
    """
    tuning = part_of(manifest, "finetuning")
    metadata = card_metadata(
        manifest, library="transformers", tags=["fine-tuning"], task=_HUB_TASKS.get(str(tuning.get("kind")))
    )
    sections = [
        _summary(manifest),
        _data(manifest),
        _choice(tuning),
        how_to_load(str(tuning.get("loader") or "AutoModel"), items_of(manifest, "architectures")),
        _making(manifest),
        _limits(manifest),
    ]
    return front_matter(metadata) + "\n\n" + "\n\n".join(sections) + "\n"


def _summary(manifest: Mapping[str, Any]) -> str:
    tuning = part_of(manifest, "finetuning")
    name = escape(part_of(manifest, "source").get("name") or UNKNOWN)
    task = escape(tuning.get("name") or tuning.get("task") or UNKNOWN)
    text = (
        f"# {name}, fine-tuned on {task} in {_languages(manifest)}\n\n"
        f"This is **{name}** with a head for {task} ({code(tuning.get('task') or UNKNOWN)}, "
        f"{escape(tuning.get('kind') or UNKNOWN)}). "
        "Vocabulary and tokenizer are the source's."
    )
    labels = items_of(tuning, "labels")
    if labels:
        text += " It tells apart " + ", ".join(code(label) for label in labels) + "."
    return text


def _data(manifest: Mapping[str, Any]) -> str:
    tuning = part_of(manifest, "finetuning")
    counts = part_of(tuning, "examples")
    train, dev = part_of(counts, "train"), part_of(counts, "dev")
    rows = [(escape(part), count(train.get(part)), count(dev.get(part))) for part in {**train, **dev}]
    facts = [
        f"- What is trained on: {escape(tuning.get('train_from') or UNKNOWN)}",
        f"- Protocol: {escape(tuning.get('protocol') or UNKNOWN)}",
        f"- Licence of the data: {escape(tuning.get('licence') or UNKNOWN)}",
        f"- Citation: {escape(tuning.get('citation') or UNKNOWN)}",
    ]
    return (
        "## What it was trained on\n\n"
        + table(("Part", "training examples", "development examples"), rows)
        + "\n\n"
        + "\n".join(facts)
    )


def _choice(tuning: Mapping[str, Any]) -> str:
    text = (
        "## How it was chosen\n\n"
        f"After step {count(tuning.get('best_step'))} of {count(tuning.get('steps_planned'))} it was best on the "
        f"development examples of its source languages: {escape(tuning.get('metric') or UNKNOWN)} "
        f"{number(tuning.get('dev_score'))}"
    )
    if tuning.get("stopped_early"):
        text += (
            f"; training ended after step {count(tuning.get('steps'))}, when it had got no better for a while"
        )
    return text + ". No example of another language, and none of a test set, had a part in that."


def _making(manifest: Mapping[str, Any]) -> str:
    tuning = part_of(manifest, "finetuning")
    total = part_of(part_of(manifest, "sizes"), "after").get("parameters")
    frozen = tuning.get("frozen_parameters")
    rate, of_head = number(tuning.get("learning_rate")), number(tuning.get("head_learning_rate"))
    sparse, teacher = part_of(manifest, "sparse"), part_of(manifest, "teacher")
    chosen, of = sparse.get("weights"), sparse.get("of")
    return how_it_was_made(
        manifest,
        {
            "Learning rate": f"{rate}, of the head {of_head}",
            "Parameters that were not trained": f"{count(frozen)} ({share(frozen, total)})",
            **(
                {"Weights below the head that could change": f"{count(chosen)} of {count(of)}"}
                if sparse
                else {}
            ),
            **({"Teacher": escape(teacher.get("name") or UNKNOWN)} if teacher else {}),
            "Precision": escape(tuning.get("precision") or UNKNOWN),
            "Device": escape(tuning.get("device") or UNKNOWN),
        },
    )


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"It learnt the task in {_languages(manifest)} alone. In other languages it is as good as the source lets "
        "what was learnt there carry over: measure before use.",
        "What the source has learnt, its biases among it, is still there: its own card applies as well.",
        *notes_of(manifest),
    ]
    return "## Limits and notes\n\n" + "\n".join(f"- {line}" for line in lines)


def _languages(manifest: Mapping[str, Any]) -> str:
    return join(
        [escape(each.get("name") or each.get("code") or UNKNOWN) for each in language_entries(manifest)]
    )
