"""What ``polycompress inspect`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polycompress.cli import console

if TYPE_CHECKING:
    from polycompress.pipelines.inspect import Inspection
    from polycompress.pipelines.trimming.frontier import Frontier
    from polycompress.pipelines.trimming.profile import LanguageProfile
    from polycompress.vocab.profile import Overlap

LETTERS_SHOWN: Final = 20
"""Missing letters of a language that are printed; --json has all."""
OVERLAP_SHOWN: Final = 12
"""Languages of an overlap table that a terminal has room for."""


def show_inspection(found: Inspection) -> None:
    """Print everything found."""
    total = sum(found.parameters.values())
    kind = ", ".join(found.architectures) or found.model_type
    console.print_facts(
        [
            *(
                (name, console.millions(count), console.percent(count / total))
                for name, count in found.parameters.items()
                if count
            ),
            *(
                []
                if found.active_parameters is None
                else [
                    (
                        "  that one token meets",
                        console.millions(found.active_parameters),
                        console.percent(found.active_parameters / total),
                    )
                ]
            ),
            ("all", console.millions(total), f"{console.megabytes(found.bytes)} {'/'.join(found.dtypes)}"),
        ],
        f"{found.name} ({kind})",
        ("parameters", "", ""),
    )
    if found.experts is not None:
        layers = ", ".join(map(str, found.experts.layers))
        families = ", ".join(
            f"{name} {'+'.join(map(str, own))}" for name, own in found.experts.families.items()
        )
        console.print_line(
            f"experts: {found.experts.experts} in layers {layers}, {found.experts.top_k} for each token: {families}"
        )
    console.print_line(f"tokenizer: {found.tokenizer_type}, {found.vocab:,} tokens")
    for oddity in found.oddities:
        console.print_line(f"  - {oddity}")
    if found.mixture is not None:
        from polycompress.cli.mixture_view import show_mixture

        show_mixture(found.mixture)
    for frontier in found.frontiers:
        _show_frontier(frontier)
    if len(found.frontiers) > 1 and found.together is not None:
        console.print_line(f"trimmed to all of these together: {found.together:,} tokens by default")
    if found.profiles:
        _show_profiles(found.profiles)
    if found.overlap is not None:
        _show_overlap(found.overlap)
    for gap in found.gaps:
        console.print_line(f"\n{gap}")


def _show_frontier(frontier: Frontier) -> None:
    rows = [
        (
            console.number(point.size) + (" (default)" if point.size == frontier.default.size else ""),
            console.percent(point.coverage, 3),
            "-" if point.identical is None else console.percent(point.identical),
        )
        for point in frontier.points
    ]
    unit = "texts" if "lines" in frontier.texts_from else "words"
    console.print_facts(
        rows,
        f"{frontier.language.name} ({frontier.language.code})",
        ("tokens kept", "tokens covered", f"of {frontier.texts:,} held-out {unit} unchanged"),
    )
    if frontier.unseen is not None:
        console.print_line(
            f"about {console.percent(frontier.unseen, 2)} of new text's tokens never occurred in the corpus "
            "(Good-Turing)"
        )


def _show_profiles(profiles: tuple[LanguageProfile, ...]) -> None:
    console.print_facts(
        [
            (
                profile.language.code,
                _ratio(profile.tokens_per_word),
                _ratio(profile.tokens_per_character),
                _share(profile.continued_words),
                _share(profile.unknown, 2),
                _share(profile.partial, 2),
                _share(profile.used_share),
                "-" if profile.letters is None else _share(profile.letters.share),
            )
            for profile in profiles
        ],
        "How the vocabulary suits each language",
        ("", "per word", "per char.", "cut", "unknown", "bytes", "in use", "letters"),
    )
    console.print_line(
        "(tokens per word and per character; words cut into several tokens; tokens that are unknown, or bytes of "
        "characters; part of the vocabulary in use; letters beyond ASCII that can be written)"
    )
    for text in dict.fromkeys(profile.text for profile in profiles):
        names = [profile.language.name for profile in profiles if profile.text == text]
        remark = (
            ""
            if text == "corpus"
            else "; text takes a tenth to a fifth more tokens per word than lists of words"
        )
        console.print_line(f"measured on {text}: {', '.join(names)}{remark}")
    for profile in profiles:
        if profile.letters is not None and profile.letters.missing:
            missing = profile.letters.missing
            more = f" and {len(missing) - LETTERS_SHOWN:,} more" if len(missing) > LETTERS_SHOWN else ""
            console.print_line(
                f"{profile.language.name} letters that become unknown or bytes: "
                f"{' '.join(missing[:LETTERS_SHOWN])}{more}"
            )


def _show_overlap(overlap: Overlap) -> None:
    from polycompress.vocab.profile import JACCARD, USED_ALSO

    if len(overlap.codes) > OVERLAP_SHOWN:
        console.print_line(
            f"\nwhat {len(overlap.codes)} languages share of the vocabulary: see --plot-overlap FILE or --json"
        )
        return
    bare = [code.partition("-")[0] for code in overlap.codes]
    names = bare if len(set(bare)) == len(bare) else list(overlap.codes)
    for title, definition, matrix in (
        ("Shared use of the vocabulary, in per cent", JACCARD, overlap.jaccard),
        ("Tokens of one language that another uses too, in per cent", USED_ALSO, overlap.used_also),
    ):
        rows = [
            (name, *(f"{100 * value:.1f}" for value in values))
            for name, values in zip(names, matrix.tolist(), strict=True)
        ]
        console.print_facts(rows, title, ("", *names))
        console.print_line(f"({definition})")


def _ratio(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _share(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else console.percent(value, digits)
