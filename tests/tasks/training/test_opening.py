"""A weights file is opened once a process, and what is made of it is what torch makes of it."""

import io
import struct
import threading
import time
import zipfile

import pytest
import torch

from reelvec.configs.schema import ModelConfig
from reelvec.models.registry import family_names
from reelvec.storage.errors import IntegrityError, WeightsError
from reelvec.storage.roots import open_root
from reelvec.storage.weights import checkpoints as files
from reelvec.storage.weights.checkpoints import (
    WEIGHTS,
    load_checkpoint,
    open_weights,
    save_checkpoint,
    weights_hash,
)
from reelvec.storage.weights.known import KnownWeights, WeightsMark, keep
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding import encoder
from reelvec.tasks.embedding.encoder import EncoderRef, open_encoder
from reelvec.tasks.training import opening
from reelvec.tasks.training.checkpoints import model_from
from reelvec.tasks.training.finding import trained
from reelvec.tasks.training.opening import close_weights, hash_of_weights, open_any
from reelvec.tasks.training.starting import (
    build_sized,
    rehearse_start,
    starting_model,
    untrained_model,
)
from reelvec.tasks.training.train import load_trained, train
from reelvec.tasks.weights.files import name_model
from tests.tasks.training.builders import FRAMES, MAX_WORDS, SMALL, make_store, small_model


def forget():
    """As a process that has opened nothing."""
    close_weights()
    opening._HASHES.clear()
    opening._SHAPES.clear()


@pytest.fixture(autouse=True)
def nothing_open():
    forget()
    yield
    forget()


@pytest.fixture
def archive(tmp_path):
    """A CLIP as OpenAI's archives hold it, in fp16 where they do."""
    torch.save(small_model().clip.half().state_dict(), tmp_path / "clip.pt")
    return tmp_path / "clip.pt"


def frozen(path):
    return ModelConfig(family="frozen", weights=str(path), max_words=MAX_WORDS, max_frames=FRAMES)


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(found[name], tensor), name


def everything(model):
    """Parameters and buffers, those among them that are in no file."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def run_of(tmp_path, archive):
    """The configuration of a run that embeds with the archive as it is."""
    config = make_store(tmp_path, videos=4, epochs=0)
    return config.model_copy(update={"model": frozen(archive)})


def test_a_run_opens_an_archive_once(tmp_path, archive, monkeypatch):
    opened = []
    read = files.read_archive
    monkeypatch.setattr(
        files, "read_archive", lambda path, **how: opened.append(path) or read(path, **how)
    )
    config = run_of(tmp_path, archive)
    name_model(str(archive))
    rehearse_start(config.model, train=config.train)
    train(Session(config))
    assert opened == [archive]
    assert not opening._OPEN  # nobody needs it any more
    hash_of_weights(str(archive))
    rehearse_start(config.model, train=config.train)
    assert opened == [archive]


def test_a_file_that_has_changed_is_opened_anew(archive):
    first = hash_of_weights(str(archive))
    state = torch.load(archive) | {"logit_scale": torch.tensor(0.0)}
    torch.save(state, archive)
    assert hash_of_weights(str(archive)) == weights_hash(state) != first
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"clip\.pt"):
        open_any(str(archive))


def test_an_archive_is_read_as_torch_reads_it(tmp_path):
    shared = torch.arange(12.0)
    state = {
        "half": torch.randn(3, 5).half(),
        "brain": torch.randn(4, 2).bfloat16(),
        "turned": torch.randn(3, 4).T,
        "part": shared[3:7],
        "whole": shared,
        "bytes": torch.arange(5, dtype=torch.uint8),
        "number": torch.tensor(2.5, dtype=torch.float64),
        "none": torch.empty(0),
    }
    torch.save(state, tmp_path / "x.pt")
    found = open_weights(tmp_path / "x.pt")
    assert found.in_place
    same(found.tensors, torch.load(tmp_path / "x.pt"))
    odd = open_weights(unaligned(tmp_path / "x.pt")).tensors
    same(odd, state)
    assert all(tensor.data_ptr() % tensor.itemsize == 0 for tensor in odd.values())
    before = (tmp_path / "x.pt").read_bytes()
    found.tensors["whole"].zero_()  # in this process alone
    assert (tmp_path / "x.pt").read_bytes() == before


def unaligned(path):
    """The archive, with every storage at an odd place of the file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            info = zipfile.ZipInfo(name)
            size = 30 + len(name) + 4
            odd = 1 - (stream.tell() + size) % 2
            info.extra = struct.pack("<HH", 0xCAFE, odd) + bytes(odd)
            target.writestr(info, source.read(name))
    other = path.with_name("odd.pt")
    other.write_bytes(stream.getvalue())
    return other


def test_a_number_that_has_changed_on_the_disk_is_seen(archive):
    weight = torch.load(archive)["visual.proj"]
    whole = bytearray(archive.read_bytes())
    at = whole.index(weight.numpy().tobytes())
    whole[at] ^= 1
    archive.write_bytes(whole)
    with pytest.raises(WeightsError, match="CRC"):
        open_weights(archive)


def test_of_a_file_that_a_store_knows_no_number_is_read(archive, tmp_path, monkeypatch):
    config = run_of(tmp_path, archive)
    root, read = open_root(config.store), []
    monkeypatch.setattr(opening, "check_finite", lambda _, *, source: read.append(source))
    wanted = rehearse_start(frozen(copied(archive, "new.pt")), root=root)
    assert len(read) == 1  # of a file that it does not know
    keep(root, WeightsMark.of(str(archive)), found=KnownWeights(hash=hash_of_weights(str(archive))))
    forget()
    assert rehearse_start(config.model, root=root) == wanted
    assert len(read) == 2 and not opening._OPEN
    damaged = bytearray(archive.read_bytes())
    damaged[damaged.index(torch.load(archive)["visual.proj"].numpy().tobytes())] ^= 1
    archive.write_bytes(damaged)  # it is another file now
    with pytest.raises(WeightsError, match="CRC"):
        rehearse_start(config.model, root=root)


def copied(path, name):
    path.with_name(name).write_bytes(path.read_bytes())
    return path.with_name(name)


def test_what_is_committed_is_the_model_that_was_drawn_and_then_filled(archive, tmp_path):
    config = frozen(archive)
    before = torch.get_rng_state()
    found = untrained_model(config, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    same(everything(found), everything(starting_model(config, seed=5)))
    assert not any(x.requires_grad for x in found.parameters())
    new = config.model_copy(update={"family": "clip4clip", "options": {"sim_header": "seqTransf"}})
    same(everything(untrained_model(new, seed=5)), everything(starting_model(new, seed=5)))
    assert not torch.equal(torch.get_rng_state(), before)  # the header's numbers are drawn


@pytest.mark.parametrize("family", family_names())
def test_a_checkpoint_is_the_same_model_without_a_draw(family, tmp_path):
    config = ModelConfig(family=family, max_words=MAX_WORDS, max_frames=FRAMES)
    torch.manual_seed(1)
    state = {
        WEIGHTS + name: x + torch.rand(x.shape) if x.is_floating_point() else x
        for name, x in build_sized(config, sizes=SMALL).state_dict().items()
    }
    path = tmp_path / "step.safetensors"
    save_checkpoint(path, tensors=state, metadata={"sizes": vars(SMALL)})
    named = config.model_copy(update={"weights": str(path)})
    same(everything(untrained_model(named, seed=5)), everything(starting_model(named, seed=5)))
    before = torch.get_rng_state()
    found = untrained_model(named, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    same(found.state_dict(), {name.removeprefix(WEIGHTS): x for name, x in state.items()})


def test_the_encoder_is_the_checkpoint_without_a_draw(archive, tmp_path):
    config = run_of(tmp_path, archive)
    train(Session(config))
    done = trained(Session(config))
    before = torch.get_rng_state()
    found = load_trained(done.ref, model=config.model)
    assert torch.equal(torch.get_rng_state(), before)
    same(everything(found), everything(model_from(done.path, config.model)))
    same(found.state_dict(), load_checkpoint(done.path).weights)


def test_a_damaged_checkpoint_is_no_encoder(archive, tmp_path):
    config = run_of(tmp_path, archive)
    train(Session(config))
    done = trained(Session(config))
    path, reference = done.path, EncoderRef.to(done, config=config)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(whole)
    with pytest.raises(IntegrityError, match="damaged"):
        open_encoder(reference)


def test_shards_that_begin_at_once_load_one_encoder(archive, tmp_path, monkeypatch):
    config = run_of(tmp_path, archive)
    train(Session(config))
    reference = EncoderRef.to(trained(Session(config)), config=config)
    loaded, found, all_here = [], [], threading.Barrier(3)

    def load(ref, *, model):
        loaded.append(ref)
        time.sleep(0.05)  # long enough for the others to ask
        return load_trained(ref, model=model)

    def shard():
        all_here.wait()
        found.append(open_encoder(reference))

    monkeypatch.setattr(encoder, "load_trained", load)
    shards = [threading.Thread(target=shard) for _ in range(3)]
    for one in shards:
        one.start()
    for one in shards:
        one.join()
    assert len(loaded) == 1 and len(set(map(id, found))) == 1
