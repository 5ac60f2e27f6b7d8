"""Work done in a thread ahead of who uses it."""

import threading

import pytest

from reelvec.tasks.ahead import ahead


class Pieces:
    """Makes 1, 2, ... `count`, then fails; remembers the threads that made them."""

    def __init__(self, count):
        self.count, self.open, self.made, self.threads = count, True, 0, set()

    def __iter__(self):
        try:
            for piece in range(1, self.count + 1):
                self.made = piece
                self.threads.add(threading.get_ident())
                yield piece
            raise ValueError("damaged")
        finally:
            self.open = False


def test_pieces_come_in_their_order_and_what_fails_is_raised_behind_them():
    pieces = Pieces(3)
    coming = ahead(iter(pieces), name="test")
    assert [next(coming) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="damaged"):
        next(coming)
    assert not pieces.open
    assert len(pieces.threads) == 1 and threading.get_ident() not in pieces.threads


def test_none_is_a_piece_and_an_end_is_an_end():
    assert list(ahead((piece for piece in (None, 1, None)), name="test")) == [None, 1, None]
    assert list(ahead((piece for piece in ()), name="test")) == []


def test_leaving_early_ends_what_makes_the_pieces():
    pieces = Pieces(10)
    coming = ahead(iter(pieces), name="test")
    assert next(coming) == 1
    coming.close()
    assert not pieces.open and pieces.made <= 2  # one is made ahead, no more
