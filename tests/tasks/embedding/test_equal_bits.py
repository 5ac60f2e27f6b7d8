"""A row's bits are its own: not those of its place in a batch, of its neighbours or of threads."""

import dataclasses

import numpy as np
import pytest
import torch

from reelvec.configs.schema import EmbedConfig, ModelConfig
from reelvec.models.clip.architecture import Architecture
from reelvec.models.ranking.exact import exact_product
from reelvec.models.registry import build
from reelvec.tasks.embedding.encoder import Encoder
from reelvec.tasks.embedding.encoding import _blocks, encode_captions, encode_videos
from reelvec.tasks.scoring.logits import one_thread, scoring_of
from tests.support.clips import Clips

SIDE, WORDS, FRAMES = 32, 13, 7
SIZES = Architecture(
    embed_dim=64,
    image_size=SIDE,
    vision_layers=1,
    vision_width=64,
    patch_size=16,
    text_width=64,
    text_layers=1,
)
POLICY = {"hidden_dim": 64, "mlp_hidden_dim": 16, "top_k": 4, "rescale_size": 8}
SHIFT = {"shift_layers": (0,), "n_div": 2, "cross_num_hidden_layers": 1, "num_samples": 50}
HEADS = ("xclip", "xpool", "drl", "ts2net", "ucofia")
VARIANTS = [
    *(
        (family, {"sim_header": header, "cross_num_hidden_layers": 1})
        for family in ("clip4clip", "xclip")
        for header in ("meanP", "seqLSTM", "seqTransf", "tightTransf")
    ),
    ("clip4clip", {"linear_patch": "3d"}),
    ("clip2video", {}),
    ("adaclip", {"policy": "none", "frame_agg": "qscore"}),
    ("adaclip", {"policy": "raw", "rnn": "bilstm", "sim_header": "seqTransf", **POLICY}),
    ("adaclip", {"policy": "clip", "word_agg": "transformer", **POLICY}),
    ("adaclip", {"policy": "clip", "frame_agg": "mlp", **POLICY}),
    ("frozen", {}),
    ("xpool", {}),
    ("xpool_baseline", {"pooling": "topk"}),
    ("xpool_baseline", {"pooling": "attention", "short_videos": "repeat"}),
    ("drl", {"interaction": "wti", "cross_num_hidden_layers": 1}),
    ("drl", {"interaction": "ti", "pair_mask": "legacy", "sim_header": "meanP"}),
    ("drl", {"interaction": "xti", "cross_num_hidden_layers": 1}),
    ("teachclip", {"cross_num_hidden_layers": 1}),
    ("ts2net", SHIFT),
    ("ucofia", SHIFT),
]


def drawn_clips():
    """Eleven clips of 1 to 9 frames."""
    rng = np.random.default_rng(0)
    return Clips(
        {
            f"c{n}": rng.integers(0, 256, (1 + n % 9, SIDE, SIDE, 3), dtype=np.uint8)
            for n in range(11)
        }
    )


CLIPS = drawn_clips()
TEXTS = [
    " ".join(["a red square", "moves left", "while"][: 1 + n % 3]) + f" {n}" for n in range(21)
]


def encoder_of(family, options):
    torch.manual_seed(1)
    model = build(
        family, options=options, architecture=SIZES, max_words=WORDS, max_frames=FRAMES
    ).eval()
    config = ModelConfig(family=family, options=options, max_words=WORDS, max_frames=FRAMES)
    return Encoder(model, config, torch.device("cpu"))


def texts(encoder, rows, *, batch=4):
    """Columns [rows, numbers]."""
    columns = encode_captions(
        encoder, [TEXTS[row] for row in rows], options=EmbedConfig(batch_size=batch)
    )
    return {n: c.flatten().to_numpy().reshape(len(rows), -1) for n, c in columns.items()}


def videos(encoder, rows, *, batch=4):
    keys = [f"c{row}" for row in rows]
    columns = encode_videos(encoder, CLIPS, keys, options=EmbedConfig(batch_size=batch))
    del columns["frames_used"]
    return {n: c.flatten().to_numpy().reshape(len(rows), -1) for n, c in columns.items()}


def same(found, whole, rows):
    return all(np.array_equal(found[n], whole[n][rows], equal_nan=True) for n in whole)


def label(variant):
    return "-".join([variant[0], *(str(v) for k, v in variant[1].items() if k not in POLICY)])


@pytest.mark.parametrize("variant", VARIANTS, ids=label)
def test_a_row_is_the_same_beside_any_others(variant):
    encoder = encoder_of(*variant)
    rng = np.random.default_rng(3)
    for encode, count in ((texts, len(TEXTS)), (videos, len(CLIPS.of))):
        whole = encode(encoder, list(range(count)))
        shuffled = rng.permutation(count).tolist()
        assert same(encode(encoder, shuffled, batch=3), whole, shuffled)
        for row in (0, 3, count - 1):
            assert same(encode(encoder, [row]), whole, [row])
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            some = shuffled[: count // 2]
            assert same(encode(encoder, some, batch=16), whole, some)
        finally:
            torch.set_num_threads(before)


OWN = {"tightTransf", "qscore", "topk", "attention"}
OWN_SCORES = [v for v in VARIANTS if v[0] in HEADS or OWN & {*v[1].values()}]


@pytest.mark.parametrize("variant", [VARIANTS[0], *OWN_SCORES], ids=label)
def test_a_score_is_the_same_in_any_block(variant):
    encoder = encoder_of(*variant)
    scoring = scoring_of(encoder.model)
    rng = np.random.default_rng(4)

    def repeated(columns, count):
        """`count` rows, some of them equal."""
        rows = rng.integers(0, len(next(iter(columns.values()))), count)
        return {n: torch.from_numpy(np.array(c[rows])) for n, c in columns.items()}

    text = repeated(texts(encoder, list(range(len(TEXTS)))), 12)
    video = repeated(videos(encoder, list(range(len(CLIPS.of)))), 100)

    def scores(ts, vs):
        return scoring.similarity(
            {n: c[ts] for n, c in text.items()}, {n: c[vs] for n, c in video.items()}
        )

    with one_thread():
        whole = scores(slice(None), slice(None))
        assert torch.equal(scores(slice(3, 8), slice(None)), whole[3:8])
        one = scores(slice(0, 1), slice(None))
        for _ in range(3):
            some = torch.from_numpy(rng.permutation(100)[: rng.integers(1, 100)])
            assert torch.equal(scores(slice(0, 1), some), one[:, some])
            assert torch.equal(scores(slice(None), some), whole[:, some])


def test_a_product_of_unit_vectors_is_exact():
    """Equal vectors tie wherever they stand, and any order of the sum gives the same bits."""
    torch.manual_seed(0)
    texts, videos = (torch.randn(n, 65) for n in (7, 33))
    texts, videos = (x / x.norm(dim=1, keepdim=True) for x in (texts, videos))
    found = exact_product(texts, videos)
    order, columns = torch.randperm(65), torch.randperm(33)
    assert torch.equal(exact_product(texts[:, order], videos[columns][:, order]), found[:, columns])
    torch.testing.assert_close(
        found.double(), texts.double() @ videos.double().T, rtol=0, atol=1e-7
    )
    assert found.dtype == torch.float32


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_calls_are_of_rows_of_one_length_and_of_one_number(device):
    encoder = dataclasses.replace(encoder_of("clip4clip", {}), device=torch.device(device))
    lengths = np.array([8, 16, 8, 13, 8, 8, 16, 8])
    calls = [rows.tolist() for rows in _blocks(encoder, lengths, batch=4, on_cpu=2)]
    cpu = [[0, 2], [4, 5], [7, 7], [3, 3], [1, 6]]
    cuda = [[0, 2, 4, 5], [7, 7, 7, 7], [3, 3, 3, 3], [1, 6, 6, 6]]
    assert calls == (cpu if device == "cpu" else cuda)
    together = dataclasses.replace(
        encoder,
        config=ModelConfig(family="clip2video", options={"mask_layout": "legacy"}),
    )
    calls = [rows.tolist() for rows in _blocks(together, lengths, batch=3, on_cpu=2)]
    assert calls == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_padding_is_not_encoded(monkeypatch):
    """A video's own frames alone, captions by lengths that are multiples of eight."""
    encoder = encoder_of("clip4clip", {})
    seen = {"encode_video": [], "encode_text": []}
    for name, shapes in seen.items():
        encode = getattr(encoder.model.clip, name)
        monkeypatch.setattr(
            encoder.model.clip,
            name,
            lambda x, s=shapes, e=encode: s.append(x.shape[1]) or e(x),
        )
    videos(encoder, range(11))
    texts(encoder, range(21))
    assert sorted(seen["encode_video"]) == sorted(min(1 + n % 9, FRAMES) for n in range(11))
    assert seen["encode_text"] == [8, 8, WORDS, WORDS]
