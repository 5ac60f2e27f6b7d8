"""What is wrong is said before the first video is decoded, without building anything large."""

import re

import pytest
import torch

from reelvec.configs import ConfigError, PipelineConfig, load
from reelvec.configs.schema import ModelConfig
from reelvec.models.errors import WeightsError
from reelvec.storage.weights.checkpoints import WEIGHTS, save_checkpoint
from reelvec.tasks.runs.preflight import check_config
from reelvec.tasks.training.spec import SEEN
from reelvec.tasks.training.starting import build_sized, rehearse_start, starting_model
from tests.tasks.training.builders import SIZE, SMALL, model_config, small_model

VARIANTS = [
    *(
        (family, {"sim_header": header, "linear_patch": patch})
        for family in ("clip4clip", "xclip")
        for header in ("meanP", "seqLSTM", "seqTransf", "tightTransf")
        for patch in ("2d", "3d")
    ),
    ("clip2video", {}),
    ("adaclip", {"policy": "mobilenet_v3_large", "frame_agg": "mlp"}),
    ("adaclip", {"policy": "raw", "rnn": "bilstm", "sim_header": "seqTransf"}),
    ("adaclip", {"policy": "clip", "frame_agg": "transformer", "word_agg": "transformer"}),
    ("frozen", {}),
]


def config_of(*, size=SIZE, **sections):
    return PipelineConfig.model_validate(
        {"extract": {"size": size}, "model": {"architecture": "tiny"}, **sections}
    )


@pytest.fixture
def weights(tmp_path):
    """A checkpoint of clip4clip with seqTransf."""
    path = tmp_path / "start.safetensors"
    state = small_model("seqTransf").state_dict()
    save_checkpoint(path, tensors={WEIGHTS + k: v for k, v in state.items()}, metadata={})
    return path


@pytest.mark.parametrize(("family", "options"), VARIANTS)
@pytest.mark.parametrize("given", ["nothing", "archive", "checkpoint"])
def test_a_rehearsal_passes_wherever_the_start_would(family, options, given, tmp_path):
    config = ModelConfig(family=family, options=options, max_words=12, max_frames=16)
    path = tmp_path / "weights.safetensors"
    if given == "nothing":
        config = config.model_copy(update={"architecture": "tiny"})
    else:
        model = build_sized(config, sizes=SMALL)
        state = model.clip.state_dict() if given == "archive" else model.state_dict()
        save_checkpoint(path, tensors={WEIGHTS + k: v for k, v in state.items()}, metadata={})
        config = config.model_copy(update={"weights": str(path)})
    before = torch.get_rng_state()
    form = rehearse_start(config)
    assert torch.equal(torch.get_rng_state(), before)
    assert form.size == starting_model(config, seed=0).image_size


def test_weights_that_do_not_fit_are_refused_as_the_start_refuses_them(weights):
    longer = model_config("seqTransf", str(weights)).model_dump()
    longer["options"]["cross_num_hidden_layers"] = 2
    with pytest.raises(WeightsError, match=r"missing transformerClip\.resblocks\.1") as rehearsed:
        rehearse_start(ModelConfig(**longer))
    with pytest.raises(WeightsError) as real:
        starting_model(ModelConfig(**longer), seed=0)
    assert str(rehearsed.value) == str(real.value)
    with pytest.raises(WeightsError, match="missing"):
        check_config(config_of(model=longer))


def test_frames_of_another_size_than_the_weights_are_refused(weights):
    model = model_config("seqTransf", str(weights)).model_dump()
    check_config(config_of(model=model))
    with pytest.raises(ConfigError, match=r"extract.size \(224\).*start\.safetensors.*16 pixels"):
        check_config(config_of(size=224, model=model))
    with pytest.raises(ConfigError, match=r"extract.size \(16\).*architecture tiny.*64 pixels"):
        check_config(config_of())


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"train": {"schedule": "cosine"}}, r"train.schedule is \(cosine\).*warmup_cosine"),
        ({"evaluate": {"rerank": ["best"]}}, r"evaluate.rerank names \(best\)"),
        ({"extract": {"size": 64, "sampling": {"policy": "often"}}}, "often"),
        ({"model": {"family": "clip5clip"}}, "clip4clip"),
        ({"model": {"options": {"sim_headr": "meanP"}}}, "sim_header"),
        (
            {"model": {"options": {"sim_header": "seqTransf"}, "max_frames": 200}},
            "max_frames 200: header seqTransf has positions for",
        ),
        ({"model": {"weights": "/nowhere.pt"}}, "/nowhere.pt"),
        ({"train": {"lora": {}, "freeze": "backbone"}}, "set train.freeze=none: the towers' own"),
        ({"train": {"lora": {}, "precision": "legacy_fp16"}}, "train.precision=fp32 or bf16"),
        ({"train": {"lora": {"rank": 200}}}, r"train.lora.rank \(200\) is larger than the width"),
        ({"train": {"lora": {}, "freeze_layers": 4}}, r"train.freeze_layers \(4\) leaves none"),
    ],
)
def test_names_and_sizes_are_refused_with_what_there_is(sections, said):
    with pytest.raises(ConfigError, match=said):
        check_config(config_of(**({"size": 64} if "extract" not in sections else {}), **sections))


@pytest.mark.parametrize("what", ["recipe", "msrvtt-9k-vit-b-32"])
def test_a_student_whose_teacher_is_not_there_is_refused(what, tmp_path):
    taught_by = load(f"xclip/{what}")
    small = ["model.weights=null", "model.architecture=tiny", "extract.size=64"]
    config = load(f"teachclip/{what}", overrides=[f"store={tmp_path}/none", *small])
    assert config.train.teachers == (taught_by.name,)
    assert load(f"teachclip/{what}").extract == taught_by.extract
    for key in SEEN:
        assert getattr(config.model, key) == getattr(taught_by.model, key)
    with pytest.raises(ConfigError, match=re.escape(taught_by.name) + ".*run the teacher first"):
        check_config(config)
