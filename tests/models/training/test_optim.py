import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from reelvec.models.training import optim
from reelvec.models.training.moments import export_optimizer, import_optimizer
from reelvec.models.training.optim import (
    AdamW,
    BertAdam,
    OptimizerOptions,
    build_optimizer,
    rates,
)
from reelvec.models.training.parameters import (
    clamp_logit_scale,
    freeze,
    is_frozen,
    parameter_groups,
)
from reelvec.models.training.schedules import multiplier
from tests.resources import GOLDENS


def goldens():
    return json.loads((GOLDENS / "schedules.json").read_text())


class Tiny(nn.Module):
    """Parameter names of the kinds the rules look at."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.clip = nn.Module()
        self.clip.logit_scale = nn.Parameter(torch.tensor(4.0))
        self.clip.positional_embedding = nn.Parameter(torch.ones(3, 2))
        self.clip.ln_final = nn.LayerNorm(2)
        self.clip.visual = nn.Module()
        self.clip.visual.conv1 = nn.Conv2d(1, 2, 2, bias=False)
        self.clip.visual.conv2 = nn.Conv3d(1, 2, (3, 2, 2), bias=False)
        self.clip.visual.transformer = nn.Module()
        self.clip.visual.transformer.resblocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.transformerClip = nn.Linear(2, 2)
        self.global_mat_weight = nn.Parameter(torch.eye(2))

    def loss(self):
        return sum((p.float() ** 2).sum() * (i + 1) for i, p in enumerate(self.parameters()))


def test_legacy_half_keeps_half_moments_and_follows_half_arithmetic():
    p = nn.Parameter(torch.tensor([0.5, -0.25, 1.0], dtype=torch.float16))
    optimizer = BertAdam([p], options=OptimizerOptions(learning_rate=1e-2, max_grad_norm=-1))
    value, m, v = p.detach().clone(), torch.zeros(3).half(), torch.zeros(3).half()
    for gradient in ([1e-3, 2.0, -1e-5], [1e-4, -2.0, 1e-5], [3e-3, 0.5, 4.0]):
        g = torch.tensor(gradient).half()
        p.grad = g.clone()
        optimizer.step()
        m = m * 0.9 + 0.1 * g
        v = (v * 0.98).addcmul(g, g, value=0.02)
        value = value - 1e-2 * (m / (v.sqrt() + 1e-6) + 0.2 * value)
        torch.testing.assert_close(p.detach(), value, rtol=0, atol=1e-3)
    assert {s.dtype for k, s in optimizer.state[p].items() if k != "step"} == {torch.float16}
    assert optimizer.state[p]["next_v"][2] < 1e-7 or p.grad[2] == 4.0


class TestGoldens:
    def test_learning_rates(self):
        for case in goldens()["lr"]:
            for step, want in zip(case["steps"], case["multiplier"], strict=True):
                found = multiplier(
                    case["schedule"], step=step, total_steps=case["t_total"], warmup=case["warmup"]
                )
                assert found == pytest.approx(want, abs=1e-15)

    def test_bert_adam_is_bit_faithful(self):
        for case in goldens()["bertadam"]:
            dtype = getattr(torch, case["dtype"])
            p = nn.Parameter(torch.tensor(case["start"], dtype=dtype))
            options = OptimizerOptions(
                learning_rate=case["lr"],
                weight_decay=case["weight_decay"],
                schedule=case["schedule"],
                warmup=case["warmup"],
                total_steps=case["t_total"],
                betas=(case["b1"], case["b2"]),
                eps=case["e"],
                max_grad_norm=case["max_grad_norm"],
            )
            optimizer = BertAdam([p], options=options)
            for gradient, want in zip(case["grads"], case["values_after_step"], strict=True):
                p.grad = torch.tensor(gradient, dtype=dtype)
                optimizer.step()
                assert p.tolist() == want, (case["dtype"], case["schedule"])


class OneByOne(BertAdam):
    """BertAdam as the originals write it: parameter by parameter."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.int64)
                    state["next_m"], state["next_v"] = torch.zeros_like(p), torch.zeros_like(p)
                if group["max_grad_norm"] > 0:
                    nn.utils.clip_grad_norm_(p, group["max_grad_norm"])
                state["next_m"].mul_(group["b1"]).add_(p.grad, alpha=1 - group["b1"])
                state["next_v"].mul_(group["b2"]).addcmul_(p.grad, p.grad, value=1 - group["b2"])
                update = state["next_m"] / (state["next_v"].sqrt() + group["e"])
                if group["weight_decay"] > 0:
                    update += group["weight_decay"] * p
                factor = multiplier(
                    group["schedule"],
                    step=int(state["step"]),
                    total_steps=group["t_total"],
                    warmup=group["warmup"],
                )
                p.add_(-(group["lr"] * factor * update))
                state["step"] += 1


@pytest.mark.parametrize("at_once", [1, 40, 1 << 20])
def test_many_at_once_have_the_bits_of_one_by_one(at_once, monkeypatch):
    """Types mixed, gradients that come and go, long ones cut, some of them zero."""
    monkeypatch.setattr(optim, "_AT_ONCE_ON_CPU", at_once)
    draw = torch.Generator().manual_seed(0)
    shapes = [(3, 5), (7,), (), (20, 3, 4), (31,), (1,)]
    types = [
        torch.float32,
        torch.float32,
        torch.float64,
        torch.float16,
        torch.float32,
        torch.float64,
    ]
    starts = [torch.randn(s, generator=draw).to(t) for s, t in zip(shapes, types, strict=True)]
    found, wanted = ([nn.Parameter(x.clone()) for x in starts] for _ in range(2))
    options = OptimizerOptions(learning_rate=1e-2, total_steps=9)
    pair = BertAdam(found, options=options), OneByOne(wanted, options=options)
    for step in range(6):
        for i, (p, q) in enumerate(zip(found, wanted, strict=True)):
            p.grad = q.grad = None
            if (step + i) % 4:
                gradient = torch.randn(p.shape, generator=draw) * (step % 3) * 0.7
                p.grad, q.grad = (gradient.to(p.dtype).clone() for _ in range(2))
        for optimizer in pair:
            optimizer.step()
        for p, q in zip(found, wanted, strict=True):
            assert torch.equal(p, q)
            assert pair[0].state[p].keys() == pair[1].state[q].keys()
            for slot, value in pair[0].state[p].items():
                assert torch.equal(value, pair[1].state[q][slot]), slot


def test_schedule_facts_of_the_specs():
    def cosine(step):
        return multiplier("warmup_cosine", step=step, total_steps=100, warmup=0.1)

    assert [round(cosine(s), 5) for s in (0, 9, 10, 50)] == [0, 0.9, 0.97553, 0.5]
    assert multiplier("warmup_cosine", step=7, total_steps=-1, warmup=0.1) == 1.0
    assert multiplier("constant", step=0, total_steps=10, warmup=0.1) == 1.0
    for bad in ({"schedule": "cosine"}, {"warmup": 1.0}, {"total_steps": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            multiplier(
                **{"schedule": "constant", "step": 0, "total_steps": 1, "warmup": 0.1, **bad}
            )


def test_groups_by_name():
    groups = {
        (g["part"], g["weight_decay"]): (g["lr"], g["param_names"])
        for g in parameter_groups(
            Tiny().named_parameters(), learning_rate=1e-4, clip_rate_factor=1e-3, weight_decay=0.2
        )
    }
    assert groups["other", 0.2] == (1e-4, ["global_mat_weight", "transformerClip.weight"])
    assert groups["other", 0.0] == (1e-4, ["transformerClip.bias"])
    rate, names = groups["clip", 0.2]
    assert rate == pytest.approx(1e-7)
    assert {"clip.logit_scale", "clip.positional_embedding", "clip.ln_final.weight"} < set(names)
    assert "clip.ln_final.bias" in groups["clip", 0.0][1]


def test_group_order():
    groups = parameter_groups(
        Tiny().named_parameters(), learning_rate=1, clip_rate_factor=1, weight_decay=0.2
    )
    kinds = [(group["part"], group["weight_decay"] > 0) for group in groups]
    assert kinds == [("clip", True), ("other", True), ("clip", False), ("other", False)]
    assert sum(len(g["params"]) for g in groups) == len(list(Tiny().parameters()))


def test_freezing():
    model = Tiny()
    frozen = freeze(model, freeze_layers=1)
    assert frozen == [
        "clip.positional_embedding",
        "clip.visual.conv1.weight",
        "clip.visual.transformer.resblocks.0.weight",
        "clip.visual.transformer.resblocks.0.bias",
    ]
    assert frozen == [n for n, p in model.named_parameters() if not p.requires_grad]
    assert freeze(Tiny(), freeze_layers=-1) == []
    assert not is_frozen("clip.visual.proj", freeze_layers=12)
    assert not is_frozen("sampler.cnn_model.features.0.0.weight", freeze_layers=12)
    assert is_frozen("clip.token_embedding.weight", freeze_layers=0)
    assert not is_frozen("clip.visual.conv2.weight", freeze_layers=12)


def test_clamp_holds_logit_scale_at_ln_100():
    model = Tiny()
    model.clip.logit_scale.data.fill_(9.0)
    clamp_logit_scale(model)
    assert model.clip.logit_scale.item() == pytest.approx(math.log(100))
    model.clip.logit_scale.data.fill_(2.0)
    clamp_logit_scale(model)
    assert model.clip.logit_scale.item() == 2.0


def test_parameters_without_gradient_do_not_decay():
    model = Tiny()
    optimizer = build_optimizer(
        model, options=OptimizerOptions(schedule="constant", total_steps=10)
    )
    model.global_mat_weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(model.clip.positional_embedding, torch.ones(3, 2))
    assert not torch.equal(model.global_mat_weight, torch.eye(2))


OPTIMIZERS = [
    OptimizerOptions(learning_rate=1e-2, total_steps=20),
    OptimizerOptions(name="adamw", learning_rate=1e-2, total_steps=20, schedule="warmup_linear"),
    OptimizerOptions(name="transformers_adamw", total_steps=20, schedule="rebased_cosine"),
]


def run(model, optimizer, steps):
    seen = []
    for _ in range(steps):
        seen.append(rates(optimizer))
        optimizer.zero_grad()
        model.loss().backward()
        optimizer.step()
    return seen


@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda o: o.name)
def test_resume_continues_as_if_never_stopped(options):
    straight = Tiny()
    seen = run(straight, build_optimizer(straight, options=options), 9)

    first = Tiny()
    optimizer = build_optimizer(first, options=options)
    run(first, optimizer, 4)
    tensors, numbers = export_optimizer(optimizer)
    assert all(isinstance(t, torch.Tensor) for t in tensors.values())
    numbers = json.loads(json.dumps(numbers))

    second = Tiny()
    second.load_state_dict(first.state_dict())
    optimizer = build_optimizer(second, options=options)
    import_optimizer(optimizer, tensors, numbers)
    assert run(second, optimizer, 5) == seen[4:]
    for (name, one), two in zip(straight.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two), name


@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda o: o.name)
def test_state_dict_round_trip(options):
    model, other = Tiny(), Tiny()
    one, two = (build_optimizer(m, options=options) for m in (model, other))
    run(model, one, 3)
    other.load_state_dict(model.state_dict())
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    run(model, one, 3), run(other, two, 3)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )


def test_integer_steps_of_the_originals_load():
    model = Tiny()
    optimizer = build_optimizer(model, options=OPTIMIZERS[0])
    run(model, optimizer, 3)
    state = optimizer.state_dict()
    for slots in state["state"].values():
        slots["step"] = int(slots["step"])
    optimizer.load_state_dict(state)
    assert rates(optimizer)["other"] == pytest.approx(
        1e-2 * multiplier("warmup_cosine", step=3, total_steps=20, warmup=0.1)
    )
    run(model, optimizer, 1)


def test_state_of_another_model_is_refused():
    model = Tiny()
    optimizer = build_optimizer(model, options=OPTIMIZERS[0])
    run(model, optimizer, 1)
    tensors, numbers = export_optimizer(optimizer)
    tensors["clip.other.weight/next_m"] = torch.zeros(2)
    with pytest.raises(ValueError, match=r"clip\.other\.weight"):
        import_optimizer(build_optimizer(Tiny(), options=OPTIMIZERS[0]), tensors, numbers)
    with pytest.raises(ValueError, match="another optimizer"):
        import_optimizer(optimizer, {}, {"groups": []})


@pytest.mark.parametrize(
    "options",
    [
        OptimizerOptions(learning_rate=0),
        OptimizerOptions(betas=(0.9, 1.0)),
        OptimizerOptions(schedule="linear"),
        OptimizerOptions(name="sgd"),
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=r"learning_rate|betas|schedule|optimizer"):
        build_optimizer(Tiny(), options=options)


def test_adamw_follows_torch_at_the_scheduled_rates():
    options = OPTIMIZERS[1]
    ours, theirs = Tiny().double(), Tiny().double()
    optimizer = AdamW(ours.parameters(), options=options)
    plain = torch.optim.AdamW(
        theirs.parameters(), betas=options.betas, eps=options.eps, weight_decay=options.weight_decay
    )
    for step in range(5):
        for group in plain.param_groups:
            group["lr"] = 1e-2 * multiplier("warmup_linear", step=step, total_steps=20, warmup=0.1)
        run(ours, optimizer, 1)
        plain.zero_grad()
        theirs.loss().backward()
        plain.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)  # fused: other rounding
    assert np.isfinite(ours.loss().item())


def test_adamw_of_before_goes_on_as_it_was():
    """State written before the fused form: its steps are counted on the CPU, one by one."""
    options = OPTIMIZERS[1]
    model = Tiny()
    before = AdamW(model.parameters(), options=options)
    before.param_groups[0].update(fused=None, param_names=[n for n, _ in model.named_parameters()])
    run(model, before, 2)
    tensors, numbers = export_optimizer(before)
    again = Tiny()
    again.load_state_dict(model.state_dict())
    after = AdamW(again.parameters(), options=options)
    after.param_groups[0]["param_names"] = before.param_groups[0]["param_names"]
    import_optimizer(after, tensors, json.loads(json.dumps(numbers)))
    assert not after.param_groups[0]["fused"]
    run(model, before, 2)
    run(again, after, 2)
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
