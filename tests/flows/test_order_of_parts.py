"""A stage's receipts come in the order of its plan, whichever shard was done first."""

from types import SimpleNamespace

from reelvec.flows.work import Work
from reelvec.tasks.shards import Shard, ShardReceipt


class Backwards:
    """An engine whose last shard is done first."""

    def progress(self, title):
        return lambda percent: None

    def map(self, function, target, shards, *, shared, device):
        for shard in reversed(shards):
            yield ShardReceipt(receipt=f"{shard.table} {shard.name}", done=1, failed=0)


def test_receipts_are_in_the_order_of_the_plan():
    def receipt(path):
        table, shard = path.split()
        return SimpleNamespace(table=table, shard=shard)

    artifact = SimpleNamespace(receipt=receipt)
    session = SimpleNamespace(find=lambda kind, fingerprint: artifact)
    target = SimpleNamespace(kind="corpus", fingerprint="f")
    names = [("videos", "b"), ("videos", "a"), ("captions", "b")]
    shards = [Shard(table=table, name=name, items=(1,)) for table, name in names]
    work = Work(session, Backwards(), target, shards, unit="videos")
    found = work.map("ingest", lambda: None)
    assert [(one.table, one.shard) for one in found] == names
