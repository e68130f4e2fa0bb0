"""The wire's messages as our dataclasses, and back."""

from pathlib import Path

from google.protobuf import json_format
from vermeil.evaluation.v1 import evaluation_pb2 as wire
from vermeil_jobs.job import JsonObject

from vermeil_evaluator.compare import Compared
from vermeil_evaluator.evaluate import DEFAULT_SPLIT, Evaluation
from vermeil_evaluator.report import Report
from vermeil_evaluator.task import Task


def evaluation_from_message(spec: wire.EvaluationSpec, include: tuple[Path, ...] = ()) -> Evaluation:
    """Check a specification and fill in its defaults; `include` are folders of the user's own tasks."""
    return Evaluation(
        task=spec.task,
        split=spec.split or DEFAULT_SPLIT,
        limit=spec.limit,
        seed=spec.seed,
        options=dict(spec.options),
        include=include,
    )


def task_to_message(task: Task) -> wire.Task:
    """The wire form of a task."""
    return wire.Task(name=task.name, version=task.version, description=task.description)


def report_to_message(report: Report) -> wire.Report:
    """The wire form of a report."""
    return wire.Report(
        model=report.model,
        model_digest=report.model_digest,
        task=report.task,
        task_hash=report.task_hash,
        data=report.data,
        num_items=report.num_items,
        metrics=[
            wire.Metric(
                name=metric.name,
                value=metric.interval.value,
                low=metric.interval.low,
                high=metric.interval.high,
                level=metric.interval.level,
                lower_is_better=metric.lower_is_better,
                statistic=metric.statistic,
            )
            for metric in report.metrics
        ],
        judge=report.judge,
    )


def comparison_to_message(found: Compared) -> wire.Comparison:
    """The wire form of a comparison."""
    return wire.Comparison(
        task=found.task,
        first_model=found.first,
        second_model=found.second,
        num_items=found.num_items,
        differences=[
            wire.Difference(
                name=each.name,
                first=each.first,
                second=each.second,
                difference=each.difference.value,
                low=each.difference.low,
                high=each.difference.high,
                level=each.difference.level,
                p_value=each.p_value,
                lower_is_better=each.lower_is_better,
                verdict=each.verdict,
            )
            for each in found.metrics
        ],
        left_out=found.left_out,
    )


def report_to_json(report: Report) -> JsonObject:
    """The JSON of the wire's Report, which is a job's result."""
    found: JsonObject = json_format.MessageToDict(
        report_to_message(report), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found
