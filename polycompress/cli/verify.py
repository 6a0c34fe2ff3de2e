"""``polycompress verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Full, Json, codes_option, joined
from polycompress.errors import CertificateError

if TYPE_CHECKING:
    from polycompress.pipelines.trimming.certificate import Certificate, TextCertificate


def verify(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The model it was made from.")],
    trimmed: Annotated[str, typer.Argument(metavar="TRIMMED", help="The trimmed model.")],
    text: Annotated[
        list[str],
        typer.Option(
            "--text", metavar="[LANG=]PATTERN", help="Text files to segment with both, one text a line."
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    langs: Annotated[
        list[str],
        codes_option("--langs", help="Languages whose words to use where no text is given."),
    ] = [],  # noqa: B006
    full: Full = False,
    json: Json = False,
) -> None:
    """Check a trimmed model against its source: rows, segmentation, and with --full what it computes.

    Works for models of other tools too, as long as their tokens are named as in the source. Exit code 1 says that
    something differs.

    Examples:
        polycompress verify demo e5-de

        polycompress verify demo e5-de --text held-out.txt --full
    """
    from polycompress.pipelines.verify import verify as run

    with console.progress_bars() as progress:
        result = run(source, trimmed, text=text, langs=joined(langs), full=full, progress=progress)
    if json:
        console.print_json(result.as_dict())
    else:
        show_certificate(result.certificate)
    if not result.certificate.passed:
        raise CertificateError(
            f"{trimmed} does not behave as {source}: " + "; ".join(result.certificate.failures())
        )


def show_certificate(certificate: Certificate) -> None:
    """Print a certificate for people."""
    rows = certificate.rows
    facts = [
        (
            "rows identical to the source, bit by bit",
            f"{console.number(rows.identical)} of {console.number(rows.rows)} in {rows.tensors} "
            f"{'tensor' if rows.tensors == 1 else 'tensors'}",
        )
    ]
    for code, text in certificate.languages.items():
        facts += _text_facts(code, text)
    if certificate.full is not None:
        full = certificate.full
        facts.append((f"hidden states, {full.texts} texts: largest difference", f"{full.hidden_max_abs:.3g}"))
        if full.logits_max_abs is not None:
            facts.append(("logits on kept tokens: largest difference", f"{full.logits_max_abs:.3g}"))
    console.print_facts(facts, f"certificate: {'passed' if certificate.passed else 'FAILED'}")


def _text_facts(code: str, text: TextCertificate) -> list[tuple[str, str]]:
    if not text.texts:
        return [(f"{code}: {text.source}", "not checked")]
    return [
        (
            f"{code}: segmented as before ({console.number(text.texts)} {text.source})",
            console.percent(text.identical / text.texts),
        ),
        (
            "  of those whose tokens are all kept",
            f"{console.number(text.kept_only_identical)} of {console.number(text.kept_only)}",
        ),
        ("  tokens per word", f"{text.fertility_before:.3f} -> {text.fertility_after:.3f}"),
        (
            "  unknown tokens",
            f"{console.number(text.unknown_before)} -> {console.number(text.unknown_after)}",
        ),
    ]
