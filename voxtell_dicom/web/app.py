"""All routes of the web face as one application; its OpenAPI document is at /openapi.json."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp

import voxtell_dicom
from voxtell_dicom.errors import VoxtellDicomError
from voxtell_dicom.web import health, qido, stow, wado, wado_pixels
from voxtell_dicom.web.holdings import Holdings
from voxtell_dicom.web.limits import Limits, answer_of, answer_to_error
from voxtell_dicom.web.metadata import MetadataCache
from voxtell_dicom.web.services import Services
from voxtell_dicom.web.uids import NO_UID


def create_app(services: Services) -> ASGIApp:
    """Return the application, within its limits."""
    bounds = services.config.receive.bounds
    return Limits(create_api(services), send_s=bounds.pdu_s, public_root=services.http.public_root)


def create_api(services: Services) -> FastAPI:
    """Return the routes."""
    app = FastAPI(
        title="voxtell-dicom",
        version=voxtell_dicom.__version__,
        docs_url=None,  # it would load a program from elsewhere
        redoc_url=None,
    )
    for kind in (sa.exc.SQLAlchemyError, VoxtellDicomError, OSError, Exception):
        app.add_exception_handler(kind, answer_to_error)
    app.add_exception_handler(RequestValidationError, lambda *_: answer_of(400, NO_UID))
    app.include_router(health.router(services))
    holdings, metadata = Holdings(services), MetadataCache(services.dicomweb)
    search = qido.Search(services, holdings, metadata)
    for router in (
        stow.router(services),
        qido.router(search, services.dicomweb),
        wado.router(holdings, metadata),
        wado_pixels.router(holdings),
    ):
        app.include_router(router, prefix="/dicomweb")
    return app
