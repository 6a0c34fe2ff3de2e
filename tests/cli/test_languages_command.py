from __future__ import annotations

import json
from typing import Any

import pytest
import typer

from polycompress.cli.languages import languages
from polycompress.errors import InputError
from polycompress.languages import all_languages, find_group

app = typer.Typer(add_completion=False)
app.command("languages")(languages)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    app(args=list(arguments), prog_name="languages", standalone_mode=False)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def records(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    parsed = json.loads(run(capsys, *arguments, "--json"))
    assert list(parsed) == ["languages"]
    return parsed["languages"]  # type: ignore[no-any-return]


def test_a_family(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "--family", "Romance")
    romance = find_group("Romance")[1]
    assert all(language.code in text and language.name in text for language in romance)
    assert "deu-Latn" not in text
    assert text.endswith(f"\n{len(romance)} languages\n")


def test_a_family_among_the_codes(capsys: pytest.CaptureFixture[str]) -> None:
    codes = [record["code"] for record in records(capsys, "de", "bantu")]
    assert codes == ["deu-Latn", *(language.code for language in find_group("Bantu")[1])]


def test_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys)
    assert all(language.code in text for language in all_languages())
    assert f"\n{len(all_languages())} languages\n" in text


def test_one_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = records(capsys, "swa")
    assert record["code"] == "swh-Latn"
    assert record["branch"] == "Narrow Bantu"
    assert record["letters"] == ""
    assert "masakhaner" in record["covered"]


def test_one_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "German")
    assert text.startswith("deu-Latn  German\n")
    assert "ÄÖÜßäöü" in text
    assert "Indo-European, Germanic" in text
    assert "none needed" in run(capsys, "sw")
    assert "right to left" in run(capsys, "fa")
    assert "not separated by spaces" in run(capsys, "th")
    assert "--json has all" in run(capsys, "zh")
    assert "outside ASCII  unknown" in run(capsys, "bar")


def test_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert [record["code"] for record in records(capsys, "fr", "de", "fra")] == ["fra-Latn", "deu-Latn"]
    assert "2 languages" in run(capsys, "fr", "de")


def test_filters_hold_together(capsys: pytest.CaptureFixture[str]) -> None:
    found = records(capsys, "--script", "Cyrl", "--covered-by", "xnli")
    assert [record["code"] for record in found] == ["bul-Cyrl", "rus-Cyrl"]
    assert [r["code"] for r in records(capsys, "fr", "de", "--family", "Romance")] == ["fra-Latn"]
    assert [r["code"] for r in records(capsys, "--family", "Altaic", "--preset", "apollo")] == [
        "jpn-Jpan", "khk-Cyrl", "kor-Hang",
    ]  # fmt: skip
    assert records(capsys, "ar", "--script", "Latn") == []
    assert run(capsys, "ar", "--script", "Latn") == "0 languages\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["germn"], r"Did you mean German \(deu-Latn\)"),
        (["--family", "Romanse"], r"Did you mean Romance\?"),
        (["--family", "Romance", "--preset", "clan"], r"Unknown family preset 'clan'"),
        (["--preset", "apollo"], r"--preset says whose groups --family names: give --family NAME too"),
        (["--script", "Latin"], r"Did you mean Latn\?"),
        (["--covered-by", "mbart"], r"Unknown coverage 'mbart'\. Did you mean mbert\?"),
    ],
)
def test_wrong_requests_say_what_would_be_right(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        app(args=arguments, prog_name="languages", standalone_mode=False)
