import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.order import Order, pieces, step_seed

counts = st.integers(1, 40)


def singles(count):
    return [[i] for i in range(count)]


@given(items=counts, batch=counts, seed=st.integers(0, 9), epoch=st.integers(0, 5))
def test_an_epoch_shows_items_once_in_whole_batches(items, batch, seed, epoch):
    order = Order(singles(items), batch_size=batch, seed=seed)
    rows = order.epoch(epoch)
    assert rows.shape == (order.steps, min(batch, items))
    seen = rows.ravel().tolist()
    assert len(set(seen)) == len(seen)
    assert items - len(seen) < min(batch, items)
    assert np.array_equal(rows, Order(singles(items), batch_size=batch, seed=seed).epoch(epoch))


def test_order_follows_seed_and_epoch():
    one = Order(singles(30), batch_size=10, seed=1)
    other = Order(singles(30), batch_size=10, seed=2)
    orders = {tuple(o.epoch(e).ravel()) for o in (one, other) for e in (0, 1, 2)}
    assert len(orders) == 6


def test_a_set_smaller_than_a_batch_is_one_batch():
    order = Order(singles(5), batch_size=8, seed=0)
    assert sorted(order.epoch(0)[0].tolist()) == [0, 1, 2, 3, 4]


def test_one_of_a_group_is_drawn_and_every_member_comes_up():
    order = Order([[0, 1, 2], [3], [4, 5]], batch_size=3, seed=0)
    drawn = [set(order.epoch(epoch)[0].tolist()) for epoch in range(40)]
    assert all(len(d & {0, 1, 2}) == 1 and 3 in d and len(d & {4, 5}) == 1 for d in drawn)
    assert set().union(*drawn) == set(range(6))


@given(rows=st.integers(1, 50), processes=st.integers(1, 50))
def test_pieces_are_a_partition(rows, processes):
    if processes > rows:
        with pytest.raises(TrainingError, match=str(rows)):
            pieces(rows, processes=processes)
        return
    cut = pieces(rows, processes=processes)
    assert [r for s in cut for r in range(s.start, s.stop)] == list(range(rows))
    sizes = [s.stop - s.start for s in cut]
    assert max(sizes) - min(sizes) <= 1


def test_step_seeds_differ():
    seeds = {step_seed(s, step=t, row=r) for s in (0, 1) for t in range(5) for r in (0, 8)}
    assert len(seeds) == 20
