"""``polycompress bistil general``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polycompress.cli.bistil_view import show_general
from polycompress.cli.completing import complete_languages
from polycompress.cli.mlm import parse_shares
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
    Mixing,
    Model,
    Precision,
    RelationHeads,
    Resume,
    RunDirectory,
    Seed,
    Shares,
    SnapshotEvery,
    Steps,
    TextLength,
    WarmupSteps,
    WeightDecay,
)
from polycompress.cli.training_command import speak, text_settings, training_needed
from polycompress.cli.training_view import training_progress
from polycompress.errors import InputError


def general(
    model: Model,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="CODE",
            autocompletion=complete_languages,
            help="The language that tasks will be learnt in.",
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="CODE",
            autocompletion=complete_languages,
            help="The language that they are wanted in.",
        ),
    ],
    corpus: Corpus,
    steps: Steps,
    out: RunDirectory,
    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            metavar="MODEL",
            help="What the student begins as, such as one that `ofa` made; its tokenizer may be another than MODEL's. "
            "[default: layers of MODEL, trimmed]",
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option("--layers", help="Of a student that is made. [default: as --layer-map, or 6]"),
    ] = None,
    layer_map: Annotated[
        str,
        typer.Option(
            "--layer-map",
            metavar="L,L,...",
            help="Layers of the teacher, from 0, one for each of the student's. [default: the last of each block]",
        ),
    ] = "",
    strategy: Annotated[
        str, typer.Option("--strategy", help="`every-nth` layer of the teacher, or the `bottom` ones.")
    ] = "every-nth",
    hidden: Annotated[
        int | None,
        typer.Option(
            "--hidden", metavar="UNITS", help="Of hidden states, fewer than the teacher's. [default: as many]"
        ),
    ] = None,
    resume: Resume = False,
    held_out: HeldOut = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Field = None,
    no_trim: Annotated[
        bool, typer.Option("--no-trim", help="Keep MODEL's vocabulary: it is trimmed already.")
    ] = False,
    min_share: Annotated[
        float, typer.Option("--min-share", help="Relative frequency from which on a token is kept.")
    ] = 1e-6,
    hidden_weight: HiddenWeight = 1.0,
    hidden_loss: Annotated[
        str,
        typer.Option(
            "--hidden-loss",
            help="How far hidden states are apart: `mse` (BiStil), `relative` (as a share of each layer's spread), "
            "`cosine`.",
        ),
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
    no_masking: Annotated[
        bool, typer.Option("--no-masking", help="Show both models the text as it is, no tokens masked.")
    ] = False,
    language_sft: Annotated[
        list[str],
        typer.Option(
            "--language-sft",
            metavar="LANG=FILE",
            help="A sparse difference that adapts MODEL to a language; the teacher of that language's text has it "
            "added. See `polycompress sft`. May be repeated.",
        ),
    ] = [],  # noqa: B006
    freeze_embeddings: Annotated[
        bool, typer.Option("--freeze-embeddings", help="Leave the student's table as the teacher's.")
    ] = False,
    batch_tokens: BatchTokens = 2048,
    accumulation: Accumulation = 1,
    max_length: TextLength = 128,
    learning_rate: LearningRate = 1e-4,
    warmup_steps: WarmupSteps = None,
    weight_decay: WeightDecay = 0.0,
    precision: Precision = "auto",
    mixing: Mixing = "proportional",
    shares: Shares = "",
    seed: Seed = 0,
    snapshot_every: SnapshotEvery = 500,
    log_every: LogEvery = 10,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Distil a bilingual student: fewer layers, the vocabulary of two languages, ready for a task learnt in one of them.

    The student begins with some of the teacher's layers and learns the teacher's hidden states and attention on text of
    both languages. RUN gets config.json, metrics.jsonl, teacher/ (trimmed), snapshots/ and, at the end, final/, a model
    that loads with plain transformers.

    With --student it begins as a model that is there, and nothing is trimmed. Where that cuts texts otherwise than
    MODEL, both are shown their own tokens, unmasked, and hidden states are compared word by word; attention is left out.

    Examples:
        polycompress bistil general demo --source en --target sw --corpus en=en.txt.gz --corpus sw=sw.txt.gz --steps 2000 --out sw-student

        polycompress bistil general xlm-roberta-base --source en --target de --corpus en='en/*.zst' --corpus de='de/*.zst' --layers 4 --steps 20000 --out de-student

        polycompress bistil general demo --student demo-plus --source en --target yo --corpus en=en.txt.gz --corpus yo=yo.txt.gz --hidden-loss relative --steps 2000 --out yo-student
    """  # noqa: E501  a command to copy stands on one line
    settings = {
        "text": {
            **text_settings(
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
            "mixing": {"strategy": mixing, "shares": parse_shares(shares)},
        },
        "shape": {
            "layers": layers,
            "layer_map": parse_layers(layer_map),
            "strategy": strategy,
            "hidden_size": hidden,
        },
        "hidden_weight": hidden_weight,
        "hidden_loss": hidden_loss,
        "vector_weight": vector_weight,
        "attention_weight": attention_weight,
        "attention": attention,
        "relation_heads": relation_heads,
        "trim": not no_trim,
        "min_share": min_share,
    }
    with training_needed("bistil", seed=seed):
        from polycompress.pipelines.bistil_general import bistil_general
    from polycompress.corpora import Reading

    with training_progress() as progress:
        result = bistil_general(
            model,
            source=source,
            target=target,
            corpus=corpus,
            out=out,
            settings=settings,
            student=student,
            held_out=held_out,
            language_sft=language_sft,
            reading=Reading(field=field),
            resume=resume,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    speak(result, show_general, json=json)


def parse_layers(text: str) -> tuple[int, ...]:
    """``1,3,5`` as numbers.

    Raises:
        InputError: It is written otherwise.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"--layer-map {text!r}: write layers of the teacher, such as 1,3,5") from error
