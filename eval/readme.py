"""Fill README.md with what its commands print and what ``eval/results/`` holds.

A region of README.md starts with ``<!-- run: COMMAND -->`` or ``<!-- table: NAME -->`` and ends with ``<!-- end -->``.
Commands run one after the other in one scratch directory that holds the text they name, with the code of this
checkout; ``(short)`` after ``run`` shortens the JSON they print. What a command draws is kept in ``eval/results/``.

    python eval/readme.py
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from eval.speed.harness import data_directory
from polycompress.languages import find_language

RESULTS = ROOT / "eval" / "results"
REGION = re.compile(r"(<!-- (run|run \(short\)|table): (.*?) -->\n).*?(<!-- end -->)", re.S)
FIRST = (
    "polycompress demo-model models/e5-small",
    "polycompress inspect models/e5-small --langs de,tr,ru,ar,hi,zh --plot frontier.png "
    + " ".join(f"--corpus {code}=texts/{code}.txt.gz" for code in ("de", "tr", "ru", "ar", "hi", "zh")),
)
"""What README's commands build on, and the pictures that it shows."""
SIZES = (19_197, 30_000, 40_000, 60_000)


def prepare(room: Path, data: Path) -> None:
    """Lay out the text that README's commands name."""
    (room / "texts").mkdir()
    for code in ("de", "en", "tr", "ru", "ar", "hi", "zh", "sw"):
        shutil.copy(data / "text" / f"{code}.txt.gz", room / "texts" / f"{code}.txt.gz")
    with gzip.open(data / "parallel" / "pud" / "de.tsv.gz", "rt", encoding="utf-8") as file:
        sentences = [line.split("\t")[1] for line in file][1:]
    (room / "held-out.txt").write_text("".join(sentences), encoding="utf-8")
    shards = room / "shards"
    shards.mkdir()
    lines = gzip.decompress((data / "text" / "sw.txt.gz").read_bytes()).decode().splitlines()
    for number in range(4):
        with gzip.open(shards / f"sw-{number}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in lines[number::4]
            )


def run(command: str, room: Path, *, short: bool) -> str:
    """What a command prints, in a fence."""
    done = subprocess.run(
        [sys.executable, "-m", "polycompress", *shlex.split(command)[1:]],
        cwd=room,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "POLYCOMPRESS_CACHE": str(room / "cache"),
            "COLUMNS": "100",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stderr}")
    text = done.stdout
    if short:
        text = json.dumps(shortened(json.loads(text)), indent=2, ensure_ascii=False)
    lines = [line.rstrip() for line in text.splitlines()]
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"\n\n(?=\s*─)", "\n", "\n".join(lines))).strip("\n")
    return f"```\n$ {command}\n{text}\n```\n"


def shortened(value: Any, depth: int = 0) -> Any:
    """Long lists and deep objects as an ellipsis."""
    if isinstance(value, dict):
        if depth >= 3:
            return "..."
        return {key: shortened(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and len(value) > 3:
        return [*value[:2], "..."]
    return value


def german() -> str:
    """Sentences unchanged by size and source."""
    found = load("trim-quality")["german"]
    rows = [["chosen from", *(f"{size:,}" for size in SIZES), "default"]]
    for name, shares in found["unchanged"].items():
        size = shares["default size"]
        rows.append([name, *(f"{shares[str(s)]:.3f}" for s in SIZES), f"{shares[str(size)]:.3f} ({size:,})"])
    return markdown(rows)


def english() -> str:
    """The same in English, whose same-domain text is whole."""
    rows = [["chosen from", "held out", "MB", *(f"{size:,}" for size in SIZES)]]
    for share, found in load("trim-quality")["english"].items():
        megabytes = f"{found['domain_bytes'] / 1e6:.2f}"
        rows += [
            [
                name,
                f"{share}: {found['sentences']:,}",
                megabytes,
                *(f"{shares[str(size)]:.3f}" for size in SIZES),
            ]
            for name, shares in found["unchanged"].items()
        ]
    return markdown(rows)


def defaults() -> str:
    """The default size by language."""
    rows = [
        ["language", "tokens kept, words alone", "unchanged", "tokens kept, with 1 MB of text", "unchanged"]
    ]
    for code, found in load("trim-quality")["frontiers"].items():
        words, text = found.get("words"), found["text and words"]
        rows.append(
            [
                find_language(code).name,
                *(
                    (f"{words['default_size']:,}", f"{words['at_default']:.3f}")
                    if words
                    else ("no list", "–")
                ),
                f"{text['default_size']:,}",
                f"{text['at_default']:.3f}",
            ]
        )
    return markdown(rows)


def trim_speed() -> str:
    """Processor seconds and memory of a trim."""
    found = load("trim-speed")
    ratios = found["ratios"]
    rows = [
        [
            f"processor seconds on {found['machine']['cores']} cores ({found['machine']['processor']}), "
            f"medians of {found['rounds']}",
            "seconds",
            "times (a + b)",
            "peak memory",
        ]
    ]
    for job, name in (("c", "with 1 MB of text"), ("d", "word frequencies alone")):
        for when, note in (("first", "first run"), ("later", "later runs")):
            peak = ratios.get(f"{job} {when} peak GB")
            rows.append(
                [
                    f"{name}, {note}",
                    f"{ratios[f'{job} {when} seconds']:.1f}",
                    f"{ratios[f'{job} {when} / (a + b)']:.1f}",
                    "" if peak is None else f"{peak:.2f} GB",
                ]
            )
    return markdown(rows)


def bench() -> str:
    """Size, memory, load time and latency of the demo model and its German trim."""
    models = load("bench")["bench"]["models"]
    loading = [model["loading"]["fp32"] for model in models]
    rows = [
        ["", "multilingual-e5-small", "trimmed to German"],
        ["bytes on disk", *(f"{model['bytes']['all'] / 1e6:.0f} MB" for model in models)],
        ["parameters", *(f"{model['parameters']['total'] / 1e6:.1f}M" for model in models)],
        ["peak memory, fp32", *(f"{found['memory']['peak_mib']:.0f} MiB" for found in loading)],
        ["seconds to load, fp32", *(f"{found['seconds']:.2f}" for found in loading)],
    ]
    for place, cell in enumerate(models[0]["timings"]):
        if cell["batch"] == 1:
            name = f"milliseconds a text of {cell['length']} tokens, {cell['precision']}"
            rows.append([name, *(f"{model['timings'][place]['p50_ms']:.0f}" for model in models)])
    return markdown(rows)


def count_speed() -> str:
    """Counting against tokenising every line."""
    found = load("count-speed")
    rows = [
        [
            "text, tokenizer",
            "distinct share",
            "MB/s and core",
            "against tokenising",
            "against tokenising and adding up",
        ]
    ]
    for name, case in found["cases"].items():
        corpus = name.split(", ")[0]
        rows.append(
            [
                name,
                f"{found['distinct_share'][corpus]:.2f}",
                f"{case['megabytes_per_processor_second']:.1f}",
                *(f"{case[to]['processor']:.1f}" for to in ("ratios", "ratios_read")),
            ]
        )
    return markdown(rows)


def training_speed() -> str:
    """What was wanted of the engine, and what was found."""
    rows = [["what", "found", "wanted"]]
    for name in ("engine-speed", "engine-bf16", "batching-speed"):
        rows += _ratios(name)
    return markdown(rows)


def distillation_speed() -> str:
    """The same of distillation."""
    return markdown([["what", "found", "wanted"], *_ratios("distil-speed")])


def _ratios(name: str) -> list[list[str]]:
    """Each ratio of a result beside its bound; nothing where there is no result."""
    if not (RESULTS / f"{name}.json").exists():
        return []
    found = load(name)
    rows = []
    for what, value in found["ratios"].items():
        bound = found["wanted"].get(what, "")
        rows.append(
            [
                what,
                "not measured" if value is None else f"{value:.2f}",
                bound.replace("<=", "at most").replace(">=", "at least"),
            ]
        )
    return rows


def scores() -> str:
    """Tasks: the source language, all others, and a bag of words on the languages it can be trained in."""
    rows = [
        [
            "task",
            "metric",
            "English",
            "zero-shot, mean",
            "languages",
            "German",
            "Swahili",
            "bag of words, German",
        ]
    ]
    for path in sorted((RESULTS / "cross-lingual").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("kind") != "evaluation":
            continue
        by_language: dict[str, list[float]] = {}
        for row in found["scores"]:
            by_language.setdefault(row["language"], []).append(row["score"])
        zero_shot = found["averages"]["zero-shot"]
        in_language = ((found["baseline"] or {}).get("scores") or {}).get("in-language", {})
        rows.append(
            [
                found["task"],
                found["metric"],
                *(_score(by_language.get(code)) for code in ("eng-Latn",)),
                _score([zero_shot["mean"]]),
                str(zero_shot["languages"]),
                *(_score(by_language.get(code)) for code in ("deu-Latn", "swh-Latn")),
                _score([in_language["deu-Latn"]] if in_language.get("deu-Latn") is not None else None),
            ]
        )
    return markdown(rows)


def curve() -> str:
    """What trimming costs on a task, by the size of the vocabulary; in brackets where tuning came after trimming."""
    found = load("trimming-curve")["curve"]
    asked = sorted({point["asked"] for points in found.values() for point in points if point["asked"]})
    rows = [["task, language", "whole model", *(f"{size:,}" for size in asked)]]
    for name, points in found.items():
        target = find_language(name.rsplit(", ", 1)[1]).code
        cells = {
            (point["when"], point["asked"]): f"{point['scores'][target]['score']:.3f}"
            for point in points
            if target in point["scores"]
        }
        row = [name, cells.get(("never", None), "–")]
        for size in asked:
            after, before = (cells.get((when, size)) for when in ("after tuning", "before tuning"))
            row.append((after or "–") + (f" ({before})" if before else ""))
        rows.append(row)
    return markdown(rows)


def bilingual() -> str:
    """Swahili students against their teacher: size, scores of each task, what is kept of the teacher's score."""
    found = load("bistil")
    facts, scores = found["models"]["sw"], found["scores"]["sw"]
    columns = list(dict.fromkeys((row["task"], row["language"]) for row in scores))
    rows = [
        [
            "model",
            "weights",
            *(f"{task}, {find_language(code).iso639_1}" for task, code in columns),
            "kept in Swahili (95 %)",
            "speed",
        ]
    ]
    speeds = _speeds()
    for name in facts:
        cells = {(row["task"], row["language"]): row["score"] for row in scores if row["model"] == name}
        kept = (found["kept"].get(name) or {}).get("sw")
        size = facts[name].get("weight_bytes")
        rows.append(
            [
                name,
                "–" if size is None else f"{size / 1e6:.0f} MB",
                *(f"{cells[column]:.3f}" if column in cells else "–" for column in columns),
                "–" if kept is None else f"{kept['share']:.1%} ({kept['low']:.1%} to {kept['high']:.1%})",
                f"{speeds[name]:.2f}" if name in speeds else "–",
            ]
        )
    return markdown(rows)


def _speeds() -> dict[str, float]:
    """Texts of 128 tokens in batches of 32, in bf16, against the teacher, by the name of a student."""
    found = load("bistil-bench")
    cells = [
        cell
        for cell in found["bench"]["ratios"]["speed"]
        if (cell["precision"], cell["batch"], cell["length"]) == ("bf16", 32, 128)
    ]
    return dict(zip(found["names"], cells[0]["speedup"], strict=True))


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
    for name in found["models"]["de"]:
        kept = found["kept"][name]["targets"]
        rows.append(
            [
                name,
                *(
                    f"{cells[name, target, task]:.3f}" if (name, target, task) in cells else "–"
                    for target, task in columns
                ),
                f"{kept['share']:.1%} ({kept['low']:.1%} to {kept['high']:.1%})",
            ]
        )
    return markdown(rows)


def _score(values: list[float] | None) -> str:
    """The mean of the test sets of a language."""
    return f"{sum(values) / len(values):.3f}" if values else "–"


TABLES: Mapping[str, Callable[[], str]] = {
    "german": german,
    "english": english,
    "defaults": defaults,
    "trim speed": trim_speed,
    "bench": bench,
    "count speed": count_speed,
    "training speed": training_speed,
    "scores": scores,
    "trimming curve": curve,
    "distillation speed": distillation_speed,
    "bilingual students": bilingual,
    "bilingual students, others": others,
}


def load(name: str) -> Any:
    """A recorded result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its header."""
    line = ["---", *("---:" for _ in rows[0][1:])]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], line, *rows[1:]))


def main() -> None:
    """Fill every region."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    parser.add_argument(
        "--tables", action="store_true", help="only what stands in eval/results; run no command"
    )
    asked = parser.parse_args()
    path = ROOT / "README.md"
    if asked.tables:

        def tabulate(match: re.Match[str]) -> str:
            start, kind, what, end = match.groups()
            return f"{start}\n{TABLES[what]()}\n{end}" if kind == "table" else match[0]

        path.write_text(REGION.sub(tabulate, path.read_text(encoding="utf-8")), encoding="utf-8")
        return
    data = data_directory(asked.data)
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        prepare(room, data)
        for command in FIRST:
            run(command, room, short=False)

        def fill(match: re.Match[str]) -> str:
            start, kind, what, end = match.groups()
            sys.stderr.write(f"{kind}: {what}\n")
            body = TABLES[what]() if kind == "table" else run(what, room, short="short" in kind)
            return f"{start}\n{body}\n{end}"

        text = REGION.sub(fill, path.read_text(encoding="utf-8"))
        for picture in room.glob("*.png"):
            shutil.copy(picture, RESULTS / picture.name)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
