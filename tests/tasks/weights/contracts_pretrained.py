"""What every frozen dual encoder's folder must do, whatever its layout.

A test class subclasses `PretrainedContract` and gives the fixture `folder` (of 32-pixel frames) and
`reprocessed`; it says its vectors' `width`.
"""

import numpy as np
import torch

import reelvec
from reelvec.configs import PipelineConfig
from reelvec.configs.schema import EmbedConfig
from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import input_of
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.storage.weights.pretrained import read_pretrained
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.encoder import Encoder
from reelvec.tasks.embedding.encoding import encode_captions, encode_videos
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.scoring.evaluate import evaluate
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.training.finding import trained
from reelvec.tasks.training.starting import starting_model, untrained_model
from reelvec.tasks.training.train import train
from reelvec.tasks.weights.choice import choose_weights
from reelvec.tasks.weights.files import import_file, inspect_file
from tests.support.clips import Clips
from tests.support.engine_free import run_embed, run_extract, run_ingest


def config_of(weights, store):
    """A synthetic corpus embedded with `weights`: a folder, or a file."""
    named = f"hf:{weights}" if weights.is_dir() else str(weights)
    document = {
        "store": str(store),
        "corpus": {"kind": "synthetic", "videos": 6, "seconds": 1, "codecs": ["h264-mp4"]},
        "extract": {"size": 32, "sampling": {"policy": "uniform", "count": 3}},
        "model": {"family": "frozen", "weights": named, "max_frames": 2},
        "train": {"epochs": 0},
    }
    return PipelineConfig.model_validate(document)


def copied(folder, target):
    """The folder's files in another one."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def undrawn_alike(model):
    """What is committed of a model is what is drawn and then filled, to the last buffer."""
    found, wanted = untrained_model(model, seed=5), starting_model(model, seed=5)
    mine, drawn = (
        dict(one.named_parameters()) | dict(one.named_buffers()) for one in (found, wanted)
    )
    assert mine.keys() == drawn.keys()
    for name, tensor in drawn.items():
        assert mine[name].dtype == tensor.dtype and torch.equal(mine[name], tensor), name


class PretrainedContract:
    """From a folder through train (0 epochs), embed, evaluate and search."""

    def width(self, folder):
        """Numbers of a vector."""
        raise NotImplementedError

    def reprocess(self, folder):
        """Change the mean of the folder's preprocessing."""
        raise NotImplementedError

    def form(self, folder):
        """What the folder's processor does to a picture, where it is no centre crop."""
        del folder
        return {}

    def test_a_row_is_the_same_beside_any_others(self, folder):
        config = config_of(folder, "unused").model
        model = starting_model(config, seed=0).eval()
        encoder = Encoder(model, config, torch.device("cpu"))
        texts = [" ".join(["a", "red", "square"][: 1 + n % 3] * (1 + n % 4)) for n in range(21)]
        frames = torch.randint(0, 256, (5, 2, 32, 32, 3), dtype=torch.uint8).numpy()
        clips = {f"c{n}": frames[n, : 1 + n % 2] for n in range(5)}

        def rows(some, named):
            columns = (
                encode_captions(encoder, some, options=EmbedConfig(batch_size=1)),
                encode_videos(encoder, Clips(clips), named, options=EmbedConfig()),
            )
            vectors = [c["embedding"].flatten().to_numpy() for c in columns]
            return [v.reshape(-1, self.width(folder)) for v in vectors]

        whole, alone = rows(texts, list(clips)), rows(texts[17:18], ["c3"])
        assert np.array_equal(whole[0][17:18], alone[0])
        assert np.array_equal(whole[1][3:4], alone[1])

    def test_without_a_draw_it_is_the_same_model(self, folder):
        undrawn_alike(config_of(folder, "unused").model)

    def test_a_folder_of_a_dual_encoder_end_to_end(self, folder, tmp_path):
        config = config_of(folder, tmp_path / "store")
        run_ingest(config)
        run_extract(config)
        train(Session(config))
        _, snapshot = run_embed(config)
        session = Session(config)
        sources = sources_of(session)
        evaluate(
            session,
            sources.embeddings,
            corpus=sources.corpus,
            options=config.evaluate,
            scoring=scoring_of(sources.encoder().model),
        )
        assert len(snapshot.live("videos")) == 6
        started = "2026-01-01T00:00:00+00:00"
        root = open_root(config.store)
        made = {a.kind: (a.fingerprint, a.latest().number) for a in Artifact.all(root)}
        plain = config.model_dump(mode="json")
        write_run(root, RunRecord("x", plain, artifacts=made, started=started))
        found = reelvec.open(config.store).run("x").search("a red circle", top=3)
        assert [row.rank for row in found] == [1, 2, 3]
        columns = sources.encoder().model.video_columns
        assert columns["embedding"].shape == (self.width(folder),)

    def test_identity_is_what_the_weights_are_not_where_they_lie(self, folder, tmp_path):
        """Another folder with the same files is the same model; another mean is not."""
        same, changed = copied(folder, tmp_path / "same"), copied(folder, tmp_path / "changed")
        self.reprocess(changed)

        def weights(place):
            config = config_of(place, tmp_path / "store")
            run_ingest(config)
            train(Session(config))
            return trained(Session(config)).weights_hash

        assert weights(folder) == weights(same) != weights(changed)

    def test_a_checkpoint_of_ours_holds_everything(self, folder, tmp_path):
        """The folder may go: tensors, configuration and preprocessing are in the store."""
        gone = copied(folder, tmp_path / "gone")
        config = config_of(gone, tmp_path / "store")
        run_ingest(config)
        train(Session(config))
        path = trained(Session(config)).path
        for file in gone.iterdir():
            file.unlink()
        chosen = choose_weights(path, store=str(tmp_path / "store"))
        assert (chosen.model["family"], chosen.extract["size"]) == ("frozen", 32)
        self._holds_the_same(path, folder)

    def test_weights_are_named_on_the_command_line(self, folder):
        chosen = choose_weights(f"hf:{folder}", store="unused")
        assert chosen.model["weights"] == f"hf:{folder}"
        assert chosen.extract == {"size": 32, **self.form(folder)}
        state = read_pretrained(f"hf:{folder}")
        assert input_of(state).form.size == 32 and recognise(state)[0][0] == "frozen"

    def test_weights_are_inspected_and_imported(self, folder, tmp_path):
        found = inspect_file(f"hf:{folder}")
        assert (found["layout"], found["families"][0]["family"]) == ("pretrained", "frozen")
        out = tmp_path / "mine.safetensors"
        made = import_file(f"hf:{folder}", out)
        assert made["hash"] == found["hash"] == inspect_file(str(out))["hash"]
        assert choose_weights(out, store="unused").extract == {"size": 32, **self.form(folder)}
        self._holds_the_same(out, folder)

    def _holds_the_same(self, path, folder):
        whole = starting_model(config_of(folder, "unused").model, seed=0).state_dict()
        found = starting_model(config_of(path, "unused").model, seed=5).state_dict()
        assert found.keys() == whole.keys()
        assert all((tensor == whole[key]).all() for key, tensor in found.items())
