"""Tables of README.md on bilingual students."""

from __future__ import annotations

from collections.abc import Mapping

from eval.tables.common import load, markdown
from polycompress.languages import find_language


def bilingual() -> str:
    """Swahili students against their teacher: size, scores in Swahili, what is kept of the teacher's, speed."""
    found = load("bistil")
    facts, scores = found["models"]["sw"], found["scores"]["sw"]
    target = find_language("sw").code
    tasks = list(dict.fromkeys(row["task"] for row in scores if row["language"] == target))
    rows = [["model", "weights", *tasks, "kept in Swahili (95 %)", "kept in English", "speed"]]
    speeds = _speeds()
    for name in facts:
        cells = {
            row["task"]: row["score"] for row in scores if (row["model"], row["language"]) == (name, target)
        }
        kept = found["kept"][name]
        whole = kept["sw"]["parts"] == len(tasks)
        size = facts[name].get("weight_bytes")
        rows.append(
            [
                name,
                "–" if size is None else f"{size / 1e6:.0f} MB",
                *(f"{cells[task]:.3f}" if task in cells else "–" for task in tasks),
                _kept(kept["sw"]) if whole else "–",
                f"{kept['sw, English']['share']:.1%}" if whole else "–",
                f"{speeds[name]:.2f}" if name in speeds else "–",
            ]
        )
    return markdown(rows)


def _kept(share: Mapping[str, float] | None) -> str:
    """A share with its interval."""
    return "–" if share is None else f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def _speeds() -> dict[str, float]:
    """Texts of 128 tokens in batches of 32, in bf16, against the teacher, by the name of a student."""
    found = load("bistil-bench")
    cells = [
        cell
        for cell in found["bench"]["ratios"]["speed"]
        if (cell["precision"], cell["batch"], cell["length"]) == ("bf16", 32, 128)
    ]
    return dict(zip(found["names"], cells[0]["speedup"], strict=True))


def against() -> str:
    """The distilled student's score above chance in Swahili, as a share of each baseline's of six layers."""
    rows = [["distilled-6 against", "share of its score above chance (95 %)"]]
    for name, share in load("bistil")["distilled-6_against"].items():
        rows.append([name, _kept(share)])
    return markdown(rows)


def others() -> str:
    """German, Turkish and Yoruba: scores in the target language, and what is kept over all languages and tasks."""
    found = load("bistil")
    targets = list(found["scores"])
    tasks = list(dict.fromkeys(row["task"] for rows in found["scores"].values() for row in rows))
    columns = [(target, task) for task in tasks for target in targets]
    cells: dict[tuple[str, str, str], float] = {}
    for target, some in found["scores"].items():
        for row in some:
            if not row["language"].startswith("eng"):
                cells[row["model"], target, row["task"]] = row["score"]
    columns = [(target, task) for target, task in columns if ("teacher", target, task) in cells]
    rows = [["model", *(f"{task}, {target}" for target, task in columns), "kept over all (95 %)"]]
    for name in ("teacher", "trimmed", "copied-6", "distilled-6"):
        kept = found["kept"][name]["targets"]
        rows.append(
            [
                name,
                *(
                    f"{cells[name, target, task]:.3f}" if (name, target, task) in cells else "–"
                    for target, task in columns
                ),
                _kept(kept),
            ]
        )
    return markdown(rows)


def tried() -> str:
    """What was tried for more, language by language: what it keeps, and what others do on the same tasks."""
    found = load("bistil")
    others = ("distilled-6", "trimmed", "trimmed, more words")
    rows = [["", "in", "on", "weights", "keeps (95 %)", *others]]
    for name, told in found["tried"].items():
        kept = told["kept_on_its_tasks"]
        for target, share in kept[name].items() if name.startswith("distilled-6, ") else ():
            tasks = dict.fromkeys(row["task"] for row in found["scores"][target] if row["model"] == name)
            same = [kept.get(other, {}).get(target) for other in others]
            cells = ["–" if one is None else f"{one['share']:.1%}" for one in same]
            size = f"{found['models'][target][name]['weight_bytes'] / 1e6:.0f} MB"
            rows.append([name, target, ", ".join(tasks), size, _kept(share), *cells])
    return markdown(rows)


def untrained() -> str:
    """Shapes of students: ranks by scores that need no training, and after distillation."""
    rows = load("students-rank")["students"]
    before = sorted(rows, key=lambda row: -row["untrained"]["score"])
    after = sorted(rows, key=lambda row: -row["mean"])
    table = [
        [
            "layers x units",
            "parameters",
            "score untrained",
            "rank untrained",
            "sib200, en and sw",
            "rank distilled",
        ]
    ]
    table += [
        [
            f"{row['layers']} x {row['hidden']}",
            f"{row['untrained']['parameters'] / 1e6:.1f}M",
            f"{row['untrained']['score']:.4f} ± {row['untrained']['error']:.4f}",
            str(before.index(row) + 1),
            f"{row['mean']:.3f}",
            str(after.index(row) + 1),
        ]
        for row in rows
    ]
    return markdown(table)
