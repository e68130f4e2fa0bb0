"""The application: routes, and the layers around them."""

import asyncio
from functools import cache

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from vermeil_artifacts import ArtifactStore, store_from_settings

from vermeil_gateway import problems
from vermeil_gateway.admission import Admission
from vermeil_gateway.api import ROUTERS
from vermeil_gateway.api.shared import refuse_unknown_parameters
from vermeil_gateway.audit import Audited
from vermeil_gateway.callers import Callers
from vermeil_gateway.clients import Clients
from vermeil_gateway.disconnect import UnderWay
from vermeil_gateway.docs import install_docs
from vermeil_gateway.files import Files
from vermeil_gateway.guard import Guarded
from vermeil_gateway.modalities import Modalities
from vermeil_gateway.observe import Observed
from vermeil_gateway.pictures import Pictures
from vermeil_gateway.settings import GatewaySettings

_PREFLIGHT_SECONDS = 600
_SHOWN_TO_PAGES = [
    "retry-after",
    "x-request-id",
    "x-should-retry",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "tokens")
    ),
]
"""Headers of answers that scripts of a page may read."""


def create_app(settings: GatewaySettings, clients: Clients, *, store: ArtifactStore | None = None) -> FastAPI:
    """The gateway as an ASGI application; whoever made `clients` closes them.

    `store` is where pictures are kept, instead of the one that the settings name.
    """
    settings.require_keys_outside()
    app = FastAPI(
        title="Vermeil",
        version="1",
        summary="OpenAI-compatible answers, and Vermeil's datasets, models and jobs.",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(refuse_unknown_parameters)],
    )
    app.state.settings = settings
    app.state.clients = clients
    open_store = cache(lambda: store or store_from_settings(settings))
    app.state.pictures = Pictures(open_store)
    app.state.files = Files(open_store)
    app.state.modalities = Modalities(clients)
    app.state.callers = Callers(clients, settings)
    app.state.admission = Admission(settings.gateway_max_requests, settings.gateway_max_held_bytes)
    app.state.under_way = UnderWay()
    app.state.stopping = asyncio.Event()
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    install_docs(app, needs_keys=bool(settings.api_keys))
    app.add_middleware(Guarded, settings=settings, callers=app.state.callers, admission=app.state.admission)
    app.add_middleware(Audited, clients=clients)
    if settings.gateway_cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.gateway_cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=_SHOWN_TO_PAGES,
            max_age=_PREFLIGHT_SECONDS,
        )
    app.add_middleware(Observed)
    return app
