"""``polycompress languages``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json
from polycompress.errors import InputError

if TYPE_CHECKING:
    from polycompress.languages import Language

_SHOWN_LETTERS = 200


def languages(
    codes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CODE]...",
            help="Codes, names or families: `de`, `swa`, `zh-Hant`, `German`, `Bantu`. Without any, all.",
            show_default=False,
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            "--family", metavar="NAME", help="Only these: a family or branch, `Turkic`, `Romance`, `Bantu`."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Whose groups `--family` names: `glottolog-family`, `glottolog-branch` or `apollo`; "
            "otherwise Glottolog's families, then its branches.",
        ),
    ] = None,
    script: Annotated[
        str | None, typer.Option("--script", metavar="CODE", help="Only those written in it: `Latn`, `Cyrl`.")
    ] = None,
    covered_by: Annotated[
        str | None,
        typer.Option(
            "--covered-by",
            metavar="SET",
            help="Only those of a model or data set: `xlmr`, `mbert`, `wordfreq`, `xnli`, `americasnli`, `wikiann`, "
            "`masakhaner`, `sib200`, `flores`.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show languages: codes, names, families, scripts, letters, and where they are covered.

    Any code or name that is shown is understood wherever a command takes a language.

    Examples:
        polycompress languages --family Romance

        polycompress languages swa --json
    """
    from polycompress import languages as registry

    chosen = registry.select_languages(",".join(codes)) if codes else registry.all_languages()
    if preset is not None and family is None:
        raise InputError("--preset says whose groups --family names: give --family NAME too.")
    if family is not None:
        group = registry.find_group(family, preset)[1]
        chosen = tuple(language for language in chosen if language in group)
    if script is not None:
        chosen = registry.in_script(chosen, script)
    if covered_by is not None:
        chosen = registry.covered_by(chosen, covered_by)
    if json:
        console.print_json({"languages": [language.as_dict() for language in chosen]})
    elif codes and len(chosen) == 1:
        _show_one(chosen[0])
    else:
        _show_table(chosen)


def _show_one(language: Language) -> None:
    """Everything about one language, a fact a line."""
    letters = language.letters if language.letters_known else "unknown"
    if len(letters) > _SHOWN_LETTERS:
        letters = f"{letters[:_SHOWN_LETTERS]} ... ({len(letters)}; --json has all)"
    facts = (
        ("own name", language.own_name),
        ("ISO 639-1, ISO 639-3", ", ".join(filter(None, (language.iso639_1, language.iso639_3)))),
        ("other codes and names", ", ".join(language.aliases)),
        ("family, branch", f"{language.family}, {language.branch}"),
        ("classification", language.classification),
        ("glottocode", language.glottocode),
        (
            "script",
            f"{language.script}, {'right to left' if language.direction == 'rtl' else 'left to right'}",
        ),
        ("words", "separated by spaces" if language.spaced else "not separated by spaces"),
        ("letters outside ASCII", letters or "none needed"),
        ("word list", language.wordfreq or ""),
        ("covered by", ", ".join(language.as_dict()["covered"])),
    )
    console.print_line(f"{language.code}  {language.name}")
    width = max(len(name) for name, _ in facts) + 2
    for name, value in facts:
        console.print_line(f"  {name:<{width}}{value or '-'}")


def _show_table(chosen: Sequence[Language]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("code", no_wrap=True)
    for name in ("name", "own name", "family", "branch"):
        table.add_column(name, overflow="fold")
    for language in chosen:
        own = language.own_name if language.own_name != language.name else ""
        cells = (language.code, language.name, own, language.family, language.branch)
        table.add_row(*map(Text, cells))
    if chosen:
        console.print_table(table)
    console.print_line(f"{len(chosen)} language{'' if len(chosen) == 1 else 's'}")
