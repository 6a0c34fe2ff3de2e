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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from eval.speed.harness import data_directory
from eval.tables import PICTURES, TABLES
from eval.tables.common import RESULTS

REGION = re.compile(r"(<!-- (run|run \(short\)|table): (.*?) -->\n).*?(<!-- end -->)", re.S)
FIRST = (
    "polycompress demo-model models/e5-small",
    "polycompress inspect models/e5-small --langs de,tr,ru,ar,hi,zh --plot frontier.png "
    + " ".join(f"--corpus {code}=texts/{code}.txt.gz" for code in ("de", "tr", "ru", "ar", "hi", "zh")),
)
"""What README's commands build on, and the pictures that it shows."""


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
    for draw in PICTURES:
        draw()
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
