"""``polycompress vectors``: word vectors trained, aligned, shown."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from polycompress.cli import console
from polycompress.cli.options import Field, Json, LearningRate, NamedCorpus, Out, Overwrite, Seed

HELP: Final = """Train word vectors, bring those of several languages to one space, and show them.

Subwords of a new vocabulary get their first embeddings by what words they stand in, and what those words mean in other
languages: word vectors tell.

Examples:
    polycompress vectors train --corpus yo=yo.txt.gz --corpus en=en.txt.gz --out vectors

    polycompress vectors align vectors --lexicon en-yo.tsv --to en --out aligned

    polycompress vectors show aligned --word en=water
"""
"""Of the group."""

Vectors = Annotated[
    list[str],
    typer.Argument(
        metavar="[LANG=]VECTORS...",
        help="Directories of `vectors train` or `align`; .vec, word2vec .bin, fastText .bin. A file whose keys tell no "
        "language (`yor:ilé`) needs LANG=.",
    ),
]


def train(
    corpus: NamedCorpus,
    out: Out,
    dim: Annotated[int, typer.Option("--dim", help="Values of a vector.")] = 200,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the text.")] = 10,
    min_count: Annotated[int, typer.Option("--min-count", help="Occurrences that a word needs.")] = 2,
    subwords: Annotated[
        str, typer.Option("--subwords", metavar="MIN-MAX", help="Characters of n-grams; `none`: words only.")
    ] = "3-6",
    buckets: Annotated[int, typer.Option("--buckets", help="Of n-grams; more take more memory.")] = 100_000,
    learning_rate: LearningRate = 0.05,
    keep_case: Annotated[bool, typer.Option("--keep-case", help="Do not lower-case words.")] = False,
    threads: Annotated[
        int,
        typer.Option("--threads", help="More than one are faster, but the result differs from run to run."),
    ] = 1,
    seed: Seed = 0,
    no_models: Annotated[
        bool, typer.Option("--no-models", help="Do not keep fastText's models, which know unseen words.")
    ] = False,
    field: Field = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train vectors of each language's words on its own text (fastText's skip-gram; extra `vectors`).

    Words are runs of letters, lower-cased; Chinese and Japanese are cut by the built-in word lists, other languages
    without spaces into characters.

    Examples:
        polycompress vectors train --corpus yo=yo.txt.gz --corpus en=en.txt.gz --dim 200 --out vectors

        polycompress vectors train --corpus 'sw=texts/*.jsonl.zst' --epochs 5 --min-count 5 --out vectors-sw
    """
    from polycompress.embeddings.training_vectors import VectorTraining
    from polycompress.pipelines.vectors import train_vectors

    low, high = _grams(subwords)
    options = VectorTraining(
        width=dim,
        epochs=epochs,
        min_count=min_count,
        min_gram=low,
        max_gram=high,
        buckets=buckets,
        learning_rate=learning_rate,
        lower=not keep_case,
        threads=threads,
        seed=seed,
    )
    with console.progress_bars() as tell:
        result = train_vectors(
            corpus,
            out,
            options=options,
            field=field,
            keep_models=not no_models,
            overwrite=overwrite,
            command=["polycompress", *sys.argv[1:]],
            tell=tell,
        )
    if json:
        console.print_json(result.as_dict())
        return
    rows = [
        (code, console.number(own["tokens"]), console.number(own["words"]))
        for code, own in result.languages.items()
    ]
    console.print_facts(rows, header=("language", "words of text", "with a vector"))
    console.print_line(f"{result.width} values each; written to {result.out}")


def align(
    vectors: Vectors,
    to: Annotated[str, typer.Option("--to", metavar="LANG", help="Whose space the others are brought to.")],
    out: Out,
    lexicon: Annotated[
        list[str],
        typer.Option(
            "--lexicon",
            metavar="[LANG=]FILE",
            help="Words and translations with a tab between; the first line names both languages. Or a Swadesh list. "
            "May be repeated.",
        ),
    ] = [],  # noqa: B006
    held_out: Annotated[
        list[str],
        typer.Option(
            "--held-out",
            metavar="[LANG=]FILE",
            help="A lexicon to judge by. [default: a tenth of --lexicon; all of it where nothing is learnt from it]",
        ),
    ] = [],  # noqa: B006
    pairs: Annotated[
        list[str],
        typer.Option(
            "--pairs",
            metavar="LANG-LANG=FILE",
            help="Sentences and translations with a tab between, or FILE+FILE line by line or by ids as SIB-200's. May "
            "be repeated.",
        ),
    ] = [],  # noqa: B006
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="`lexicon`, `identical` (what is spelt the same in both) or `joint` (sentence pairs). [default: joint "
            "with --pairs, else lexicon]",
        ),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Repeat with the dictionary that the map induces, while that helps."),
    ] = False,
    dim: Annotated[
        int | None, typer.Option("--dim", help="Values of joint vectors. [default: as the vectors given]")
    ] = None,
    floor: Annotated[
        float,
        typer.Option("--floor", help="Precision at 1 of word translation below which the result is refused."),
    ] = 0.05,
    force: Annotated[bool, typer.Option("--force", help="Write it whatever its precision.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of what is held out.")] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Bring the vectors of several languages to one space, and judge by word translation how well that went.

    With little text (some megabytes a language) sentence pairs are worth far more than a lexicon. Languages without any
    lexicon are then judged by finding held-out sentences.

    Examples:
        polycompress vectors align vectors --lexicon en-yo.tsv --to en --out aligned

        polycompress vectors align vectors --to en --pairs en-yo=eng_Latn.tsv.gz+yor_Latn.tsv.gz --dim 400 --out aligned
    """
    from polycompress.pipelines.align_vectors import align_vectors

    with console.progress_bars() as tell:
        result = align_vectors(
            vectors,
            out,
            to=to,
            method=method,  # type: ignore[arg-type]  # it checks the name
            lexicon=lexicon,
            held_out=held_out,
            pairs=pairs,
            refine=refine,
            width=dim,
            floor=floor,
            force=force,
            seed=seed,
            overwrite=overwrite,
            command=["polycompress", *sys.argv[1:]],
            tell=tell,
        )
    if json:
        console.print_json(result.as_dict())
        return
    _show_alignment({code: {"alignment": own} for code, own in result.languages.items()})
    console.print_line(f"brought to {result.to} by the method {result.method}; written to {result.out}")


def show(
    vectors: Annotated[str, typer.Argument(metavar="[LANG=]VECTORS", help="A directory or a file.")],
    word: Annotated[
        str | None,
        typer.Option("--word", metavar="LANG=WORD", help="Show what is near to it in each language."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what vectors hold, how they were made, and what is near to a word.

    Examples:
        polycompress vectors show aligned

        polycompress vectors show aligned --word en=water
    """
    from polycompress.pipelines.vectors import show_vectors

    found = show_vectors(vectors, word=word)
    if json:
        console.print_json(found)
        return
    rows = [
        (code, console.number(own["words"]), "yes" if own.get("model") else "no")
        for code, own in found["languages"].items()
    ]
    console.print_facts(rows, header=("language", "words", "model of unseen words"))
    _show_alignment(found["languages"])
    aligned = f", brought to {found['to']}" if found["to"] else ""
    console.print_line(f"{console.number(found['words'])} vectors of {found['width']} values{aligned}")
    for code, near in (found["nearest"] or {}).items():
        console.print_line(f"{code}: " + ", ".join(f"{each} {cosine:.2f}" for each, cosine in near))


def _show_alignment(languages: dict[str, Any]) -> None:
    """Precision before and after, of the languages that were judged."""
    rows = []
    for code, own in languages.items():
        judged = (own.get("alignment") or {}).get("judged")
        if judged is None:
            continue
        before, after = judged["before"], judged["after"]
        asked = f"{after['words']:,} of {after['of']:,} {_THINGS[judged['by']]}" if after else "nothing"
        rows.append(
            (code, *(_share(each, key) for each in (before, after) for key in ("cosine", "csls")), asked)
        )
    if rows:
        header = ("language", "P@1 before", "CSLS", "P@1 after", "CSLS", "judged by")
        console.print_facts(rows, header=header)


_THINGS: Final = {"lexicon": "words", "sentences": "sentences"}


def _share(precision: dict[str, Any] | None, key: str) -> str:
    return console.percent(precision[key]) if precision else "-"


def _grams(text: str) -> tuple[int, int]:
    """``3-6`` as two numbers; ``none`` as two zeros."""
    from polycompress.errors import InputError

    low, dash, high = text.partition("-")
    if text == "none":
        return 0, 0
    if not (dash and low.isascii() and low.isdigit() and high.isascii() and high.isdigit()):
        raise InputError(f"--subwords {text[:40]!r}: write two numbers such as 3-6, or none.")
    return int(low), int(high)
