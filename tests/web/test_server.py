"""The listener itself: where it may listen, what it does when the disk is full, and how it stops."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
import sqlalchemy as sa
from pydicom.uid import JPEG2000Lossless, generate_uid

from tests.receive.receiving import Receiver, make_series
from tests.web.messages import FAILED, REASON, items, message, part10
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config, load_config
from voxtell_dicom.errors import ConfigError, PortUnavailable
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.web.server import WebServer
from voxtell_dicom.web.services import Services

Serve = Callable[..., tuple[WebServer, Receiver]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a web server on an archive of its own."""
    started: list[tuple[WebServer, Receiver]] = []

    def start(http: dict[str, Any] | None = None, **receive: Any) -> tuple[WebServer, Receiver]:
        receiver = Receiver(tmp_path / "spool", **receive)
        node = {
            "storage": tmp_path,
            "database": f"sqlite:///{tmp_path}/spool.sqlite",
            "http": {"port": 0, **(http or {})},
        }
        values = receiver.config.model_dump(exclude={"node"}) | {"node": node}
        config = Config.model_validate(values)
        engine = open_database(config)
        server = WebServer(Services(config, engine, receiver.archive, receiver.completion, JobBook(engine)))
        server.bind()
        server.start()
        started.append((server, receiver))
        return server, receiver

    yield start
    for server, receiver in started:
        server.begin_stop(0)
        server.join()
        receiver.close()


def post(server: WebServer, bodies: list[bytes]) -> requests.Response:
    body, content_type = message(bodies)
    url = f"http://127.0.0.1:{server.port}/dicomweb/studies"
    return requests.post(url, data=body, headers={"Content-Type": content_type}, timeout=30)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "pacs.example", "", "128.0.0.1"])
def test_it_does_not_listen_beyond_this_machine(tmp_path: Path, host: str) -> None:
    text = f'version: 1\nnode:\n  http:\n    host: "{host}"\nmodel: {{engine: threshold}}\n'
    (tmp_path / "node.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"(?s)node\.yaml:4.*node\.http\.host"):
        load_config(tmp_path / "node.yaml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_it_listens_on_this_machine(tmp_path: Path, host: str) -> None:
    (tmp_path / "node.yaml").write_text(
        f'version: 1\nnode:\n  http:\n    host: "{host}"\nmodel: {{engine: threshold}}\n'
    )
    http = load_config(tmp_path / "node.yaml").node.http
    assert http is not None
    assert http.port == 8080


def test_a_port_in_use_is_named(serve: Serve) -> None:
    server, _ = serve()
    services = server._services
    node = services.config.node.model_copy(update={"http": services.http.model_copy(update={"port": server.port})})
    again = Services(services.config.model_copy(update={"node": node}), *list(vars(services).values())[1:])
    with pytest.raises(PortUnavailable, match=rf"127\.0\.0\.1:{server.port} \(node\.http\)"):
        WebServer(again).bind()


def test_a_full_disk_is_503_and_the_sender_repeats(serve: Serve) -> None:
    server, _ = serve(min_free_percent=99.999)
    answer = post(server, [part10(one) for one in make_series(2, study_uid=generate_uid())])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert [item[REASON]["Value"] for item in items(answer, FAILED)] == [[0xA700]] * 2
    ready = requests.get(f"http://127.0.0.1:{server.port}/ready", timeout=30)
    assert (ready.status_code, len(ready.json()["problems"])) == (503, 1)


def test_a_database_that_is_away_is_503(serve: Serve) -> None:
    server, _ = serve()
    with server._services.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE voxtell_series RENAME TO gone"))
    for path in ("dicomweb/studies", "dicomweb/studies/1.2/metadata", "metrics"):
        answer = requests.get(f"http://127.0.0.1:{server.port}/{path}", timeout=30)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert post(server, [part10(make_series(1, study_uid=generate_uid())[0])]).status_code == 503


def test_what_cannot_be_decoded_or_is_gone_is_said(serve: Serve) -> None:
    server, receiver = serve()
    broken, gone = (make_series(1, study_uid=generate_uid())[0] for _ in range(2))
    broken = pydicom.dcmread(io.BytesIO(part10(broken)))
    broken.compress(JPEG2000Lossless, generate_instance_uid=False)
    broken.PixelData = pydicom.encaps.encapsulate([b"no picture"])
    assert post(server, [part10(broken), part10(gone)]).status_code == 200
    root = f"http://127.0.0.1:{server.port}/dicomweb/studies"
    for one in (broken, gone):
        instance = f"{root}/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"
        if one is gone:
            for path in (receiver.archive.root / "series").rglob("*.dcm"):
                path.unlink()
        plain = {"Accept": 'multipart/related; type="application/dicom"'}
        answers = [requests.get(instance, headers=plain, timeout=30), requests.get(f"{instance}/frames/1", timeout=30)]
        answers.append(requests.get(f"{instance}/rendered", timeout=30))
        answers.append(requests.get(f"{instance}/metadata", timeout=30))
        statuses = [answer.status_code for answer in answers]
        assert statuses == ([404] * 4 if one is gone else [406, 200, 404, 200])


def test_links_begin_with_the_public_root_and_its_host_is_answered(serve: Serve) -> None:
    server, _ = serve({"public_root": "https://pacs.example/voxtell/"})
    study = generate_uid()
    answer = post(server, [part10(make_series(1, study_uid=study)[0])])
    assert answer.json()["00081190"]["Value"] == [f"https://pacs.example/voxtell/dicomweb/studies/{study}"]
    url = f"http://127.0.0.1:{server.port}/dicomweb/studies"
    assert requests.get(url, headers={"Host": "pacs.example"}, timeout=30).status_code == 200
    assert requests.get(url, headers={"Host": "other.example"}, timeout=30).status_code == 400


def begun(server: WebServer, body: bytes, content_type: str, missing: int) -> socket.socket:
    """Return a connection over which a message was sent but for its last bytes."""
    link = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    link.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) - missing])
    return link


def test_a_request_under_way_is_ended_within_the_drain(serve: Serve) -> None:
    server, receiver = serve()
    body, content_type = message([part10(one) for one in make_series(3, study_uid=generate_uid())])
    with begun(server, body, content_type, 500) as link:
        while receiver.archive.count() < 2:
            threading.Event().wait(0.02)
        server.begin_stop(30)
        link.sendall(body[-500:])
        assert link.recv(100).startswith(b"HTTP/1.1 200")
    server.join()
    assert receiver.archive.count() == 3
    receiver.wait(1)
    assert receiver.completed[0].incomplete == ""


def test_a_request_that_does_not_end_is_cut_off_at_the_stop(serve: Serve) -> None:
    server, receiver = serve()
    body, content_type = message([part10(one) for one in make_series(3, study_uid=generate_uid())])
    with begun(server, body, content_type, 500) as link:
        while receiver.archive.count() < 2:
            threading.Event().wait(0.02)
        server.begin_stop(0)
        server.join()
        link.settimeout(30)
        assert b"200" not in link.recv(100)
    assert all(thread.name != "web" for thread in threading.enumerate())
    with receiver.archive._engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT released FROM voxtell_hold")).all() == [0]
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", server.port or 1))


def test_room_is_bounded(serve: Serve) -> None:
    server, receiver = serve(max_associations=2)
    body, content_type = message([part10(one) for one in make_series(3, study_uid=generate_uid())])
    with begun(server, body, content_type, 500), begun(server, body, content_type, 500):
        while receiver.archive.count() < 2:
            threading.Event().wait(0.02)
        answer = post(server, [part10(make_series(1, study_uid=generate_uid())[0])])
        assert answer.status_code in (200, 503)  # 503 in the first two seconds
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "30"
