"""What a store holds about its vectors is a small share of them: `tests.benchmarks.bookkeeping`."""

from tests.benchmarks.bookkeeping import GOAL, counted, share, write


def test_bookkeeping_is_under_two_percent_of_the_vectors(tmp_path):
    """A video shard is full at 512 rows, a caption shard at 4,096: the share no longer falls."""
    found = counted(write(tmp_path, videos=4096))
    assert found["embeddings", "receipts"] > 4096 * 2 * 16  # it is counted: a hash and more a row
    assert share(found, "embeddings") < GOAL
