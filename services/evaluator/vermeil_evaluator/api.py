"""EvaluationService: message in, domain call, message out."""

# ruff: noqa: N802, ARG002

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from vermeil.evaluation.v1 import evaluation_service_pb2 as wire
from vermeil.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceServicer
from vermeil_jobs import Job
from vermeil_jobs.messages import job_to_message
from vermeil_jobs.pages import check_page_size, make_token, read_text

from vermeil_evaluator.catalogue import catalogue
from vermeil_evaluator.messages import comparison_to_message, report_to_message, task_to_message
from vermeil_evaluator.reports import Reports

Context = grpc.aio.ServicerContext[Any, Any]
_DEFAULT_PAGE_SIZE = 100


class EvaluationServicer(EvaluationServiceServicer):
    """Answers for EvaluationService."""

    def __init__(
        self,
        submit: Callable[[wire.StartEvaluationRequest], Job],
        reports: Reports,
        include: tuple[Path, ...] = (),
    ) -> None:
        self._submit = submit
        self._reports = reports
        self._include = include

    async def StartEvaluation(
        self, request: wire.StartEvaluationRequest, context: Context
    ) -> wire.StartEvaluationResponse:
        """Submit the job."""
        job = await asyncio.to_thread(self._submit, request)
        return wire.StartEvaluationResponse(job=job_to_message(job))

    async def ListTasks(self, request: wire.ListTasksRequest, context: Context) -> wire.ListTasksResponse:
        """A page of tasks by name."""
        size = check_page_size(request.page_size or _DEFAULT_PAGE_SIZE)
        after = read_text(request.page_token, "tasks") or ""
        rest = [task for name, task in catalogue(self._include).items() if name > after]
        token = make_token("tasks", rest[size - 1].name) if len(rest) > size else ""
        return wire.ListTasksResponse(tasks=map(task_to_message, rest[:size]), next_page_token=token)

    async def GetReport(self, request: wire.GetReportRequest, context: Context) -> wire.GetReportResponse:
        """Its numbers and its page."""
        found, page = await asyncio.to_thread(self._reports.page, request.name)
        return wire.GetReportResponse(report=report_to_message(found.report), page=page)

    async def CompareReports(
        self, request: wire.CompareReportsRequest, context: Context
    ) -> wire.CompareReportsResponse:
        """First minus second."""
        compared = partial(self._reports.compare, request.first, request.second, request.seed)
        found = await asyncio.to_thread(compared)
        return wire.CompareReportsResponse(comparison=comparison_to_message(found))
