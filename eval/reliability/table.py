"""A result of ``eval/runs/reliability.py`` as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

TITLES: Final = {
    "kill": "A recipe of three stages, killed",
    "disk": "A full disk",
    "fuzz": "Damaged inputs",
    "links": "Links",
    "pickle": "Pickles",
    "locks": "Two processes on one output",
    "memory": "Memory of trimming large checkpoints",
}
WORDS: Final = {
    "kill": (
        "`kill -9` once a run at a moment drawn evenly over an unbroken run, then the same command again; all"
        " files but `run.json` compared with those of the unbroken run."
    ),
    "disk": (
        "A file system of memory that is full after a random share of the bytes that the command writes; the "
        "command must fail with exit code 1 and leave the old output or none; with room again the next run "
        "must write what an undisturbed one writes."
    ),
    "fuzz": (
        "Each case damages one file of a sound input, or two, by a seeded generator (bits, cuts, repeats, "
        "encodings, hostile values, keys twice or gone, headers that lie, paths that lead out) and runs one "
        "command on it. Faulty: a traceback, an exit code other than 0, 1, 2, an end by a signal, more than "
        "the limits, a file written, changed or left behind where none must be, a refusal without a message "
        "or longer than a hundred thousand characters, live markup in a page. The memory of a command counts "
        "what it shares with the process that it was forked from."
    ),
    "links": (
        "Each file of a model directory replaced by links to eight places that it must not lead to, read by "
        "four commands."
    ),
    "pickle": (
        "Pickles that make a directory when they are loaded, and code named by `auto_map`, in six layouts of "
        "a model directory."
    ),
    "locks": ("The same command twice, the second started at a random moment of the first."),
    "memory": (
        "Weights in sparse files, so that they take no room. The bound is the bytes kept and 200 MiB for "
        "interpreter, libraries, tokenizer and the blocks that are read at a time."
    ),
}


def as_markdown(result: Mapping[str, Any]) -> str:
    """The page: for each part what was done, its figures, whatever was wrong, and what it was measured with."""
    lines = [
        "# Reliability",
        "",
        "Written by `eval/runs/reliability.py`; the JSON beside it has every fault in full.",
        "",
    ]
    for name, part in result["parts"].items():
        lines += [f"## {TITLES[name]}", "", WORDS[name], ""]
        if part["unmeasured"]:
            lines += [f"Not measured: {part['unmeasured']}", ""]
        lines += [*_figures(part["figures"]), ""]
        lines += [f"Faults: {len(part['faults'])}.", "", *_faults(part["faults"])]
        lines += [_about(part), ""]
    return "\n".join(lines).rstrip() + "\n"


def _figures(figures: Mapping[str, Any]) -> list[str]:
    """One table of rows that are alike, one of the rest."""
    rows = {name: value for name, value in figures.items() if isinstance(value, dict) and name != "limits"}
    plain = {name: value for name, value in figures.items() if name not in rows}
    for name, value in plain.pop("limits", {}).items():
        plain[f"limit: {name}"] = value
    lines = []
    if rows:
        columns = list(next(iter(rows.values())))
        lines += ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        lines += [
            f"| {name} | " + " | ".join(_shown(row.get(key)) for key in columns) + " |"
            for name, row in rows.items()
        ]
    if plain:
        lines += ["", "| | |", "|---|---|"] if rows else ["| | |", "|---|---|"]
        lines += [f"| {name} | {_shown(value)} |" for name, value in plain.items()]
    return lines


def _faults(faults: list[Mapping[str, Any]]) -> list[str]:
    shown = []
    for fault in faults[:20]:
        words = "; ".join(
            f"{key}: {_shown(value)}" for key, value in fault.items() if not key.startswith("printed")
        )
        shown.append("- " + words.replace("|", "\\|").replace("<", "&lt;")[:500])
    return [*shown, ""] if shown else []


def _about(part: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in part["versions"].items())
    return (
        f"Seed {part['seed']}, {part['date']}, commit {part['commit'] or 'unknown'}, {part['seconds']:,.0f} s of the "
        f"clock with a load of {part['load_average_at_start']} at the start; {part['machine']['processor']}, "
        f"{part['machine']['cores']} cores, Python {part['machine']['python']}; {packages}."
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
