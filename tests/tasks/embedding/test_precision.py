"""Encoding in bf16 and with compiled blocks: near fp32, unit vectors, a row's bits its own."""

import dataclasses

import pytest
import torch

from reelvec.tasks.embedding.encoder import compile_blocks
from reelvec.tasks.scoring.logits import scoring_of
from tests.tasks.embedding.test_equal_bits import SHIFT, encoder_of, same, texts, videos

VARIANTS = [
    ("clip4clip", {"sim_header": "seqTransf", "cross_num_hidden_layers": 1}),
    ("xpool", {}),
    ("xpool_baseline", {"pooling": "attention", "attention_temperature": 0.1}),
    ("drl", {"cross_num_hidden_layers": 1}),
    ("teachclip", {"cross_num_hidden_layers": 1}),
    ("ts2net", SHIFT),
    ("ucofia", SHIFT),
    ("adaclip", {"policy": "none", "frame_agg": "mlp"}),
    ("frozen", {}),
]
OFF = 0.02
"""Of the largest number of a column, or score: what a bfloat16's 8 bits leave after two towers."""
EXACT_OFF = 0.001
"""Of a column that tables keep in fp32: its sums average what the towers lose. In bfloat16, twice
as much."""

HALF_OFF = 0.002
"""Of the largest score: what a float16's 11 bits leave."""


def features(encoder, *, rows=range(6), clips=range(4)):
    """Columns of some texts and clips, as tensors."""
    given = texts(encoder, list(rows)), videos(encoder, list(clips))
    return [{name: torch.from_numpy(x.copy()) for name, x in side.items()} for side in given]


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=[name for name, _ in VARIANTS])
def test_bf16_is_near_fp32_and_a_row_depends_on_itself_alone(family, options):
    exact = encoder_of(family, options)
    half = dataclasses.replace(exact, precision="bf16")
    columns = exact.model.text_columns, exact.model.video_columns
    wanted, found = features(exact), features(half)
    for side in (0, 1):
        for name, x in wanted[side].items():
            if name == "vectors":  # of a head that starts at the identity: zeros
                assert not x.any() and not found[side][name].any()
                continue
            off = float((x - found[side][name]).abs().max() / x.abs().max())
            kind = columns[side][name].kind
            most = EXACT_OFF if kind == "exact" else OFF
            assert off == 0 if kind == "integer" else 0 < off < most, name
            if name == "embedding":
                ones = torch.ones(len(x))
                torch.testing.assert_close(found[side][name].norm(dim=1), ones, rtol=0, atol=1e-6)
    scoring = scoring_of(exact.model)
    logits = [scoring.similarity(text, video) for text, video in (wanted, found)]
    assert (logits[0] - logits[1]).abs().max() < OFF * logits[0].abs().max()
    whole = texts(half, range(6)), videos(half, range(4))
    assert same(texts(half, [4]), whole[0], [4]) and same(videos(half, [3]), whole[1], [3])


@pytest.mark.parametrize(("family", "options"), VARIANTS, ids=[name for name, _ in VARIANTS])
def test_a_table_of_half_the_precision_keeps_the_scores(family, options):
    encoder = encoder_of(family, options)
    columns = {**encoder.model.text_columns, **encoder.model.video_columns}
    scoring, wanted = scoring_of(encoder.model), features(encoder)
    kept = [
        {n: x.half().float() if columns[n].kind == "float" else x for n, x in side.items()}
        for side in wanted
    ]
    exact, found = (scoring.similarity(*sides) for sides in (wanted, kept))
    assert 0 < (found - exact).abs().max() < HALF_OFF * exact.abs().max()


def test_blocks_are_compiled_and_give_the_same_vectors(monkeypatch):
    encoder = encoder_of("clip4clip", {})
    wanted = features(encoder, rows=[0], clips=[1])
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    real = torch.nn.Module.compile  # with a C++ compiler, half a minute
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part: real(part, backend=backend))
    names = list(encoder.model.state_dict())
    compile_blocks(encoder.model)
    found = features(encoder, rows=[0], clips=[1])
    assert graphs and list(encoder.model.state_dict()) == names
    for a, b in zip(wanted, found, strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6)
