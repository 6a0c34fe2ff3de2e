"""The rows of ``languages/registry.tsv``, and what further tables say about them, read when it is asked for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from polycompress.languages.scripts import COMPOSITE_SCRIPTS, ranges
from polycompress.resources import data_path

COVERAGE: Final = (
    "xlmr", "mbert", "wordfreq", "xnli", "americasnli", "wikiann", "masakhaner", "sib200", "flores",
)  # fmt: skip
"""Models, word lists and data sets of which the registry knows the languages."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language in one script: a row of ``languages/registry.tsv``."""

    code: str
    """ISO 639-3 and ISO 15924: ``deu-Latn``."""
    iso639_3: str
    iso639_1: str | None
    """Its own two-letter code, or that of the wider language it stands for (``sw`` for ``swh-Latn``)."""
    name: str
    """In English."""
    own_name: str
    """In the language itself where known, else as ``name``."""
    script: str
    """ISO 15924; may be composite (``Jpan``)."""
    scripts: tuple[str, ...]
    """The same as Unicode's scripts (``Hani``, ``Hira``, ``Kana``)."""
    wordfreq: str | None
    """Exact code of the word list of ``wordfreq``, if there is one."""
    spaced: bool
    """Whether spaces separate words."""
    restore: str
    """Spelling lost in that word list: ``lost>written``, joined by ``;``; ``$`` after ``lost``: only at word ends."""
    casing: str
    """``tr``: capital of i is İ and of ı is I; empty: as everywhere."""
    aliases: tuple[str, ...]
    """Other codes and names."""
    family: str
    """Glottolog's top node (``Indo-European``); ``(isolate)`` where there is none."""
    branch: str
    """A well-known node of Glottolog's chain (``Romance``, ``Narrow Bantu``)."""
    glottocode: str
    direction: Literal["ltr", "rtl"]
    """How lines run."""
    covered: frozenset[str]
    """Which of ``COVERAGE`` have this language."""

    @property
    def letters(self) -> str:
        """Letters and marks outside ASCII that writing it needs, in order of code point (CLDR's main exemplars).

        Empty where the alphabet is ASCII's, and where nothing is known: see ``letters_known``.
        """
        return _letters().get(self.code, "")

    @property
    def letters_known(self) -> bool:
        """Whether CLDR lists this language's letters in this script."""
        return self.code in _letters()

    @property
    def classification(self) -> str:
        """Glottolog's chain from the family down: ``Turkic > Common Turkic > Oghuz``; empty for an isolate."""
        return _classifications()[self.iso639_3]

    def as_dict(self) -> dict[str, Any]:
        """Everything the registry knows, for JSON."""
        return {
            "code": self.code,
            "iso639_1": self.iso639_1,
            "iso639_3": self.iso639_3,
            "name": self.name,
            "own_name": self.own_name,
            "aliases": list(self.aliases),
            "family": self.family,
            "branch": self.branch,
            "classification": self.classification,
            "glottocode": self.glottocode,
            "script": self.script,
            "scripts": list(self.scripts),
            "direction": self.direction,
            "spaced": self.spaced,
            "letters": self.letters if self.letters_known else None,
            "wordfreq": self.wordfreq,
            "covered": [name for name in COVERAGE if name in self.covered],
        }


@functools.cache
def all_languages() -> tuple[Language, ...]:
    """Every row of the registry; of several scripts the one that the bare code means is first."""
    return tuple(_language(*fields) for fields in read_table("registry.tsv"))


def read_table(name: str) -> list[list[str]]:
    """The fields of each line of a table in ``languages/``, without its header."""
    lines = (data_path("languages") / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]


def _language(
    code: str,
    iso639_3: str,
    iso639_1: str,
    name: str,
    own_name: str,
    script: str,
    wordfreq: str,
    spaced: str,
    restore: str,
    casing: str,
    aliases: str,
    family: str,
    branch: str,
    glottocode: str,
    direction: str,
    covered: str,
) -> Language:
    return Language(
        code=code,
        iso639_3=iso639_3,
        iso639_1=iso639_1 or None,
        name=name,
        own_name=own_name,
        script=script,
        scripts=COMPOSITE_SCRIPTS.get(script, (script,)),
        wordfreq=wordfreq or None,
        spaced=spaced == "yes",
        restore=restore,
        casing=casing,
        aliases=tuple(aliases.split(";")) if aliases else (),
        family=family,
        branch=branch,
        glottocode=glottocode,
        direction=cast("Literal['ltr', 'rtl']", direction),
        covered=_names(covered),
    )


@functools.cache
def _names(joined: str) -> frozenset[str]:
    return frozenset(joined.split(";")) if joined else frozenset()


@functools.cache
def _letters() -> dict[str, str]:
    """Letters outside ASCII by code, of the languages that CLDR knows."""
    table = {}
    for code, _locale, _cldr, spans in read_table("letters.tsv"):
        table[code] = "".join(chr(point) for first, end in ranges(spans) for point in range(first, end))
    return table


@functools.cache
def _classifications() -> dict[str, str]:
    return {fields[0]: fields[4] for fields in read_table("glottolog.tsv")}
