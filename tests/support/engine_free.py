"""The stages as plain calls, one shard after the other: what the flows do, without Prefect."""

from reelvec.configs import PipelineConfig
from reelvec.tasks.corpus import ingest
from reelvec.tasks.embedding import embed
from reelvec.tasks.embedding import parts as embed_parts
from reelvec.tasks.embedding.encoding import EncoderRef
from reelvec.tasks.frames import extract
from reelvec.tasks.frames.decoding import ProbeOptions
from reelvec.tasks.training import train


def run_ingest(config):
    plan = ingest.plan_ingest(config)
    done = [ingest.ingest_shard(plan.ref, shard, options=ProbeOptions()) for shard in plan.shards]
    artifact = plan.ref.open()
    snapshot = ingest.commit_ingest(plan, [artifact.receipt(d["receipt"]) for d in done])
    return plan, snapshot


def run_extract(config, **keywords):
    plan = extract.plan_extract(config, **keywords)
    done = [extract.extract_shard(plan.ref, shard, extract=config.extract) for shard in plan.shards]
    artifact = plan.ref.open()
    snapshot = extract.commit_extract(plan, [artifact.receipt(d["receipt"]) for d in done])
    return plan, snapshot


def run_embed(config):
    trained = train.trained(config)
    plan = embed.plan_embed(config, weights_hash=trained.weights_hash)
    inputs = embed_parts.EmbedInputs(
        encoder=EncoderRef(
            store=config.store,
            checkpoint=trained.fingerprint,
            number=trained.number,
            model=config.model.model_dump_json(),
        ),
        frames=plan.frames,
        frames_number=plan.frames_number,
        base_number=plan.base_number,
        options=config.embed,
    )
    done = [embed_parts.embed_shard(plan.ref, shard, inputs=inputs) for shard in plan.shards]
    artifact = plan.ref.open()
    snapshot = embed.commit_embed(plan, [artifact.receipt(d["receipt"]) for d in done])
    return plan, snapshot


def run_all(config: PipelineConfig):
    """Ingest, extract, train, embed: their plans by name, and the embeddings snapshot."""
    ingested, _ = run_ingest(config)
    extracted, _ = run_extract(config)
    train.train(config)
    embedded, snapshot = run_embed(config)
    return {"ingest": ingested, "extract": extracted, "embed": embedded}, snapshot
