"""`vermeil jobs | datasets | models | recipes | tasks`: look at what is there."""

import typer

from vermeil_client.commands.output import Output
from vermeil_client.resources import Job, Model


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    jobs = typer.Typer(help="List, show, watch and cancel jobs.", no_args_is_help=True)
    jobs.command("list")(list_jobs)
    jobs.command("show")(show_job)
    jobs.command("watch")(watch_job)
    jobs.command("logs")(show_logs)
    jobs.command("cancel")(cancel_job)
    app.add_typer(jobs, name="jobs")
    app.command("datasets")(datasets)
    app.command("models")(models)
    app.command("recipes")(recipes)
    app.command("tasks")(tasks)


def list_jobs(
    context: typer.Context,
    state: str = typer.Option("", help="pending, running, succeeded, failed or cancelled."),
    limit: int = typer.Option(20, help="At most this many, newest first."),
) -> None:
    """List jobs, newest first."""
    output: Output = context.obj
    with output.connect() as client:
        newest = [job for job, _ in zip(client.jobs(state), range(limit), strict=False)]
    columns = ["name", "kind", "state", "progress", "owner", "priority"]
    output.table(columns, (_row(job, output) for job in newest))


def show_job(context: typer.Context, job: str) -> None:
    """Show one job with everything that is known about it."""
    output: Output = context.obj
    with output.connect() as client:
        output.show(client.job(job).raw)


def watch_job(context: typer.Context, job: str) -> None:
    """Follow a job until it ends."""
    output: Output = context.obj
    with output.connect() as client:
        output.follow(client, client.job(job))


def show_logs(context: typer.Context, job: str) -> None:
    """Print a job's log lines."""
    output: Output = context.obj
    with output.connect() as client:
        for line in client.logs(job):
            if output.as_json:
                output.show(line)
            else:
                output.say(f"{line.get('time', '')} {line.get('level', ''):<7} {line.get('text', '')}")


def cancel_job(context: typer.Context, job: str) -> None:
    """Ask a job to stop."""
    output: Output = context.obj
    with output.connect() as client:
        answer = client.cancel(job)
    if output.as_json:
        output.show(answer.raw)
    else:
        output.say(f"{answer.name} {'is cancelled' if answer.finished else 'will stop'}")


def datasets(
    context: typer.Context, dataset: str = typer.Argument("", help="Show this one's versions and data cards.")
) -> None:
    """List datasets, or the versions of one."""
    output: Output = context.obj
    with output.connect() as client:
        if dataset:
            for version in client.dataset_versions(dataset):
                output.show(version)
            return
        rows = [{"name": each.name, "latest version": each.latest_version} for each in client.datasets()]
    output.table(["name", "latest version"], rows)


def models(
    context: typer.Context, model: str = typer.Argument("", help="Show this one's versions and lineage.")
) -> None:
    """List models, or the versions of one."""
    output: Output = context.obj
    with output.connect() as client:
        if model:
            for version in client.model_versions(model):
                output.show(version)
            return
        rows = [model.raw if output.as_json else _model_row(model) for model in client.models()]
    output.table(["model", "answers with", "over"], rows)


def recipes(context: typer.Context) -> None:
    """List the recipes that come with the trainer."""
    output: Output = context.obj
    with output.connect() as client:
        output.table(["name", "description"], client.recipes())


def tasks(context: typer.Context) -> None:
    """List what can be measured."""
    output: Output = context.obj
    with output.connect() as client:
        output.table(["name", "version", "description"], client.tasks())


def _model_row(model: Model) -> dict[str, object]:
    return {
        "model": model.id,
        "answers with": ", ".join(model.raw.get("output_modalities", ())),
        "over": model.raw.get("parent") or "",
    }


def _row(job: Job, output: Output) -> dict[str, object]:
    if output.as_json:
        return dict(job.raw)
    progress = f"{job.done:,}/{job.total:,} {job.unit}" if job.total else job.message
    return {
        "name": job.name,
        "kind": job.kind,
        "state": job.state.lower(),
        "progress": progress,
        "owner": str(job.raw.get("owner", "")).removeprefix("owners/"),
        "priority": str(job.raw.get("priority", "")).removeprefix("JOB_PRIORITY_").lower(),
    }
