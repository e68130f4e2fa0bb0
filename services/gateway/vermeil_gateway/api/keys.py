"""/v1/keys: keys of the gateway, for those who may hand them out."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vermeil.registry.v1.api_key_pb2 import ApiKey
from vermeil.registry.v1.api_key_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    GetApiKeyRequest,
    ListApiKeysRequest,
    ListApiKeysResponse,
    RevokeApiKeyRequest,
)
from vermeil_errors import InvalidInput

from vermeil_gateway.api.shared import (
    PageSize,
    PageToken,
    WithClients,
    documented,
    read,
    request_id_of,
    shown,
)
from vermeil_gateway.key_secrets import Secret, draw
from vermeil_gateway.protojson import to_json

router = APIRouter(tags=["Keys"])

CREATED = 201


_CREATED = documented(CreateApiKeyResponse, CreateApiKeyRequest, CREATED)
_shown = _CREATED["openapi_extra"]["responses"][str(CREATED)]["content"]["application/json"]["schema"]
_shown["properties"]["secret"] = {"type": "string"}


@router.post("/v1/keys", **_CREATED)
async def create_key(request: Request, clients: WithClients) -> JSONResponse:
    """A new key and, this once, its `secret`: what clients send as their API key."""
    message = await read(request, CreateApiKeyRequest())
    for name, given in (("key.name", message.key.name), ("secret_digest", message.secret_digest)):
        if given:
            raise InvalidInput(f"{name}: is drawn here", fix="leave it out")
    message.request_id = request_id_of(request, message.request_id)
    text = draw()
    secret = Secret.of(text)
    assert secret is not None
    message.key.name, message.secret_digest = secret
    key = (await clients.call(clients.keys.CreateApiKey, message)).key
    return JSONResponse({"key": to_json(key), "secret": text}, status_code=CREATED)


@router.get("/v1/keys", **documented(ListApiKeysResponse))
async def list_keys(
    clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """All keys, newest first, with what each has done; also those that are over."""
    request = ListApiKeysRequest(page_size=page_size, page_token=page_token)
    return shown(await clients.call(clients.keys.ListApiKeys, request))


@router.get("/v1/keys/{key}", **documented(ApiKey))
async def get_key(key: str, clients: WithClients) -> JSONResponse:
    """One key."""
    request = GetApiKeyRequest(name=f"keys/{key}")
    return shown((await clients.call(clients.keys.GetApiKey, request)).key)


@router.post("/v1/keys/{key}/revoke", **documented(ApiKey))
async def revoke_key(key: str, clients: WithClients) -> JSONResponse:
    """End a key for good: at once where it is in use, elsewhere within the time that keys are kept."""
    request = RevokeApiKeyRequest(name=f"keys/{key}")
    return shown((await clients.call(clients.keys.RevokeApiKey, request)).key)
