"""A whole node under hostile input: nothing crashes, nothing leaks, and every good series in between is delivered."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any, Final

import pydicom

from tests.hostile import wire
from tests.hostile.mutations import CLASSES, SYNTAXES, mutant, stream
from tests.processes import peak_bytes
from tests.system.made_series import write_ct
from tests.system.node_process import CT_RULE, SENDER, NodeProcess
from tests.system.peers.dcmtk import storescu

IDLE: Final = 200
LARGEST_RSS_MB: Final = 700
RULE: Final[dict[str, Any]] = {**CT_RULE, "send_to": ["out"], "receipt": "never"}
TITLES: Final = b"VOXTELL".ljust(16), SENDER.encode().ljust(16)


def settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the node: bounds small enough that a run meets them."""
    bounds = {"request_s": 5, "pdu_s": 5, "dataset_mb": 64}
    return {
        "peers": {"out": {"folder": str(folder / "out")}, "ct": {"ae_title": "CT1"}},
        "rules": [RULE],
        "receive": {"quiet_s": 1, "incomplete_s": 2, "drain_s": 3, "bounds": bounds},
    }


class Hostile:
    """Drives a node: mutated datasets, PDU streams, silent callers, and good series in between."""

    def __init__(self, folder: Path, node: NodeProcess, seed: int) -> None:
        self._folder, self._node, self._seed = folder, node, seed
        self._good: list[str] = []
        self._answers = {"accepted": 0, "refused": 0, "aborted": 0}
        self._chance = random.Random(f"{seed} suite")
        self._files_before = self._outside()

    def good_series(self) -> None:
        """Send a good series, over an association of its own."""
        files = write_ct(self._folder / "good" / str(len(self._good)), slices=5, seed=len(self._good))
        storescu(files, self._node.port)
        self._good.append(str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID))

    def datasets(self, count: int, *, good_every: int = 100) -> None:
        """Send mutated datasets, many over one association, as long as it stands."""
        link: socket.socket | None = None
        for number in range(count):
            if number % good_every == good_every // 2:
                self.good_series()
            one = mutant(self._seed, number)
            context = 2 * (CLASSES.index(one.sop_class) * len(SYNTAXES) + SYNTAXES.index(one.syntax)) + 1
            link = link or self._associate()
            try:
                link.sendall(wire.store(one.data, one.sop_instance, context, one.sop_class))
                kind, body = wire.read_pdu(link)
            except OSError:
                kind, body = 0, b""
            if kind == wire.DATA:
                self._answers["accepted" if wire.status(body) == 0 else "refused"] += 1
            else:
                self._answers["aborted"] += 1
                link.close()
                link = None
        if link is not None:
            link.sendall(wire.RELEASE)
            link.close()

    def _associate(self) -> socket.socket:
        pairs = [(sop_class, syntax) for sop_class in CLASSES for syntax in SYNTAXES]
        contexts = [wire.context(2 * place + 1, uid, [syntax]) for place, (uid, syntax) in enumerate(pairs)]
        link = wire.connect(self._node.port, wire.request(*TITLES, contexts))
        assert wire.read_pdu(link)[0] == wire.ACCEPTED
        return link

    def streams(self, count: int, *, good_every: int = 100) -> None:
        """Open connections and send streams that go wrong; most are closed by us, some left to the node."""
        left: list[socket.socket] = []
        for number in range(count):
            if number % good_every == good_every // 2:
                self.good_series()
            link = wire.connect(self._node.port)
            with contextlib.suppress(OSError):
                for part in stream(self._seed, number):
                    link.sendall(part)
                    if self._chance.random() < 0.1:
                        time.sleep(0.001)
                if self._chance.random() < 0.5:
                    link.settimeout(0.2)
                    wire.read_pdu(link)
            left.append(link)
            if self._chance.random() < 0.9:
                left.pop().close()
        for link in left:
            link.close()

    @contextlib.contextmanager
    def silent_callers(self, count: int = IDLE) -> Any:
        """Keep so many connections open that say nothing more, from several addresses, dialled again when closed."""
        said: tuple[list[bytes], ...] = (
            [],
            [b"\x01"],
            [wire.request(*TITLES)[:50]],
            [wire.request(*TITLES)],
            [wire.request(), b"\x04\0\0\0\x40\0x"],
        )
        stop = threading.Event()
        links: dict[int, socket.socket] = {}

        def dial() -> None:
            while not stop.is_set():
                for number in range(count):
                    if number in links and not wire.is_closed(links[number]):
                        continue
                    with contextlib.suppress(OSError):
                        source = (f"127.0.0.{2 + number % 8}", 0)
                        link = socket.create_connection(("127.0.0.1", self._node.port), 5, source_address=source)
                        links[number] = link
                        for part in said[number % 3 if number % 8 else 3 + number // 8 % 2]:
                            link.sendall(part)
                stop.wait(0.5)

        thread = threading.Thread(target=dial)
        thread.start()
        try:
            self._node.wait(lambda: len(links) == count, what="the silent callers")
            yield
        finally:
            stop.set()
            thread.join()
            for link in links.values():
                link.close()

    def check(self, timeout_s: float = 120) -> dict[str, int]:
        """Assert that all went well; return how the datasets were answered."""
        node = self._node

        def ended() -> bool:
            states = {job["series_uid"]: job["state"] for job in node.jobs()}
            return all(states.get(uid) == "delivered" for uid in self._good)

        node.wait(ended, what="the good series to be delivered", timeout_s=timeout_s)
        log = node.log()
        assert "Traceback" not in log, log[log.index("Traceback") - 2000 :][:6000]
        assert not [char for char in log if not char.isprintable() and char != "\n"]
        assert self._outside() == self._files_before
        assert peak_bytes(node.pid) < LARGEST_RSS_MB << 20
        return self._answers

    def _outside(self) -> set[str]:
        """Return the files around the node's storage and the folder of its results."""
        known = [self._node.storage, self._folder / "good"]
        every = {path for path in self._folder.rglob("*") if path.is_file()}
        outside = {path for path in every if not any(path.is_relative_to(folder) for folder in known)}
        return {
            str(path) for path in outside if not (path.is_relative_to(self._folder / "out") and path.suffix == ".dcm")
        }
