"""The models that ``experts.py`` compares: how each is made; none is made twice."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress import trim
from polycompress.languages import find_language
from polycompress.pipelines.bistil_general import bistil_general
from polycompress.pipelines.experts.request import ExpertSettings
from polycompress.pipelines.moe_extract import moe_extract
from polycompress.pipelines.moe_train import moe_train
from polycompress.pipelines.moe_upcycle import moe_upcycle

FAMILIES = {
    "Germanic": ("de", "nl", "sv"),
    "Romance": ("fr", "es", "it"),
    "Bantu": ("sw", "zu"),
    "Slavic": ("ru", "uk"),
}
LANGUAGES = tuple(code for codes in FAMILIES.values() for code in codes)
CODES = {code: find_language(code).code for code in LANGUAGES}
"""As judgements name them."""
PAIRS = {family: codes[:2] for family, codes in FAMILIES.items()}
"""Languages of a bilingual student that an extracted one is held against; tasks are learnt in the first."""
LAYER_MAP = (1, 3, 5, 7, 9, 11)
"""Of the teacher's twelve, for a student's six."""
EXPERT_LAYERS = 2
UNITS = 1536
"""Of the teacher's feed-forward networks, and so of the student's."""
START_STEPS, STEPS = 500, 400
"""Of the dense student that all begin with, and of each model after it."""
LOSSES = {"hidden_loss": "relative", "vector_weight": 5.0, "attention_weight": 10.0}
"""Of every distillation; as the bilingual students have them."""
NOISE = 0.01
"""Of copies, as a share of a tensor's standard deviation: of experts, and of the units of wide networks."""


@dataclass(frozen=True, slots=True)
class Model:
    """A row of a table, before a task is learnt."""

    name: str
    make: Callable[[], Path]
    """Its directory, made where it is missing."""
    families: tuple[str, ...] = tuple(FAMILIES)
    """That it serves."""

    @property
    def slug(self) -> str:
        """For names of files."""
        return self.name.replace(", ", "-").replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Room:
    """Where everything lies, and what everything is made with."""

    runs: Path
    data: Path
    model: str
    collects: bool
    """Whether nothing is made, and what is missing is left out."""
    backwards: bool
    """Whether what is wanted last is made first."""

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Nobody else makes a thing of this name meanwhile: several processes may share the runs."""
        place = self.runs / "locks" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def text(self, *codes: str) -> list[str]:
        """The pack's text of some languages."""
        return [f"{code}={self.data / 'text' / code}.txt.gz" for code in codes]

    def base(self) -> Path:
        """The teacher: the multilingual model, trimmed to the ten languages."""
        out = self.runs / "base"
        with self.alone(out.name):
            if not out.is_dir():
                trim(self.model, langs=",".join(LANGUAGES), corpus=self.text(*LANGUAGES), out=out)
        return out

    def start(self) -> Path:
        """The dense student that all others begin with."""
        out = self.runs / "start"
        with self.alone(out.name):
            if not (out / "final").is_dir():
                self._distil(out, START_STEPS, 0, shape={"layers": len(LAYER_MAP), "layer_map": LAYER_MAP})
        return out / "final"

    def dense(self, seed: int, width: int | None = None) -> Path:
        """It, or a copy with wider feed-forward networks that computes the same, distilled further."""
        student = self.start() if width is None else self.wide(width)
        out = self.runs / f"dense{'' if width is None else f'-{width}'}-{seed}"
        with self.alone(out.name):
            if not (out / "final").is_dir():
                self._distil(out, STEPS, seed, student=student, shape={"layer_map": LAYER_MAP})
        return out / "final"

    def experts(self, routing: str, seed: int) -> Path:
        """The model with an expert for each family, distilled further."""
        start = self.upcycled()
        out = self.runs / f"experts-{routing}-{seed}"
        with self.alone(out.name):
            if not (out / "final").is_dir():
                moe_train(
                    start,
                    teacher=self.base(),
                    corpus=self.text(*LANGUAGES),
                    out=out,
                    settings={
                        "text": text_settings(STEPS, seed),
                        "routing": {"routing": routing},
                        "layer_map": LAYER_MAP,
                        **LOSSES,
                    },
                    resume=out.exists(),
                )
        return out / "final"

    def told(self, seed: int) -> Path:
        """The one whose routers were forced, forced at inference too, where the language is given."""
        source, out = self.experts("forced", seed), self.runs / f"experts-told-{seed}"
        with self.alone(out.name):
            if not out.is_dir():
                building = out.with_name(f".{out.name}")
                shutil.copytree(source, building, dirs_exist_ok=True)
                config = json.loads((building / "config.json").read_text("utf-8"))
                config["moe"]["routing"] = "forced"
                (building / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
                building.rename(out)
        return out

    def upcycled(self) -> Path:
        """The model with an expert for each family, as it begins."""
        out = self.runs / "upcycled"
        with self.alone(out.name):
            if not out.is_dir():
                moe_upcycle(
                    self.start(),
                    langs=",".join(LANGUAGES),
                    settings=ExpertSettings(layers=EXPERT_LAYERS),
                    noise=NOISE,
                    out=out,
                )
        return out

    def extracted(self, family: str) -> Path:
        """One family's plain model, with the vocabulary of its languages."""
        source, out = self.experts("forced", 0), self.runs / f"extracted-{family}"
        with self.alone(out.name):
            if not out.is_dir():
                moe_extract(source, family=family, trim=True, corpus=self.text(*FAMILIES[family]), out=out)
        return out

    def trimmed(self, family: str) -> Path:
        """The dense student with the vocabulary of one family's languages."""
        source, out = self.dense(0), self.runs / f"dense-{family}"
        with self.alone(out.name):
            if not out.is_dir():
                codes = FAMILIES[family]
                trim(source, langs=",".join(codes), corpus=self.text(*codes), out=out)
        return out

    def bilingual(self, family: str) -> Path:
        """A student of two of a family's languages, distilled on their text alone for as many steps in all."""
        out = self.runs / f"bilingual-{family}"
        with self.alone(out.name):
            if not (out / "final").is_dir():
                first, second = PAIRS[family]
                bistil_general(
                    self.model,
                    source=first,
                    target=second,
                    corpus=self.text(first, second),
                    out=out,
                    settings={
                        "text": text_settings(START_STEPS + STEPS, 0, mixed=False),
                        "shape": {"layers": len(LAYER_MAP), "layer_map": LAYER_MAP},
                        **LOSSES,
                    },
                    resume=out.exists(),
                )
        return out / "final"

    def wide(self, width: int) -> Path:
        """The dense student with wider networks, which computes what it did but for a little noise."""
        out = self.runs / f"start-{width}"
        with self.alone(out.name):
            if not out.is_dir():
                widen(self.start(), width, out)
        return out

    def _distil(self, out: Path, steps: int, seed: int, student: Path | None = None, **settings: Any) -> None:
        source, *targets = LANGUAGES
        bistil_general(
            self.base(),
            source=source,
            target=",".join(targets),
            corpus=self.text(*LANGUAGES),
            out=out,
            student=student,
            settings={"text": text_settings(steps, seed), "trim": False, **LOSSES, **settings},
            resume=out.exists(),
        )


def text_settings(steps: int, seed: int, *, mixed: bool = True) -> dict[str, Any]:
    """Of every distillation here; languages are mixed by families, as ``moe train`` does."""
    families = {CODES[code]: family for family, codes in FAMILIES.items() for code in codes}
    return {
        "training": {
            "steps": steps,
            "seed": seed,
            "schedule": {"warmup_steps": steps // 10},
            "optimiser": {"learning_rate": 5e-4, "weight_decay": 0.0},
            "snapshots": {"every_steps": 200},
        },
        "batching": {"token_budget": 512},
        "masked": False,
        **({"mixing": {"strategy": "families", "families": families}} if mixed else {}),
    }


def widen(model: Path, width: int, out: Path) -> None:
    """Write a model whose feed-forward networks have more units: copies that share what they give on.

    Method: Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer" (ICLR 2016), Net2WiderNet;
    copies get a little noise, as experts do, so that they can part.
    """
    import torch
    from transformers import AutoModel

    generator = torch.Generator().manual_seed(0)
    plain = AutoModel.from_pretrained(model)
    units = plain.config.intermediate_size
    more = torch.arange(units).repeat(-(-width // units))[units:width]
    chosen = torch.cat([torch.arange(units), more])
    times = torch.bincount(chosen, minlength=units)
    plain.config.intermediate_size = width
    grown = AutoModel.from_config(plain.config)
    state = plain.state_dict()
    for name, tensor in list(state.items()):
        if ".intermediate.dense." in name:
            state[name] = tensor[chosen]
            noise = torch.randn(state[name].shape, generator=generator) * tensor.std() * NOISE
            state[name][units:] += noise[units:]
        elif ".output.dense.weight" in name and tensor.shape[1] == units:
            state[name] = tensor[:, chosen] / times[chosen]
    grown.load_state_dict(state)
    building = out.with_name(f".{out.name}")
    shutil.copytree(model, building, dirs_exist_ok=True)
    grown.save_pretrained(building)
    building.rename(out)


def main_models(room: Room, seed: int) -> Sequence[Model]:
    """The models of the first table."""
    more = UNITS * EXPERT_LAYERS // len(LAYER_MAP)  # a unit has as many weights in either
    experts = functools.partial(room.experts, seed=seed)
    return (
        Model("teacher, trimmed", room.base),
        Model("dense", functools.partial(room.dense, seed)),
        Model("dense, as many active", functools.partial(room.dense, seed, UNITS + more)),
        Model("dense, as many in all", functools.partial(room.dense, seed, UNITS + (len(FAMILIES) - 1) * more)),
        Model("experts, forced", functools.partial(experts, "forced")),
        Model("experts, supervised", functools.partial(experts, "supervised")),
        Model("experts, told nothing", functools.partial(experts, "none")),
        Model("experts, forced, language given", functools.partial(room.told, seed)),
    )  # fmt: skip


def family_models(room: Room) -> Sequence[Model]:
    """The models of the second table."""
    kinds = {"extracted": room.extracted, "dense, trimmed": room.trimmed, "bilingual": room.bilingual}
    return [
        Model(f"{kind}, {family}", functools.partial(make, family), (family,))
        for family in FAMILIES
        for kind, make in kinds.items()
    ]
