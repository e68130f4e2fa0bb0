"""What each page shows, for what the gateway tells."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from vermeil_client import DrawingProgress, Picture, Vermeil
from vermeil_client.resources import Job
from vermeil_client.testing import FakeGateway
from vermeil_demo.charts import Curve, chart, round_ticks
from vermeil_demo.clients import Gateway
from vermeil_demo.drawing import looks
from vermeil_demo.examples import EXAMPLES
from vermeil_demo.fakes import FakeVermeil
from vermeil_demo.header import state
from vermeil_demo.lineage import Version, tree
from vermeil_demo.pages.models import about, fusing, listing, version_of
from vermeil_demo.pages.reports import evaluations, report
from vermeil_demo.pages.search import found
from vermeil_demo.pages.see import said_of
from vermeil_demo.pages.studio import options
from vermeil_demo.pages.training import look, trainings
from vermeil_demo.run_log import RunLog, RunLogs
from vermeil_demo.runs import Losses, shown, time_left, validation_points
from vermeil_demo.skills import DRAWS, FINDS, SEES, TALKS, models_that, offered
from vermeil_errors import InvalidInput


def all_of(looks: AsyncIterable[Any]) -> list[Any]:
    """Every look at something that grows."""

    async def gathered() -> list[Any]:
        return [look async for look in looks]

    return asyncio.run(gathered())


async def each(values: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for value in values:
        yield value


PNG = Path(EXAMPLES[0]).read_bytes()


@pytest.mark.parametrize(
    ("skill", "able"),
    [
        (TALKS, {"nano", "fused-shapes"}),
        (DRAWS, {"shapes-image", "fused-shapes"}),
        (SEES, {"fused-shapes"}),
        (FINDS, {"dual-shapes"}),
    ],
)
def test_a_page_offers_the_models_that_can_do_what_it_is_for(vermeil: Vermeil, skill, able) -> None:
    assert set(models_that(vermeil, skill)) == able


def test_without_a_model_every_page_says_which_command_makes_one(vermeil: Vermeil, fake: FakeVermeil) -> None:
    fake.empty = True
    for skill in (TALKS, DRAWS, SEES, FINDS):
        dropdown, missing = offered(vermeil, skill, None)
        assert dropdown.choices == []
        assert "<code>vermeil train" in missing.value
    assert "make quickstart" in listing(vermeil, None)[0]
    assert "vermeil train" in trainings(vermeil, None)[1]
    assert "vermeil evaluate" in evaluations(vermeil, None)[1]
    assert "vermeil ingest" in next(found(vermeil, "", "dual-shapes", "a red circle", 4))


def test_without_a_gateway_every_page_says_how_to_start_it(vermeil: Vermeil, fake: FakeVermeil) -> None:
    fake.unreachable = True
    told = [
        offered(vermeil, TALKS, None)[1].value,
        listing(vermeil, None)[0],
        about(vermeil, RunLogs(vermeil), "nano"),
        trainings(vermeil, None)[1],
        look(vermeil, Losses(), RunLogs(vermeil), "jobs/training", "")[0],
        evaluations(vermeil, None)[1],
        report(vermeil, "jobs/evaluation"),
        state(vermeil),
    ]
    for html in told:
        assert "<code>vermeil up</code>" in html


def test_what_was_chosen_stays_chosen_while_it_is_there(vermeil: Vermeil) -> None:
    assert offered(vermeil, TALKS, "fused-shapes")[0].value == "fused-shapes"
    assert offered(vermeil, TALKS, "gone")[0].value == "nano"


def test_a_drawing_is_seen_leaving_the_noise_and_told_in_words() -> None:
    preview = Picture(0, PNG, 5, preview=1)
    events = each([DrawingProgress(2, 8), preview, Picture(0, PNG, 5)])
    seen = all_of(looks("a cat", events, 1))
    (empty, _), (start, told), (noisy, _), (done, end) = seen
    assert empty.count("<figure") == start.count("<figure") == done.count("<figure") == 1, "nothing moves"
    assert 'aria-valuenow="25"' in start
    assert "25%" in told
    assert "still noisy" in noisy
    assert 'alt="a cat, number 1"' in done
    assert "progressbar" not in done
    assert "seed 5" in end


def test_dials_of_the_studio_that_are_left_alone_are_left_to_the_model() -> None:
    assert options(4, None, " ", "7") == {"n": 4, "partial_images": 8, "seed": 7}
    wanted = options(1, "30", "0", "0")
    assert (wanted["steps"], wanted["guidance"], wanted["seed"]) == (30, 0, 0)


@pytest.mark.parametrize(
    ("dial", "texts"), [("Steps", ("ten", "", "")), ("Guidance", ("", "2,5", "")), ("Seed", ("", "", "1.5"))]
)
def test_a_dial_that_is_no_number_is_named(dial: str, texts: tuple[str, str, str]) -> None:
    with pytest.raises(InvalidInput, match=f"{dial} = .* number; write one"):
        options(4, *texts)


def test_words_from_outside_are_never_markup() -> None:
    _, (html, _) = all_of(looks('"><script>alert(1)</script>', each([Picture(0, PNG, 1)])))
    assert "<script" not in html


def test_a_picture_is_described_and_asked_about(gateway: Gateway) -> None:
    for question in ("", "how many?"):
        *_, said = all_of(said_of(gateway.streams, "fused-shapes", EXAMPLES[0], question))
        assert said == f"▢{question}"


def test_without_a_picture_the_page_asks_for_one(gateway: Gateway) -> None:
    with pytest.raises(InvalidInput, match="choose one of the examples"):
        all_of(said_of(gateway.streams, "fused-shapes", None, "what?"))


def test_a_search_embeds_what_is_not_embedded_and_shows_the_nearest(
    vermeil: Vermeil, fake: FakeVermeil
) -> None:
    *_, grid = found(vermeil, "fake", "dual-shapes", "a red circle", 4)
    assert grid.count("<figure>") == 4
    assert [path for _, path, _ in fake.requests][-2:] == ["/v1/encodings", "/v1/search"]


def test_a_job_that_learns_nothing_is_shown_without_a_curve_to_come() -> None:
    job = Job.from_json({"name": "jobs/1", "state": "JOB_STATE_SUCCEEDED", "result": {"weight_bytes": 7.0}})
    assert "Loss" not in shown(job, RunLog(), [])
    assert "No loss yet" in shown(replace(job, state="RUNNING"), RunLog(), [])


def test_a_fused_model_is_shown_above_the_two_it_was_made_of(vermeil: Vermeil) -> None:
    html = about(vermeil, RunLogs(vermeil), "fused-shapes")
    places = [html.index(name) for name in ("fused-shapes@1", "text tower", "nano@1", "shapes-image@1")]
    assert places == sorted(places)
    assert "alloy" in html


def test_a_model_that_was_continued_is_shown_above_the_one_it_began_as() -> None:
    recipe = json.dumps({"task": "fusion", "model": {"initial": "models/both/versions/2"}})
    version = Version.from_json({"name": "models/further/versions/1", "recipe": recipe})
    html = tree(version, lambda _: None)
    assert html.index("further@1") < html.index("began as, gone") < html.index("models/both/versions/2")


def test_a_fused_model_is_shown_with_the_map_of_its_gates_and_how_it_learned(vermeil: Vermeil) -> None:
    html = about(vermeil, RunLogs(vermeil), "fused-shapes")
    assert html.count('class="vermeil-gates"') == 2
    assert "<caption>text looks at pictures</caption>" in html
    assert ">0.62</td>" in html
    assert "How it learned" in html
    assert 'alt="Samples, after step 400"' in html


@pytest.mark.parametrize(
    ("kind", "words"), [("alloy", "before maps were"), ("mot", "without gates"), ("", "")]
)
def test_why_a_model_has_no_map_is_said(vermeil: Vermeil, kind: str, words: str) -> None:
    version = version_of(vermeil, "fused-shapes")
    assert version is not None
    html = fusing(replace(version, kind=kind), RunLog())
    assert words in html
    assert bool(html) == bool(kind)


def test_a_running_training_is_looked_at_again_and_its_curve_grows(
    vermeil: Vermeil, fake: FakeVermeil
) -> None:
    losses, logs = Losses(), RunLogs(vermeil)
    fake.step = 450
    first, _, _, clock = look(vermeil, losses, logs, "jobs/training", "")
    fake.step = 630
    second, *_ = look(vermeil, losses, logs, "jobs/training", "")
    assert clock.active
    assert "450 of 2,000" in first
    assert "630 of 2,000" in second
    assert "training loss 5.041 at step 10, 2.951 at step 630" in second
    assert "at step 600" in second


def test_what_a_run_draws_is_sent_once_and_the_newest_is_large(vermeil: Vermeil, fake: FakeVermeil) -> None:
    losses, logs = Losses(), RunLogs(vermeil)
    _, pictures, seen, _ = look(vermeil, losses, logs, "jobs/training", "")
    assert pictures.index('alt="Samples, after step 400"') < pictures.index('alt="Samples, after step 100"')
    asked = len(fake.requests)
    _, again, seen, _ = look(vermeil, losses, logs, "jobs/training", seen)
    assert not isinstance(again, str)
    assert not any("/outputs/" in path for _, path, _ in fake.requests[asked:])
    fake.step = 500
    _, newer, _, _ = look(vermeil, losses, logs, "jobs/training", seen)
    assert 'alt="Samples, after step 500"' in newer


def test_a_gateway_that_keeps_no_logs_still_shows_what_it_tells(vermeil: Vermeil, fake: FakeVermeil) -> None:
    logs = RunLogs(Vermeil("http://gateway", http=FakeGateway()))
    html, pictures, _, _ = look(vermeil, Losses(), logs, "jobs/training", "")
    assert "validation loss" in html
    assert pictures == ""


def test_how_long_a_training_still_takes_is_said_once_it_can_be_told() -> None:
    body = {"name": "jobs/x", "state": "JOB_STATE_RUNNING", "start_time": "2026-11-23T04:00:00Z"}
    now = datetime(2026, 11, 23, 4, 5, tzinfo=UTC)

    def left(done: int) -> str:
        return time_left(Job.from_json(body | {"progress": {"done": done, "total": 100}}), now)

    assert (left(0), left(10), left(50), left(99)) == ("", "45 min", "5.0 min", "3 s")


def test_losses_of_a_long_run_are_thinned_and_of_many_runs_the_oldest_forgotten(vermeil: Vermeil) -> None:
    losses = Losses()
    body = {"name": "jobs/long", "progress": {"metrics": {"loss": 1.0}}}
    for step in range(1, 5001):
        body["progress"]["done"] = step
        points = losses.add(Job.from_json(body))
    assert len(points) <= 2000
    assert points[-1] == (5000, 1.0)
    for number in range(64):
        losses.add(Job.from_json({**body, "name": f"jobs/{number}"}))
    assert len(losses.add(Job.from_json(body))) == 1


def test_validation_losses_are_read_from_the_log() -> None:
    lines = [{"text": "begun"}, {"text": "step 250: validation loss 2.4395"}, {"text": ""}]
    assert validation_points(lines) == [(250, 2.4395)]


def test_a_report_shows_numbers_with_intervals_and_its_page_in_a_cage(vermeil: Vermeil) -> None:
    html = report(vermeil, "jobs/evaluation")
    assert "1.58 to 1.67" in html
    assert "lower is better" in html
    assert 'sandbox="allow-scripts"' in html
    assert "&lt;!doctype html&gt;" in html


def test_a_curve_that_begins_high_leaves_room_for_its_end() -> None:
    points = [(10.0, 5.0), (20.0, 0.5), (100.0, 0.25), (200.0, 0.2)]
    drawn = chart([Curve("training loss", points)])
    heights = [float(place.split(",")[1]) for place in drawn.split('points="')[1].split('"')[0].split()]
    assert heights[3] - heights[1] > 40, "the last tenth of the loss is a fifth of the picture"
    assert ">0.5</text>" in drawn
    wide = chart([Curve("training loss", [(0.0, 2.0), (100.0, 0.001)])])
    assert wide.count('text-anchor="end">') <= 8, "labels do not stand on one another"
    assert round_ticks(0, 250, 5) == [0, 50, 100, 150, 200, 250]
