"""How much more than the least possible does a trim cost?

The least possible: (a) loading the tokenizer and tokenising the text once, (b) writing the kept bytes. Measured in one
run, in turn, as processor time of (c) the whole default ``polycompress trim`` with a corpus and (d) without one, each
with an empty cache (first run, which counts the word lists) and with a filled one (later runs).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import arguments, data_directory, finish, median, python, run

TOKENISE = """
import gzip, resource, sys, time
lines = gzip.open(sys.argv[2], "rt", encoding="utf-8").read().split("\\n")
start = time.process_time()
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
if sys.argv[3] == "encode":
    tokenizer.encode_batch_fast(lines, add_special_tokens=False)
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
WRITE = """
import os, sys, time
data, left = os.urandom(1 << 20) * 8, int(sys.argv[2])
start = time.process_time()
with open(sys.argv[1], "wb") as file:
    while left > 0:
        left -= file.write(data[:left])
print(time.process_time() - start)
"""


def main() -> None:
    """Measure and report."""
    asked = arguments(__doc__ or "", rounds=5)
    text = data_directory(asked.data) / "text" / "de.txt.gz"
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        model = room / "e5-small"
        run([sys.executable, "-m", "polycompress", "demo-model", str(model)])
        tokenizer = str(model / "tokenizer.json")
        kept = 0
        for _ in range(asked.rounds):
            jobs = {"c": ["--corpus", f"de={text}"], "d": []}
            for job, extra in jobs.items():
                cache = room / f"cache-{job}-{len(seconds.get(f'{job} first', []))}"
                for when in ("first", "later"):
                    out = room / "out"
                    done = run(
                        [
                            *(
                                sys.executable,
                                "-m",
                                "polycompress",
                                "trim",
                                str(model),
                                "--langs",
                                "de",
                                *extra,
                            ),
                            *("--out", str(out), "--overwrite", "--json"),
                        ],
                        env={"POLYCOMPRESS_CACHE": str(cache)},
                    )
                    seconds.setdefault(f"{job} {when}", []).append(done.cpu_seconds)
                    peaks.setdefault(f"{job} {when}", []).append(done.peak_mib)
                    if job == "c":
                        kept = json.loads(done.stdout)["plan"]["sizes"]["after"]["bytes"]
            for name, mode in (("a", "encode"), ("load", "load")):
                used, peak = map(float, python(TOKENISE, tokenizer, str(text), mode).stdout.split())
                seconds.setdefault(name, []).append(used)
                peaks.setdefault(name, []).append(peak)
            seconds.setdefault("b", []).append(float(python(WRITE, str(room / "kept"), str(kept)).stdout))
    least = median(seconds["a"]) + median(seconds["b"])
    memory = median(peaks["load"]) + kept / 2**20
    ratios = {
        f"{job} / (a + b)": median([value / least for value in seconds[job]])
        for job in sorted(seconds)
        if job[0] in "cd"
    }
    ratios |= {f"{job} seconds": median(seconds[job]) for job in sorted(seconds)}
    ratios |= {
        f"{job} peak / (load + kept)": median([peak / memory for peak in peaks[job]])
        for job in ("c first", "c later")
    }
    ratios |= {
        f"{job} peak GB": median([peak * 2**20 / 1e9 for peak in peaks[job]])
        for job in ("c first", "c later", "d later")
    }
    wanted = {
        "c later / (a + b)": "<= 2.5",
        "c later seconds": "<= 3",
        "c first seconds": "<= 4",
        "c first peak / (load + kept)": "<= 1.5",
        "c first peak GB": "<= 0.6",
        "c later peak GB": "<= 0.6",
    }
    finish(
        "trim-speed",
        ratios,
        wanted,
        asked.out,
        unit="processor seconds, medians",
        rounds=asked.rounds,
        kept_bytes=kept,
        all_seconds=seconds,
        all_peaks_mib=peaks,
    )


if __name__ == "__main__":
    main()
