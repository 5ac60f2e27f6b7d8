"""A form left alone says nothing: what a deployment's form gives, field by field."""

import dataclasses
import typing

import pytest
import yaml
from prefect.exceptions import ParameterTypeError

from reelvec.configs import ConfigError, PipelineConfig, load, preset_names
from reelvec.configs.schema import EmbedConfig, TrainConfig
from reelvec.flows.deployment.entrypoints import reembed_store, retry_failures, run_pipeline
from reelvec.flows.deployment.forms import RunForm, StageForm
from tests.support.forms import SMALL_DEMO, deployments, own_videos, posted

FORMS = {"pipeline": run_pipeline, "reembed": reembed_store, "retry": retry_failures}
DEPLOYMENTS = deployments()


def filled(**changed):
    """The form of `folder` submitted with these fields changed."""
    parameters = posted(run_pipeline, DEPLOYMENTS["pipeline/folder"].parameters, **changed)
    return RunForm(**run_pipeline.validate_parameters(parameters))


def flat(group, before=""):
    """{dotted key: value} of nested groups."""
    found = {}
    for key, value in group.items():
        here = f"{before}{key}"
        found |= flat(value, f"{here}.") if isinstance(value, dict) else {here: value}
    return found


def different(config, other):
    """{dotted key: value in `config`} where the two differ."""
    mine, others = flat(config.model_dump()), flat(other.model_dump())
    return {key: value for key, value in mine.items() if others.get(key, ...) != value}


# --- untouched ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "folder"])
def test_a_form_left_alone_is_its_preset(name):
    parameters = DEPLOYMENTS[f"pipeline/{name}"].parameters
    given = run_pipeline.validate_parameters(posted(run_pipeline, parameters))
    same = PipelineConfig.model_validate({"preset": name, "store": parameters["store"]})
    assert RunForm(**given).config() == same
    assert different(same, load(name)) == {"preset": name}


def test_each_preset_can_be_chosen():
    from prefect.utilities.callables import parameter_schema

    fields = parameter_schema(run_pipeline).properties
    assert fields["preset"]["enum"] == preset_names()
    assert "default" not in fields["preset"]


@pytest.mark.parametrize("flow", FORMS.values(), ids=list(FORMS))
def test_a_field_left_alone_says_nothing(flow):
    """Text and choices are empty, numbers None, switches off, lists empty."""
    fields = posted(flow, {})
    assert {repr(value) for value in fields.values()} <= {"''", "None", "False", "[]"}


@pytest.mark.parametrize("flow", FORMS.values(), ids=list(FORMS))
def test_every_field_has_words_and_a_place(flow):
    from prefect.utilities.callables import parameter_schema

    fields = parameter_schema(flow).properties
    assert all(field["description"].endswith(".") for field in fields.values())
    assert [field["position"] for field in fields.values()] == list(range(len(fields)))


# --- one field changed ----------------------------------------------------------------------------

CHANGES = {
    "store": ("/data/other", {"store": "/data/other"}),
    "videos": (" /srv/clips\n", {"corpus.videos": "/srv/clips"}),
    "captions": ("/srv/a: b #c.csv", {"corpus.captions": "/srv/a: b #c.csv"}),
    "weights": ("ViT-B-32.pt", {"model.weights": "ViT-B-32.pt"}),
    "epochs": (0, {"train.epochs": 0}),
    "batch_size": (7, {"train.batch_size": 7}),
    "max_frames": (3, {"model.max_frames": 3}),
    "frame_size": (224, {"extract.size": 224}),
    "device": ("cpu", {"train.device": "cpu", "embed.device": "cpu"}),
    "runner": ("dask", {"runner": "dask"}),
    "set": (["train.seed=1", "workers=3"], {"train.seed": 1, "workers": 3}),
}


@pytest.mark.parametrize("field", CHANGES)
def test_one_field_changes_its_keys_and_no_other(field):
    value, changed = CHANGES[field]
    assert different(filled(**{field: value}).config(), filled().config()) == changed


def test_every_field_of_a_run_is_tried_here():
    elsewhere = {"preset", "config_file", "dry_run", "accept_losses", "rehash"}
    assert set(CHANGES) | elsewhere == set(RunForm.model_fields)


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("device", TrainConfig.model_fields["device"]),
        ("device", EmbedConfig.model_fields["device"]),
        ("runner", PipelineConfig.model_fields["runner"]),
    ],
    ids=["train.device", "embed.device", "runner"],
)
def test_choices_are_the_configurations(field, option):
    choices = typing.get_args(RunForm.model_fields[field].annotation)
    assert choices == ("", *typing.get_args(option.annotation))


def test_a_benchmarks_files_are_its_videos_and_annotations():
    given = {"videos": "/srv/msvd", "captions": "/srv/msvd-files"}
    config = filled(preset="clip4clip/msvd-meanP-vit-b-32", **given).config()
    assert (config.corpus.kind, config.corpus.videos) == ("msvd", "/srv/msvd")
    assert config.corpus.annotations == "/srv/msvd-files"


def test_a_preset_that_draws_its_videos_takes_no_others():
    with pytest.raises(ConfigError, match=r"\(demo\) draws its own videos.*choose another preset"):
        filled(preset="demo", videos="/srv/clips").config()


def test_a_value_that_cannot_be_is_said_with_its_key():
    with pytest.raises(ConfigError, match=r"\(train.epochs\).*\(-1\)"):
        filled(epochs=-1).config()
    with pytest.raises(ConfigError, match=r"\(train.epoch\).*did you mean \(epochs\)"):
        filled(set=["train.epoch=1"]).config()


# --- a file instead of the preset -----------------------------------------------------------------


def test_a_file_is_the_run_that_reelvec_run_makes_of_it(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"preset": "motion", "train": {"epochs": 2}, "name": "mine"}))
    config = filled(preset="folder", config_file=str(file), store="here").config()
    assert config == load(file, overrides=["store=here"])
    assert filled(config_file=str(file), epochs=1).config().train.epochs == 1


def test_a_file_without_a_corpus_trains_on_nobodys_videos(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("train: {epochs: 1}")
    with pytest.raises(ConfigError, match="names no corpus"):
        filled(config_file=str(file)).config()
    config = filled(config_file=str(file), videos="/srv/clips").config()
    assert (config.corpus.kind, config.corpus.videos) == ("folder", "/srv/clips")


@pytest.mark.parametrize("file", ["demo", "nowhere.yaml", "a\0b.yaml"], ids=["name", "gone", "0"])
def test_a_file_that_is_not_there(file):
    with pytest.raises(ConfigError, match="cannot read"):
        filled(config_file=file).config()


# --- a stage --------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    """A store with a run `clips` of a folder, recorded and not made."""
    from datetime import UTC, datetime

    from reelvec.storage.roots import open_root
    from reelvec.storage.runs import RunRecord, write_run

    document = {"corpus": {"kind": "folder", "videos": "/srv/clips"}, "train": {"epochs": 3}}
    config = PipelineConfig.model_validate({"name": "clips", "preset": "folder", **document})
    root = open_root(str(tmp_path / "store"))
    record = RunRecord(name="clips", config=config.model_dump(mode="json"))
    write_run(root, dataclasses.replace(record, started=datetime.now(UTC).isoformat()))
    return str(tmp_path / "store")


def stage(**given):
    row = DEPLOYMENTS["stage/train"]
    fields = posted(row.flow, row.parameters, **given)
    return StageForm(**row.flow.validate_parameters(fields))


def test_a_stage_is_of_the_stores_last_run(store):
    config = stage(store=store).config()
    assert (config.name, config.train.epochs, config.store) == ("clips", 3, store)
    changed = stage(store=store, run="clips", epochs=4, videos="/srv/more").config()
    assert different(changed, config) == {"train.epochs": 4, "corpus.videos": "/srv/more"}


def test_a_stage_is_of_a_preset_where_one_is_chosen(store):
    config = stage(store=store, preset="motion").config()
    assert different(config, load("motion", overrides=[f"store={store}"])) == {"preset": "motion"}
    with pytest.raises(ConfigError, match=r"run \(clips\) and \(motion\)"):
        stage(store=store, preset="motion", run="clips").config()


def test_a_scored_stage_is_drawn_too():
    assert stage(stage="evaluate").stages == ["evaluate", "report"]
    assert stage(stage="embed").stages == ["embed"]


# --- what is no field -----------------------------------------------------------------------------


@pytest.mark.parametrize("flow", FORMS.values(), ids=list(FORMS))
def test_the_old_config_is_refused_with_what_to_give(flow):
    given = posted(flow, {"config": {"preset": "folder", "store": "reelvec-store"}})
    with pytest.raises(
        ConfigError, match=r"\(config\) is no parameter.*there are.*store.*own deployment"
    ):
        flow.validate_parameters(given)


def test_a_mistyped_field_names_the_nearest():
    with pytest.raises(ConfigError, match=r"\(epoch\).*did you mean \(epochs\)"):
        run_pipeline.validate_parameters({"preset": "folder", "epoch": 1})


def test_a_wrong_type_names_its_field():
    with pytest.raises(ParameterTypeError, match="epochs: Input should be a valid integer"):
        run_pipeline.validate_parameters({"preset": "folder", "epochs": "many"})


# --- posted, and done -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A worker's folder with videos, of which one is broken."""
    folder = tmp_path_factory.mktemp("worker")
    own_videos(folder)
    return folder


@pytest.fixture
def submit(prefect_server, place, monkeypatch):
    """A function that posts a form as the UI does, and runs it as a worker does."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.utilities.callables import parameter_schema

    monkeypatch.chdir(place)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    deployed = deployments(demo=SMALL_DEMO)

    def submit(full_name, **changed):
        row = deployed[full_name]
        flow, name, parameters = row.flow, row.name, dict(row.parameters)
        with get_client(sync_client=True) as client:
            identifier = client.create_deployment(
                flow_id=client.create_flow(flow),
                name=name,
                parameters=parameters,
                parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
                enforce_parameter_schema=True,
            )
            given = posted(flow, parameters, **changed)
            run = client.create_flow_run_from_deployment(identifier, parameters=given)
        return run_flow(flow, flow_run=run, parameters=run.parameters, return_type="state")

    return submit


def recorded(place, store="reelvec-store"):
    from reelvec.storage.roots import open_root
    from reelvec.storage.runs import latest_run

    return latest_run(open_root(str(place / store)))


@pytest.mark.flow
@pytest.mark.timeout(900)
def test_each_form_does_what_it_says(submit, place):
    """In one store, as on one worker: a run of one's own videos, a retry, a night, the demo."""
    refused = submit("pipeline/folder", config={"preset": "folder"})
    assert refused.is_failed() and "(config) is no parameter" in refused.message
    assert submit("pipeline/folder", epochs=1).is_completed()
    record = recorded(place)
    assert record.config["preset"] == "folder" and record.config["train"]["epochs"] == 1
    assert record.config["corpus"]["videos"] == str(place / "videos")

    (place / "videos" / "broken.mp4").write_bytes((place / "videos/clip1.mp4").read_bytes() + b" ")
    mended = submit("retry/failures", videos=["broken"]).result()
    assert mended.outcome.coverage.ok == 5
    (extracted,) = submit("stage/extract", run="folder").result().stages
    assert (extracted.stage, extracted.changed) == ("extract", False)

    assert not submit("reembed/nightly").result().changed
    (place / "videos" / "clip3.mp4").unlink()
    (planned,) = submit("reembed/nightly", runs=["folder"], dry_run=True).result().runs
    assert planned.plan and planned.summary is None

    assert submit("gc/store").result().files == 0, "what is a day old at least goes"
    assert submit("compact/store").is_completed()
    assert submit("compact/store").result() == [], "once is enough"
    assert submit("verify/store").is_completed()
    part = next((place / "reelvec-store" / "frames").glob("*/parts/*"))
    part.write_bytes(part.read_bytes()[:-1])
    damaged = submit("verify/store")
    assert damaged.is_failed() and "1 files of the store" in damaged.message
    assert part.name in damaged.message and "reelvec repair" in damaged.message

    assert submit("pipeline/demo", store="second").is_completed()
    record = recorded(place, "second")
    assert record.config["preset"] == "demo" and record.config["corpus"]["videos"] == 4
