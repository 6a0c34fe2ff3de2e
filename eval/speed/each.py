"""What each further language costs when one model is trimmed to many.

Trims the demo model to every language with built-in word frequencies, one model each, with an empty cache of word
counts as on a first run. The processor time of each language is split into counting its word list and everything else.
Wanted: everything else at most 1.5 s for every language after the first.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import arguments, finish, median
from polycompress.languages import all_languages
from polycompress.pipelines.trim_each import trim_each
from polycompress.pipelines.trimming import gathering


def main() -> None:
    """Measure and report."""
    asked = arguments(__doc__ or "", rounds=1)
    languages = [language.code for language in all_languages() if language.wordfreq is not None]
    rest: dict[str, list[float]] = {code: [] for code in languages}
    lists: dict[str, list[float]] = {code: [] for code in languages}
    whole = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["POLYCOMPRESS_CACHE"] = str(Path(scratch) / "cache")
            counted = _timed_lists()
            done = iter(languages)
            started = last = time.process_time()

            def report(label: str, amount: int, total: int | None) -> None:
                nonlocal last
                if not label.startswith("trimming "):
                    return
                code = next(done)  # noqa: B023  used within this round only
                now = time.process_time()
                lists[code].append(counted.pop(code, 0.0))  # noqa: B023
                rest[code].append(now - last - lists[code][-1])
                shutil.rmtree(Path(scratch) / code)  # the disk need not hold all of them
                last = time.process_time()

            trim_each("demo", each=languages, out=Path(scratch) / "{code}", progress=report)
            whole.append(time.process_time() - started)
    later = {code: median(values) for code, values in rest.items() if code != languages[0]}
    worst = max(later, key=lambda code: later[code])
    finish(
        "each-speed",
        {
            "seconds besides its list, slowest language after the first": later[worst],
            "seconds besides its list, median": median(list(later.values())),
            "seconds to count a list, median": median(
                [statistics.median(values) for values in lists.values()]
            ),
            "seconds for all": median(whole),
        },
        {"seconds besides its list, slowest language after the first": "<= 1.5"},
        asked.out,
        unit="processor seconds",
        rounds=asked.rounds,
        languages=len(languages),
        slowest=worst,
        by_language={code: {"rest": median(rest[code]), "list": median(lists[code])} for code in languages},
    )


def _timed_lists() -> dict[str, float]:
    """Make the counting of word lists leave its processor time, by language."""
    counted: dict[str, float] = {}
    real = getattr(gathering.count_words, "real", gathering.count_words)

    def timed(vocabulary: Any, language: Any, *rest: Any) -> Any:
        started = time.process_time()
        result = real(vocabulary, language, *rest)
        counted[language.code] = counted.get(language.code, 0.0) + time.process_time() - started
        return result

    timed.real = real  # type: ignore[attr-defined]
    gathering.count_words = timed
    return counted


if __name__ == "__main__":
    main()
