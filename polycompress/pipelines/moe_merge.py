"""Merge models of one family each: their feed-forward networks side by side as experts, everything else averaged.

Method: Sukhbaatar et al., "Branch-Train-MiX: Mixing Expert LLMs into a Mixture-of-Experts LLM" (COLM 2024), section
3.2, with experts in the last layers only; on files instead of models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.moe_card import render_merged_card
from polycompress.modeldir.rewriting import Entry
from polycompress.moe.config import MoeConfig
from polycompress.moe.families import FamilyTable
from polycompress.moe.places import LayerTensors, count_layers, place_of, plain_networks
from polycompress.moe.planning import ExpertPlan, plan_members
from polycompress.pipelines.experts.comparing import check_alike
from polycompress.pipelines.experts.configs import expert_config
from polycompress.pipelines.experts.families import language_records, load_families
from polycompress.pipelines.experts.members import Member, find_members, find_shared
from polycompress.pipelines.experts.opening import open_plain
from polycompress.pipelines.experts.request import ExpertSettings
from polycompress.pipelines.experts.sizes import grown_size, plain_size
from polycompress.pipelines.experts.tensors import expert_entry, mean_entry, router_entry
from polycompress.pipelines.factorising.writing import base_manifest, model_size, write_rewritten
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import OpenModel, naming

MEAN = "mean"


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeResult:
    """A model of several, or a dry run's plan."""

    out: Path | None
    """The directory written; None after a dry run."""
    sources: tuple[str, ...]
    """Names of the models, in the order of their experts."""
    plan: ExpertPlan
    moe: MoeConfig
    shared: str
    """``mean``, or the name of the model that everything but experts is of."""
    seed: int
    sizes: Mapping[str, Mapping[str, int]]
    """``before``, of one model, and ``after``: tokens, parameters, those that one token meets, those in the table,
    bytes."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": None if self.out is None else str(self.out),
            "sources": list(self.sources),
            **self.facts(),
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
        }

    def facts(self) -> dict[str, Any]:
        """What was done, without sizes."""
        return {
            "moe": self.moe.as_dict(),
            "plan": self.plan.as_dict(),
            "shared": self.shared,
            "seed": self.seed,
        }


def moe_merge(
    models: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    family: Sequence[str] = (),
    families: str | os.PathLike[str] = "glottolog-branch",
    shared: str = MEAN,
    settings: ExpertSettings | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> MergeResult:
    """Write a model whose experts are several models' networks; torch is not needed.

    In the layers that get experts, each model's network becomes one, bit for bit. Everything else, the networks of the
    other layers included, is the mean of the models' or one model's. Routers are drawn at random, to be trained.

    Args:
        models: Plain models of one shape and one tokenizer, at least two, as directories or ``owner/name[@revision]``.
        out: The directory to write; not needed for a dry run.
        family: For each model ``NAME`` or ``NAME=LANGS``, in their order. Without, languages are those of the models'
            manifests, and families are called as ``families`` calls them. Models of one family become several experts
            of it.
        families: A preset of ``polycompress.languages``, or a file of a language and its family a line with a tab
            between.
        shared: ``mean``, or the model (as given, or by its family) that everything but experts is taken from.
        settings: Layers, experts of a token, routing, seed.
        overwrite: Replace an existing output.
        dry_run: Plan only.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: Models differ in shape or tokenizer (the message says in what), have experts already, a language is
            in no family or in two, or the request is wrong otherwise; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    asked = settings or ExpertSettings()
    place = None if dry_run or out is None else Path(out)
    if place is None and not dry_run:
        raise InputError("no output directory was given; name one with --out, or plan only with --dry-run")
    if len(models) < 2:
        raise InputError(
            "One model makes no mixture: give two or more. Experts of one: polycompress moe upcycle."
        )
    if place is not None:
        check_output(place, overwrite=overwrite)
    groups = load_families(families)
    opened = [open_plain(model) for model in models]
    if place is not None:
        for each in opened:
            check_apart(place, each.source.path)
    check_alike(opened)
    members = find_members(opened, family, groups)
    chosen = find_shared(members, models, shared)
    plan = plan_members([(each.family, each.languages) for each in members])
    base = opened[chosen or 0]
    with naming(base.source.path):
        layers = count_layers(base.config, place_of(base.config["model_type"]))
        moe = asked.settle(plan, layers, None if family or isinstance(groups, FamilyTable) else groups)
        networks = plain_networks(base.config, base.checkpoint.tensors, moe.layers)
    before = plain_size(model_size(base))
    result = MergeResult(
        out=place,
        sources=tuple(each.source.name for each in opened),
        plan=plan,
        moe=moe,
        shared=MEAN if chosen is None else opened[chosen].source.name,
        seed=asked.seed,
        sizes={
            "before": before,
            "after": grown_size(before, base.checkpoint, networks, moe.experts, moe.top_k),
        },
    )
    if place is not None:
        record = {
            "models": [os.fspath(model) for model in models],
            "family": list(family),
            "families": os.fspath(families),
            "shared": shared,
            **asked.as_dict(),
        }
        manifest = _manifest(base, members, result, record, command, progress)
        write_rewritten(
            base,
            place,
            _exchanged(base, members, networks, seed=asked.seed, mean=chosen is None),
            expert_config(base.config, moe),
            manifest,
            render_merged_card,
            overwrite=overwrite,
            progress=progress,
        )
    return result


def _exchanged(
    base: OpenModel, members: Sequence[Member], networks: Sequence[LayerTensors], *, seed: int, mean: bool
) -> dict[str, dict[str, Entry]]:
    """What stands for each tensor: experts and routers, or the mean of all models' where that was asked for."""
    checkpoints = [each.opened.checkpoint for each in members]

    def stored(name: str) -> list[Any]:
        return [(checkpoint, checkpoint.tensors[name]) for checkpoint in checkpoints]

    exchanged: dict[str, dict[str, Entry]] = {}
    for each in networks:
        for old, new in zip(each.plain, each.experts, strict=True):
            exchanged[old] = {new: expert_entry(stored(old), noise=0.0, seed=())}
        router = router_entry(len(members), each.hidden, seed=(seed, each.layer))
        exchanged[next(iter(each.plain))][each.router] = router
    if mean:
        for name in base.checkpoint.tensors:
            exchanged.setdefault(name, {name: mean_entry(stored(name))})
    return exchanged


def _manifest(
    base: OpenModel,
    members: Sequence[Member],
    result: MergeResult,
    record: Mapping[str, Any],
    command: Sequence[str],
    progress: Progress | None,
) -> dict[str, Any]:
    """The facts; ``source`` is the model whose other files are taken, ``sources`` are all."""
    each_own = [base_manifest(each.opened, each.opened.config, command, record, progress) for each in members]
    manifest = base_manifest(base, expert_config(base.config, result.moe), command, record, progress)
    manifest["sources"] = [
        {**own["source"], "family": each.family, "languages": list(each.languages)}
        for each, own in zip(members, each_own, strict=True)
    ]
    licences = {own["source"]["license"] for own in each_own}
    manifest["source"]["license"] = licences.pop() if len(licences) == 1 else None
    if any(own.get("finetuning") != manifest.get("finetuning") for own in each_own):
        manifest.pop("finetuning", None)
    manifest["seed"] = result.seed
    manifest["sizes"] = {when: dict(size) for when, size in result.sizes.items()}
    manifest["languages"] = language_records(result.plan.languages)
    manifest["experts"] = result.facts()
    manifest["notes"] = []
    return manifest
