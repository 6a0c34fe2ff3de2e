"""How much faster is counting than tokenising every line?

Counts real text with ``vocab.counting.count_texts`` and, in the same run and in turn, gives the same lines to
``encode_batch_fast``: for the demo model's Unigram tokenizer, a byte-level BPE and a WordPiece tokenizer trained here.
The counts must be equal. Distinct words decide the gain, so their share of the bytes stands beside every figure.

Text: all languages of the data pack together; Chinese, Japanese and Thai, without spaces; and, where ``--english``
names files, a large English text: as it is, and its lines drawn again with replacement to 60 MB, which repeats more.
Debian's ``linux-doc-6.1`` has 24 MB of manuals (``--english 'Documentation/[!t]*/**/*.rst.gz'``).

Memory is measured on ten times as much text in which no word comes twice, so that nothing is gained by counting words.
Writes ``count-speed.json`` and ``counting.md``.
"""

from __future__ import annotations

import argparse
import glob
import gzip
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from eval.speed.harness import data_directory, finish, machine, median, python, versions
from polycompress.modeldir.sources import resolve_model
from polycompress.vocab.counting import Tally, count_texts

BATCH = 1024
RESAMPLED_BYTES = 60_000_000
SEED = 0
MEMORY_LANGUAGES = ("de", "en", "fi", "hu", "ru", "tr", "sw", "vi", "zh", "ja")
CORES = (1, 16, 256)
TERABYTE_MB = 1e6

MEMORY = """
import gzip, json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tokenizers import Tokenizer
from polycompress.vocab.counting import count_texts

copies = int(sys.argv[3])
raw = Path(sys.argv[2]).read_bytes()
tokenizer = Tokenizer.from_buffer(raw)
tokenizer.no_truncation(); tokenizer.no_padding()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def texts():
    for copy in range(copies):
        for path in sys.argv[4:]:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for line in file:
                    yield " ".join(f"{word}{copy}" for word in line.split())

document = json.loads(raw)
tally = count_texts(tokenizer, document, texts(), tokenizer.get_vocab_size())
print(tally.bytes / 1e6, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def read(pattern: str) -> list[str]:
    """Lines that hold text, of files that may be compressed; files that are not UTF-8 are left out."""
    lines: list[str] = []
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  patterns may be absolute
        data = Path(name).read_bytes()
        try:
            text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
        except UnicodeDecodeError:
            continue
        lines += [line for part in text.split("\n") if (line := " ".join(part.split()))]
    return lines


def corpora(data: Path, english: str | None) -> dict[str, list[str]]:
    """The texts, by name."""
    found = {"42 languages": read(str(data / "text" / "*.txt.gz"))}
    for code, name in (("zh", "Chinese"), ("ja", "Japanese")):
        found[name] = read(str(data / "text" / f"{code}.txt.gz"))
    thai = [line.split("\t")[3] for line in read_rows(data / "sib200" / "tha_Thai.tsv.gz")]
    found["Thai"] = thai + [
        line.split("\t")[1] for line in read_rows(data / "parallel" / "pud" / "th.tsv.gz")
    ]
    if english is not None:
        lines = found["English manuals"] = read(english)
        drawn, size = random.Random(SEED), 0
        again: list[str] = []
        while size < RESAMPLED_BYTES:
            again.append(drawn.choice(lines))
            size += len(again[-1].encode())
        found["English manuals, lines drawn with replacement"] = again
    return found


def read_rows(path: Path) -> list[str]:
    """Rows of a table, without its header."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()[1:]


def tokenizers(data: Path) -> dict[str, bytes]:
    """``tokenizer.json`` states: the demo model's, and two trained on a part of the pack."""
    text = [line for path in sorted((data / "text").glob("*.gz")) for line in read(str(path))[::4]]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        text, trainers.BpeTrainer(vocab_size=50_000, initial_alphabet=alphabet, show_progress=False)
    )
    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=False)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece.train_from_iterator(
        text, trainers.WordPieceTrainer(vocab_size=50_000, special_tokens=["[UNK]"], show_progress=False)
    )
    return {
        "Unigram": (resolve_model("demo").path / "tokenizer.json").read_bytes(),
        "BPE": bpe.to_str().encode(),
        "WordPiece": wordpiece.to_str().encode(),
    }


def compare(raw: bytes, lines: Sequence[str], rounds: int) -> dict[str, Any]:
    """Both ways of counting, in turn.

    Raises:
        SystemExit: Their counts differ.
    """
    tokenizer = Tokenizer.from_buffer(raw)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    document, size = json.loads(raw), tokenizer.get_vocab_size()
    seconds: dict[str, list[float]] = {}
    tally: Tally | None = None
    for _ in range(rounds):
        started = time.process_time(), time.perf_counter()
        for begin in range(0, len(lines), BATCH):
            tokenizer.encode_batch_fast(list(lines[begin : begin + BATCH]), add_special_tokens=False)
        _note(seconds, "every line", started)
        started = time.process_time(), time.perf_counter()
        tally = count_texts(tokenizer, document, lines, size)
        _note(seconds, "counting", started)
    assert tally is not None
    if not np.array_equal(tally.counts, _counted(tokenizer, lines, size)):
        raise SystemExit("the counts differ")
    words = Counter(word for line in lines for word in line.split(" "))
    megabytes = tally.bytes / 1e6
    return {
        "megabytes": float(f"{megabytes:.4g}"),
        "distinct_share": round(
            sum(len(word.encode()) + 1 for word in words) / (tally.bytes + len(lines)), 4
        ),
        "tokenised_share": round(tally.tokenised / tally.bytes, 4),
        "mb_per_second": median([megabytes / value for value in seconds["counting cpu"]]),
        "mb_per_second_wall": median([megabytes / value for value in seconds["counting wall"]]),
        "ratio": _ratio(seconds, "cpu"),
        "ratio_wall": _ratio(seconds, "wall"),
    }


def _note(seconds: dict[str, list[float]], name: str, started: tuple[float, float]) -> None:
    seconds.setdefault(f"{name} cpu", []).append(time.process_time() - started[0])
    seconds.setdefault(f"{name} wall", []).append(time.perf_counter() - started[1])


def _ratio(seconds: dict[str, list[float]], unit: str) -> float:
    pairs = zip(seconds[f"every line {unit}"], seconds[f"counting {unit}"], strict=True)
    return median([whole / ours for whole, ours in pairs])


def _counted(tokenizer: Tokenizer, lines: Sequence[str], size: int) -> Any:
    totals = np.zeros(size, dtype=np.int64)
    for begin in range(0, len(lines), BATCH):
        batch = tokenizer.encode_batch_fast(list(lines[begin : begin + BATCH]), add_special_tokens=False)
        totals += np.bincount([token for one in batch for token in one.ids], minlength=size)
    return totals


def memory(data: Path) -> dict[str, float]:
    """Peak memory for some text, and for ten times as much of which no word is equal."""
    root = str(Path(__file__).resolve().parents[2])
    tokenizer = str(resolve_model("demo").path / "tokenizer.json")
    files = [str(data / "text" / f"{code}.txt.gz") for code in MEMORY_LANGUAGES]
    found = {}
    for copies in (1, 10):
        done = python(MEMORY, root, tokenizer, str(copies), *files)
        size, before, peak = map(float, done.stdout.split())
        found |= {f"megabytes x{copies}": round(size, 1), f"peak MiB x{copies}": round(peak)}
        found["MiB before counting"] = round(before)
    return found


def write_markdown(path: Path, jobs: dict[str, dict[str, Any]], memories: dict[str, float]) -> None:
    """What a terabyte would take."""
    of, what = machine(), versions()
    rows = []
    for name, job in jobs.items():
        hours = [TERABYTE_MB / (job["mb_per_second"] * cores) / 3600 for cores in CORES]
        rows.append(
            f"| {name} | {job['mb_per_second']:.2f} | " + " | ".join(f"{hour:,.1f}" for hour in hours) + " |"
        )
    few, many = (round(memories[f"peak MiB x{copies}"]) for copies in (1, 10))
    bare = round(memories["MiB before counting"])
    text = f"""# What counting a terabyte takes

Written by `eval/speed/count.py` on {of["cores"]} cores ({of["processor"]}), Python {of["python"]}, tokenizers
{what["tokenizers"]}, on {datetime.now(UTC).date().isoformat()}.

Megabytes of text a second and core are measured (processor time, all threads together); the hours are calculated from
them: 10^12 bytes of such text, cores of this kind that do nothing else, work split into equal shards.

| tokenizer and text | MB/s per core | hours on 1 core | on 16 | on 256 |
|---|---:|---:|---:|---:|
{chr(10).join(rows)}

The calculation leaves out: reading and unpacking files, starting workers, adding up the shards' counts at the end, and
that a terabyte of one language repeats its words more than the text measured here, which makes counting faster.

Memory is bounded: {few} MiB at the peak for {memories["megabytes x1"]:.0f} MB of text, and {many} MiB for
{memories["megabytes x10"]:.0f} MB in which each copy's words are new (the tokenizer itself takes {bare} MiB). A million
distinct words are held at most; then they are tokenised.
"""
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured, in turn")
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    parser.add_argument("--english", metavar="PATTERN", help="files of a large English text")
    parser.add_argument("--out", type=Path, help="directory that keeps the result")
    asked = parser.parse_args()
    data = data_directory(asked.data)
    load = os.getloadavg()[0]
    texts = corpora(data, asked.english)
    jobs = {}
    for kind, raw in tokenizers(data).items():
        for name, lines in texts.items():
            rounds = asked.rounds if sum(map(len, lines)) > 2_000_000 else 3 * asked.rounds
            jobs[f"{kind}, {name}"] = compare(raw, lines, rounds)
            sys.stderr.write(f"{kind}, {name}: {jobs[f'{kind}, {name}']}\n")
    memories = memory(data)
    wanted = {}
    for name, job in jobs.items():
        text = name.split(", ", 1)[1]
        if text == "42 languages":
            wanted[name] = ">= 2"
        elif text in ("Chinese", "Japanese", "Thai"):
            wanted[name] = ">= 1"
        elif job["distinct_share"] <= 0.15 and job["megabytes"] >= 50:
            wanted[name] = ">= 4"
    finish(
        "count-speed",
        {name: job["ratio"] for name, job in jobs.items()},
        wanted,
        asked.out,
        unit="processor seconds of tokenising every line, divided by those of counting",
        rounds=asked.rounds,
        seed=SEED,
        load_average_at_start=load,
        jobs=jobs,
        memory=memories,
    )
    if asked.out is not None:
        write_markdown(asked.out / "counting.md", jobs, memories)


if __name__ == "__main__":
    main()
