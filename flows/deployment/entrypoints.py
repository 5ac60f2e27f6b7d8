"""What the deployments run: a flow a form, which does its work as `pipeline` and `reembed` do.

The work is done in the deployment's own flow run (`.fn`), so that its page in the UI shows the
summary, the failures and the metrics, and not a link to them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from prefect import Flow, runtime
from pydantic import BaseModel

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.errors import nearest
from reelvec.flows.deployment.forms import (
    CompactForm,
    GcForm,
    MigrateForm,
    ReembedForm,
    RetryForm,
    RunForm,
    StageForm,
    TitledForm,
    VerifyForm,
)
from reelvec.flows.deployment.upkeep import collect, compact, verify
from reelvec.flows.launch import failures_to_retry
from reelvec.flows.migrate import migrate
from reelvec.flows.migrating import Migration
from reelvec.flows.pipeline import pipeline
from reelvec.flows.pricing import plan_run
from reelvec.flows.reembed import reembed
from reelvec.flows.refresh import Reembedded
from reelvec.flows.summary import publish_plan
from reelvec.storage.upkeep.verify import Damage
from reelvec.tasks.runs.outcome import RunSummary
from reelvec.tasks.runs.price import PricedPlan
from reelvec.tasks.runs.recording import last_config
from reelvec.tasks.upkeep.collect import StoreCollected
from reelvec.tasks.upkeep.compact import Compacted

__all__ = [
    "FormFlow",
    "collect_garbage",
    "compact_parts",
    "migrate_tables",
    "reembed_store",
    "retry_failures",
    "run_pipeline",
    "run_stage",
    "verify_parts",
]

Form = TypeVar("Form", bound=TitledForm)
Result = TypeVar("Result")


class FormFlow(Flow[..., Result], Generic[Result]):
    """A flow whose parameters are the fields of a form."""

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters with their types.

        Raises:
            ConfigError: one that is no field of the form, with what to give instead.
            ParameterTypeError: a wrong type.
        """
        fields = list(self.parameters.properties)
        if "config" in parameters:
            raise ConfigError(
                f"(config) is no parameter of this deployment any more; there are"
                f" {', '.join(fields)}. An own deployment of reelvec.flows.pipeline.pipeline or"
                " reelvec.flows.reembed.reembed takes a whole config: docs/deploy.md",
                key="config",
            )
        for name in parameters:
            if name not in fields:
                raise ConfigError(
                    f"({name}) is no parameter of this deployment; {nearest(name, fields)}",
                    key=name,
                )
        return super().validate_parameters(parameters)


def form_flow(
    form: type[Form], *, name: str
) -> Callable[[Callable[[Form], Result]], FormFlow[Result]]:
    """Make a flow with the fields of `form` as parameters of a function of one filled-in form."""

    def decorate(work: Callable[[Form], Result]) -> FormFlow[Result]:
        def run(**given: object) -> Result:
            return work(form.model_validate(given))

        run.__name__, run.__module__ = work.__name__, work.__module__
        run.__doc__ = _documented(form)
        run.__signature__ = inspect.signature(form)  # type: ignore[attr-defined]

        def title() -> str:
            return str(form.model_validate(runtime.flow_run.parameters).title)

        return FormFlow(run, name=name, flow_run_name=title)

    return decorate


def _documented(form: type[BaseModel]) -> str:
    """The docstring Prefect takes the words of the form from."""
    fields = form.model_fields.items()
    lines = [f"    {name}: {' '.join((field.description or '').split())}" for name, field in fields]
    return "\n".join([str(inspect.getdoc(form)), "", "Args:", *lines])


@form_flow(RunForm, name="pipeline")
def run_pipeline(form: RunForm) -> RunSummary | PricedPlan:
    """The pipeline, or its plan, as the form says."""
    return _run(form)


@form_flow(StageForm, name="stage")
def run_stage(form: StageForm) -> RunSummary | PricedPlan:
    """One stage, or its plan, as the form says."""
    return _run(form, only=form.stages)


def _run(form: RunForm, *, only: list[str] | None = None) -> RunSummary | PricedPlan:
    config = form.config()
    if form.dry_run:
        plan = plan_run(config, stages=only, rehash=form.rehash)
        publish_plan(plan)
        return plan
    return pipeline.fn(config, only=only, accept_losses=form.accept_losses, rehash=form.rehash)


@form_flow(ReembedForm, name="reembed")
def reembed_store(form: ReembedForm) -> Reembedded:
    """The tables of a store's runs brought up to date."""
    return reembed.fn(
        store=form.store or None,
        runs=list(form.runs),
        dry_run=form.dry_run,
        accept_losses=form.accept_losses,
        rehash=form.rehash,
    )


@form_flow(RetryForm, name="retry")
def retry_failures(form: RetryForm) -> RunSummary:
    """The failed videos of a run tried once more."""
    store, run = form.store or PipelineConfig().store, form.run or None
    retry = failures_to_retry(store, run=run, reasons=form.reasons, videos=form.videos)
    config = last_config(store, run=run)
    return pipeline.fn(config, retry=retry, accept_losses=form.accept_losses, rehash=form.rehash)


@form_flow(MigrateForm, name="migrate")
def migrate_tables(form: MigrateForm) -> Migration:
    """The tables of another model, and what is searched moved to them."""
    return migrate.fn(
        form.store or PipelineConfig().store,
        form.weights,
        run=form.run or None,
        name=form.name or None,
        plan=form.dry_run,
    )


@form_flow(VerifyForm, name="verify")
def verify_parts(form: VerifyForm) -> list[Damage]:
    """Every part of a store compared with its receipt."""
    return verify(form.store or PipelineConfig().store)


@form_flow(GcForm, name="gc")
def collect_garbage(form: GcForm) -> StoreCollected:
    """What nothing needs removed from a store."""
    store = form.store or PipelineConfig().store
    return collect(store, keep=form.keep, hours=form.hours, dry_run=form.dry_run)


@form_flow(CompactForm, name="compact")
def compact_parts(form: CompactForm) -> list[Compacted]:
    """Small parts of a store merged."""
    store = form.store or PipelineConfig().store
    return compact(store, kind=form.kind, identity=form.identity, dry_run=form.dry_run)
