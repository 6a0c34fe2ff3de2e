"""``polycompress bistil``: what the help of the group says. Its commands have modules of their own."""

from __future__ import annotations

from typing import Final

HELP: Final = """Bilingual students: distil one on text (`general`), then let it learn a task (`task`).

Examples:
    polycompress bistil general demo --source en --target sw --corpus en=en.txt.gz --corpus sw=sw.txt.gz --steps 2000 --out sw-student

    polycompress bistil task sw-student --teacher demo --task ner-wikiann --density 0.1 --out sw-ner
"""  # noqa: E501  a command to copy stands on one line
