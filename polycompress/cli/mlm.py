"""``polycompress mlm``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polycompress.cli import console
from polycompress.cli.options import (
    Accumulation,
    BatchTokens,
    Corpus,
    CorpusLangs,
    Device,
    Field,
    HeldOut,
    Json,
    LearningRate,
    LogEvery,
    Mixing,
    Model,
    Precision,
    Resume,
    RunDirectory,
    Seed,
    Shares,
    SnapshotEvery,
    Steps,
    TextLength,
    WarmupSteps,
    WeightDecay,
    joined,
)
from polycompress.cli.training_command import speak, training_needed, warmup_of
from polycompress.cli.training_view import duration, training_progress
from polycompress.errors import InputError

if TYPE_CHECKING:
    from polycompress.pipelines.mlm import MlmResult


def mlm(
    model: Model,
    corpus: Corpus,
    steps: Steps,
    out: RunDirectory,
    langs: CorpusLangs = [],  # noqa: B006
    resume: Resume = False,
    held_out: HeldOut = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Field = None,
    loss: Annotated[
        str,
        typer.Option("--loss", help="`full` or `sampled` softmax; `auto` samples where the table is large."),
    ] = "auto",
    negatives: Annotated[
        int, typer.Option("--negatives", help="Of a sampled softmax, for each batch.")
    ] = 4096,
    batch_tokens: BatchTokens = 2048,
    accumulation: Accumulation = 1,
    max_length: TextLength = 128,
    pack: Annotated[
        int | None, typer.Option("--pack", metavar="TOKENS", help="Pack texts into rows of so many tokens.")
    ] = None,
    learning_rate: LearningRate = 5e-5,
    schedule: Annotated[
        str, typer.Option("--schedule", help="`linear`, `cosine`, `constant` or `warmup-stable-decay`.")
    ] = "linear",
    warmup_steps: WarmupSteps = None,
    decay_steps: Annotated[
        int, typer.Option("--decay-steps", help="Last steps, in which warmup-stable-decay falls.")
    ] = 0,
    weight_decay: WeightDecay = 0.01,
    max_grad_norm: Annotated[
        float, typer.Option("--max-grad-norm", help="Gradients are scaled down to it; 0: never.")
    ] = 1.0,
    second_moment: Annotated[
        str, typer.Option("--second-moment", help="Of a sparse table: one per `element`, or one per `row`.")
    ] = "element",
    precision: Precision = "auto",
    mixing: Mixing = "proportional",
    temperature: Annotated[float, typer.Option("--temperature", help="Of temperature mixing.")] = 10 / 3,
    shares: Shares = "",
    mask_rate: Annotated[
        float, typer.Option("--mask-rate", help="Share of tokens that an encoder predicts.")
    ] = 0.15,
    whole_words: Annotated[
        bool, typer.Option("--whole-words", help="Mask all tokens of a word together.")
    ] = False,
    seed: Seed = 0,
    snapshot_every: SnapshotEvery = 500,
    keep_last: Annotated[int, typer.Option("--keep-last", help="Snapshots that stay, besides the best.")] = 2,
    evaluate_every: Annotated[
        int,
        typer.Option("--evaluate-every", help="Steps between looks at held-out text; 0: with each snapshot."),
    ] = 0,
    log_every: LogEvery = 10,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="With several processes: cut the layers into pieces (FSDP).")
    ] = False,
    device: Device = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write event files (extra `tensorboard`).")
    ] = False,
    json: Json = False,
) -> None:
    """Go on pretraining a model: masked language modelling of encoders, causal language modelling of decoders.

    RUN gets config.json, metrics.jsonl, snapshots/ and, at the end, final/, a model that loads with plain transformers.
    A model without a language-modelling head gets a fresh one, tied to its table. With several processes start it with
    torchrun or accelerate launch. SIGTERM and SIGINT save before they end the run.

    Examples:
        polycompress mlm demo --corpus sw='swahili/*.txt.gz' --steps 1000 --out run

        polycompress mlm demo --corpus sw='sw/*.gz' --corpus en='en/*.gz' --steps 1000 --out run --resume
    """
    settings = {
        "training": {
            "steps": steps,
            "seed": seed,
            "precision": precision,
            "accumulation": accumulation,
            "log_every": log_every,
            "evaluate_every": evaluate_every,
            "schedule": {
                "kind": schedule,
                "warmup_steps": warmup_of(steps, warmup_steps),
                "decay_steps": decay_steps,
            },
            "optimiser": {
                "learning_rate": learning_rate,
                "weight_decay": weight_decay,
                "max_grad_norm": max_grad_norm,
                "second_moment": second_moment,
            },
            "snapshots": {"every_steps": snapshot_every, "keep_last": keep_last},
        },
        "batching": {"token_budget": batch_tokens, "packed_length": pack},
        "masking": {"rate": mask_rate, "whole_words": whole_words},
        "mixing": {"strategy": mixing, "temperature": temperature, "shares": parse_shares(shares)},
        "max_length": max_length,
        "loss": loss,
        "negatives": negatives,
        "parallel": "fsdp" if fsdp else "ddp",
        "device": device,
    }
    with training_needed("mlm", seed=seed):
        from polycompress.pipelines.mlm import mlm as run
    from polycompress.corpora import Reading

    with training_progress() as progress:
        result = run(
            model,
            langs=joined(langs),
            corpus=corpus,
            out=out,
            settings=settings,
            held_out=held_out,
            reading=Reading(field=field),
            resume=resume,
            tensorboard=tensorboard,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    speak(result, _show, json=json)


def parse_shares(text: str) -> dict[str, float] | None:
    """``sw=0.9,en=0.1`` by the registry's codes; None where there is nothing.

    Raises:
        InputError: It is written otherwise, or names no language.
    """
    from polycompress.languages import find_language

    shares = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        try:
            shares[find_language(name).code] = float(value)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"--shares {part!r}: write CODE=SHARE, such as sw=0.9,en=0.1") from error
        if not equals:
            raise InputError(f"--shares {part!r}: write CODE=SHARE, such as sw=0.9,en=0.1")
    return shares or None


def _show(result: MlmResult) -> None:
    facts: dict[str, Any] = dict(result.manifest.get("training") or {})
    console.print_line(f"{facts.get('kind')} language modelling, {facts.get('loss')} softmax")
    console.print_facts(
        [
            ("steps", console.number(facts.get("steps", 0))),
            ("tokens", console.number(facts.get("tokens", 0))),
            *(
                (f"  {code}", console.number(tokens))
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
