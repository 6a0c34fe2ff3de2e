"""Write letters.tsv: the letters outside ASCII that each language needs, from CLDR's exemplar characters.

Run it for a newer CLDR or when languages came in: ``npm pack cldr-misc-full``, unpack it, then
``python languages/build_letters.py package``. The argument is the unpacked package.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from pathlib import Path

from polycompress.languages import Language, all_languages, is_script_character

COLUMNS = ("code", "locale", "cldr", "letters")

# CLDR's locale where it is neither a code nor an alias of the row.
LOCALES = {"prs-Arab": "fa-AF"}

ELEMENT = re.compile(r"\\u([0-9A-Fa-f]{4})|\\(.)|\{(.*?)\}|(.)", re.DOTALL)


def elements(exemplars: str) -> list[str]:
    r"""The strings of a set in CLDR's notation: ``[aä b {ch} \- x-z]`` is a, ä, b, ch, -, x, y, z."""
    found: list[str] = []
    span = False
    for code, escaped, sequence, plain in ELEMENT.findall(exemplars.removeprefix("[").removesuffix("]")):
        if plain == "-":
            span = True
        elif not plain.isspace() or code or escaped or sequence:
            text = chr(int(code, 16)) if code else escaped or sequence or plain
            if span:
                found += map(chr, range(ord(found[-1]) + 1, ord(text)))
                span = False
            found.append(text)
    return found


def letters(exemplars: str) -> str:
    """Letters and marks outside ASCII of a set, composed, with their capitals, in order of code point."""
    needed = {part for text in elements(exemplars) for part in unicodedata.normalize("NFC", text)}
    # A letter that a capital alone differs from (Georgian in headlines) is written without it.
    needed |= {part.upper() for part in needed if len(part.upper()) == 1 and part.title() != part}
    return "".join(
        sorted(part for part in needed if not part.isascii() and unicodedata.category(part)[0] in "LM")
    )


def locales(language: Language) -> list[str]:
    """Names under which CLDR may have it, the likeliest first."""
    if language.code in LOCALES:
        return [LOCALES[language.code]]
    codes = [code for code in (language.iso639_1, language.iso639_3) if code]
    codes += [alias for alias in language.aliases if re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?", alias)]
    return [f"{code}-{language.script}" for code in codes if "-" not in code] + codes


def find(language: Language, main: Path) -> tuple[str, str] | None:
    """The locale and the letters of a language in its script; None where CLDR does not have it."""
    for locale in locales(language):
        path = main / locale / "characters.json"
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))["main"][locale]
            exemplars = content["characters"].get("exemplarCharacters", "[]")
            if any(part.isalpha() for part in elements(exemplars)):
                needed = letters(exemplars)
                ours = [is_script_character(part, language) for part in needed]
                latin = language.script == "Latn"
                if all(ours) and (ours or latin):
                    return locale, needed
                print(f"{language.code}: {locale} is in another script: {needed[:40]}", file=sys.stderr)
    return None


def spans(text: str) -> str:
    """Sorted characters as hexadecimal code points and ranges."""
    runs: list[list[int]] = []
    for point in map(ord, text):
        if runs and runs[-1][1] == point - 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return " ".join(f"{first:X}" if first == last else f"{first:X}-{last:X}" for first, last in runs)


def main() -> None:
    """Write the table beside this file."""
    package = Path(sys.argv[1])
    cldr = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    lines = ["\t".join(COLUMNS)]
    for language in all_languages():
        found = find(language, package / "main")
        if found:
            lines.append("\t".join((language.code, found[0], cldr, spans(found[1]))))
    Path(__file__).with_name("letters.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
