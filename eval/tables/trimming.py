"""Tables of README.md on trimming and counting."""

from __future__ import annotations

from eval.tables.common import load, markdown
from polycompress.languages import find_language

SIZES = (19_197, 30_000, 40_000, 60_000)


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
