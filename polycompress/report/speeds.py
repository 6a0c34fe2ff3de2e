"""How fast benchmarks found models to be, so that their scores can be set against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.evaluation.results import number


@dataclass(frozen=True, slots=True)
class Speed:
    """What one benchmark found at one size of batch."""

    how: str
    """Precision and size, in words."""
    by_path: Mapping[str, float]
    """Tokens a second."""
    by_manifest: Mapping[str, float]
    """The same by the SHA-256 of models' manifests."""
    names: Mapping[str, str]
    """What the benchmark calls models, by path."""

    def rate_of(self, path: str, manifest: str | None) -> float | None:
        """Tokens a second of a model, which is known by its manifest or else by its place."""
        return self.by_manifest.get(manifest) if manifest is not None else self.by_path.get(path)


def read_speed(found: Mapping[str, Any], where: Path) -> Speed | None:
    """The speeds of one file, at its largest batch of the shortest texts in its first precision.

    Args:
        found: A benchmark's result whose tables could be made.
        where: Its file, for messages.

    Returns:
        None where nothing was timed.

    Raises:
        InputError: It is damaged.
    """
    try:
        cells = [(each["precision"], each["length"], each["batch"]) for each in found["ratios"]["speed"]]
        if not cells:
            return None
        first = next(iter(found["settings"]["precisions"]))
        place = min(
            (index for index, (precision, _, _) in enumerate(cells) if precision == first),
            key=lambda index: (cells[index][1], -cells[index][2]),
        )
        rates = [number(each["timings"][place]["tokens_per_second"], 0, 1e15) for each in found["models"]]
        precision, length, batch = cells[place]
        models = [(str(each.get("path") or ""), each.get("manifest_sha256")) for each in found["models"]]
        names = [str(each["name"]) for each in found["models"]]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{where}: is no whole result of a benchmark ({error!r}). Make it again with `polycompress bench --out`."
        ) from error
    pairs = [(*model, rate) for model, rate in zip(models, rates, strict=True) if rate]
    return Speed(
        f"batches of {batch} x {length} tokens in {precision}",
        {path: rate for path, _, rate in pairs if path},
        {manifest: rate for _, manifest, rate in pairs if isinstance(manifest, str)},
        {path: name for (path, _), name in zip(models, names, strict=True) if path},
    )
