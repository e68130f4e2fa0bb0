"""An evaluation by hand, without any server: folders in, a table and a report folder out."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vermeil_errors import InvalidInput

from vermeil_evaluator.cache import AnswerCache
from vermeil_evaluator.catalogue import catalogue
from vermeil_evaluator.compare import Compared, compare
from vermeil_evaluator.evaluate import DEFAULT_SPLIT, Evaluation, Named, Subjects, measure
from vermeil_evaluator.page import PAGE_FILE, write_page
from vermeil_evaluator.report import Report, read_report
from vermeil_evaluator.settings import EvaluatorSettings

USAGE = """python -m vermeil_evaluator MODEL DATA --task NAME      measure a model
       python -m vermeil_evaluator compare REPORT REPORT      two reports, item by item
       python -m vermeil_evaluator report REPORT              draw the page of a report again
       python -m vermeil_evaluator tasks                      what can be measured
       python -m vermeil_evaluator inception WEIGHTS FOLDER   a judge of Inception's weights
       python -m vermeil_evaluator [worker]                   serve, or do the jobs of the queue"""


def by_hand(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    verbs = {"compare": _compare, "report": _report, "tasks": _tasks, "inception": _inception}
    verb = verbs.get(arguments[0])
    if verb:
        verb(arguments[1:])
    else:
        _evaluate(arguments)


def _evaluate(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(usage=USAGE, description="Measure a model on data, both given by path.")
    parser.add_argument("model", type=Path, help="folder with config.json, model.safetensors, …")
    parser.add_argument("data", type=Path, help="folder of a dataset, or a file of JSON lines")
    parser.add_argument("--task", default="perplexity", help="what to measure; `tasks` lists them")
    parser.add_argument("--split", default=DEFAULT_SPLIT, help="default: validation")
    parser.add_argument("--limit", type=int, default=0, help="at most this many items; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="seed of sampling and of the intervals")
    parser.add_argument("--judge", type=Path, help="folder of a model that looks at the answers")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="option of the task")
    parser.add_argument("--cache", type=Path, help="folder of known answers; default: VERMEIL_HOME/answers")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for the report")
    _add_include(parser)
    given = parser.parse_args(arguments)
    evaluation = Evaluation(
        given.task, given.split, given.limit, given.seed, options_of(given.set), tuple(given.include_path)
    )
    from vermeil_evaluator.models.opening import open_model  # noqa: PLC0415 torch, only where it works

    model, judge = open_model(given.model), open_model(given.judge) if given.judge else None
    subjects = Subjects(model, str(given.model), Named(str(given.data), given.data), judge)
    with AnswerCache(given.cache or EvaluatorSettings.load().answers) as answers:
        report = measure(evaluation, subjects, given.out, answers, _show_progress)
        asked = f"{answers.num_kept:,} answers of the model, {answers.num_found:,} known before"
    sys.stdout.write(f"{table(report)}\n{asked}\nto look at: {given.out / PAGE_FILE}\n")


def options_of(assignments: Sequence[str]) -> dict[str, str]:
    """From NAME=VALUE."""
    pairs = [assignment.partition("=") for assignment in assignments]
    for (name, equals, _), assignment in zip(pairs, assignments, strict=True):
        if not (name and equals):
            raise InvalidInput.for_field("--set", assignment, "is not NAME=VALUE", "write --set steps=20")
    return {name: value for name, _, value in pairs}


def _compare(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(usage=USAGE, description="Compare two reports, item by item.")
    parser.add_argument("first", type=Path, help="folder of a report")
    parser.add_argument("second", type=Path, help="folder of another of the same task on the same data")
    parser.add_argument("--seed", type=int, default=0, help="seed of the intervals")
    given = parser.parse_args(arguments)
    found = compare(read_report(given.first), read_report(given.second), seed=given.seed)
    sys.stdout.write(f"{comparison_table(found)}\n")


def _report(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(usage=USAGE, description="Draw the page of a report again.")
    parser.add_argument("report", type=Path, help="folder of a report")
    given = parser.parse_args(arguments)
    found = read_report(given.report)
    write_page(found)
    sys.stdout.write(f"{table(found.report)}\nto look at: {given.report / PAGE_FILE}\n")


def _tasks(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(usage=USAGE, description="What can be measured.")
    _add_include(parser)
    for task in catalogue(tuple(parser.parse_args(arguments).include_path)).values():
        sys.stdout.write(f"{task.id:24} {task.description}\n")


def _inception(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(usage=USAGE, description="Make a judge for the task inception-fid.")
    parser.add_argument("weights", type=Path, help="pt_inception-2015-12-05-6726825d.pth, or .safetensors")
    parser.add_argument("folder", type=Path, help="where the judge is written")
    given = parser.parse_args(arguments)
    from vermeil_evaluator.models.inception import make_folder  # noqa: PLC0415 torch, only where it works

    origin = make_folder(given.weights, given.folder)
    sys.stdout.write(f"{given.folder}: weights {origin}; use it with --task inception-fid --judge\n")


def table(report: Report) -> str:
    """The numbers for people."""
    lines = [f"{report.task} of {report.model} on {report.data}, {report.num_items:,} items"]
    width = max(16, *(len(metric.name) for metric in report.metrics))
    lines += [
        f"  {metric.name:{width}} {metric.interval.value:10.4f}   "
        f"{metric.interval.low:.4f} to {metric.interval.high:.4f} at {metric.interval.level:.0%}"
        for metric in report.metrics
    ]
    return "\n".join([*lines, f"  judged by {report.judge}"] if report.judge else lines)


def comparison_table(found: Compared) -> str:
    """The differences for people."""
    lines = [f"{found.task}: {found.first} minus {found.second}, {found.num_items:,} items"]
    for each in found.metrics:
        difference = each.difference
        lines.append(
            f"  {each.name:16} {each.first:.4f} - {each.second:.4f} = {difference.value:+.4f}   "
            f"{difference.low:+.4f} to {difference.high:+.4f} at {difference.level:.0%}   "
            f"p = {each.p_value:.4f}   {each.verdict}"
        )
    lines += [f"  {name:16} left out: {reason}" for name, reason in found.left_out.items()]
    return "\n".join(lines)


def _add_include(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--include-path", type=Path, action="append", default=[], help="folder of own task files; repeatable"
    )


def _show_progress(done: int, total: int, message: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done:,}/{total:,} {message}\033[K" + ("\n" if done == total else ""))
