"""AdaCLIP: the family contract, policies, Hard-Top-k, aggregations and their naive twins."""

import math

import numpy as np
import pytest
import torch

from reelvec.models.adaclip.options import read_config
from reelvec.models.adaclip.policy import (
    FramePolicy,
    annealed_k,
    best_frames,
    centre_frames,
    grey_frames,
    gumbel_noise,
    hard_top_k,
    temperature,
)
from reelvec.models.clip.architecture import architecture
from reelvec.models.conversion.recognition import recognise
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.registry import build
from tests.models.contracts_family import (
    FRAMES,
    SIZES,
    FamilyContract,
    captions,
    clips,
    inputs_of,
    make,
)

RAW = {"policy": "raw", "top_k": 2, "rescale_size": 5, "hidden_dim": 16, "mlp_hidden_dim": 8}
VARIANTS = {
    "mean": {},
    "mlp": {"frame_agg": "mlp"},
    "transformer": {"frame_agg": "transformer", "frame_agg_temp": 0.5},
    "qscore": {"frame_agg": "qscore", "frame_agg_temp": 0.1},
    "words_mlp": {"word_agg": "mlp"},
    "words_transformer": {"word_agg": "transformer", "word_agg_temp": 2.0},
    "both": {"frame_agg": "mlp", "word_agg": "mlp"},
    "header_seqTransf": {"sim_header": "seqTransf"},
    "header_transformer": {"sim_header": "transformer"},
    "raw_transformer": RAW,
    "raw_lstm": RAW | {"rnn": "lstm", "reuse_scores": True},
    "raw_bilstm_fc": RAW | {"rnn": "bilstm", "mlp_type": "fc", "sim_header": "transformer"},
    "raw_alone": RAW | {"rnn": "none", "frame_agg": "mlp", "reuse_scores": True},
    "raw_qscore": RAW | {"frame_agg": "qscore"},
    "clip": RAW | {"policy": "clip"},
    "mobilenet": RAW | {"policy": "mobilenet_v3_large", "freeze_cnn": True},
    "mobilenet_v2": RAW | {"policy": "mobilenet_v2", "freeze_cnn": True, "policy_view": "centre"},
}


@pytest.fixture(params=VARIANTS.values(), ids=list(VARIANTS))
def options(request):
    return request.param


class TestAdaClip(FamilyContract):
    family = "adaclip"


@pytest.mark.parametrize(
    "name", ["raw_transformer", "raw_alone", "mobilenet", "header_transformer"]
)
@torch.no_grad()
def test_clip_sees_the_kept_frames_only_and_the_result_is_the_same(name, monkeypatch):
    model = make("adaclip", VARIANTS[name])
    given = inputs_of(model, *clips(6))
    seen = []
    encode = model.clip.encode_video
    monkeypatch.setattr(
        model.clip, "encode_video", lambda frames: seen.append(frames.shape[1]) or encode(frames)
    )
    video = model.encode_video(**given)
    assert seen == [given["mask"].sum(1).clamp(max=model.kept).sum()]
    if not model.has_policy:
        return
    everything = encode(_repeated(given["frames"], given["mask"]))
    scores = model.sampler(_repeated(given["policy_frames"], given["mask"]))
    chosen = scores.argsort(dim=1, descending=True)[:, : model.kept]
    kept = torch.stack([x[i] for x, i in zip(everything, chosen, strict=True)])
    if model.options.reuse_scores:
        kept = kept * torch.softmax(scores.gather(1, chosen), 1)[..., None]
    wanted = model.weigh_frames(model.after_header(kept))
    torch.testing.assert_close(video["embedding"], wanted, rtol=0, atol=1e-9)


def _repeated(x, mask):
    """Short videos repeat frames floor(i T / N), in loops."""
    rows = []
    for v in range(len(x)):
        count = int(mask[v].sum())
        rows.append(torch.stack([x[v, i * count // x.shape[1]] for i in range(x.shape[1])]))
    return torch.stack(rows)


@torch.no_grad()
def test_selected_names_the_given_frames_best_first():
    model = make("adaclip", RAW)
    pixels, mask = clips(4)
    mask[:] = 1
    given = inputs_of(model, pixels, mask)
    scores = model.sampler(given["policy_frames"])
    selected = model.encode_video(**given)["selected"]
    for row, chosen in zip(scores, selected, strict=True):
        assert chosen.tolist() == sorted(range(FRAMES), key=lambda i: -row[i])[:2]
    mask[0] = torch.tensor([1, 1, 0, 0])
    selected = model.encode_video(**inputs_of(model, pixels, mask))["selected"]
    assert selected[0].max() <= 1  # never a padded frame


@torch.no_grad()
def test_no_frames_no_vector():
    model = make("adaclip")
    pixels, mask = clips(2)
    mask[1] = 0
    embedding = model.encode_video(**inputs_of(model, pixels, mask))["embedding"]
    assert torch.isfinite(embedding[0]).all() and torch.isnan(embedding[1]).all()


@torch.no_grad()
def test_query_scores_equal_the_weighted_sums(monkeypatch):
    model = make("adaclip", VARIANTS["qscore"])
    text = model.encode_text(captions(6))
    video = model.encode_video(**inputs_of(model, *clips(5)))
    found = model.similarity(text, video)
    scale = model.logit_scale.exp()
    for t, query in enumerate(text["embedding"]):
        for v, frames in enumerate(video["frames"]):
            weights = torch.softmax(frames / frames.norm(dim=1, keepdim=True) @ query / 0.1, 0)
            mean = weights @ frames
            torch.testing.assert_close(found[t, v], scale * query @ (mean / mean.norm()))
    monkeypatch.setattr("reelvec.models.adaclip.aggregation._HELD", 1)
    torch.testing.assert_close(model.similarity(text, video), found, rtol=0, atol=1e-9)


@torch.no_grad()
def test_words_are_weighed_from_start_to_end_token():
    model = make("adaclip", VARIANTS["words_mlp"])
    tokens = captions(4)
    _, words = model.encode_words(tokens)
    found = model.encode_text(tokens)["embedding"]
    for i in range(4):
        real = words[i, : int(tokens[i].argmax()) + 1]
        weights = torch.softmax(model.word_agg_mlp(real)[:, 0], 0)
        wanted = weights @ real
        torch.testing.assert_close(found[i], wanted / wanted.norm(), rtol=0, atol=1e-9)


@torch.no_grad()
def test_legacy_word_masks_depend_on_the_batch():
    legacy = make("adaclip", VARIANTS["words_transformer"] | {"mask_layout": "legacy"})
    tokens = captions(5)
    whole, alone = legacy.encode_text(tokens), legacy.encode_text(tokens[:1])
    assert (whole["embedding"][0] - alone["embedding"][0]).abs().max() > 1e-6


class TestHardTopK:
    def scores(self, seed=0, shape=(5, 8)):
        return torch.randn(
            shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )

    def test_chooses_distinct_frames_by_noisy_scores(self):
        scores = self.scores()
        noise = self.scores(1)
        selection, chosen = hard_top_k(scores, k=8, temperature=0.5, noise=noise)
        assert all(sorted(row) == list(range(8)) for row in chosen.tolist())
        assert torch.equal(chosen[:, 0], (torch.log_softmax(scores, 1) + noise).argmax(1))
        one_hot = torch.nn.functional.one_hot(chosen, 8).double()
        torch.testing.assert_close(selection, one_hot, rtol=0, atol=1e-12)

    def test_cold_choice_is_the_sorted_one(self):
        scores = self.scores()
        _, chosen = hard_top_k(scores, k=3, temperature=1e-3, noise=torch.zeros_like(scores))
        assert torch.equal(chosen, best_frames(scores, k=3))

    def test_gradient_reaches_every_score(self):
        scores = self.scores().requires_grad_()
        selection, _ = hard_top_k(scores, k=3, temperature=1.0, noise=self.scores(1))
        (selection * self.scores(2, (5, 3, 8))).sum().backward()
        assert (scores.grad != 0).all()

    def test_noise_is_gumbel_and_seeded(self):
        def draw():
            return gumbel_noise(torch.zeros(4000), generator=torch.Generator().manual_seed(3))

        assert torch.equal(draw(), draw())
        assert draw().mean().item() == pytest.approx(0.5772, abs=0.05)
        assert draw().var().item() == pytest.approx(1.6449, abs=0.15)


def test_training_uses_the_epochs_temperature_and_number_of_frames():
    model = make("adaclip", RAW | {"warmup_epochs": 2, "top_k": 1, "sim_header": "meanP"}).train()
    given = inputs_of(model, *clips(3))
    kept = []
    for epoch in range(4):
        model.start_epoch(epoch)
        assert model.temperature == temperature(epoch, initial=5.0, decay=0.045, least=0.5)
        kept.append(model.encode_video(**given)["selected"].shape[1])
    assert (
        kept
        == [3, 2, 1, 1]
        == [int(annealed_k(e, n_frames=4, top_k=1, warmup_epochs=2)) for e in range(4)]
    )
    assert model.eval().encode_video(**given)["selected"].shape[1] == 1


def test_the_temperature_has_options():
    options = {"temperature": 2.0, "temperature_decay": 0.1, "temperature_least": 1.5}
    model = make("adaclip", RAW | options)
    found = []
    for epoch in range(5):
        model.start_epoch(epoch)
        found.append(model.temperature)
    wanted = [2 * math.exp(-0.1 * epoch) for epoch in range(3)] + [1.5, 1.5]
    assert found == pytest.approx(wanted, rel=1e-12)


def test_a_frozen_clip_is_not_trained_and_the_rest_is():
    model = make("adaclip", RAW | {"frame_agg": "mlp", "freeze_clip": True}).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith("clip.")}
    video = model.encode_video(**inputs_of(model, *clips(3)))["embedding"]
    (video @ torch.randn(video.shape[1]).double()).sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n not in frozen)


def test_a_mobilenet_sees_the_centre_the_original_crops():
    """Resized to 256 and cut to 224: the middle 7/8. A picture of 16 x 16 cells shows which."""
    cells = torch.arange(256, dtype=torch.uint8).view(16, 16)
    stored = cells.repeat_interleave(14, 0).repeat_interleave(14, 1)[..., None].expand(-1, -1, 3)
    frames = stored[None, None].contiguous()
    seen = centre_frames(frames)
    assert seen.shape == frames.shape and seen.dtype == torch.uint8
    middles = seen[0, 0, 8::16, 8::16, 0]  # of 14 x 14 cells, 16 pixels each
    assert torch.equal(middles, cells[1:15, 1:15])
    model = make("adaclip", VARIANTS["mobilenet_v2"])
    pixels, mask = clips(2, side=SIZES.image_size)
    wanted = make("adaclip", VARIANTS["mobilenet_v2"] | {"policy_view": "stored"})
    centre = model.prepare(pixels, mask)["policy_frames"]
    whole = wanted.prepare(centre_frames(pixels), mask)["policy_frames"]
    assert torch.equal(centre, whole)


def test_the_centre_is_near_what_the_original_sees():
    """Pillow: the shorter side to 256, the middle 224; beside the stored frame, which is not."""
    from PIL import Image

    y, x = torch.meshgrid(torch.arange(240.0), torch.arange(320.0), indexing="ij")
    waves = [torch.sin(x / a + y / b) for a, b in ((9, 31), (23, 12), (40, 17))]
    picture = (torch.stack(waves, dim=-1) * 127 + 128).to(torch.uint8).numpy()

    def cropped(side):
        wide = round(side * 320 / 240)
        image = Image.fromarray(picture).resize((wide, side), Image.Resampling.BICUBIC)
        left, top = (wide - 224) // 2, (side - 224) // 2
        return torch.from_numpy(np.array(image.crop((left, top, left + 224, top + 224))))

    stored, wanted = cropped(224), cropped(256).int()
    seen = centre_frames(stored[None, None])[0, 0].int()
    assert (seen - wanted).abs().float().mean() < 1.0
    assert (stored.int() - wanted).abs().float().mean() > 20.0


def test_training_noise_comes_from_the_generator_or_is_given():
    model = make("adaclip", RAW).train()
    given = inputs_of(model, *clips(5))

    def train(**more):
        model.generator = torch.Generator().manual_seed(7)
        return model.encode_video(**given, **more)["embedding"]

    torch.testing.assert_close(train(), train(), rtol=0, atol=0)
    noise = gumbel_noise(
        torch.zeros(5, FRAMES).double(), generator=torch.Generator().manual_seed(7)
    )
    torch.testing.assert_close(train(noise=noise), train(), rtol=0, atol=0)
    assert not torch.equal(train(noise=-10 * noise), train())


def test_a_frozen_mobilenet_stays_as_it_is_unless_legacy():
    options = VARIANTS["mobilenet"]
    for batch_norm, moves in (("fixed", False), ("legacy", True)):
        model = make("adaclip", options | {"batch_norm": batch_norm}).train()
        before = model.sampler.cnn_model.features[0][1].running_mean.clone()
        model.encode_video(**inputs_of(model, *clips(3)))
        after = model.sampler.cnn_model.features[0][1].running_mean
        assert torch.equal(before, after) is not moves
        assert not any(p.requires_grad for p in model.sampler.cnn_model.parameters())


def test_grey_frames_are_pillows():
    from PIL import Image

    pixels, _ = clips(2, side=20)
    found = grey_frames(pixels, size=7)
    assert found.shape == (2, FRAMES, 1, 7, 7)
    for v in range(2):
        for f in range(FRAMES):
            image = Image.fromarray(pixels[v, f].numpy()).resize((7, 7), Image.Resampling.BICUBIC)
            grey = torch.frombuffer(bytearray(image.convert("L").tobytes()), dtype=torch.uint8)
            difference = (found[v, f, 0].flatten() * 255 - grey.float()).abs()
            assert difference.max() <= 1.01


def test_policies_that_look_at_pixels_need_them():
    model = make("adaclip", RAW)
    given = inputs_of(model, *clips(2))
    with pytest.raises(InputError, match="policy_frames"):
        model.encode_video(given["frames"], given["mask"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RAW | {"top_k": 9}, "top_k 9 of max_frames 4"),
        (RAW | {"hidden_dim": 20}, "multiple of head_dim"),
        ({"reuse_scores": True}, "needs a policy"),
        (RAW | {"sim_header": "transformer", "warmup_epochs": 3}, "warmup_epochs 0"),
        (RAW | {"policy_view": "centre"}, "centre is for a MobileNet, and policy is raw"),
        ({"freeze_clip": True}, "freeze_clip leaves nothing to train"),
        ({"freeze_clip": True, "policy": "none"}, "set a policy, a header or frame_agg"),
        ({"frame_agg": "max"}, "frame_agg"),
        ({"policy": "resnet50"}, "adaclip.policy: .*'resnet50'"),
        ({"policy": "frozen_clip"}, "adaclip.policy: .*'frozen_clip'"),
        ({"polcy": "raw"}, "did you mean 'policy'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(OptionsError, match=message):
        make("adaclip", options)


def test_the_originals_configuration_is_understood():
    given = {
        "use_policy": True,
        "policy_backbone": "raw",
        "use_rnn": False,
        "frame_agg": None,
        "word_agg": "mlp",
        "top_k": 3,
        "num_frm": 6,
        "max_txt_len": 20,
        "learning_rate": 1e-4,
    }
    settings = read_config(given)
    assert settings.max_words == 20 and settings.max_frames == 6
    assert settings.options == {
        "policy": "raw",
        "rnn": "none",
        "frame_agg": "none",
        "word_agg": "mlp",
        "top_k": 3,
    }
    assert read_config(given | {"use_policy": False}).options["policy"] == "none"


def meta(options, **sizes):
    with torch.device("meta"):
        return build(
            "adaclip",
            options=options,
            architecture=architecture("ViT-B/32"),
            **({"max_words": 32, "max_frames": 16} | sizes),
        )


RECIPE = {"policy": "mobilenet_v3_large", "top_k": 12, "frame_agg": "mlp"}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, 302),
        ({"frame_agg": "mlp"}, 308),
        ({"word_agg": "transformer"}, 316),
        ({"sim_header": "seqTransf"}, 351),
        ({"sim_header": "transformer"}, 315),
        (RECIPE, 637),
    ],
)
def test_keys_of_a_vit_b_32(options, keys):
    model = meta(options)
    assert len(model.state_dict()) == keys
    if options == RECIPE:
        # specs/xclip-adaclip.md B1.6
        assert sum(p.numel() for p in model.parameters()) == 160_872_755


@pytest.mark.parametrize("name", [n for n in VARIANTS if n not in ("both",)])
def test_a_checkpoint_tells_what_its_shapes_tell(name):
    options = VARIANTS[name]
    model = make("adaclip", options)
    found = dict(recognise(model.state_dict()))["adaclip"]
    wanted = {
        k: v
        for k, v in options.items()
        if k
        not in (
            "frame_agg_temp",
            "word_agg_temp",
            "reuse_scores",
            "freeze_cnn",
            "policy_view",
            "top_k",
        )
        and v != "qscore"
    }
    if options.get("policy") != "raw":
        wanted.pop("rescale_size", None)
    if wanted.get("mlp_type") == "fc":
        wanted.pop("mlp_hidden_dim")
    if wanted.get("rnn") == "none":
        wanted.pop("hidden_dim")
    assert {k: found.options.get(k) for k in wanted} == wanted


def test_policy_reads_flat_or_image_features():
    torch.manual_seed(0)
    policy = FramePolicy(
        backbone="raw",
        features=9,
        rnn="none",
        mlp=False,
        hidden=8,
        mlp_hidden=4,
        n_frames=4,
        head_dim=4,
    )
    x = torch.randn(2, 4, 9)
    torch.testing.assert_close(policy(x), policy(x.view(2, 4, 1, 3, 3)))
