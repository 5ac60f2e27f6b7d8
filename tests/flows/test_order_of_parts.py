"""A stage's receipts come in the order of its plan, whichever shard was done first."""

from types import SimpleNamespace

from reelvec.flows.work import Work
from reelvec.storage.commits.receipts import Receipt
from reelvec.tasks.shards import Shard, ShardReceipt


class Backwards:
    """An engine whose last shard is done first."""

    def progress(self, title):
        return lambda percent: None

    def map(self, function, target, shards, *, shared, device, decodes):
        for shard in reversed(shards):
            yield ShardReceipt.of(Receipt("parts/p.arrow", shard.table, shard.name, 1, 1, "0"))


def test_receipts_are_in_the_order_of_the_plan():
    kept = []
    artifact = SimpleNamespace(keep=kept.append)  # and nothing that reads
    session = SimpleNamespace(find=lambda kind, fingerprint: artifact)
    target = SimpleNamespace(kind="corpus", fingerprint="f")
    names = [("videos", "b"), ("videos", "a"), ("captions", "b")]
    shards = [Shard(table=table, name=name, items=(1,)) for table, name in names]
    work = Work(session, Backwards(), target, shards, unit="videos")
    found = work.map("ingest", lambda: None)
    assert [(one.table, one.shard) for one in found] == names
    assert sorted(map(id, kept)) == sorted(map(id, found)), "and not read again"
