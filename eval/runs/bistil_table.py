"""What ``bistil.py`` reports of its judgements: scores, sizes, and what is kept of the teacher's score."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polycompress.evaluation.metrics.kept import PairedPart, score_kept
from polycompress.evaluation.results import stored_scores
from polycompress.evaluation.scoring import find_metric, mean_over_models, side_by_side
from polycompress.evaluation.tasks import find_task
from polycompress.modeldir.manifest import read_manifest

KEPT = ("task", "split", "metric", "scores", "settings", "machine", "versions", "date")
"""What of a judgement is kept."""

Results = dict[tuple[str, str, str], list[dict[str, Any]]]
"""By target language, model and task: a result of each seed."""


def shortened(result: Mapping[str, Any]) -> dict[str, Any]:
    """What of a judgement is kept: what each example got, and on which machine; no paths."""
    loyalty = result["loyalty"] and {name: result["loyalty"][name] for name in ("scores", "mean")}
    return {**{name: result[name] for name in KEPT}, "loyalty": loyalty}


def put(place: Path, found: Mapping[str, Any]) -> None:
    """Keep one; the same bytes for the same content."""
    place.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, ensure_ascii=False)
    place.write_bytes(gzip.compress(text.encode(), mtime=0))


def get(place: Path) -> Any:
    """One that was kept."""
    return json.loads(gzip.decompress(place.read_bytes()))


def summary(
    results: Mapping[tuple[str, str, str], list[dict[str, Any]]], target: str
) -> list[dict[str, Any]]:
    """Each model's scores by task and language, means over seeds; the interval is of the first seed's."""
    rows = []
    for (language, name, task), found in results.items():
        if language != target:
            continue
        for number, row in enumerate(found[0]["scores"]):
            scores = [one["scores"][number]["score"] for one in found]
            rows.append(
                {
                    "model": name,
                    "task": task,
                    "language": row["language"],
                    "score": sum(scores) / len(scores),
                    "per_seed": scores,
                    "examples": row["examples"],
                    "low": row["low"],
                    "high": row["high"],
                    "loyalty": [one["loyalty"] for one in found] if found[0]["loyalty"] else None,
                }
            )
    return rows


def kept(
    results: Mapping[tuple[str, str, str], list[dict[str, Any]]], name: str
) -> dict[str, dict[str, Any]] | None:
    """What a model keeps of the teacher's score, by a name of what is pooled; see ``paired``."""
    return {key: share_of(some) for key, some in paired(results, name, "teacher").items()} or None


def against(
    results: Mapping[tuple[str, str, str], list[dict[str, Any]]], name: str, other: str, pooled: str
) -> dict[str, Any] | None:
    """A model's score above chance as a share of another's; above 1 it is better. None: the other has none."""
    parts = paired(results, name, other).get(pooled)
    try:
        return share_of(parts) if parts else None
    except ValueError:
        return None


def on_its_tasks(
    results: Mapping[tuple[str, str, str], list[dict[str, Any]]], name: str, others: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """What a model and others keep in each target language, on the tasks that it was judged on in that language."""
    where = {(target, task) for target, model, task in results if model == name}
    same = {key: found for key, found in results.items() if (key[0], key[2]) in where}
    shares = {each: kept(same, each) for each in (name, *others)}
    targets = {target for target, _ in where}
    return {
        each: {key: share for key, share in found.items() if key in targets}
        for each, found in shares.items()
        if found is not None
    }


def paired(
    results: Mapping[tuple[str, str, str], list[dict[str, Any]]], name: str, of: str
) -> dict[str, list[PairedPart]]:
    """What two models did with the same examples, by a name of what is pooled.

    ``targets``: all tasks in all target languages; the name of a target: all its tasks; ``target, task``: these alone;
    ``English``: the source language, where there is one; ``target, English``: of this target's students alone.
    """
    parts: dict[str, list[PairedPart]] = {}
    for (target, model, task), found in results.items():
        others = results.get((target, of, task))
        if model != name or others is None or len(others) != len(found):
            continue
        metric = find_metric(found[0]["metric"])
        own, other = ([stored_scores(each, Path(task)) for each in some] for some in (found, others))
        for part in own[0]:
            both = PairedPart(
                student=side_by_side([outcome for each in own for outcome in each[part].outcomes]),
                teacher=side_by_side([outcome for each in other for outcome in each[part].outcomes]),
                statistic=mean_over_models(metric, len(found)),
                chance=find_task(task).chance or 0.0,
            )
            in_english = part.language.startswith("eng")
            own_keys = ("targets", target, f"{target}, {task}")
            for key in ("English", f"{target}, English") if in_english else own_keys:
                parts.setdefault(key, []).append(both)
    return parts


def share_of(parts: list[PairedPart]) -> dict[str, Any]:
    """The pooled share with its interval."""
    found = score_kept(parts, seed=0)
    return {"share": found.share, "low": found.low, "high": found.high, "parts": len(parts)}


def facts_of(model: Path) -> dict[str, Any]:
    """Size, and how it was trained."""
    if not (model / "config.json").is_file():
        return {}
    manifest = read_manifest(model) or {}
    weights = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    trained = manifest.get("distillation") or manifest.get("training") or {}
    config = json.loads((model / "config.json").read_text("utf-8"))
    told = {name: trained.get(name) for name in ("steps", "tokens", "seconds", "precision", "losses")}
    return {
        "weight_bytes": weights,
        "layers": config.get("num_hidden_layers"),
        "hidden": config.get("hidden_size"),
        "feed_forward": config.get("intermediate_size"),
        "vocabulary": config.get("vocab_size"),
        **{name: value for name, value in told.items() if value is not None},
    }
