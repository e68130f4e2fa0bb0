"""Routes, one file for each family: HTTP in, one call to a service, HTTP out."""

from fastapi import APIRouter

from vermeil_gateway.api import (
    audit_events,
    chat,
    completions,
    datasets,
    embeddings,
    encoding,
    evaluations,
    files,
    health,
    images,
    jobs,
    keys,
    models,
    quotas,
    work,
)

ROUTERS: tuple[APIRouter, ...] = (
    chat.router,
    completions.router,
    images.router,
    embeddings.router,
    models.router,
    datasets.router,
    jobs.router,
    files.router,
    work.router,
    evaluations.router,
    encoding.router,
    keys.router,
    quotas.router,
    audit_events.router,
    health.router,
)
