"""An evaluation by hand, without any server: two folders in, a table and a report folder out."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vermeil_evaluator.catalogue import catalogue
from vermeil_evaluator.evaluate import DEFAULT_SPLIT, Evaluation, Named, evaluate
from vermeil_evaluator.report import Report


def by_hand(arguments: Sequence[str]) -> None:
    """Run one evaluation as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m vermeil_evaluator", description="Measure a model on a dataset, both given as folders."
    )
    parser.add_argument("model", type=Path, help="folder with config.json, model.safetensors, tokenizer.json")
    parser.add_argument("dataset", type=Path, help="folder of a dataset, raw or encoded")
    parser.add_argument("--task", default="perplexity", help=f"one of {', '.join(catalogue())}")
    parser.add_argument("--split", default=DEFAULT_SPLIT, help="default: validation")
    parser.add_argument("--limit", type=int, default=0, help="at most this many items; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the intervals")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for the report")
    given = parser.parse_args(arguments)
    evaluation = Evaluation(given.task, given.split, given.limit, given.seed)
    model, dataset = (Named(str(folder), folder) for folder in (given.model, given.dataset))
    report = evaluate(evaluation, model, dataset, given.out, _show_progress)
    sys.stdout.write(f"{table(report)}\nevery item: {given.out}\n")


def table(report: Report) -> str:
    """The numbers for people."""
    lines = [f"{report.task} of {report.model} on {report.data}, {report.num_items:,} items"]
    lines += [
        f"  {metric.name:16} {metric.interval.value:10.4f}   "
        f"{metric.interval.low:.4f} to {metric.interval.high:.4f} at {metric.interval.level:.0%}"
        for metric in report.metrics
    ]
    return "\n".join(lines)


def _show_progress(done: int, total: int, message: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done:,}/{total:,} {message}\033[K" + ("\n" if done == total else ""))
