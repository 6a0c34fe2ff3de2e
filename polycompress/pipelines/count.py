"""Count corpora of any size: cut into units of work, counted by an engine, kept one by one, added up exactly.

A unit is some shards that are counted together, so that words which many small files share are tokenised once. Its
counts go to a file in ``<out>.parts/``; the same command run again counts what is missing.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.corpora import (
    CorpusSpec,
    LanguageFilter,
    Reading,
    parse_corpora,
)
from polycompress.errors import InputError, PolycompressError
from polycompress.languages import Language
from polycompress.modeldir.atomic import check_output_file
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.counting.engines import Engine, EngineName, choose_engine
from polycompress.pipelines.counting.parts import Part, Parts
from polycompress.pipelines.counting.plan import Plan, cut, make_plan, unit_bytes
from polycompress.pipelines.counting.units import Damage, read_tokenizer
from polycompress.pipelines.trimming.loading import asked_languages
from polycompress.vocab.counts import Counts, LanguageCounts, save_counts

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how much more of it is done, and how much there is in all where that is known."""

PARTS_VERSION: Final = 1
"""Of what ``<out>.parts/`` holds."""
SHOWN: Final = 20
"""Damaged shards that a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CountResult:
    """What was counted."""

    out: Path
    languages: Mapping[str, LanguageCounts]
    damaged: tuple[Damage, ...]
    """Shards left out because they could not be read to their ends."""
    dropped: Mapping[str, int]
    """Lines left out, by the reason."""
    engine: EngineName
    workers: int
    units: int
    """Units of work."""
    units_kept: int
    """Of them, those that an earlier run had counted."""
    bytes_counted: int
    """Bytes of text that this run read, held-out texts not included."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "out": str(self.out),
            "languages": {code: summary(counts) for code, counts in self.languages.items()},
            "damaged": [damage.as_dict() for damage in self.damaged],
            "dropped": dict(self.dropped),
            "engine": self.engine,
            "workers": self.workers,
            "units": self.units,
            "units_kept": self.units_kept,
            "bytes_counted": self.bytes_counted,
            "seconds": self.seconds,
            "megabytes_per_second": self.megabytes_per_second,
        }

    @property
    def megabytes_per_second(self) -> float | None:
        """Of text, all cores together, from the first unit to the last; None where nothing was left to do."""
        return self.bytes_counted / 1e6 / self.seconds if self.bytes_counted else None


def summary(counts: LanguageCounts) -> dict[str, Any]:
    """The figures of one language."""
    unseen = counts.seen_once / counts.tokens if counts.seen_once is not None and counts.tokens else None
    return {
        "texts": counts.texts,
        "tokens": int(counts.tokens),
        "characters": counts.characters,
        "bytes": counts.bytes,
        "distinct_tokens": len(counts.ids),
        "seen_once": counts.seen_once,
        "unseen_share": unseen,
        "held_out_texts": len(counts.held_out_texts or ()),
    }


def count_files(
    model: str | Path,
    langs: str | Sequence[str],
    corpus: Sequence[str],
    out: Path,
    *,
    engine: EngineName = "cores",
    reading: Reading | None = None,
    identify: Path | None = None,
    identify_threshold: float = 0.5,
    workers: int | None = None,
    deduplicate: bool = False,
    skip_bad: bool = False,
    address: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CountResult:
    """Count the tokens of corpora under a model's tokenizer, and write a counts file.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]``.
        langs: Languages, joined by commas or as a list; each needs a corpus.
        corpus: ``[LANG=]PATTERN``, or data sets; see ``corpora.parse_corpora``.
        out: The counts file. What is finished meanwhile lies in ``<out>.parts/`` beside it.
        engine: ``process``, ``cores`` or ``ray``; the counts are the same.
        reading: How files become texts.
        identify: A fastText model; only texts in which it sees the language are counted.
        identify_threshold: Probability that it must give, 0 to 1.
        workers: Processes or actors; None: one for each core, or as many as the cluster has.
        deduplicate: Count each text once, over all shards of its language.
        skip_bad: Leave out shards that are damaged, instead of failing at the end.
        address: Of a Ray cluster; None: a local Ray.
        overwrite: Replace an existing counts file.
        progress: See ``Progress``; amounts are bytes of files.

    Raises:
        InputError: Something about the request, the files or the address is wrong.
        PolycompressError: A shard is damaged (the others' counts are kept for the next run), or a worker died.
    """
    check_output_file(out, overwrite=overwrite)
    languages = asked_languages(langs)
    reading = reading or Reading()
    specs = parse_corpora(corpus, languages, datasets=True)
    _check_covered(languages, specs)
    tokenizer = read_tokenizer(resolve_model(model))
    readings = {
        language.code: reading
        if identify is None
        else dataclasses.replace(
            reading,
            identify=LanguageFilter(model=identify, language=language.code, threshold=identify_threshold),
        )
        for language in languages
    }
    parts = Parts(
        Path(f"{out}.parts"),
        {
            "polycompress": PARTS_VERSION,
            "tokenizers": importlib.metadata.version("tokenizers"),
            "tokenizer_sha256": tokenizer.sha256,
            "vocab_size": tokenizer.size,
            "deduplicate": deduplicate,
            "readings": {code: each.as_dict() for code, each in readings.items()},
        },
        unit_bytes(specs, readings),
    )
    with (
        closing(choose_engine(engine, tokenizer, workers=workers, address=address)) as chosen,
        parts.opened(),
    ):
        plan = make_plan(
            {
                language.code: cut(specs, language, readings[language.code], parts.unit_bytes)
                for language in languages
            },
            readings,
            parts.unit_bytes,
            parts.finished(),
            engine=chosen,
            work=parts.path if deduplicate else None,
        )
        started = time.perf_counter()
        done, counted = _run(chosen, plan, parts, progress)
        seconds = time.perf_counter() - started
        damaged = tuple(damage for part in done for damage in part.damaged)
        if damaged and not skip_bad:
            raise PolycompressError(_what_is_damaged(damaged, parts.path))
        found = parts.merge(done)  # in the order in which workers came to their ends
        merged = {language.code: found[language.code] for language in languages if language.code in found}
        dropped = Counter[str]()
        for counts in merged.values():
            dropped.update(counts.source.get("dropped", {}))
        if empty := [
            code for code, counts in merged.items() if not counts.texts and not counts.held_out_texts
        ]:
            parts.remove()
            raise InputError(_what_is_empty(empty, corpus, dropped, damaged))
        save_counts(
            Counts(tokenizer_sha256=tokenizer.sha256, vocab_size=tokenizer.size, languages=merged), out
        )
        parts.remove()
    return CountResult(
        out=out,
        languages=merged,
        damaged=damaged,
        dropped=dict(sorted(dropped.items())),
        engine=engine,
        workers=chosen.workers,
        units=len(done),
        units_kept=len(plan.parts),
        bytes_counted=counted,
        seconds=seconds,
    )


def _run(engine: Engine, plan: Plan, parts: Parts, progress: Progress | None) -> tuple[list[Part], int]:
    """Count units and keep their counts; all parts, and the bytes of text counted.

    Raises:
        InputError: The first failure that comes up: a file is missing, binary, or has not the field.
        PolycompressError: The first failure of another kind.
    """
    total = plan.size or None
    done, counted, ahead = list(plan.parts), 0, 0

    def report(amount: int) -> None:
        nonlocal ahead
        if progress is not None:
            progress("counting", amount, total)
        ahead += amount

    report(plan.size - sum(unit.size for unit in plan.units))
    ahead = 0
    for outcome in engine.run(plan.jobs(), report):
        if outcome.failure:
            raise (InputError if outcome.failure_is_input else PolycompressError)(outcome.failure)
        unit = plan.units[outcome.number]
        done.append(parts.put(unit, outcome.packed))
        counted += outcome.bytes
        report(unit.size - ahead)
        ahead = 0
    return done, counted


def _check_covered(languages: Sequence[Language], specs: Sequence[CorpusSpec]) -> None:
    for language in languages:
        if not any(spec.language == language for spec in specs):
            raise InputError(
                f"{language.name} ({language.code}) has no corpus. Add --corpus {language.code}='FILES' or "
                f"--corpus {language.code}=hf://owner/name@revision, or leave the language out."
            )


def _what_is_empty(
    codes: Sequence[str], corpus: Sequence[str], dropped: Mapping[str, int], damaged: Sequence[Damage]
) -> str:
    reasons = [f"{reason} {count:,}" for reason, count in dropped.items()]
    reasons += [f"damaged shards {len(damaged)}"] if damaged else []
    return (
        f"{', '.join(codes)}: no text in {', '.join(corpus)}"
        + (f" (left out: {', '.join(reasons)})" if reasons else "")
        + ". Give files with one text a line, or leave out less."
    )


def _what_is_damaged(damaged: Sequence[Damage], kept: Path) -> str:
    shown = "\n".join(damage.describe() for damage in damaged[:SHOWN])
    more = f"\nand {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
    return (
        f"{len(damaged)} damaged:\n{shown}{more}\nThe counts of everything else are kept in {kept}: mend or remove "
        "what is damaged and run the same command again, or add --skip-bad to do without."
    )
