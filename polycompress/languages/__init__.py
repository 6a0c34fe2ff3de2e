"""The typed view of ``languages/``: codes, names, families, scripts and the characters that a script needs."""

from polycompress.languages.filters import covered_by, in_script, where_text_is
from polycompress.languages.finding import find_language, find_languages
from polycompress.languages.groups import (
    PRESETS,
    UNASSIGNED,
    family_groups,
    family_of,
    find_group,
    select_languages,
)
from polycompress.languages.scripts import COMPOSITE_SCRIPTS, is_script_character, script_mask
from polycompress.languages.table import COVERAGE, Language, all_languages

__all__ = [
    "COMPOSITE_SCRIPTS",
    "COVERAGE",
    "PRESETS",
    "UNASSIGNED",
    "Language",
    "all_languages",
    "covered_by",
    "family_groups",
    "family_of",
    "find_group",
    "find_language",
    "find_languages",
    "in_script",
    "is_script_character",
    "script_mask",
    "select_languages",
    "where_text_is",
]
