"""The same weights, noise included, from one process and many, a batch whole and in parts.

In float64 within 1e-9: what differs is the order of sums.
"""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from reelvec.configs.schema import DistillationConfig, ModelConfig
from reelvec.models.lora import LoraOptions, adapt
from reelvec.models.teachclip import TeachClip
from reelvec.models.training.optim import OptimizerOptions, build_optimizer
from reelvec.tasks.training.data import ClipBatch
from reelvec.tasks.training.lesson import Lesson, Taught
from reelvec.tasks.training.order import pieces
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.starting import build_sized
from reelvec.tasks.training.step import PairBatch, StepOptions, contrastive_backward
from tests.support.ranks import run_ranks
from tests.tasks.training.builders import FRAMES, MAX_WORDS, SIZE, SMALL

POLICY = {"top_k": 2, "hidden_dim": 64, "mlp_hidden_dim": 16, "rescale_size": 4}
DRAWING = {
    "clip4clip tightTransf": ("clip4clip", {"sim_header": "tightTransf"}),
    "xclip tightTransf": ("xclip", {"sim_header": "tightTransf"}),
    "adaclip raw": ("adaclip", POLICY | {"policy": "raw", "frame_agg": "mlp"}),
    "adaclip clip": ("adaclip", POLICY | {"policy": "clip", "reuse_scores": True}),
    "adaclip mobilenet": (
        "adaclip",
        POLICY | {"policy": "mobilenet_v3_large", "rnn": "none", "freeze_cnn": True},
    ),
    "xpool": ("xpool", {}),
    "drl one token": ("drl", {"interaction": "ti", "cdcr": 1, "cdcr_lambda": 1.0}),
    "ts2net": ("ts2net", {"shift_layers": [0], "n_div": 2, "num_samples": 20}),
}
SILENT = {
    "clip4clip meanP": ("clip4clip", {}),
    "clip4clip seqLSTM": ("clip4clip", {"sim_header": "seqLSTM"}),
    "clip4clip seqTransf": ("clip4clip", {"sim_header": "seqTransf"}),
    "clip2video": ("clip2video", {"centerK": 2}),
    "xclip": ("xclip", {"sim_header": "seqTransf"}),
    "adaclip": ("adaclip", {"frame_agg": "transformer"}),
    "teachclip": ("teachclip", {}),
    "xpool_baseline": ("xpool_baseline", {"pooling": "attention"}),
    "drl weighed": ("drl", {"cdcr": 3, "cdcr_lambda": 1.0}),
    "ucofia": ("ucofia", {}),
}
ADAPTED = {"clip4clip meanP lora": ("clip4clip", {}), "xclip lora": ("xclip", {})}
TEACHERS = ("xclip", "clip4clip meanP")
"""Of teachclip, which learns from them beside the pairs."""
CASES = DRAWING | SILENT | ADAPTED
ON_TWO = DRAWING | ADAPTED
RESUMED = ("clip4clip tightTransf", "adaclip raw", "xclip lora")
STEPS, PAIRS, WORLDS = 2, 7, (2, 3)
BOUND = 1e-9
TINY = replace(SMALL, vocab_size=96, head_dim=16)
LORA = LoraOptions(rank=2, alpha=4.0, targets=("q", "c_fc"), towers=("text", "visual"))


def built(case, *, dropout=True):
    family, options = CASES[case]
    if "cross_num_hidden_layers" not in options and family not in (
        "adaclip",
        "xpool",
        "xpool_baseline",
    ):
        options = options | {"cross_num_hidden_layers": 1}
    config = ModelConfig(family=family, options=options, max_words=MAX_WORDS, max_frames=FRAMES)
    torch.manual_seed(3)
    model = build_sized(config, sizes=TINY).double().train()
    if case in ADAPTED:
        adapt(model, LORA, seed=7)
    if not dropout:
        model.cross.dropout.p = 0.0
    optimizer = build_optimizer(
        model,
        options=OptimizerOptions(
            learning_rate=1e-2, clip_rate_factor=1.0, warmup=0.0, total_steps=2 * STEPS
        ),
    )
    return model, optimizer


def batch(step):
    """Pairs of a step, the same for every process."""
    draw = torch.Generator().manual_seed(step)
    tokens = torch.randint(1, 90, (PAIRS, MAX_WORDS), generator=draw)
    tokens[torch.arange(PAIRS), 4 + torch.arange(PAIRS)] = 95
    shape = (PAIRS, FRAMES, SIZE, SIZE, 3)
    frames = torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)
    mask = (torch.arange(FRAMES) < torch.randint(1, FRAMES + 1, (PAIRS, 1), generator=draw)).long()
    return PairBatch(tokens, ClipBatch(frames, mask), PAIRS)


@cache
def teacher(case):
    """A model that teaches."""
    return built(case)[0].eval().requires_grad_(False)


def lesson_of(whole, mine, *, options=None):
    """What two teachers say of these rows; one of them weighs frames."""
    taught = []
    for case in TEACHERS:
        model = teacher(case)
        with torch.no_grad():
            text, video = whole.rows(mine).encoded(model, {}, device=torch.device("cpu"))
        taught.append(Taught(model, text, video))
    return Lesson(taught, options or DistillationConfig(frames="pear"))


def train(model, optimizer, *, group=None, steps=range(STEPS), **options):
    """Weights after these steps."""
    group = group or Group()
    for step in steps:
        whole = batch(step)
        mine = pieces(PAIRS, processes=group.world)[group.rank]
        part = whole.rows(mine)
        lesson = lesson_of(whole, mine) if isinstance(model, TeachClip) else None
        optimizer.zero_grad(set_to_none=True)
        how = StepOptions(seed=11, **options)
        contrastive_backward(model, part, group=group, step=step, options=how, lesson=lesson)
        clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
        optimizer.step()
    return trained(model)


def trained(model):
    """What training moves."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def gradients(model):
    """Of all that has one."""
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def apart(found, expected):
    """Largest distance of two sets of weights."""
    assert found.keys() == expected.keys()
    return max((found[name] - expected[name]).abs().max().item() for name in expected)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small models: threads that wait for each other cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plain():
    """Weights of one process and whole batches."""
    return {case: train(*built(case)) for case in CASES}


def rank_trains(group, folder):
    """One rank of several: two parts each on three processes; and a run that two have begun."""
    found = {}
    parts = 2 if group.world == 3 else 1
    for case in CASES if group.world == 3 else ON_TWO:
        found[case] = train(*built(case), group=group, parts=parts)
        if case not in RESUMED:
            continue
        model, optimizer = built(case)
        begun = folder / f"{case}.pt"
        if group.world == 2:
            train(model, optimizer, group=group, steps=range(1))
            if group.is_first:
                torch.save([model.state_dict(), optimizer.state_dict()], begun)
        else:
            weights, moments = torch.load(begun, weights_only=True)
            model.load_state_dict(weights)
            optimizer.load_state_dict(moments)
            found[f"{case} resumed"] = train(
                model, optimizer, group=group, steps=range(1, STEPS), parts=parts
            )
    return found


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return run_ranks(__name__, "rank_trains", folder, worlds=WORLDS)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES)
def test_several_processes_are_one(plain, several, case, world):
    for rank in several[world]:
        if case in rank:  # some on three alone
            assert apart(rank[case], plain[case]) < BOUND
    assert case in several[3][0]


@pytest.mark.parametrize("case", RESUMED)
def test_a_run_goes_on_with_another_number_of_processes(plain, several, case):
    assert apart(several[3][0][f"{case} resumed"], plain[case]) < BOUND


@pytest.mark.parametrize("case", ON_TWO)
def test_parts_and_recomputed_activations_do_not_matter(plain, case):
    model, optimizer = built(case)
    model.set_activation_checkpointing(True)
    assert apart(train(model, optimizer, parts=3), plain[case]) < BOUND


@pytest.mark.parametrize("case", DRAWING)
def test_there_is_noise(plain, case):
    """What is equal above draws: another seed gives other weights, and so does none."""
    options = {} if "tightTransf" in case else {"seed": 12}
    model, optimizer = built(case, dropout=bool(options))
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        how = StepOptions(**({"seed": 11} | options))
        contrastive_backward(model, batch(step), group=Group(), step=step, options=how)
        clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
        optimizer.step()
    assert apart(trained(model), plain[case]) > 1e-4


@pytest.mark.parametrize("case", DRAWING)
def test_evaluation_draws_none(case):
    model, _ = built(case)
    model.eval()
    clips = batch(0).clips
    given = model.prepare(clips.frames, clips.mask)
    with torch.inference_mode():
        scores = [
            model.similarity(model.encode_text(batch(0).tokens), model.encode_video(**given))
            for _ in range(2)
        ]
    assert torch.equal(*scores)
