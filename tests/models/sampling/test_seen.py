"""Which stored frames a model sees: selection, draws by (seed, epoch, clip) alone, and order."""

import numpy as np
import pytest

from reelvec.models.sampling.originals import adaclip_uniform
from reelvec.models.sampling.rules import pick_stored
from reelvec.models.sampling.seen import DRAWS, ORDERS, SeenFrames


def picks(n=50, clip="a clip", **fields):
    return SeenFrames(max_frames=8, **fields).picks(n, clip=clip).tolist()


def test_nothing_is_drawn_unless_asked():
    for selection in ("head", "tail", "linspace", "starts"):
        wanted = pick_stored(50, 8, selection).tolist()
        assert picks(selection=selection, seed=1, epoch=2) == wanted
    assert picks(order="reverse") == pick_stored(50, 8).tolist()[::-1]


def test_starts_are_adaclips_frames_of_any_multiple():
    """floor(i T / N) of all frames, from 4 N stored ones as from all."""
    for total in (97, 300, 1000):
        stored = adaclip_uniform(total, count=32)
        among = stored[SeenFrames(max_frames=8, selection="starts").picks(32, clip="")]
        assert among.tolist() == adaclip_uniform(total, count=8).tolist()
        every = SeenFrames(max_frames=8, selection="starts").picks(total, clip="")
        assert every.tolist() == among.tolist()


@pytest.mark.parametrize("options", [{"draw": "random"}, {"draw": "jitter"}, {"order": "random"}])
def test_what_is_drawn_follows_from_seed_epoch_and_clip_alone(options):
    first = picks(**options)
    for _ in range(2):
        np.random.default_rng().random(3)
        picks(clip="another", **options)
        assert picks(**options) == first
    others = [{"seed": 1}, {"epoch": 1}, {"clip": "another"}]
    drawn = [first, *(picks(**options | other) for other in others)]
    assert len({tuple(found) for found in drawn}) == 4


def test_the_numbers_never_change():
    """Trainings are resumed by later versions: written down once, of NumPy 2.4."""
    assert picks(draw="random", seed=42, epoch=3) == [2, 3, 5, 7, 23, 29, 43, 48]
    assert picks(200, draw="jitter", seed=42, epoch=3) == [0, 37, 53, 97, 114, 153, 161, 199]
    assert picks(order="random", seed=42, epoch=3) == [42, 0, 35, 28, 7, 14, 21, 49]


def test_random_frames_are_different_ones_in_order_and_each_as_likely():
    counts = np.zeros(20)
    for epoch in range(2000):
        found = SeenFrames(max_frames=5, draw="random", epoch=epoch).picks(20, clip="c")
        assert (np.diff(found) > 0).all() and len(found) == 5
        counts[found] += 1
    assert (np.abs(counts - 500) < 5 * np.sqrt(500 * 0.75)).all()
    for n in (0, 3, 8):
        assert picks(n, draw="random") == list(range(n))


def test_jitter_moves_the_selected_ones_as_clip2video_does():
    """All but the first and the last, by less than half of the first gap; small gaps stay."""
    calm = pick_stored(200, 8)
    step = (calm[1] - calm[0]) // 2
    moves = []
    for epoch in range(300):
        found = SeenFrames(max_frames=8, draw="jitter", epoch=epoch).picks(200, clip="c")
        assert (np.diff(found) >= 0).all()
        moves.append(found - calm)
    moves = np.array(moves)
    assert not moves[:, [0, -1]].any()
    assert moves[:, 1:-1].min() == -step and moves[:, 1:-1].max() == step - 1
    assert picks(40, draw="jitter") == pick_stored(40, 8).tolist()  # gaps of 5: step 2


def test_orders_hold_the_same_frames():
    for draw in DRAWS:
        ordinary = picks(draw=draw)
        for order in ORDERS:
            found = picks(draw=draw, order=order)
            assert sorted(found) == ordinary
            if order == "reverse":
                assert found == ordinary[::-1]


@pytest.mark.parametrize("field", ["selection", "draw", "order"])
def test_a_name_that_is_none_is_refused(field):
    with pytest.raises(ValueError, match=rf"{field} \(odd\) must be one of"):
        SeenFrames(max_frames=3, **{field: "odd"})
