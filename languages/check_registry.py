"""Check the tables of this directory against each other, Unicode and the sets they describe.

Run it after any change: ``python languages/check_registry.py``. It prints every fault; any makes it exit with 1.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from build_registry import COLUMNS, find, kept
from coverage_sets import SETS

from polycompress.languages import COMPOSITE_SCRIPTS, COVERAGE, PRESETS
from polycompress.languages.scripts import ranges

HERE = Path(__file__).parent
SMALLEST = 250
ISOLATE = "(isolate)"
APOLLO_LANGUAGES = 50

# How many rows each set covers. Fewer than it has languages: XLM-R counts Burmese in two encodings; WikiANN has three
# varieties beside their languages and one code that is retired. wordfreq: 42 lists, one of them for five rows.
ROWS = {
    "xlmr": 99, "mbert": 104, "wordfreq": 46, "xnli": 15, "americasnli": 10, "wikiann": 172, "masakhaner": 21,
    "sib200": 205, "flores": 205,
}  # fmt: skip

Row = Mapping[str, str]


def read(directory: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table; a line with another number of fields than the header is an error."""
    header, *lines = (directory / name).read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    return [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]


def faults(directory: Path = HERE) -> list[str]:
    """Everything that is wrong with the tables of a directory."""
    registry = read(directory, "registry.tsv")
    return [
        *rows(registry),
        *names(registry),
        *coverage(registry),
        *families(registry, read(directory, "glottolog.tsv"), read(directory, "groups.tsv")),
        *groups(registry, read(directory, "groups.tsv"), read(directory, "apollo.tsv")),
        *letters(registry, read(directory, "letters.tsv"), read(directory, "scripts.tsv")),
    ]


def rows(registry: Sequence[Row]) -> Iterator[str]:
    """Unique, complete, well formed."""
    if tuple(registry[0]) != COLUMNS:
        yield f"registry.tsv: the columns are {', '.join(registry[0])}"
    if len(registry) < SMALLEST:
        yield f"registry.tsv: {len(registry)} rows, fewer than {SMALLEST}"
    seen: set[str] = set()
    for row in registry:
        code = row["code"]
        if code in seen:
            yield f"{code}: two rows"
        seen.add(code)
        if code != f"{row['iso639_3']}-{row['script']}" or len(code) != len("deu-Latn"):
            yield f"{code}: not ISO 639-3 and ISO 15924 ({row['iso639_3']}, {row['script']})"
        for column in ("name", "own_name", "family", "branch", "glottocode"):
            if not row[column] or row[column] != row[column].strip():
                yield f"{code}: {column} is {row[column]!r}"
        if len(row["iso639_1"]) not in (0, 2):
            yield f"{code}: iso639_1 is {row['iso639_1']!r}"
        for column, values in {"spaced": ("yes", "no"), "direction": ("ltr", "rtl")}.items():
            if row[column] not in values:
                yield f"{code}: {column} is {row[column]!r}"


def names(registry: Sequence[Row]) -> Iterator[str]:
    """No code, name or alias stands for two languages; scripts of one language share its codes."""
    owner: dict[str, str] = {}
    for row in registry:
        spellings = {row["code"], row["iso639_3"], row["iso639_1"], row["name"], *row["aliases"].split(";")}
        for spelling in sorted(spellings - {""}):
            shared = spelling.casefold() in (row["iso639_3"], row["iso639_1"])
            mine = row["iso639_3"] if shared else row["code"]
            if owner.setdefault(spelling.casefold(), mine) != mine:
                yield f"{row['code']}: {spelling!r} is {owner[spelling.casefold()]} as well"


def coverage(registry: Sequence[Row]) -> Iterator[str]:
    """Every language of every set has a row that says so, and no other row does."""
    sizes = {entry.name: len(set(entry.spellings)) for entry in SETS}
    yield from (
        f"{entry.name}: {sizes[entry.name]} codes, but it has {entry.size} languages"
        for entry in SETS
        if sizes[entry.name] != entry.size
    )
    try:
        expected = {entry.name: {find(s, entry, registry)["code"] for s in kept(entry)} for entry in SETS}
    except LookupError as error:
        yield str(error.args[0])
        return
    expected["wordfreq"] = {row["code"] for row in registry if row["wordfreq"]}
    for name in COVERAGE:
        covered = {row["code"] for row in registry if name in row["covered"].split(";")}
        if covered != expected[name]:
            yield f"{name}: covered should differ in {', '.join(sorted(covered ^ expected[name]))}"
        if len(covered) != ROWS[name]:
            yield f"{name}: covers {len(covered)} rows, known are {ROWS[name]}"
    for row in registry:
        if unknown := set(row["covered"].split(";")) - {*COVERAGE, ""}:
            yield f"{row['code']}: covered by unknown {', '.join(sorted(unknown))}"


def families(registry: Sequence[Row], glottolog: Sequence[Row], groups: Sequence[Row]) -> Iterator[str]:
    """Families and branches are listed, agree with glottolog.tsv, and stand in the chain."""
    known = {preset: {row["group"] for row in groups if row["preset"] == preset} for preset in PRESETS}
    places = {row["iso639_3"]: row for row in glottolog}
    if len(places) != len(glottolog):
        yield "glottolog.tsv: a language has two rows"
    if strays := places.keys() - {row["iso639_3"] for row in registry}:
        yield f"glottolog.tsv: not in the registry: {', '.join(sorted(strays))}"
    above: dict[str, str] = {}
    for row in registry:
        code, place = row["code"], places.get(row["iso639_3"])
        if place is None:
            yield f"{code}: not in glottolog.tsv"
            continue
        for column, preset in (("family", PRESETS[0]), ("branch", PRESETS[1])):
            if row[column] not in known[preset]:
                yield f"{code}: {column} {row[column]!r} is not in groups.tsv"
        if any(row[column] != place[column] for column in ("family", "branch", "glottocode")):
            yield f"{code}: differs from glottolog.tsv"
        chain = place["classification"].split(" > ")
        if row["family"] != ISOLATE and not (chain[0] == row["family"] and row["branch"] in chain):
            yield f"{code}: {row['family']} and {row['branch']} are not the chain {place['classification']!r}"
        if above.setdefault(row["branch"], row["family"]) != row["family"]:
            yield f"{code}: the branch {row['branch']} is in {above[row['branch']]} as well"


def groups(registry: Sequence[Row], table: Sequence[Row], apollo: Sequence[Row]) -> Iterator[str]:
    """Names of groups are unambiguous, every group has languages, and apollo's table is whole."""
    members = {"glottolog-family": "family", "glottolog-branch": "branch"}
    for preset in PRESETS:
        owner: dict[str, str] = {}
        for row in table:
            if row["preset"] != preset:
                continue
            for name in filter(None, (row["group"], *row["aliases"].split(";"))):
                if owner.setdefault(name.casefold(), row["group"]) != row["group"]:
                    yield f"{preset}: {name!r} is {owner[name.casefold()]} and {row['group']}"
            used = [entry[members[preset]] for entry in registry] if preset in members else []
            used += [entry["group"] for entry in apollo if preset not in members]
            if row["group"] not in used:
                yield f"{preset}: {row['group']} has no language"
    if unknown := {row["preset"] for row in table} - set(PRESETS):
        yield f"groups.tsv: unknown presets {', '.join(sorted(unknown))}"
    codes = [row["iso639_3"] for row in apollo]
    if not len(set(codes)) == len({row["printed"] for row in apollo}) == len(apollo) == APOLLO_LANGUAGES:
        yield f"apollo.tsv: {len(set(codes))} languages in {len(apollo)} rows, the paper has {APOLLO_LANGUAGES}"
    if missing := set(codes) - {row["iso639_3"] for row in registry}:
        yield f"apollo.tsv: not in the registry: {', '.join(sorted(missing))}"
    if unknown := {row["group"] for row in apollo} - {
        row["group"] for row in table if row["preset"] == "apollo"
    }:
        yield f"apollo.tsv: not in groups.tsv: {', '.join(sorted(unknown))}"


def letters(registry: Sequence[Row], table: Sequence[Row], scripts: Sequence[Row]) -> Iterator[str]:
    """Letters belong to the script of their row, are sorted and composed; lines run as Unicode says."""
    inside = {row["script"]: ranges(row["characters"]) for row in scripts}
    parts = {row["code"]: COMPOSITE_SCRIPTS.get(row["script"], (row["script"],)) for row in registry}
    if missing := {script for used in parts.values() for script in used} - inside.keys():
        yield f"scripts.tsv: lacks {', '.join(sorted(missing))}"
        return
    for row in registry:
        points = (point for script in parts[row["code"]] for span in inside[script] for point in range(*span))
        kinds = [unicodedata.bidirectional(chr(point)) for point in points]
        direction = "rtl" if sum(kind in ("R", "AL") for kind in kinds) > kinds.count("L") else "ltr"
        if row["direction"] != direction:
            yield f"{row['code']}: direction is {row['direction']}, its script's is {direction}"
    if len({row["code"] for row in table}) != len(table):
        yield "letters.tsv: a language has two rows"
    for row in table:
        if row["code"] not in parts:
            yield f"{row['code']}: has letters, but no row in registry.tsv"
            continue
        points = [point for span in ranges(row["letters"]) for point in range(*span)]
        if points != sorted(set(points)):
            yield f"{row['code']}: letters are not in order"
        spans = [span for script in parts[row["code"]] for span in inside[script]]
        for point in points:
            letter = chr(point)
            if letter.isascii() or unicodedata.category(letter)[0] not in "LM":
                yield f"{row['code']}: U+{point:04X} is no letter outside ASCII"
            elif unicodedata.normalize("NFC", letter) != letter:
                yield f"{row['code']}: U+{point:04X} is not composed"
            elif not any(first <= point < end for first, end in spans):
                yield f"{row['code']}: U+{point:04X} {letter} is not of the script {'+'.join(parts[row['code']])}"


def main() -> None:
    """Print every fault."""
    found = faults()
    for fault in found:
        print(fault)
    print(f"{len(found)} faults" if found else f"{len(read(HERE, 'registry.tsv'))} rows, no fault")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
