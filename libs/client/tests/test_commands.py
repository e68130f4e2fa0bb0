"""The `vermeil` command: what it prints, and the exit code it ends with."""

import io
import json
from pathlib import Path

import pytest
from vermeil_client import Vermeil
from vermeil_client.commands import output, run
from vermeil_client.commands.work import dataset_id
from vermeil_client.testing import FakeGateway


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(output, "Vermeil", lambda url: Vermeil(url or "http://gateway", http=fake))
    return fake


def test_ingest_names_the_dataset_after_the_folder(gateway: FakeGateway, tmp_path: Path) -> None:
    assert run(["ingest", str(tmp_path / "My Peps_2"), "--include", "**/*.rst"]) == 0
    spec = gateway.requests[0][2]["spec"]
    assert spec["dataset"] == "datasets/my-peps-2"
    assert spec["sources"][0]["include"] == ["**/*.rst"]


def test_ingest_takes_embedded_sources_and_any_field_of_its_rules(gateway: FakeGateway) -> None:
    rules = ["--set", "images.min_side=16", "--set", "images.caption_templates=['a {class}']"]
    assert run(["ingest", "shapes:?count=50", "--media", "image", *rules]) == 0
    spec = gateway.requests[0][2]["spec"]
    assert (spec["dataset"], spec["media"]) == ("datasets/shapes", "MEDIA_IMAGE")
    assert spec["sources"][0]["uri"] == "shapes:?count=50"
    assert spec["images"] == {"min_side": 16, "caption_templates": ["a {class}"]}


def test_train_reads_a_recipe_file_and_applies_changes(gateway: FakeGateway, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nrun: {steps: 10, batch_size: 4}\n")
    changes = ["--dataset", "peps", "--set", "run.steps=20", "--set", "optimizer.learning_rate=3e-4"]
    assert run(["train", str(recipe), *changes]) == 0
    assert gateway.requests[0][2]["recipe"] == {
        "name": "mine",
        "run": {"steps": 20, "batch_size": 4},
        "optimizer": {"learning_rate": 3e-4},
        "data": {"dataset": "datasets/peps"},
    }


def test_train_finds_the_recipes_of_the_trainer_by_name(gateway: FakeGateway) -> None:
    assert run(["train", "nano", "--name", "other"]) == 0
    assert gateway.requests[-2][2]["recipe"]["name"] == "other"


def test_an_unknown_recipe_lists_the_known_ones(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "nanoo"]) == 3
    assert "one of: nano" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["a: [", "- list", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(
    gateway: FakeGateway, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert run(["train", str(path)]) == 2
    assert "bad.yaml" in capsys.readouterr().err


def test_a_change_without_a_value_is_refused(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "nano", "--set", "run.steps"]) == 2
    assert "write --set run.steps=100" in capsys.readouterr().err


def test_a_change_reaches_into_one_of_several(gateway: FakeGateway, tmp_path: Path) -> None:
    recipe = tmp_path / "both.yaml"
    recipe.write_text("name: both\nmixture: {sources: [{name: a, dataset: x}, {name: b, dataset: y}]}\n")
    assert run(["train", str(recipe), "--set", "mixture.sources[1].dataset=datasets/z"]) == 0
    sources = [{"name": "a", "dataset": "x"}, {"name": "b", "dataset": "datasets/z"}]
    assert gateway.requests[0][2]["recipe"]["mixture"] == {"sources": sources}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("name.of=x", "name holds a value, not fields"),
        ("mixture.sources[2].dataset=x", "sources has 0 entries"),
    ],
)
def test_a_change_of_what_is_not_there_is_refused(
    gateway: FakeGateway, path: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "nano", "--set", path]) == 2
    assert words in capsys.readouterr().err


def test_json_prints_one_object_a_line(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "fake", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["JOB_STATE_SUCCEEDED"]


def test_detach_prints_the_job_and_does_not_wait(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "fake", "--detach"]) == 0
    assert capsys.readouterr().out.strip() == "jobs/1"
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("reason", "code"), [("NOT_FOUND", 3), ("PREDECESSOR_FAILED", 15), ("ATTEMPTS_EXHAUSTED", 16)]
)
def test_a_failed_job_ends_with_its_own_exit_code(
    reason: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"reason": reason, "message": "no dataset datasets/x"}
    fake = FakeGateway(job_error=error)
    monkeypatch.setattr(output, "Vermeil", lambda url: Vermeil("http://gateway", http=fake))
    assert run(["evaluate", "fake"]) == code
    assert "no dataset datasets/x" in capsys.readouterr().err


def test_chat_prints_the_answer(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chat", "fake", "-p", "hello there", "--seed", "1"]) == 0
    assert capsys.readouterr().out == "hello there\n"
    assert gateway.requests[0][2]["seed"] == 1


def test_a_conversation_keeps_its_turns(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert run(["chat", "fake", "--system", "Be brief."]) == 0
    turns = [turn["content"] for turn in gateway.requests[-1][2]["messages"]]
    assert turns == ["Be brief.", "one", "one", "two"]


def test_completing_nothing_is_refused(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["complete", "fake"]) == 2


def test_an_evaluation_takes_a_file_a_judge_and_options(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(tmp_path / "questions.jsonl")
    options = ("--data", data, "--judge", "cnn@2", "--set", "max_tokens=9", "--seed", "4")
    assert run(["evaluate", "fake", "--task", "exact-match", *options]) == 0
    spec = gateway.requests[0][2]["spec"]
    assert (spec["questions"], spec["judge"]) == (data, "models/cnn/versions/2")
    assert (spec["options"], spec["seed"], spec["dataset"]) == ({"max_tokens": "9"}, 4, "")
    assert "next: vermeil report 1" in capsys.readouterr().out
    assert run(["evaluate", "fake", "--set", "max_tokens"]) == 2
    assert "write --set max_tokens=64" in capsys.readouterr().err


def test_a_report_is_a_page_in_a_file(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["evaluate", "fake", "--detach"])
    page = tmp_path / "page.html"
    assert run(["report", "jobs/1", "--out", str(page)]) == 0
    assert page.read_text().startswith("<!doctype html>")
    assert str(page) in capsys.readouterr().out
    assert run(["report", "1", "--out", "-"]) == 0
    assert capsys.readouterr().out == page.read_text()
    assert run(["report", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "perplexity@1"
    assert run(["report", "absent"]) == 3


def test_two_evaluations_are_compared(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "1", "jobs/2"]) == 0
    shown = capsys.readouterr().out
    assert "first is better" in shown
    assert "perplexity is left out: tokens differ" in shown
    assert gateway.requests[-1][2] == {"first": "jobs/1", "second": "jobs/2", "seed": 0}
    assert run(["compare", "1", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["p_value"] == 1.0


@pytest.mark.parametrize("command", ["datasets", "models", "recipes", "tasks"])
def test_lists_name_what_is_there(
    gateway: FakeGateway, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command]) == 0
    shown = capsys.readouterr().out
    assert any(name in shown for name in ("fake", "nano", "perplexity"))


def test_jobs_can_be_listed_shown_and_read(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    run(["evaluate", "fake", "--detach"])
    for command in (["list"], ["show", "1"], ["logs", "1"], ["watch", "1"], ["cancel", "1"]):
        assert run(["jobs", *command]) == 0
    shown = capsys.readouterr().out
    assert "succeeded" in shown
    assert "done" in shown


def test_the_list_of_jobs_says_whose_they_are_and_how_soon_they_go(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["evaluate", "fake", "--detach", "--priority", "low"])
    capsys.readouterr()
    assert run(["jobs", "list"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "kind", "state", "progress", "owner", "priority"]
    assert row.split() == [
        "jobs/1",
        "vermeil.fake.v1.evaluate",
        "succeeded",
        "1/1",
        "steps",
        "default",
        "low",
    ]


def test_an_unreachable_gateway_is_a_sentence(unused_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", f"http://127.0.0.1:{unused_port}", "models"]) == 11
    shown = capsys.readouterr().err
    assert shown.startswith("vermeil: no answer from")
    assert "Traceback" not in shown


def test_a_wrong_option_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "fake", "--tusk", "perplexity"]) == 2
    assert "--tusk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("input.txt", "input"),
        ("Ünï", "n"),
        ("日本", "data"),
        ("2024 notes", "data-2024-notes"),
        ("digits:", "digits"),
        ("shapes:?count=50&seed=1", "shapes"),
        ("s3://bucket/My Photos/", "my-photos"),
        ("/data/fashion-mnist/", "fashion-mnist"),
    ],
)
def test_any_source_gives_a_valid_dataset_id(path: str, expected: str) -> None:
    assert dataset_id(path) == expected


def test_search_embeds_the_dataset_and_writes_what_it_finds(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["search", "emoji", "a heart", "--model", "dual-emoji", "-k", "3"]
    assert run([*arguments, "-o", str(tmp_path / "found")]) == 0
    assert gateway.requests[0][2]["spec"] == {
        "dataset": "datasets/emoji",
        "embedding_model": "models/dual-emoji",
    }
    assert "a heart/2" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["001.png", "002.png", "003.png"]
    assert run([*arguments, "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["sample"], first["captions"]) == ("a heart/0", ["a heart"])


def test_search_writes_what_it_finds_here_where_here_is_named(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["search", "emoji", "a heart", "--model", "dual-emoji", "-k", "1", "--output", "."]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["001.png"]


def test_search_takes_a_picture_or_a_text_and_not_both(gateway: FakeGateway, tmp_path: Path) -> None:
    picture = tmp_path / "heart.png"
    picture.write_bytes(b"abc")
    arguments = ["search", "emoji", "--model", "dual-emoji"]
    assert run([*arguments, "--image", str(picture)]) == 0
    assert gateway.requests[-1][2]["image"] == {"inline": "YWJj"}
    assert run(arguments) == 2
    assert run([*arguments, "--image", str(tmp_path / "none.png")]) == 3
    assert run(["search", "emoji", "a heart", "--model", "dual-emoji", "--image", str(picture)]) == 2


@pytest.mark.parametrize(
    ("task", "command"),
    [
        ("", "vermeil chat x"),
        ("image", "vermeil images x"),
        ("dual", 'vermeil search peps "WORDS" --model x'),
        ("classifier", "vermeil models x"),
    ],
)
def test_train_says_what_to_do_with_the_model(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, command: str
) -> None:
    recipe = tmp_path / "x.yaml"
    recipe.write_text(f"name: x\ntask: '{task}'\n")
    assert run(["train", str(recipe), "--dataset", "peps"]) == 0
    assert f"next: {command}" in capsys.readouterr().out


def test_a_folder_named_like_a_recipe_is_not_taken_for_one(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nano").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["train", "nano"]) == 0


def test_a_key_s_secret_is_printed_alone_so_that_it_can_be_piped(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--scope", "inference", "--scope", "read", "--days", "30", "--tokens-per-day", "1000"]
    assert run(["keys", "create", "laptop", *options]) == 0
    assert capsys.readouterr().out == "s3cret\n"
    key = gateway.requests[0][2]["key"]
    assert (key["display_name"], key["scopes"]) == ("laptop", ["inference", "read"])
    assert key["limits"]["tokens_per_day"] == 1000
    assert "expire_time" in key
    assert run(["keys", "create", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["secret"] == "s3cret"
    assert "expire_time" not in gateway.requests[1][2]["key"]


@pytest.mark.parametrize("days", ["inf", "1e12", "4000000"])
def test_days_that_lead_to_no_date_are_refused(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], days: str
) -> None:
    assert run(["keys", "create", "--days", days]) == 2
    assert f"--days = {float(days)}: leads to no date" in capsys.readouterr().err
    assert gateway.requests == []


def test_a_role_stands_for_the_scopes_that_it_needs(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {}
    for role in ("reader", "submitter", "admin"):
        assert run(["keys", "create", "--role", role]) == 0
        given[role] = gateway.requests[-1][2]["key"]["scopes"]
    assert given == {"reader": ["read"], "submitter": ["inference", "read", "submit"], "admin": ["admin"]}
    assert run(["keys", "create", "--role", "king"]) == 2
    assert "reader, submitter, admin" in capsys.readouterr().err


def test_changes_are_shown_with_who_made_them(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "--caller", "keys/fake"]) == 0
    shown = capsys.readouterr().out
    assert "keys/fake" in shown
    assert "POST /v1/trainings" in shown


def test_keys_are_listed_and_revoked(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    assert "1,234" in shown
    assert "never" in shown
    assert run(["keys", "revoke", "fake"]) == 0
    assert gateway.requests[-1][:2] == ("POST", "/v1/keys/fake/revoke")


def test_quotas_are_shown_set_in_part_and_taken_away(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quotas", "list"]) == 0
    assert "17 of 100" in capsys.readouterr().out
    assert run(["quotas", "set", "fake", "--running", "4"]) == 0
    assert gateway.requests[-1] == (
        "POST",
        "/v1/quotas/fake",
        {"limits": {"max_running": 4, "max_waiting": 100}},
    )
    assert run(["quotas", "reset", "owners/fake"]) == 0
    assert gateway.requests[-1][:2] == ("POST", "/v1/quotas/fake/reset")


def test_work_is_begun_with_a_priority(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: nano")
    for command in (["train", str(recipe)], ["evaluate", "fake"], ["ingest", "digits:"]):
        assert run([*command, "--detach", "--priority", "low"]) == 0
        assert gateway.requests[-1][2]["priority"] == "JOB_PRIORITY_LOW"
        assert run([*command, "--detach"]) == 0
        assert gateway.requests[-1][2]["priority"] == "JOB_PRIORITY_NORMAL"
        assert run([*command, "--detach", "--priority", "urgent"]) == 2
        assert "low, normal, high" in capsys.readouterr().err
