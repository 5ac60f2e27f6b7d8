"""The stages as plain calls, one shard after the other: what the flows do, without Prefect."""

from reelvec.configs import PipelineConfig
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus import ingest
from reelvec.tasks.embedding import embed
from reelvec.tasks.embedding import parts as embed_parts
from reelvec.tasks.embedding.encoder import EncoderRef
from reelvec.tasks.frames import audio, extract
from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.training import train
from reelvec.tasks.training.finding import trained


def run_ingest(config):
    session = Session(config)
    plan = ingest.plan_ingest(session)
    done = [ingest.ingest_shard(plan.target, s, limits=config.extract) for s in plan.shards]
    return plan, ingest.commit_ingest(session, plan, receipts(plan, done))


def run_extract(config, **keywords):
    session = Session(config)
    plan = extract.plan_extract(session, **keywords)
    done = [extract.extract_shard(plan.target, s, extract=config.extract) for s in plan.shards]
    return plan, extract.commit_extract(session, plan, receipts(plan, done))


def run_audio(config, **keywords):
    session = Session(config)
    plan = audio.plan_audio(session, **keywords)
    done = [audio.audio_shard(plan.target, s, extract=config.extract) for s in plan.shards]
    return plan, audio.commit_audio(session, plan, receipts(plan, done))


def run_embed(config):
    session = Session(config)
    model = trained(session)
    plan = embed.plan_embed(session, weights_hash=model.weights_hash)
    encoder = EncoderRef.to(model, config=config)
    windows = config.corpus.windows
    inputs = embed_parts.EmbedInputs(encoder, plan.frames, config.embed, windows, plan.audio)
    done = [embed_parts.embed_shard(plan.target, shard, inputs=inputs) for shard in plan.shards]
    return plan, embed.commit_embed(session, plan, receipts(plan, done))


def receipts(plan, done):
    """What the shard tasks committed, read back: it is what they gave."""
    artifact = plan.target.artifact()
    read = [artifact.receipt(shard.receipt.path) for shard in done]
    assert read == [shard.receipt for shard in done]
    return read


def run_all(config: PipelineConfig):
    """Ingest, extract, train, embed: their plans by name, and the embeddings snapshot."""
    ingested, _ = run_ingest(config)
    extracted, _ = run_extract(config)
    train.train(Session(config))
    embedded, snapshot = run_embed(config)
    return {"ingest": ingested, "extract": extracted, "embed": embedded}, snapshot


def stage_receipts(made):
    """As if stages with these names had just ended with these snapshots."""
    return [StageReceipt.of(name, found, done={}, seconds=0.0) for name, found in made.items()]
