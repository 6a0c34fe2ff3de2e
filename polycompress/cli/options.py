"""Options that several commands share, spelt once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from polycompress.cli.completing import complete_languages, complete_tasks

CODES: Final = "CODES"
"""Placeholder of options that take languages."""


def codes_option(*names: str, help: str) -> Any:
    """An option that takes codes or names of languages joined by commas, and may be repeated.

    Its parameter is a list of texts; ``joined`` makes them one.
    """
    return typer.Option(*names, metavar=CODES, autocompletion=complete_languages, help=help)


def joined(codes: Sequence[str]) -> str:
    """All that an option of languages was given, in order, joined by commas; one text stays as it is."""
    return codes if isinstance(codes, str) else ",".join(filter(None, codes))


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A directory, the word `demo`, or `owner/name[@revision]` on the Hugging Face hub.",
    ),
]
Langs = Annotated[
    list[str],
    codes_option("--langs", help="Languages, joined by commas: `de`, `deu`, `deu-Latn` or `German`."),
]
CorpusLangs = Annotated[
    list[str], codes_option("--langs", help="Of these languages. [default: all that --corpus names]")
]
_CORPUS: Final = (
    "Text files, one text a line, or .jsonl, .csv, .tsv, .parquet; plain or .gz .zst .bz2 .xz; quote the pattern. May "
    "be repeated."
)
Corpus = Annotated[list[str], typer.Option("--corpus", metavar="[LANG=]PATTERN", help=_CORPUS)]
NamedCorpus = Annotated[list[str], typer.Option("--corpus", metavar="LANG=PATTERN", help=_CORPUS)]
"""Where it is the corpora that say which languages there are."""
Field = Annotated[
    str | None,
    typer.Option(
        "--field",
        metavar="NAME",
        help="Column of the text in .jsonl, .csv, .tsv and .parquet. [default: text]",
    ),
]
CountsFiles = Annotated[
    list[Path],
    typer.Option(
        "--counts",
        metavar="FILE",
        help="What `polycompress count` wrote, instead of a corpus. May be repeated.",
    ),
]
NoFrequencies = Annotated[
    bool, typer.Option("--no-frequencies", help="Do without the built-in word frequencies.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output, as the last step.")]
Full = Annotated[
    bool, typer.Option("--full", help="Also compare hidden states and logits on real text (extra `train`).")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to write.")]
OutIfDone = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The directory to write.")]
"""Of what --dry-run can leave undone."""
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Of the processor. [default: as torch chooses]")
]

# Of runs: whatever trains.

RunDirectory = Annotated[Path, typer.Option("--out", metavar="RUN", help="The run's directory.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where the run in this directory ended before its time.")
]
Steps = Annotated[int, typer.Option("--steps", help="Of the optimiser.")]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="At its peak.")]
WarmupSteps = Annotated[
    int | None, typer.Option("--warmup-steps", help="Steps to the peak. [default: a tenth, at most 1000]")
]
WeightDecay = Annotated[float, typer.Option("--weight-decay")]
BatchTokens = Annotated[int, typer.Option("--batch-tokens", help="Tokens of a batch, padding included.")]
Accumulation = Annotated[int, typer.Option("--accumulation", help="Batches of a step.")]
Precision = Annotated[
    str, typer.Option("--precision", help="`auto` (bf16 where the device is fast at it), `fp32` or `bf16`.")
]
Device = Annotated[str, typer.Option("--device", help="`auto` or `cpu`.")]
Seed = Annotated[int, typer.Option("--seed")]
FirstSeed = Annotated[int, typer.Option("--seed", help="The first of them.")]
SnapshotEvery = Annotated[int, typer.Option("--snapshot-every", help="Steps between snapshots.")]
LogEvery = Annotated[int, typer.Option("--log-every", help="Steps between lines of metrics.jsonl.")]

# Of text that is trained on.

HeldOut = Annotated[
    list[str],
    typer.Option(
        "--held-out", metavar="[LANG=]PATTERN", help="Text to measure the loss on. May be repeated."
    ),
]
TextLength = Annotated[
    int, typer.Option("--max-length", help="Tokens of a text; a longer one becomes several.")
]
Mixing = Annotated[str, typer.Option("--mixing", help="`proportional`, `temperature`, `unimax` or `fixed`.")]
Shares = Annotated[
    str,
    typer.Option("--shares", metavar="CODE=SHARE,...", help="Of fixed mixing, such as `sw=0.9,en=0.1`."),
]

# Of tasks.

Task = Annotated[
    str,
    typer.Option("--task", metavar="TASK", autocompletion=complete_tasks, help="See `polycompress tasks`."),
]
OwnTasks = Annotated[
    Path | None, typer.Option("--tasks", metavar="DIR", help="Further task files of your own.")
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="POLYCOMPRESS_DATA",
        help="Local data directory. [default: data sets of the Hugging Face hub]",
    ),
]
TrainingLimit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="First training examples of each language only."),
]
TaskLength = Annotated[
    int | None, typer.Option("--max-length", help="Tokens of a text. [default: by kind of task]")
]
TaskLearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", help="At its peak. [default: 1e-4 for 384 units, less for wider models]"),
]
TaskSteps = Annotated[int | None, typer.Option("--steps", help="Of the optimiser, instead of --epochs.")]

# Of tables that are factorised.

SingularValues = Annotated[
    str,
    typer.Option(
        "--split",
        help="Where the singular values go: `balanced` (the same to both factors) or `paper` (all to the basis).",
    ),
]
Weights = Annotated[
    list[Path],
    typer.Option(
        "--weights",
        metavar="FILE",
        help="What `polycompress count` wrote: tokens that its languages use often lose less by --rank. May be "
        "repeated.",
    ),
]

# Of distillation.

HiddenWeight = Annotated[float, typer.Option("--hidden-weight", help="Of the loss on hidden states.")]
AttentionWeight = Annotated[float, typer.Option("--attention-weight", help="Of the loss on attention.")]
Attention = Annotated[
    str,
    typer.Option(
        "--attention",
        help="What of it is matched: `maps` after the softmax (BiStil), `scores` before it (TinyBERT), `relations` "
        "(MiniLMv2), `none`.",
    ),
]
RelationHeads = Annotated[
    int,
    typer.Option(
        "--relation-heads",
        help="Into how many parts all heads together are cut for relations; the number divides both models' widths.",
    ),
]
