"""What ``config.json`` says of a model with language-family experts: the field ``moe``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeGuard, cast, get_args

from polycompress.errors import InputError

Routing = Literal["plain", "forced"]
FIELD: Final = "moe"
"""Of ``config.json``."""
MAX_EXPERTS: Final = 1024
MAX_LAYERS: Final = 4096
MAX_LANGUAGES: Final = 10_000
_SHOWN: Final = 12
_CODE: Final = re.compile(r"[a-z]{3}-[A-Z][a-z]{3}", re.ASCII)
_REQUIRED: Final = ("layers", "experts", "top_k", "families", "languages")
_OPTIONAL: Final = ("normalise", "routing", "preset")


@dataclass(frozen=True, kw_only=True, slots=True)
class MoeConfig:
    """Where the experts are, which family has which, and how tokens find them.

    Raises:
        InputError: The fields contradict each other; every fault is named.
    """

    layers: tuple[int, ...]
    """Layers that have experts, 0-based and ascending; stored as they are and never computed anew."""
    experts: int
    """E, in each of these layers."""
    top_k: int
    """k, experts of a token."""
    families: Mapping[str, tuple[int, ...]]
    """Each family's experts; families may share some, and every expert is at least one family's."""
    languages: Mapping[str, str]
    """Code (``deu-Latn``) -> family."""
    normalise: bool = True
    """Whether the weights of a token's k experts are scaled to sum to 1."""
    routing: Routing = "plain"
    """At inference: the router alone, or with a family's expert among the k wherever the language is given."""
    preset: str | None = None
    """The grouping of languages that the families are of."""

    def __post_init__(self) -> None:
        _refuse(_faults(self.as_dict(), None), FIELD)

    @classmethod
    def from_dict(
        cls, value: object, *, model_layers: int | None = None, where: str = f"config.json: {FIELD}"
    ) -> MoeConfig:
        """Read the field of a ``config.json``, which may hold anything.

        Args:
            value: Parsed JSON.
            model_layers: Layers of the model; None: not known here.
            where: Of the value, for messages.

        Raises:
            InputError: Something is missing, unknown, of a wrong type or contradicts the rest; every fault is named.
        """
        _refuse(_faults(value, model_layers), where)
        given = cast("Mapping[str, Any]", value)
        return cls(
            layers=tuple(given["layers"]),
            experts=given["experts"],
            top_k=given["top_k"],
            normalise=given.get("normalise", True),
            families={name: tuple(experts) for name, experts in given["families"].items()},
            languages=dict(given["languages"]),
            routing=given.get("routing", "plain"),
            preset=given.get("preset"),
        )

    def as_dict(self) -> dict[str, Any]:
        """For ``config.json``: what ``from_dict`` reads."""
        return {
            "layers": list(self.layers),
            "experts": self.experts,
            "top_k": self.top_k,
            "normalise": self.normalise,
            "families": {name: list(experts) for name, experts in self.families.items()},
            "languages": dict(sorted(self.languages.items())),
            "routing": self.routing,
            "preset": self.preset,
        }

    @property
    def codes(self) -> tuple[str, ...]:
        """The languages in order of their codes: the ids that a model's ``language_ids`` count."""
        return tuple(sorted(self.languages))

    def language_id(self, language: str) -> int:
        """The number of a language among ``codes``; -1: unknown, which is never forced."""
        return self.codes.index(language) if language in self.languages else -1

    def expert_mask_of(self, language: str) -> tuple[int, ...]:
        """The experts of a language's family, ascending; none of a language that is unknown."""
        family = self.languages.get(language)
        return () if family is None else tuple(sorted(self.families[family]))

    def family_languages(self, family: str) -> tuple[str, ...]:
        """The languages of a family, in order of their codes."""
        return tuple(code for code in self.codes if self.languages[code] == family)


def _refuse(faults: Sequence[str], where: str) -> None:
    if faults:
        shown = [*faults[:_SHOWN], *([f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else [])]
        raise InputError(f"{where}: correct or restore it:\n  " + "\n  ".join(shown))


def _faults(value: object, model_layers: int | None) -> list[str]:
    """Everything that is wrong with the field, one message each."""
    if not isinstance(value, Mapping):
        return [f"it is {_kind(value)}, not an object with {', '.join(_REQUIRED)}"]
    faults = [f"{name!r} is missing" for name in _REQUIRED if name not in value]
    faults += [
        f"{str(name)[:60]!r} is not a field of it; fields are {', '.join((*_REQUIRED, *_OPTIONAL))}"
        for name in value
        if name not in _REQUIRED and name not in _OPTIONAL
    ]
    experts = value.get("experts")
    known = experts if _is_count(experts) and 1 <= experts <= MAX_EXPERTS else None
    if "experts" in value and known is None:
        faults.append(f"'experts' is {_kind(experts)}, not a number from 1 to {MAX_EXPERTS}")
    if "layers" in value:
        faults += _layer_faults(value["layers"], model_layers)
    if "top_k" in value:
        faults += _top_k_faults(value["top_k"], known)
    if not isinstance(value.get("normalise", True), bool):
        faults.append(f"'normalise' is {_kind(value['normalise'])}, neither true nor false")
    if value.get("routing", "plain") not in get_args(Routing):
        faults.append(f"'routing' is {_kind(value['routing'])}, not one of {', '.join(get_args(Routing))}")
    if not isinstance(value.get("preset"), str | None):
        faults.append(f"'preset' is {_kind(value['preset'])}, neither a name nor null")
    families = value.get("families")
    if "families" in value:
        faults += _family_faults(families, known)
    if "languages" in value:
        faults += _language_faults(value["languages"], families if isinstance(families, Mapping) else None)
    return faults


def _layer_faults(layers: object, model_layers: int | None) -> list[str]:
    if not isinstance(layers, list | tuple) or not layers or not all(map(_is_count, layers)):
        return [f"'layers' is {_kind(layers)}, not a list of at least one layer, counted from 0"]
    if len(layers) > MAX_LAYERS:
        return [f"'layers' names {len(layers)} layers, over the limit of {MAX_LAYERS}"]
    faults = []
    if list(layers) != sorted(set(layers)):
        faults.append(f"'layers' is {_kind(layers)}; name each layer once, in ascending order")
    if model_layers is not None and (beyond := [each for each in layers if each >= model_layers]):
        faults.append(f"'layers' names layer {beyond[0]}, but the model has layers 0 to {model_layers - 1}")
    return faults


def _top_k_faults(top_k: object, experts: int | None) -> list[str]:
    if not _is_count(top_k) or top_k < 1:
        return [f"'top_k' is {_kind(top_k)}, not a number of experts from 1 on"]
    if experts is not None and top_k > experts:
        return [f"'top_k' is {top_k}, more than the {experts} experts there are"]
    return []


def _family_faults(families: object, experts: int | None) -> list[str]:
    if not isinstance(families, Mapping) or not families:
        return [f"'families' is {_kind(families)}, not an object that names each family's experts"]
    faults: list[str] = []
    used: set[int] = set()
    for name, own in families.items():
        if not isinstance(name, str) or not name.strip():
            faults.append(f"'families' has the name {_kind(name)}; a family needs a name")
        elif not isinstance(own, list | tuple) or not own or not all(map(_is_count, own)):
            faults.append(
                f"family {name[:60]!r} has {_kind(own)}, not a list of at least one expert, counted from 0"
            )
        elif len(own) != len(set(own)):
            faults.append(f"family {name[:60]!r} names an expert twice: {_kind(own)}")
        elif experts is not None and max(own) >= experts:
            faults.append(
                f"family {name[:60]!r} has expert {max(own)}, but there are experts 0 to {experts - 1}"
            )
        else:
            used.update(own)
    if not faults and experts is not None and (idle := [each for each in range(experts) if each not in used]):
        faults.append(
            f"expert {', '.join(map(str, idle[:8]))} is of no family; give it to one, or have fewer experts"
        )
    return faults


def _language_faults(languages: object, families: Mapping[Any, Any] | None) -> list[str]:
    if not isinstance(languages, Mapping):
        return [f"'languages' is {_kind(languages)}, not an object from codes to families"]
    if len(languages) > MAX_LANGUAGES:
        return [f"'languages' has {len(languages)} entries, over the limit of {MAX_LANGUAGES}"]
    faults = []
    for code, family in languages.items():
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            faults.append(f"language {_kind(code)} is no code such as 'deu-Latn' (ISO 639-3 and ISO 15924)")
        elif isinstance(family, list | tuple):
            faults.append(
                f"language {code} is in {len(family)} families, {_kind(family)}; it needs exactly one"
            )
        elif not isinstance(family, str) or (families is not None and family not in families):
            faults.append(f"language {code} is in no family: {_kind(family)} is not among 'families'")
    return faults


def _kind(value: object) -> str:
    """A value for a message, cut to what it has room for."""
    shown = repr(value) if not isinstance(value, str) or len(value) < 100 else repr(value[:100])
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
