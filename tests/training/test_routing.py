"""Losses of the router, and the companions of a run of a model with experts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from polycompress.distill.outputs import Given, Outputs
from polycompress.moe.context import Record, Routing, RoutingContext
from polycompress.moe.router import balancing_loss, supervision_loss
from polycompress.training.devices import Devices
from polycompress.training.routing import (
    Forcing,
    IdleExperts,
    LoadBalancing,
    RouterSupervision,
    RoutingLoss,
    expert_names,
)
from tests.moe.tiny_moe import IDS, load, make_moe, settings
from tests.tiny_models import make_tiny

CONFIG = settings(3, 1, layers=(0, 1))
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
LANGUAGE_IDS = torch.tensor([0, 3])


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("student")
    plain = make_tiny("bert", "base", root / "plain", num_hidden_layers=2)
    return load(make_moe(plain, root / "moe", CONFIG, noise=0.1), "base").train()


def loss_of(objective: RoutingLoss, student: Any) -> torch.Tensor:
    student(input_ids=IDS, attention_mask=MASK, language_ids=LANGUAGE_IDS)
    return objective(Outputs(), Outputs(), Given(mask=MASK != 0))


def test_losses_are_means_over_layers_of_tokens_without_padding(student: Any) -> None:
    context = student.moe_context
    found = loss_of(RouterSupervision(context), student)
    routing = context.current
    assert list(routing.records) == [0, 1]
    assert [len(record.probabilities) for record in routing.records.values()] == [9, 9]
    families = torch.zeros(9, 3, dtype=torch.bool)
    families[:6, 0], families[6:, 2] = True, True  # six tokens of German, three of Swahili
    wanted = [supervision_loss(record.probabilities, families) for record in routing.records.values()]
    torch.testing.assert_close(found, torch.stack(wanted).mean())
    balance = LoadBalancing(context)(Outputs(), Outputs(), Given(mask=MASK != 0))
    wanted = [balancing_loss(record.probabilities, record.indices) for record in routing.records.values()]
    torch.testing.assert_close(balance, torch.stack(wanted).mean())


@pytest.mark.parametrize("kind", [RouterSupervision, LoadBalancing])
def test_gradients_reach_every_router_and_no_expert(student: Any, kind: type[RoutingLoss]) -> None:
    student.zero_grad()
    loss_of(kind(student.moe_context), student).backward()
    layers = student.encoder.layer
    assert all(float(layer.moe.router.weight.grad.abs().max()) > 0 for layer in layers)
    assert layers[1].moe.experts.up.grad is None  # the first layer's experts lead to the second's router
    student.zero_grad()


@pytest.mark.parametrize("kind", [RouterSupervision, LoadBalancing])
def test_in_evaluation_there_is_nothing_to_lose(student: Any, kind: type[RoutingLoss]) -> None:
    objective = kind(student.moe_context).eval()
    assert loss_of(objective, student).item() == 0.0


def test_forcing_follows_the_steps(student: Any) -> None:
    companion = Forcing(student.moe_context, lambda step: 1 - step / 4)
    companion.before_step(1)
    companion.after_step(2)
    assert student.moe_context.forcing == 0.75
    assert companion.figures() == {"forcing": 0.75}
    companion.before_step(4)
    student(input_ids=IDS, attention_mask=MASK, language_ids=LANGUAGE_IDS)
    assert not student.moe_context.current.forced.any()
    companion.before_step(0)
    student(input_ids=IDS, attention_mask=MASK, language_ids=LANGUAGE_IDS)
    assert student.moe_context.current.forced.any(dim=1).all()


class Chooser(nn.Module):  # type: ignore[misc]
    """Stands for a student whose routers choose what they are told."""

    def __init__(self, context: RoutingContext) -> None:
        super().__init__()
        self.context = context

    def forward(self, choices: dict[int, list[int]]) -> None:
        self.context.current = Routing(shape=(1, 1), collects=self.context.collects)
        for layer, own in choices.items():
            self.context.current.keep(layer, torch.full((len(own), 3), 1 / 3), torch.tensor(own)[:, None])


def watched(steps: int) -> tuple[Chooser, IdleExperts]:
    context = RoutingContext(CONFIG)
    chooser = Chooser(context)
    return chooser, IdleExperts(chooser, context, Devices(device="cpu"), steps=steps)


def go(chooser: Chooser, idle: IdleExperts, first: int, last: int, choices: dict[int, list[int]]) -> None:
    for step in range(first, last + 1):
        idle.before_step(step - 1)
        chooser(choices)
        idle.after_step(step)


def test_an_expert_that_nobody_reaches_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    chooser, idle = watched(steps=3)
    with caplog.at_level(logging.WARNING):
        go(chooser, idle, 1, 2, {0: [0, 1, 2], 1: [0, 2]})
        assert not caplog.records and idle.figures() == {"idle_experts": 0}
        go(chooser, idle, 3, 6, {0: [0, 1, 2], 1: [0, 2]})
    (record,) = caplog.records
    assert record.getMessage() == (
        "step 3: no token has reached expert 1 (B) of layer 1 for 3 steps. Use --routing forced or supervised, or a "
        "balancing weight above 0 (--balancing)"
    )
    assert idle.figures() == {"idle_experts": 1}
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        go(chooser, idle, 7, 7, {0: [0, 1, 2], 1: [1]})
        assert idle.figures() == {"idle_experts": 0}
        go(chooser, idle, 8, 10, {0: [0, 1, 2], 1: [1]})
    assert [record.getMessage().partition(" for ")[0] for record in caplog.records] == [
        "step 9: no token has reached expert 0 (A) of layer 1",
        "step 9: no token has reached expert 2 (C) of layer 1",
    ]


def test_evaluation_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    chooser, idle = watched(steps=2)
    go(chooser, idle, 1, 1, {0: [0, 1, 2], 1: [0, 1, 2]})
    chooser.eval()
    go(chooser, idle, 2, 3, {0: [0, 1, 2], 1: [0, 1, 2]})
    assert len(caplog.records) == 6 and idle.figures() == {"idle_experts": 6}


def test_taken_up_it_remembers_who_was_reached(caplog: pytest.LogCaptureFixture) -> None:
    chooser, idle = watched(steps=3)
    go(chooser, idle, 1, 2, {0: [0, 1, 2], 1: [0, 2]})
    again_chooser, again = watched(steps=3)
    again.load_state_dict(json.loads(json.dumps(idle.state_dict())))
    go(again_chooser, again, 3, 4, {0: [0, 1, 2], 1: [0, 2]})
    assert len(caplog.records) == 1
    named_chooser, named = watched(steps=3)
    named.load_state_dict(json.loads(json.dumps(again.state_dict())))
    go(named_chooser, named, 5, 6, {0: [0, 1, 2], 1: [0, 2]})
    assert len(caplog.records) == 1  # said once already
    assert named.figures() == {"idle_experts": 1}


def test_experts_have_names() -> None:
    shared = settings(2, 1, layers=(3,), families={"A": (0,), "B": (1,), "C": (1,)})
    assert expert_names(shared) == {
        (3, 0): "expert 0 (A) of layer 3",
        (3, 1): "expert 1 (B, C) of layer 3",
    }


def test_what_is_saved_keeps_routers_wide(student: Any, tmp_path: Path) -> None:
    from polycompress.pipelines.tuning.trained_writing import as_saved

    saved = as_saved(dict(student.state_dict()), student, torch.bfloat16)
    wide = {name for name, tensor in saved.items() if tensor.dtype == torch.float32}
    assert wide == {f"encoder.layer.{layer}.moe.router.weight" for layer in (0, 1)}
    plain = SimpleNamespace(named_parameters=lambda remove_duplicate: [])
    assert (
        as_saved({"a.router.b": torch.zeros(1)}, plain, torch.bfloat16)["a.router.b"].dtype == torch.bfloat16
    )


def test_a_record_is_what_the_router_said() -> None:
    record = Record(torch.full((1, 2), 0.5), torch.tensor([[1]]))
    routing = Routing(shape=(1, 1), families=torch.tensor([[True, False]]))
    context = RoutingContext(settings(2, 1))
    found = RouterSupervision(context).of_layer(record, routing)
    torch.testing.assert_close(found, torch.tensor(2.0).log())
