"""What a tokenizer's training and extension are asked for, checked, and recorded with what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.pipelines.tokenizers.result import TokenizerResult
from polycompress.pipelines.tokenizers.text import LanguageText

MAX_PIECES: Final = 1_000_000


def check_number(value: int, option: str, least: int, most: int) -> None:
    """Refuse a number of pieces that makes no sense.

    Raises:
        InputError: It is out of its range.
    """
    if not least <= value <= most:
        raise InputError(f"{option} is a number from {least:,} to {most:,}; got {value:,}")


def check_exponent(exponent: float) -> None:
    """Refuse a balance of languages that makes no sense.

    Raises:
        InputError: It is out of its range.
    """
    if not 0 <= exponent <= 1:
        raise InputError(
            f"--exponent is a number from 0 (all languages equal) to 1 (as they are); got {exponent}"
        )


def size_notes(got: int, wanted: int) -> tuple[str, ...]:
    """What to tell where there are not as many tokens or pieces as were wanted."""
    if got < wanted:
        return (f"{got:,} of the {wanted:,} wanted: the text gives no more",)
    if got > wanted:
        return (f"{got:,} instead of the {wanted:,} wanted: single characters were needed",)
    return ()


def work_record(
    command: Sequence[str],
    config: Mapping[str, Any],
    texts: Sequence[LanguageText],
    times: Mapping[str, float],
    result: TokenizerResult,
) -> dict[str, Any]:
    """The facts for the manifest.

    Args:
        command: The command line.
        config: What was asked for.
        texts: Of each language.
        times: How often each language's texts counted.
        result: What came of it.
    """
    languages: list[Language] = [text.language for text in texts]
    figures = {key: value for key, value in result.as_dict().items() if key not in ("out", "notes")}
    return {
        "command": list(command),
        "config": dict(config),
        "languages": [{"code": language.code, "name": language.name} for language in languages],
        "text": {
            text.language.code: {**text.as_dict(), "times": times[text.language.code]} for text in texts
        },
        "tokenizer": figures,
    }
