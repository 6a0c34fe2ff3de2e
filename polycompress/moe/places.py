"""Where the feed-forward networks of each ``model_type`` lie in a checkpoint, and which expert tensors replace them.

With d the hidden and f the inner width, a plain network's tensors [f, d], [d, f], [f] or [d] become one tensor of E
such slices each, and a router [E, d] is added. Everything else of the layer stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Protocol

from polycompress.errors import InputError
from polycompress.modeldir.axes_table import base_type
from polycompress.moe.config import MoeConfig

_SHOWN: Final = 8


class TensorShape(Protocol):
    """What this module reads of a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of a network."""

    dense: str
    """Its name in a plain model, behind the layer's number."""
    experts: str
    """Name of the parameter that holds E of it: ``up``, ``down`` ..."""
    axes: str
    """Of the plain tensor: letters d and f."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FfnPlace:
    """Where the networks of one ``model_type`` lie. Names are behind one of ``bases``, ``layers`` and the number."""

    bases: tuple[str, ...]
    """Prefixes under which the base model may sit in the file."""
    layers: str
    """What stands before a layer's number."""
    parts: tuple[Part, ...]
    owned: tuple[str, ...]
    """Beginnings of the names of all tensors that belong to a network; one that is no part is not understood."""
    module: str
    """Of the experts and their router, in the layer."""
    gated: bool
    """Whether the inner vector is activation(gate) * up, instead of activation(up)."""
    hidden: str = "hidden_size"
    """Field of config.json with d."""
    inner: str = "intermediate_size"
    """Field of config.json with f."""
    activation: str = "hidden_act"
    """Field of config.json that names the activation."""
    count: str = "num_hidden_layers"
    """Field of config.json that counts the layers."""

    @property
    def router(self) -> str:
        """Name of the router's weight, in the layer."""
        return f"{self.module}.router.weight"

    def expert_name(self, part: Part) -> str:
        """Name of a part's E slices, in the layer."""
        return f"{self.module}.experts.{part.experts}"


_ENCODER: Final = FfnPlace(
    bases=("bert.", ""),
    layers="encoder.layer.",
    parts=(
        Part("intermediate.dense.weight", "up", "fd"),
        Part("intermediate.dense.bias", "up_bias", "f"),
        Part("output.dense.weight", "down", "df"),
        Part("output.dense.bias", "down_bias", "d"),
    ),
    owned=("intermediate.", "output.dense."),
    module="moe",
    gated=False,
)
_DECODER: Final = FfnPlace(
    bases=("model.", ""),
    layers="layers.",
    parts=(
        Part("mlp.gate_proj.weight", "gate", "fd"),
        Part("mlp.up_proj.weight", "up", "fd"),
        Part("mlp.down_proj.weight", "down", "df"),
    ),
    owned=("mlp.",),
    module="mlp",
    gated=True,
)


_FAIRSEQ: Final = replace(_ENCODER, bases=("roberta.", ""))

PLACES: Final[Mapping[str, FfnPlace]] = MappingProxyType(
    {
        "bert": _ENCODER,
        "roberta": _FAIRSEQ,
        "xlm-roberta": _FAIRSEQ,
        "camembert": _FAIRSEQ,
        "llama": _DECODER,
        "mistral": _DECODER,
        "qwen2": _DECODER,
        "qwen3": _DECODER,
    }
)
"""By the ``model_type`` of the plain model."""


@dataclass(frozen=True, slots=True)
class LayerTensors:
    """The network of one layer in one checkpoint, plain or as experts."""

    layer: int
    plain: Mapping[str, Part]
    """Full name of each plain tensor."""
    experts: Mapping[str, Part]
    """Full name of the tensor of E slices that stands for each, in the same order."""
    router: str
    """Full name of the router's weight."""
    hidden: int
    """d."""
    inner: int
    """f."""

    def shape_of(self, part: Part, experts: int | None = None) -> tuple[int, ...]:
        """Shape of a part: that of the plain tensor, or of so many slices."""
        plain = tuple({"d": self.hidden, "f": self.inner}[axis] for axis in part.axes)
        return plain if experts is None else (experts, *plain)


def place_of(model_type: object) -> FfnPlace:
    """Where the networks of a plain ``model_type`` lie.

    Raises:
        InputError: It is not known.
    """
    if isinstance(model_type, str) and model_type in PLACES:
        return PLACES[model_type]
    raise InputError(
        f"config.json: model_type {str(model_type)[:60]!r}: it is not known where its feed-forward networks lie, so it "
        f"can have no experts. Known types: {', '.join(sorted(PLACES))}."
    )


def count_layers(config: Mapping[str, Any], place: FfnPlace) -> int:
    """Layers of a model.

    Raises:
        InputError: config.json does not say.
    """
    return _size(config, place.count)


def plain_networks(
    config: Mapping[str, Any], tensors: Mapping[str, TensorShape], layers: Iterable[int]
) -> tuple[LayerTensors, ...]:
    """The networks of some layers of a plain model.

    Args:
        config: The parsed ``config.json``, its ``model_type`` that of a plain model.
        tensors: Name -> shape, of every tensor of the checkpoint.
        layers: Which, 0-based.

    Raises:
        InputError: The ``model_type`` is not known, a layer is not there, or a network's tensors are not those, of
            those shapes, that the table says; all of them are named.
    """
    place = place_of(config.get("model_type"))
    found = _networks(config, tensors, layers, place)
    faults = [fault for each in found for fault in _plain_faults(each, tensors, place)]
    _refuse(faults, config)
    return found


def expert_networks(
    config: Mapping[str, Any], tensors: Mapping[str, TensorShape], moe: MoeConfig
) -> tuple[LayerTensors, ...]:
    """The networks of the layers of a model that have experts.

    Args:
        config: The parsed ``config.json``.
        tensors: Name -> shape, of every tensor of the checkpoint.
        moe: What its field ``moe`` says.

    Raises:
        InputError: As of ``plain_networks``.
    """
    place = place_of(base_type(str(config.get("model_type"))))
    found = _networks(config, tensors, moe.layers, place)
    faults = [fault for each in found for fault in _expert_faults(each, tensors, place, moe.experts)]
    _refuse(faults, config)
    return found


def _networks(
    config: Mapping[str, Any], tensors: Mapping[str, TensorShape], layers: Iterable[int], place: FfnPlace
) -> tuple[LayerTensors, ...]:
    hidden, inner = _size(config, place.hidden), _size(config, place.inner)
    chosen, number = tuple(layers), count_layers(config, place)
    if beyond := [each for each in chosen if not 0 <= each < number]:
        raise InputError(f"Layer {beyond[0]}: the model has layers 0 to {number - 1}.")
    prefix = _prefix(tensors, place)
    found = []
    for layer in chosen:
        start = f"{prefix}{place.layers}{layer}."
        found.append(
            LayerTensors(
                layer=layer,
                plain={start + part.dense: part for part in place.parts},
                experts={start + place.expert_name(part): part for part in place.parts},
                router=start + place.router,
                hidden=hidden,
                inner=inner,
            )
        )
    return tuple(found)


def _prefix(tensors: Mapping[str, TensorShape], place: FfnPlace) -> str:
    """Of the bases the one that the checkpoint's layers are under."""
    for base in place.bases:
        if any(name.startswith(f"{base}{place.layers}0.") for name in tensors):
            return base
    wanted = ", ".join(f"{base}{place.layers}0.*" for base in place.bases)
    raise InputError(
        f"The checkpoint has no layers where its type keeps them ({wanted}). Check that config.json belongs to these "
        "weights."
    )


def _plain_faults(found: LayerTensors, tensors: Mapping[str, TensorShape], place: FfnPlace) -> list[str]:
    wanted = {name: found.shape_of(part) for name, part in found.plain.items()}
    return _mismatches(wanted, found, tensors, place.owned, place)


def _expert_faults(
    found: LayerTensors, tensors: Mapping[str, TensorShape], place: FfnPlace, experts: int
) -> list[str]:
    wanted = {name: found.shape_of(part, experts) for name, part in found.experts.items()}
    wanted[found.router] = (experts, found.hidden)
    return _mismatches(wanted, found, tensors, (*place.owned, f"{place.module}."), place)


def _mismatches(
    wanted: Mapping[str, tuple[int, ...]],
    found: LayerTensors,
    tensors: Mapping[str, TensorShape],
    owned: Sequence[str],
    place: FfnPlace,
) -> list[str]:
    start = found.router.removesuffix(place.router)
    faults = [f"{name} is missing" for name in wanted if name not in tensors]
    faults += [
        f"{name} is {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    known = tuple(start + each for each in owned)
    return faults + [
        f"{name} {list(each.shape)} is not understood"
        for name, each in tensors.items()
        if name.startswith(known) and name not in wanted
    ]


def _refuse(faults: Sequence[str], config: Mapping[str, Any]) -> None:
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError(
            f"The feed-forward networks are not those of model_type {config.get('model_type')!r}: "
            f"{'; '.join(faults[:_SHOWN])}{more}. Nothing was guessed; check that config.json belongs to these weights."
        )


def _size(config: Mapping[str, Any], field: str) -> int:
    value = config.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"config.json: {field!r} is {value!r}, not a number from 1 on. Restore the file.")
    return value
