"""`vermeil bench serve`: load for a server, and how it bears it."""

import asyncio
from importlib.util import find_spec
from pathlib import Path

import typer
from vermeil_errors import InvalidInput, Unavailable

from vermeil_client.commands.output import Output

_EXTRA = ("aiohttp", "matplotlib")


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(help="Measure a server under load.", no_args_is_help=True)
    group.command()(serve)
    app.add_typer(group, name="bench")

    @group.callback()
    def _needs_a_verb() -> None:
        """Without this, Typer takes the only command for the group."""


def serve(
    context: typer.Context,
    model: str = typer.Argument(..., help="A model of the server."),
    request_rate: float = typer.Option(0.0, help="Requests a second, as a Poisson process."),
    max_concurrency: int = typer.Option(16, help="Requests at once, where no rate is given.", min=1),
    num_prompts: int = typer.Option(0, help="Requests; default 200 where no duration is given."),
    duration: float = typer.Option(0.0, help="Seconds, in place of a number of requests."),
    mix: str = typer.Option(
        "", help="Kinds and shares such as short=4,look=1; default: what the model can do. See below."
    ),
    short_input: int = typer.Option(16, help="Words of a short prompt.", min=1),
    long_input: int = typer.Option(64, help="Words of a long prompt.", min=1),
    short_output: int = typer.Option(16, help="Tokens of a short answer, at most.", min=1),
    long_output: int = typer.Option(64, help="Tokens of a long answer, at most.", min=1),
    drawing: list[str] = typer.Option(
        ["a red circle", "two blue squares"], help="What kind draw asks for; may be given several times."
    ),
    seed: int = typer.Option(0, help="The same seed asks the same."),
    goodput: str = typer.Option(
        "", help="Limits that count as good, such as 'ttft:200 tpot:50 e2el:2000' (ms)."
    ),
    count_tokens: bool = typer.Option(False, help="Ask for log-probabilities, and check usage against them."),
    sweep: bool = typer.Option(False, help="Rate after rate, to find where the server saturates."),
    rates: str = typer.Option("", help="Rates of the sweep, such as 1,2,4; default: shares of its capacity."),
    timeout: float = typer.Option(600.0, help="Seconds that an answer may take."),
    result_dir: Path | None = typer.Option(None, help="Folder for serve.json and serve.png, or sweep.*."),
    save_detailed: bool = typer.Option(False, help="Also write every request to requests.jsonl."),
) -> None:
    """Put an OpenAI-compatible server under load, with the words of `vllm bench serve`.

    Kinds of requests: short, read (long prompt), write (long answer), turns (conversations with a shared
    beginning), json (structured answers), look (pictures in), draw (pictures out).
    The exit code is 1 if an answer was lost or contradicts itself.
    """
    _require_extra()
    from vermeil_client.bench import measure  # noqa: PLC0415 aiohttp and matplotlib are an extra
    from vermeil_client.bench.figures import goodput_from  # noqa: PLC0415
    from vermeil_client.bench.load import Pace  # noqa: PLC0415
    from vermeil_client.bench.mixture import Lengths, Mixture  # noqa: PLC0415

    output: Output = context.obj
    if request_rate and sweep:
        raise InvalidInput.for_field("--request-rate", request_rate, "goes not with --sweep", "use --rates")
    pace = Pace(
        rate=request_rate or None,
        concurrency=max_concurrency,
        num_prompts=num_prompts or (None if duration else 200),
        duration=duration or None,
    )
    lengths = Lengths(short_input, long_input, short_output, long_output)
    with output.connect() as client:
        target, shares = measure.target_of(client, timeout), measure.shares_of(client, model, mix)
    mixture = Mixture(model, shares, lengths, seed, count_tokens, drawing)
    plan = measure.Plan(target, mixture, pace, goodput_from(goodput), result_dir, save_detailed)
    asyncio.run(measure.warm_up(plan))
    is_sound = measure.sweep_rates(output, plan, _rates(rates)) if sweep else measure.serve(output, plan)
    if not is_sound:
        raise typer.Exit(1)


def _require_extra() -> None:
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise Unavailable(f"{' and '.join(missing)} not installed", fix="pip install 'vermeil-client[bench]'")


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        rates = [-1.0]
    if any(not 0 < rate < float("inf") for rate in rates):
        raise InvalidInput.for_field("--rates", text, "is no list of rates", "write such as 1,2,4")
    return rates
