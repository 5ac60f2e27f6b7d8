"""Drills with several writers on one store, and with upkeep beside them."""

from tests.drills.ground import Drill, must

MOST_SECONDS = 300


def beside(ground, store, *upkeep):
    """Two runs of the same configuration, and upkeep again and again until both have ended."""
    writers = [ground.start(store), ground.start(store)]
    rounds = 0
    while any(writer.poll() is None for writer in writers):
        for words in upkeep:
            if (store / "runs").exists() or (store / "frames").exists():
                ground.expect(ground.do(*words, "--store", str(store)), 0)
                rounds += 1
        must(rounds < 500, "the writers do not end")
    for writer in writers:
        _, said = writer.communicate(timeout=MOST_SECONDS)
        must(writer.returncode == 0, f"a writer ended with {writer.returncode}: {said[-600:]}")
    return rounds


def two_writers(ground, store):
    beside(ground, store)
    return "both end with 0"


def two_writers_and_gc(ground, store):
    rounds = beside(ground, store, ("gc", "--hours", "0", "--keep", "1"))
    return f"both end with 0 beside {rounds} collections of age 0"


def two_writers_and_compaction(ground, store):
    rounds = beside(ground, store, ("compact",), ("gc", "--hours", "0", "--keep", "1"))
    return f"both end with 0 beside {rounds} compactions and collections"


DRILLS = (
    Drill("two writers of one configuration", two_writers),
    Drill("two writers, and gc --hours 0", two_writers_and_gc, short=True),
    Drill("two writers, compaction and gc", two_writers_and_compaction, merges=True),
)
