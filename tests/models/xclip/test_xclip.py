"""X-CLIP: the family contract, the fast score against its twins, its guard, key lists."""

import pytest
import torch

from reelvec.models.clip.architecture import architecture
from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import load_checkpoint
from reelvec.models.errors import InputError, WeightsError
from reelvec.models.registry import build
from reelvec.models.xclip import similarity as xclip_similarity
from reelvec.models.xclip.similarity import Matrices, Sides, fast_scores, plain_scores
from tests.models.contracts_family import FamilyContract, captions, clips, inputs_of, make

VARIANTS = [
    {"sim_header": "meanP"},
    {"sim_header": "seqLSTM"},
    {"sim_header": "seqTransf", "cross_num_hidden_layers": 2},
    {"sim_header": "seqTransf", "linear_patch": "3d", "cross_num_hidden_layers": 1},
    {"sim_header": "tightTransf", "cross_num_hidden_layers": 1},
]


@pytest.fixture(params=VARIANTS, ids=lambda o: "_".join(map(str, o.values())))
def options(request):
    return request.param


class TestXClip(FamilyContract):
    family = "xclip"


def sides(*, texts=5, videos=7, words=6, frames=4, width=16, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def unit(*shape):
        x = torch.randn(*shape, generator=generator, dtype=dtype)
        return x / x.norm(dim=-1, keepdim=True)

    return Sides(
        unit(texts, width),
        unit(texts, words, width),
        unit(videos, width),
        unit(videos, frames, width),
    )


def matrices(given, *, noise=0.1, seed=3):
    generator = torch.Generator().manual_seed(seed)
    (_, words, width), frames = given.words.shape, given.frames.shape[1]
    side = {"global": width, "local": width, "word": words, "frame": frames}
    return Matrices(
        **{
            name: torch.eye(n, dtype=given.words.dtype)
            + noise
            * torch.randn(n, n, generator=generator, dtype=torch.float64).to(given.words.dtype)
            for name in Matrices.__dataclass_fields__
            for n in [side[name.partition("_")[0]]]
        }
    )


def naive_pair(s, w, v, f, m):
    """specs/xclip-adaclip.md A1.4 for one text and one video, with loops where it has sums."""
    tau = 0.01

    def weighed(x, matrix):
        p = torch.softmax(x / tau, 0)
        mixed = [sum(p[i] * matrix[i, j] for i in range(len(p))) for j in range(len(p))]
        return sum(x[j] * mixed[j] for j in range(len(p)))

    g = torch.stack([torch.stack([w_l @ m.local_mat_weight @ f_f for f_f in f]) for w_l in w])
    by_frame = torch.stack([weighed(g[:, i], m.word_mat_weight) for i in range(len(f))])
    by_word = torch.stack([weighed(g[j], m.frame_mat_weight) for j in range(len(w))])
    fine = (weighed(by_frame, m.frame_mat_weight2) + weighed(by_word, m.word_mat_weight2)) / 2
    video_word = weighed(torch.stack([w_l @ v for w_l in w]), m.word_logit_weight)
    sentence_frame = weighed(torch.stack([s @ f_f for f_f in f]), m.frame_logit_weight)
    return (s @ m.global_mat_weight @ v + video_word + sentence_frame + fine) / 4


@pytest.fixture(params=[0, 12])
def few(request, monkeypatch):
    """Both ways of `fast_scores`, also for the few texts of these tests."""
    monkeypatch.setattr(xclip_similarity, "_FEW", request.param)


@pytest.mark.parametrize("score", [plain_scores, fast_scores])
def test_scores_equal_the_specification_pair_by_pair(score, few):
    given = sides()
    m = matrices(given)
    found = score(given, m)
    for t in range(5):
        for v in range(7):
            wanted = naive_pair(
                given.sentence[t], given.words[t], given.video[v], given.frames[v], m
            )
            torch.testing.assert_close(found[t, v], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("wide", "tall"), [(1, 1), (2, 4), (64, 128)])
@pytest.mark.parametrize("held", [1, 150, 10**6])
def test_fast_scores_in_blocks_of_any_size(monkeypatch, few, wide, tall, held):
    monkeypatch.setitem(xclip_similarity._WIDE, "cpu", wide)
    monkeypatch.setattr(xclip_similarity, "_TALL", tall)
    monkeypatch.setitem(xclip_similarity._HELD, "cpu", held)
    for texts, videos, product in ((9, 11, 10**6), (3, 30, 1), (30, 3, 300)):
        monkeypatch.setitem(xclip_similarity._PRODUCT, "cpu", product)
        given = sides(texts=texts, videos=videos)
        m = matrices(given)
        wanted = plain_scores(given, m)
        torch.testing.assert_close(fast_scores(given, m), wanted, rtol=0, atol=1e-12)


def test_float32_stays_within_the_tolerance_on_cosine():
    given = sides(texts=40, videos=30, words=32, frames=12, width=64, dtype=torch.float32)
    m = matrices(given, noise=0.02)
    exact = plain_scores(
        Sides(*(x.double() for x in given)),
        Matrices(**{k: getattr(m, k).double() for k in Matrices.__dataclass_fields__}),
    )
    assert (fast_scores(given, m).double() - exact).abs().max() < 1e-6


@pytest.mark.parametrize("cosine", [-0.9, 1.6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("held", [150, 10**6])  # a text at a time, all at once
def test_guard_where_the_shared_exponential_leaves_its_range(monkeypatch, cosine, dtype, few, held):
    """All words of text 1 are opposite to (or, by the matrix, beyond 1 with) frames of video 2."""
    monkeypatch.setitem(xclip_similarity._HELD, "cpu", held)
    given = sides(dtype=dtype)
    if cosine > 1:  # all other cosines positive: only the overflow calls the guard
        given = Sides(*(x.abs() for x in given))
    m = matrices(given, noise=0.0)
    axis = torch.zeros(16, dtype=dtype)
    axis[0] = 1
    given.words[1], given.frames[2] = axis, axis * (1 if cosine > 0 else cosine)
    if cosine > 1:
        m.local_mat_weight[0, 0] = cosine
    torch.testing.assert_close(fast_scores(given, m), plain_scores(given, m), rtol=0, atol=2e-7)


def test_guard_is_what_saves_it(monkeypatch):
    monkeypatch.setattr(xclip_similarity, "_FEW", 0)
    monkeypatch.setattr(xclip_similarity, "_SMALLEST", -1.0)
    given = sides(dtype=torch.float32)
    m = matrices(given, noise=0.0)
    given.words[1] = given.frames[2, 0]
    given.frames[2] = -given.frames[2, 0].clone()
    assert not torch.allclose(fast_scores(given, m), plain_scores(given, m), atol=1e-3)


def test_nan_stays_in_its_column(few):
    given = sides(texts=3, videos=4)
    m = matrices(given)
    given.video[2] = torch.nan
    bad = torch.isnan(fast_scores(given, m))
    assert bad[:, 2].all() and not bad[:, [0, 1, 3]].any()


def test_evaluation_and_training_scores_agree():
    model = make("xclip", {"sim_header": "seqTransf", "cross_num_hidden_layers": 1})
    text = model.encode_text(captions(6))
    video = model.encode_video(**inputs_of(model, *clips(7)))
    trained = model.similarity(text, video)
    assert trained.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(model.similarity(text, video), trained, rtol=0, atol=1e-9)
        half = model.float().similarity(text.to(dtype=torch.float16), video.to(dtype=torch.float16))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), trained.detach(), rtol=0, atol=0.05)


def test_other_lengths_than_the_matrices_are_refused():
    model = make("xclip")
    given = inputs_of(model, *clips(2, frames=3))
    with pytest.raises(InputError, match="max_frames"):
        model.encode_video(**given)
    other = make("xclip", words=8)
    with pytest.raises(WeightsError, match="word_logit_weight"):
        load_checkpoint(model, other.state_dict())


def meta(options, **sizes):
    with torch.device("meta"):
        return build(
            "xclip",
            options=options,
            architecture=architecture("ViT-B/32"),
            **({"max_words": 32, "max_frames": 12} | sizes),
        )


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"sim_header": "meanP"}, 310),
        ({"sim_header": "meanP", "linear_patch": "3d"}, 311),
        ({"sim_header": "seqLSTM"}, 315),
        ({"sim_header": "seqTransf"}, 359),
        ({"sim_header": "tightTransf"}, 365),
    ],
)
def test_keys_of_a_vit_b_32(options, keys):
    assert len(meta(options).state_dict()) == keys


def test_shapes_of_the_published_variant():
    model = meta({"sim_header": "seqTransf"})
    state = model.state_dict()
    assert sum(p.numel() for p in model.parameters()) == 164_454_065  # specs/xclip-adaclip.md A1.6
    assert state["global_mat_weight"].shape == (512, 512)
    assert state["word_mat_weight2"].shape == (32, 32)
    assert state["frame_logit_weight"].shape == (12, 12)
    assert state["frame_position_embeddings.weight"].shape == (77, 512)


def test_a_checkpoint_tells_its_settings():
    model = make("xclip", {"sim_header": "seqTransf", "cross_num_hidden_layers": 2})
    ((family, settings),) = recognise(model.state_dict())
    assert family == "xclip"
    assert settings.max_words == 9 and settings.max_frames == 4
    assert settings.options["cross_num_hidden_layers"] == 2
