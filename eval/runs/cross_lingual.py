"""Tune the demo model in English on each task, and judge it in every language of the data, with the commands.

    python eval/runs/cross_lingual.py RUNS --out eval/results/cross-lingual [--only sib200,nli-sick] [--seeds 1]

Runs lie in RUNS; what is finished there is not done again. Results are copied to the output directory, with
``seconds.json``: how long each command took, and how busy the machine was. Tasks that share a model (the NLI sets are
judged with the XNLI model, MasakhaNER and UNER with the WikiANN one) tune it once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import data_directory, machine, versions

TUNED = {
    "sib200": ("sib200",),
    "nli-sick": ("nli-sick",),
    "ner-wikiann": ("ner-wikiann", "ner-masakhaner", "ner-uner"),
    "xnli": ("xnli", "nli-americas", "nli-indonli", "nli-ocnli", "nli-jnli", "nli-farstail"),
    "xquad": ("xquad",),
}
"""A task to tune on in English, and the tasks to judge that model on."""
AS_IT_IS = ("word-translation", "retrieval-pud", "retrieval-tatoeba", "retrieval-sib200")


def polycompress(*words: str, environment: dict[str, str]) -> float:
    """Run a command; its seconds.

    Raises:
        SystemExit: It failed.
    """
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "polycompress", *words], env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"polycompress {' '.join(words)}: exit code {done.returncode}")
    return time.perf_counter() - begun


def main() -> None:
    """Tune, judge, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="directory of the runs")
    parser.add_argument("--out", type=Path, required=True, help="directory that keeps the results")
    parser.add_argument("--model", default="demo")
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    parser.add_argument("--only", default="", help="tasks, joined by commas")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    # By the environment: results record the command, and where the data lie is nobody's business.
    environment = os.environ | {"POLYCOMPRESS_DATA": str(data_directory(asked.data))}
    only = set(filter(None, asked.only.split(",")))
    asked.out.mkdir(parents=True, exist_ok=True)
    record = asked.out / "seconds.json"
    seconds = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}

    def timed(name: str, *words: str) -> None:
        load = os.getloadavg()[0]
        taken = polycompress(*words, environment=environment)
        seconds[name] = {
            "seconds": round(taken, 1),
            "load_average_at_start": round(load, 2),
            "machine": machine(),
            "versions": versions(),
        }
        record.write_text(json.dumps(seconds, indent=2) + "\n", encoding="utf-8")

    def judge(model: str, task: str) -> None:
        timed(f"eval {task}", "eval", model, "--task", task, "--baseline", "--out", str(asked.runs))
        for suffix in ("json", "md"):
            shutil.copyfile(asked.runs / f"{task}.{suffix}", asked.out / f"{task}.{suffix}")

    for trained, tasks in TUNED.items():
        wanted = [task for task in tasks if not only or task in only]
        if not wanted:
            continue
        run = asked.runs / f"{trained}-tuned"
        finished = (run / "final").is_dir() or (run / "summary.json").exists()
        if not finished:
            words = ["finetune", asked.model, "--task", trained, "--train-langs", "en"]
            words += ["--seeds", str(asked.seeds), "--out", str(run)]
            timed(f"finetune {trained}", *words, *(["--resume"] if run.exists() else []))
        for task in wanted:
            judge(str(run), task)
    for task in AS_IT_IS:
        if not only or task in only:
            judge(asked.model, task)


if __name__ == "__main__":
    main()
