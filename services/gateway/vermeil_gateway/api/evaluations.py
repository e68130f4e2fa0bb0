"""What evaluations found: numbers, a page for people, and two of them compared item by item."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse
from vermeil.evaluation.v1.evaluation_service_pb2 import (
    CompareReportsRequest,
    CompareReportsResponse,
    GetReportRequest,
    GetReportResponse,
)

from vermeil_gateway.api.shared import AS_A_PAGE, WithClients, documented, read, shown

router = APIRouter(tags=["Evaluations"])


@router.get("/v1/evaluations/{job}/report", **documented(GetReportResponse))
async def get_report(job: str, clients: WithClients) -> JSONResponse:
    """What the evaluation of this job found, with its page."""
    return shown(await clients.call(clients.evaluation.GetReport, GetReportRequest(name=f"jobs/{job}")))


@router.get("/v1/evaluations/{job}/page", response_class=HTMLResponse)
async def get_page(job: str, clients: WithClients) -> HTMLResponse:
    """The page alone, for a browser."""
    answer = await clients.call(clients.evaluation.GetReport, GetReportRequest(name=f"jobs/{job}"))
    return HTMLResponse(answer.page, headers=AS_A_PAGE)


@router.post("/v1/evaluation-comparisons", **documented(CompareReportsResponse, CompareReportsRequest))
async def compare_reports(request: Request, clients: WithClients) -> JSONResponse:
    """Compare two evaluations of the same task on the same data."""
    message = await read(request, CompareReportsRequest())
    return shown(await clients.call(clients.evaluation.CompareReports, message))
