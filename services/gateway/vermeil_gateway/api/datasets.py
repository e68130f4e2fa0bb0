"""/v1/datasets and their versions, as the registry knows them."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from vermeil.registry.v1.dataset_pb2 import Dataset, DatasetVersion
from vermeil.registry.v1.registry_service_pb2 import (
    GetDatasetRequest,
    GetDatasetVersionRequest,
    ListDatasetsRequest,
    ListDatasetsResponse,
    ListDatasetVersionsRequest,
    ListDatasetVersionsResponse,
)

from vermeil_gateway.api.shared import PageSize, PageToken, WithClients, documented, shown

router = APIRouter(tags=["Datasets"])


@router.get("/v1/datasets", **documented(ListDatasetsResponse))
async def list_datasets(
    clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """All datasets by name."""
    request = ListDatasetsRequest(page_size=page_size, page_token=page_token)
    return shown(await clients.call(clients.registry.ListDatasets, request))


@router.get("/v1/datasets/{dataset}", **documented(Dataset))
async def get_dataset(dataset: str, clients: WithClients) -> JSONResponse:
    """One dataset."""
    request = GetDatasetRequest(name=f"datasets/{dataset}")
    return shown((await clients.call(clients.registry.GetDataset, request)).dataset)


@router.get("/v1/datasets/{dataset}/versions", **documented(ListDatasetVersionsResponse))
async def list_dataset_versions(
    dataset: str, clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """Versions of a dataset, newest first, with their data cards."""
    request = ListDatasetVersionsRequest(
        dataset=f"datasets/{dataset}", page_size=page_size, page_token=page_token
    )
    return shown(await clients.call(clients.registry.ListDatasetVersions, request))


@router.get("/v1/datasets/{dataset}/versions/{version}", **documented(DatasetVersion))
async def get_dataset_version(dataset: str, version: int, clients: WithClients) -> JSONResponse:
    """One version of a dataset."""
    request = GetDatasetVersionRequest(name=f"datasets/{dataset}/versions/{version}")
    return shown((await clients.call(clients.registry.GetDatasetVersion, request)).version)
