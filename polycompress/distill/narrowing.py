"""A narrower student made out of its teacher: one basis of the residual stream, heads and neurons that matter most.

W' = Q^T W Q where a matrix reads and writes the residual stream, Q on one side where it does one of the two. Nothing is
trained: what cannot be carried over exactly is fitted to samples by least squares, from the bottom up, so that each
part is fitted to what it is really given.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from polycompress.distill.basis import along_coordinates, orthonormal_basis, project_targets
from polycompress.distill.layer_map import LayerMap, bottom
from polycompress.distill.narrow_parts import (
    narrow_attention,
    narrow_embeddings,
    narrow_feed_forward,
    set_weights,
)
from polycompress.distill.shrinking import fit_norm
from polycompress.distill.watching import inputs_of, mean_outputs, outputs_of
from polycompress.errors import InputError

__all__ = [
    "NARROWABLE",
    "Start",
    "choose_start",
    "layer_errors",
    "narrow_model",
    "project_targets",
    "stream_basis",
]

NARROWABLE: Final = ("bert", "roberta", "xlm-roberta", "camembert")
"""Types whose modules are those of BERT."""

Samples = Sequence[Mapping[str, Tensor]]
"""Batches as the model takes them, ``attention_mask`` (B, n) among what they hold."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Start:
    """What a student starts from."""

    model: Any
    """Without a head, in evaluation mode."""
    kind: Literal["narrowed", "random"]
    """Which of the two starts came nearer to the teacher."""
    basis: Tensor
    """(d, d') float32. Targets H_T Q of losses use it for all layers, since the student's own states are in it."""
    errors: tuple[float, ...]
    """Of the narrowed start, by hidden state (0 is the output of the embeddings); see ``layer_errors``."""
    random_errors: tuple[float, ...]
    """Of the random start."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind,
            "hidden_size": int(self.basis.shape[1]),
            "errors": list(self.errors),
            "random_errors": list(self.random_errors),
        }


def choose_start(
    model: Any, hidden_size: int, samples: Samples, *, layer_map: LayerMap | None = None, seed: int = 0
) -> Start:
    """Make a narrower student, and keep it only if it is nearer to its teacher than one of random weights.

    Args:
        model: The teacher, see ``narrow_model``.
        hidden_size: d'.
        samples: Text that the student is fitted to and the two are compared on.
        layer_map: For each layer of the student, the teacher's; None: all.
        seed: Of the random student.

    Raises:
        InputError: See ``narrow_model``.
    """
    base = _base(model, hidden_size)
    chosen = _layers(base, layer_map)
    basis = stream_basis(model, hidden_size, samples)
    narrowed = narrow_model(model, hidden_size, samples, basis=basis, layer_map=chosen)
    random = _empty_student(base, hidden_size, len(chosen.layers), seed)
    errors = [layer_errors(base, each, basis, samples, chosen) for each in (narrowed, random)]
    better = sum(errors[0]) < sum(errors[1])
    return Start(
        model=narrowed if better else random,
        kind="narrowed" if better else "random",
        basis=basis.float(),
        errors=errors[0],
        random_errors=errors[1],
    )


def stream_basis(model: Any, hidden_size: int, samples: Samples) -> Tensor:
    """One basis for the residual stream of all layers, lying along coordinates as far as it can.

    Args:
        model: See ``narrow_model``.
        hidden_size: d'.
        samples: At least d' real tokens in all.

    Returns:
        (d, d') float64, its columns orthonormal; the identity where d' = d. It spans the first right singular vectors
        of the hidden states of all layers.
    """
    base = _base(model, hidden_size)
    with _evaluating(base):
        states = outputs_of(base, _norms(base), samples)
    return along_coordinates(orthonormal_basis(torch.cat(list(states.values())), hidden_size))


def narrow_model(
    model: Any,
    hidden_size: int,
    samples: Samples,
    *,
    basis: Tensor | None = None,
    layer_map: LayerMap | None = None,
) -> Any:
    """Make a narrower copy of an encoder; its heads, if it has any, are left out.

    The number of attention heads stays, so their size shrinks: of each, the coordinates are kept that carry most of its
    scores among the samples' tokens, and most of what its values write, both by singular value decomposition. The
    feed-forward width shrinks by the same factor as the hidden size: the neurons of largest mean |activation| times
    output norm stay, and what the others wrote on average goes into the bias. Gains and biases of the layer norms are
    fitted to the teacher's projected states. With d' = d and all layers it computes what the teacher computes.

    Args:
        model: BERT, RoBERTa, XLM-R or CamemBERT of transformers, with or without a head. It is not changed.
        hidden_size: d', a multiple of the number of heads.
        samples: A few thousand tokens of text, on any device.
        basis: (d, d'); by default ``stream_basis`` of the samples.
        layer_map: For each layer of the student, the teacher's that it is made of and fitted to; None: all.

    Returns:
        A new model of the same class as the encoder, in evaluation mode, on the same device.

    Raises:
        InputError: The model is of another type or has cross-attention, the hidden size does not fit, or there are
            fewer tokens than its size.
    """
    base = _base(model, hidden_size)
    chosen = _layers(base, layer_map)
    with _evaluating(base), torch.no_grad():
        turn = (stream_basis(model, hidden_size, samples) if basis is None else basis.double()).to(
            base.device
        )
        wanted = {
            site: states.double() @ turn for site, states in outputs_of(base, _norms(base), samples).items()
        }
        inner = {str(layer): base.encoder.layer[layer].intermediate for layer in chosen.layers}
        active = mean_outputs(base, inner, samples)
        student = _empty_student(base, hidden_size, len(chosen.layers))
        narrow_embeddings(base.embeddings, student.embeddings, turn)
        _refit(student, student.embeddings.LayerNorm, wanted["embeddings"], samples)
        for own, layer in enumerate(chosen.layers):
            source, target = base.encoder.layer[layer], student.encoder.layer[own]
            stream = inputs_of(student, target, samples)
            narrow_attention(source.attention, target.attention, turn, stream)
            _refit(student, target.attention.output.LayerNorm, wanted[f"attention {layer}"], samples)
            narrow_feed_forward(source, target, turn, *active[str(layer)])
            _refit(student, target.output.LayerNorm, wanted[f"layer {layer}"], samples)
        if student.pooler is not None:
            set_weights(
                student.pooler.dense,
                turn.T @ base.pooler.dense.weight.double() @ turn,
                turn.T @ base.pooler.dense.bias.double(),
            )
    return student


def layer_errors(
    teacher: Any, student: Any, basis: Tensor, samples: Samples, layer_map: LayerMap
) -> tuple[float, ...]:
    """How far a student's hidden states are from its teacher's projected ones, over real tokens.

    Args:
        teacher: Without a head.
        student: Without a head.
        basis: (d, d').
        samples: Batches.
        layer_map: Which states are compared.

    Returns:
        By hidden state of the student, from that of the embeddings on: the sum of squared differences over the sum of
        squares of the targets.
    """
    wrong = torch.zeros(len(layer_map.hidden), dtype=torch.float64)
    whole = torch.zeros_like(wrong)
    turn = basis.to(teacher.device, torch.float64)
    with _evaluating(teacher), _evaluating(student), torch.no_grad():
        for batch in samples:
            inputs = {name: tensor.to(teacher.device) for name, tensor in batch.items()}
            mask = inputs["attention_mask"].bool()
            taught, own = (
                each(**inputs, output_hidden_states=True).hidden_states for each in (teacher, student)
            )
            for place, (mine, theirs) in enumerate(layer_map.hidden):
                target = taught[theirs][mask].double() @ turn
                wrong[place] += (own[mine][mask].double() - target).square().sum().cpu()
                whole[place] += target.square().sum().cpu()
    return tuple((wrong / whole).tolist())


def narrow_config(config: Mapping[str, Any], hidden_size: int) -> dict[str, Any]:
    """The configuration of a narrower model: as many heads, the feed-forward width shrunk by the same factor.

    Args:
        config: The teacher's, as plain values.
        hidden_size: d'.

    Raises:
        InputError: The model is of another type or has cross-attention, or the hidden size does not fit.
    """
    fault = None
    if config.get("model_type") not in NARROWABLE:
        fault = f"it is of type {config.get('model_type')!r}; known are {', '.join(NARROWABLE)}"
    elif config.get("is_decoder") or config.get("add_cross_attention"):
        fault = "it is a decoder or has cross-attention; give an encoder"
    else:
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        if not 1 <= hidden_size <= width or hidden_size % heads:
            near = sorted(range(heads, width + 1, heads), key=lambda size: abs(size - hidden_size))
            fault = (
                f"a hidden size of {hidden_size} does not fit: give a multiple of its {heads} heads up to "
                f"{width}, such as {', '.join(map(str, near[:3]))}"
            )
    if fault is not None:
        raise InputError(f"The model cannot be made narrower: {fault}.")
    inner = max(1, round(int(config["intermediate_size"]) * hidden_size / width))
    return {**config, "hidden_size": hidden_size, "intermediate_size": inner}


def _base(model: Any, hidden_size: int) -> Any:
    base = model.base_model
    narrow_config(base.config.to_dict(), hidden_size)
    return base


def _layers(base: Any, layer_map: LayerMap | None) -> LayerMap:
    count = int(base.config.num_hidden_layers)
    if layer_map is not None and layer_map.teacher_layers != count:
        raise InputError(
            f"The layer map is one of a teacher of {layer_map.teacher_layers} layers, but this one has {count}."
        )
    return bottom(count, count) if layer_map is None else layer_map


def _norms(base: Any) -> dict[str, nn.Module]:
    """The layer norms, whose outputs are the residual stream, by name."""
    found = {"embeddings": base.embeddings.LayerNorm}
    for number, layer in enumerate(base.encoder.layer):
        found[f"attention {number}"] = layer.attention.output.LayerNorm
        found[f"layer {number}"] = layer.output.LayerNorm
    return found


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _empty_student(base: Any, hidden_size: int, layers: int, seed: int = 0) -> Any:
    """One of random weights, which leaves the global generator as it was."""
    config = copy.deepcopy(base.config)
    config.intermediate_size = narrow_config(base.config.to_dict(), hidden_size)["intermediate_size"]
    config.hidden_size = hidden_size
    config.num_hidden_layers = layers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = type(base)(config, add_pooling_layer=base.pooler is not None)
    return student.to(base.device, base.dtype).eval()


def _refit(student: Any, norm: nn.LayerNorm, targets: Tensor, samples: Samples) -> None:
    gain, bias = fit_norm(inputs_of(student, norm, samples), targets, norm.eps)
    set_weights(norm, gain, bias)
