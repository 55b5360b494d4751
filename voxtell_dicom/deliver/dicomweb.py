"""STOW-RS (PS3.18 10.5) with dicomweb-client's session and QIDO-RS, round its traps.

`DICOMwebClient.store_instances` encodes a dataset anew (other bytes under the same UID), holds the whole message in
memory, repeats a request above 1 MB with an empty body, names no port in Host, and hides 202 and the body of a 409.
So `_StowClient.store_file` posts the file itself, once: repeating is the workflow's, with a fresh request.
"""

from __future__ import annotations

import logging
import re
import ssl
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from voxtell_dicom.config import Peer
from voxtell_dicom.config.secrets import read_secret
from voxtell_dicom.deliver.outcomes import DUPLICATE, REFUSED, State, meaning, of_http_status, outcome
from voxtell_dicom.deliver.spooled import patience_s
from voxtell_dicom.dicom.library_internals import dataset_of_xml
from voxtell_dicom.dicom.text import clipped
from voxtell_dicom.model import Outcome, Result

log = logging.getLogger(__name__)

SHOWN_WITHIN_S: Final = 60.0  # from an answer that does not name the object until QIDO-RS shows it
FIRST_PAUSE_S: Final = 0.25  # doubled each time
BODY_READ, BODY_SHOWN = 10_000, 500  # characters of a body
NOT_SHOWN: Final = "QIDO-RS does not show it"
_CONFLICT: Final = 409
_UNSUPPORTED: Final = 415
_ADVICE: Final = {
    301: "the peer has moved: correct its 'dicomweb' address",
    302: "the peer has moved: correct its 'dicomweb' address",
    307: "the peer has moved: correct its 'dicomweb' address",
    308: "the peer has moved: correct its 'dicomweb' address",
    401: "correct the peer's credentials",
    403: "let the peer allow us to store",
    404: "correct the peer's 'dicomweb' address",
    405: "correct the peer's 'dicomweb' address",
    413: "let the peer accept larger requests",
    _UNSUPPORTED: "let the peer accept this SOP class and transfer syntax",
}


def deliver_all(results: Sequence[Result], peer: Peer, *, name: str) -> list[Outcome]:
    """Post each result to the DICOMweb peer, one request each; one Outcome per result, in order, by contracts § 4.

    Raises ConfigError where an environment variable that the peer names is not set.
    """
    client = _connect(peer)
    try:
        return [_store(client, result, peer, name) for result in results]
    finally:
        client.close()


class _StowClient(DICOMwebClient):
    """dicomweb-client, with a STOW-RS that sends a file as it is and returns the answer whatever its status."""

    def store_file(self, path: Path, timeout_s: tuple[float, float]) -> requests.Response:
        """POST one Part 10 file as multipart/related. Raises OSError, requests.RequestException."""
        boundary = uuid.uuid4().hex
        with path.open("rb") as file:
            response: requests.Response = self._session.post(
                f"{self.base_url}/studies",
                data=_Multipart(file, path.stat().st_size, boundary),
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"',
                    "Accept": "application/dicom+json",
                },
                timeout=timeout_s,  # to connect; to answer
                allow_redirects=False,  # requests would turn the POST into a GET
            )
        return response

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class _Multipart:
    """A multipart body of one part, read from the file as it is sent: of known length, so not chunked."""

    def __init__(self, file: Any, size: int, boundary: str) -> None:
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        self._parts = [BytesIO(head), file, BytesIO(tail)]
        self._length = len(head) + size + len(tail)

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, b"" at the end."""
        while self._parts:
            piece: bytes = self._parts[0].read(size)
            if piece:
                return piece
            self._parts.pop(0)
        return b""


class _Bearer(requests.auth.AuthBase):
    """A token as an auth object: a plain header would be overruled by a .netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _connect(peer: Peer) -> _StowClient:
    session = requests.Session()
    if peer.token_env:
        session.auth = _Bearer(read_secret(peer.token_env, ascii_only=True))
    elif peer.username_env and peer.password_env:
        session.auth = HTTPBasicAuth(read_secret(peer.username_env).encode(), read_secret(peer.password_env).encode())
    client = _StowClient(
        (peer.dicomweb or "").rstrip("/"), session=session, timeout=peer.timeout_s, permissive_uid=True
    )
    client.set_http_retry_params(retry=False)
    return client


def _store(client: _StowClient, result: Result, peer: Peer, name: str) -> Outcome:
    try:
        response = client.store_file(result.path, (peer.timeout_s, patience_s(result, peer)))
    except requests.exceptions.SSLError as error:
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
            todo = "fix the peer's certificate or our trust in it"
            return outcome("failed", "TLS refused", "certificate not trusted", result, name, todo=todo)
        return outcome("retry", "lost link", _cause(error), result, name)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        never = any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in _causes(error))
        return outcome("retry", "no connection" if never else "lost link", _cause(error), result, name)
    except requests.RequestException as error:
        return outcome("failed", "bad request", type(error).__name__, result, name, todo="correct the peer's settings")
    except OSError as error:  # the file went away since it was checked
        return outcome("failed", "unreadable", f"{result.path}: {error.strerror}", result, name)
    status = f"HTTP {response.status_code}"
    log.debug("STOW-RS %s: %s", result.sop_instance_uid, status)
    state = of_http_status(response.status_code)
    if state == "retry":
        return outcome("retry", status, response.reason or "", result, name)
    answer = _body(response)
    failure = _reason(answer, "FailedSOPSequence", "FailureReason", result)
    if failure in REFUSED:
        return outcome("failed", status, _failed(failure), result, name, todo=_ADVICE[_UNSUPPORTED], refused=True)
    if response.status_code == _CONFLICT or failure == DUPLICATE:
        return _look_up(client, result, name, status, _failed(failure) or "conflict")
    if failure is not None:
        return outcome("failed", status, _failed(failure), result, name)
    if state == "failed":
        todo = _ADVICE.get(response.status_code, "")
        refused = response.status_code == _UNSUPPORTED
        made = outcome("failed", status, response.reason or "", result, name, todo=todo, refused=refused)
        return made if refused else replace(made, detail=_words(response))
    warning = _reason(answer, "ReferencedSOPSequence", "WarningReason", result)
    if warning is None:
        return _await(client, result, name, status)
    if warning:
        what = f"WarningReason {warning:04X}, {meaning(warning)}"
        return outcome("delivered", status, what, result, name, warning=True)
    return outcome("delivered", status, "stored", result, name, warning=response.status_code == 202)


def _await(client: _StowClient, result: Result, name: str, status: str) -> Outcome:
    """Look our object up until it is shown, for `SHOWN_WITHIN_S`: servers that answer 202 store it afterwards."""
    until, pause_s = time.monotonic() + SHOWN_WITHIN_S, FIRST_PAUSE_S
    while True:
        found = _look_up(client, result, name, status, "the answer does not name the instance")
        left_s = until - time.monotonic()
        if found.state != "failed" or left_s <= 0 or NOT_SHOWN not in found.message:
            return found
        time.sleep(min(pause_s, left_s))
        pause_s *= 2


def _words(response: requests.Response) -> str:
    """Return the text of an answer's body in one line, "" where there is none: for the job, not for logs."""
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", response.text[:BODY_READ], flags=re.DOTALL | re.IGNORECASE)
    return clipped(" ".join(text.split()), BODY_SHOWN)


def _look_up(client: _StowClient, result: Result, name: str, status: str, what: str) -> Outcome:
    """Ask by QIDO-RS whether our object is there: one UID never has two contents, so then it is delivered."""
    try:
        found = client.search_for_instances(
            study_instance_uid=result.study_uid,
            series_instance_uid=result.series_uid,
            search_filters={"SOPInstanceUID": result.sop_instance_uid},
        )
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        state: State = "retry" if of_http_status(code) == "retry" else "failed"
        what = f"{what}, and the look-up (QIDO-RS) is answered HTTP {code}"
        return outcome(state, status, what, result, name, todo="look there, or allow us QIDO-RS")
    except requests.exceptions.JSONDecodeError:
        return outcome("failed", status, f"{what}, and the look-up (QIDO-RS) gives no DICOM JSON", result, name)
    except requests.RequestException as error:
        return outcome("retry", status, f"{what}, and the look-up met: {_cause(error)}", result, name)
    for item in found:
        if item.get("00080018", {}).get("Value") == [result.sop_instance_uid]:
            return outcome("delivered", status, "it is there already (QIDO-RS)", result, name)
    return outcome("failed", status, f"{what}, and {NOT_SHOWN}", result, name)


def _body(response: requests.Response) -> Dataset:
    """The Store Instances Response (PS3.18 10.5.3.2) in JSON or XML; empty where there is none that can be read."""
    try:
        if "xml" in response.headers.get("Content-Type", ""):
            return dataset_of_xml(ElementTree.fromstring(response.content))
        data = response.json()
        return Dataset.from_json(data[0] if isinstance(data, list) and data else data)
    except Exception as error:  # whatever a foreign server sends, the status still stands
        log.debug("STOW-RS answer cannot be read: %s", type(error).__name__)
        return Dataset()


def _reason(answer: Dataset, sequence: str, keyword: str, result: Result) -> int | None:
    """The reason that `sequence` gives for our instance: 0 where it names the instance alone, None where it does not.

    An item of FailedSOPSequence without a UID is ours too: there is one instance in each request.
    """
    for item in answer.get(sequence, []) or []:
        uid = item.get("ReferencedSOPInstanceUID", "")
        if uid == result.sop_instance_uid or (not uid and sequence == "FailedSOPSequence"):
            return int(item.get(keyword, 0) or 0)
    return None


def _failed(reason: int | None) -> str:
    if reason is None:
        return ""
    return f"FailureReason {reason:04X}, {meaning(reason)}" if reason else "listed as failed, without a reason"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, urllib3's `reason` included."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        at = queue.pop(0)
        if isinstance(at, BaseException) and at not in seen:
            seen.append(at)
            yield at
            queue += [at.__cause__, at.__context__, getattr(at, "reason", None), *at.args]


def _cause(error: BaseException) -> str:
    """The innermost reason, in a few words: a requests error quotes the whole URL and object addresses."""
    found = [cause for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror]
    return str(found[-1].strerror) if found else type(error).__name__
