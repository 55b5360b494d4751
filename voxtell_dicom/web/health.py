"""/alive, /ready and /metrics: for those who watch the node."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client.exposition import choose_encoder

from voxtell_dicom.files import free_percent
from voxtell_dicom.web.metrics import registry
from voxtell_dicom.web.services import Services


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["health"])
    metrics_registry = registry(services)

    @routes.get("/alive", operation_id="alive")
    async def alive() -> Response:
        return JSONResponse({"alive": True})

    @routes.get("/ready", operation_id="ready")
    def ready() -> Response:
        problems = not_ready(services)
        headers = {"Retry-After": "30"} if problems else {}
        return JSONResponse({"ready": not problems, "problems": problems}, 503 if problems else 200, headers)

    @routes.get("/metrics", operation_id="metrics")
    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics_registry), headers={"Content-Type": content_type})

    return routes


def not_ready(services: Services) -> list[str]:
    """Return why the node can take nothing now: database away, disk full. Empty where it can."""
    problems = []
    try:
        with services.engine.connect() as connection:
            connection.execute(sa.select(1))
    except sa.exc.SQLAlchemyError:
        problems.append("the database does not answer")
    wanted = services.config.receive.min_free_percent
    try:
        percent = free_percent(services.archive.root)
    except OSError:
        return [*problems, "the storage folder cannot be read"]
    if percent is not None and percent < wanted:
        problems.append(f"less than receive.min_free_percent ({wanted:g} %) of the disk is free")
    return problems
