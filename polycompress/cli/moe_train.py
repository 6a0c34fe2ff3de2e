"""``polycompress moe train``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polycompress.cli.bistil_general import parse_layers
from polycompress.cli.options import (
    Accumulation,
    Attention,
    AttentionWeight,
    BatchTokens,
    Corpus,
    Device,
    Field,
    HeldOut,
    HiddenWeight,
    Json,
    LearningRate,
    LogEvery,
    Model,
    Precision,
    RelationHeads,
    Resume,
    RunDirectory,
    Seed,
    SnapshotEvery,
    Steps,
    TextLength,
    WarmupSteps,
    WeightDecay,
)
from polycompress.cli.training_command import speak, text_settings, training_needed
from polycompress.cli.training_view import training_progress


def train(
    model: Model,
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="MODEL", help="A multilingual model that it learns of.")
    ],
    corpus: Corpus,
    steps: Steps,
    out: RunDirectory,
    resume: Resume = False,
    held_out: HeldOut = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Field = None,
    routing: Annotated[
        str,
        typer.Option(
            "--routing",
            help="While training: `forced` (a token's family has an expert among its own), `supervised` (the router is "
            "told the family by a loss), `none`.",
        ),
    ] = "forced",
    forcing: Annotated[
        float,
        typer.Option("--forcing", metavar="P", help="Of forced routing: the probability that a token is."),
    ] = 1.0,
    anneal: Annotated[
        bool,
        typer.Option("--anneal", help="Of forced routing: let the probability fall to 0 over the run."),
    ] = False,
    supervision: Annotated[
        float | None,
        typer.Option(
            "--supervision",
            metavar="W",
            help="Weight of the loss that tells the router the family. [default: 0.1 of supervised routing, else 0]",
        ),
    ] = None,
    balancing: Annotated[
        float,
        typer.Option("--balancing", metavar="W", help="Weight of the loss that uses experts evenly."),
    ] = 0.0,
    families_temperature: Annotated[
        float,
        typer.Option(
            "--families-temperature",
            metavar="T",
            help="Families get tokens in proportion to their text to the power of 1/T, and so languages in each: 1 is "
            "proportional, more is more even.",
        ),
    ] = 10 / 3,
    reweigh_every: Annotated[
        int,
        typer.Option(
            "--reweight-every",
            metavar="K",
            help="Steps after which languages that lag behind their teacher on --held-out get more; 0: never.",
        ),
    ] = 0,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha", help="Of reweighting: 0 gives all languages alike; each keeps (1 - alpha) / languages."
        ),
    ] = 0.5,
    layer_map: Annotated[
        str,
        typer.Option(
            "--layer-map",
            metavar="L,L,...",
            help="Layers of the teacher, from 0, one for each of MODEL's. [default: as MODEL was made, or the last of "
            "each block]",
        ),
    ] = "",
    hidden_weight: HiddenWeight = 1.0,
    hidden_loss: Annotated[
        str,
        typer.Option("--hidden-loss", help="How far hidden states are apart: `mse`, `relative`, `cosine`."),
    ] = "mse",
    vector_weight: Annotated[
        float,
        typer.Option(
            "--vector-weight",
            help="Of the loss on vectors of whole texts, means of their last hidden states.",
        ),
    ] = 0.0,
    attention_weight: AttentionWeight = 1.0,
    attention: Attention = "maps",
    relation_heads: RelationHeads = 12,
    answers_weight: Annotated[
        float,
        typer.Option(
            "--answers-weight", help="Of the loss on both models' answers; both need language models' heads."
        ),
    ] = 0.0,
    temperature: Annotated[float, typer.Option("--temperature", help="Of answers.")] = 1.0,
    no_masking: Annotated[
        bool, typer.Option("--no-masking", help="Show both models the text as it is, no tokens masked.")
    ] = False,
    freeze_embeddings: Annotated[
        bool, typer.Option("--freeze-embeddings", help="Leave MODEL's table as it is.")
    ] = False,
    batch_tokens: BatchTokens = 2048,
    accumulation: Accumulation = 1,
    max_length: TextLength = 128,
    learning_rate: LearningRate = 1e-4,
    warmup_steps: WarmupSteps = None,
    weight_decay: WeightDecay = 0.0,
    precision: Precision = "auto",
    seed: Seed = 0,
    idle_steps: Annotated[
        int,
        typer.Option(
            "--idle-steps",
            metavar="N",
            help="An expert that no token reached in N steps is named in a warning.",
        ),
    ] = 200,
    snapshot_every: SnapshotEvery = 500,
    log_every: LogEvery = 10,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train a model with experts: it learns to do what a multilingual teacher does, on text of all its languages.

    RUN gets config.json, metrics.jsonl, snapshots/ and, at the end, final/. Every family of MODEL needs text. With
    several processes start it with torchrun or accelerate launch.

    Examples:
        polycompress moe train moe --teacher demo --corpus de=de.txt.gz --corpus fr=fr.txt.gz --steps 2000 --out moe-trained

        polycompress moe train moe --teacher demo --corpus de=de.txt --corpus sw=sw.txt --held-out de=de-dev.txt --held-out sw=sw-dev.txt --anneal --reweight-every 200 --steps 2000 --out moe-trained
    """  # noqa: E501  a command to copy stands on one line
    settings = {
        "text": text_settings(
            steps=steps,
            seed=seed,
            precision=precision,
            accumulation=accumulation,
            log_every=log_every,
            warmup_steps=warmup_steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            snapshot_every=snapshot_every,
            batch_tokens=batch_tokens,
            no_masking=no_masking,
            freeze_embeddings=freeze_embeddings,
            max_length=max_length,
            device=device,
        ),
        "routing": {
            "routing": routing,
            "forcing": forcing,
            "anneal": anneal,
            "supervision": supervision,
            "balancing": balancing,
            "idle_steps": idle_steps,
        },
        "reweigh": {"every": reweigh_every, "alpha": alpha},
        "families_temperature": families_temperature,
        "layer_map": parse_layers(layer_map),
        "hidden_weight": hidden_weight,
        "hidden_loss": hidden_loss,
        "vector_weight": vector_weight,
        "attention_weight": attention_weight,
        "attention": attention,
        "relation_heads": relation_heads,
        "answers_weight": answers_weight,
        "temperature": temperature,
    }
    with training_needed("moe train", seed=seed):
        from polycompress.pipelines.moe_train import moe_train
    from polycompress.corpora import Reading

    with training_progress() as progress:
        result = moe_train(
            model,
            teacher=teacher,
            corpus=corpus,
            out=out,
            settings=settings,
            held_out=held_out,
            reading=Reading(field=field),
            resume=resume,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    from polycompress.cli.moe_training_view import show_trained

    speak(result, show_trained, json=json)
