"""``eval/results/counting.md``: what was measured, and what a terabyte costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.speed.harness import machine, versions
from polycompress.vocab.word_counter import MAX_DISTINCT_WORDS

CORES = (1, 16, 256)
NAMES = {
    "pack": "mixed languages",
    "english": "English documentation",
    "zh": "Chinese",
    "ja": "Japanese",
    "th": "Thai",
}


def write_report(path: Path, ratios: Mapping[str, float | None], measured: Mapping[str, Any]) -> None:
    """Write the figures as a page.

    Args:
        path: The file.
        ratios: See ``count.py``.
        measured: ``cases``, ``memory``, ``count`` and ``distinct_share`` of the same run.
    """
    host = machine()
    packages = versions()
    memory = measured["memory"]
    lines = [
        "# Counting: speed, memory, and the price of a terabyte",
        "",
        f"Measured by `python eval/speed/count.py --out eval/results/` on {host['cores']} cores "
        f"({host['processor']}), Python {host['python']}, tokenizers {packages.get('tokenizers')}, "
        f"{measured['rounds']} rounds in turn, medians. All counts were equal to those of every line.",
        "",
    ]
    for against, title in (
        ("ratios", "Times faster than `encode_batch_fast` over every line, whose ids nobody reads"),
        ("ratios_read", "Times faster than counting that way: the ids of every line read and added up"),
    ):
        lines += _table(
            f"{title}, by the wall clock and (in brackets) in processor seconds:", against, measured
        )
    lines += [
        "",
        "Distinct pieces: their share of the bytes, pieces being what stands between spaces. They decide the gain. "
        "Where they do not repeat (no spaces), lines are tokenised as they are.",
        "",
        f"**Memory.** Half of the pack, {memory['megabytes'][0]:.0f} MB: {memory['peak_mib'][0]:.0f} MiB at the peak; "
        f"{memory['megabytes'][1]:.0f} MB, ten times that with other words each time: "
        f"{memory['peak_mib'][1]:.0f} MiB (of which {memory['before_mib'][1]:.0f} MiB for Python and the WordPiece "
        f"tokenizer). At most {MAX_DISTINCT_WORDS:,} distinct words are held; when there are more, those seen once are "
        "tokenised and let go. Processes do not share this: N workers take N times as much.",
        "",
        "## What a terabyte costs",
        "",
        "The whole command `polycompress count` with the demo model's Unigram tokenizer of 250,002 pieces, plain "
        "files: reading, hashing for the hold-out, counting, writing the parts.",
        "",
        "| text | MB/s, one core | MB/s, all cores here | "
        + " | ".join(f"1 TB on {n} core{'s' * (n > 1)}" for n in CORES)
        + " |",
        "|---|---|---|" + "---|" * len(CORES),
    ]
    for corpus, found in measured["count"].items():
        one = found["one core"]["megabytes_per_second"]
        prices = " | ".join(_hours(1e6 / one / cores) for cores in CORES)
        every = found["all cores"]["megabytes_per_second"]
        lines.append(f"| {NAMES[corpus]} | {one:.1f} | {every:.1f} | {prices} |")
    lines += [
        "",
        "Assumptions: 1 TB is 10^12 bytes of text, unpacked. Units of work (16 to 128 MB) do not depend on each other, "
        "so N cores are taken to be N times as fast as the one measured here; disks or the network must give that many "
        "times the MB/s of one core. No unit is damaged, no duplicates are looked for, no language is identified. The "
        "speed of a small file is taken for a large one, which is careful: in a unit of 128 MB of one language more "
        "words repeat than in these texts. Adding the parts up takes about 0.05 s each.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _table(title: str, against: str, measured: Mapping[str, Any]) -> list[str]:
    lines = [
        title,
        "",
        "| text | MB | distinct pieces | Unigram | byte-level BPE | WordPiece |",
        "|---|---|---|---|---|---|",
    ]
    for corpus, name in NAMES.items():
        cases = [measured["cases"].get(f"{corpus}, {kind}") for kind in ("unigram", "bpe", "wordpiece")]
        if None in cases:
            lines.append(f"| {name} | not measured | | | | |")
            continue
        cells = " | ".join(
            f"{case[against]['wall']:.2f} ({case[against]['processor']:.2f})" for case in cases
        )
        share = 100 * measured["distinct_share"][corpus]
        lines.append(f"| {name} | {cases[0]['bytes'] / 1e6:.1f} | {share:.0f} % | {cells} |")
    return [*lines, ""]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"
