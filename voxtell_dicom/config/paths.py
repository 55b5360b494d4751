"""Paths in node.yaml: what is a name of another system is refused with what to write; the rest is made absolute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from voxtell_dicom.config.source import Source
from voxtell_dicom.errors import ConfigError

if TYPE_CHECKING:
    from voxtell_dicom.config.settings import Config, Peer

_DRIVE = re.compile(r"[A-Za-z]:(?!//)")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/+)(.*)", re.DOTALL)
_MOUNT = "mount the share on this machine, and give the path it has here"
_VARIABLE = re.compile(r"\$\w|\$\{|%\w+%")


def local_path(value: Any) -> Any:
    """Return a path of this machine, with ``~`` expanded. Raises ValueError for what is a path elsewhere.

    Those are drives and shares of Windows, URLs, and names with environment variables: as they stand they would make
    folders of that very name.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        raise ValueError("is empty; give the path of a folder")
    if _DRIVE.match(text) or text.startswith(("\\\\", "//")):
        raise ValueError(f"'{text}' is a path of Windows: {_MOUNT}")
    if match := _URL.match(text):
        host, _, rest = match[3].partition("/") if match[2] == "//" else ("", "", match[3])
        if match[1].casefold() == "file" and host in ("", "localhost"):
            raise ValueError(f"'{text}' is a URL: write /{rest.lstrip('/')}")
        raise ValueError(f"'{text}' is a URL, not a folder: {_MOUNT}")
    if "\\" in text:
        raise ValueError(f"'{text}' has a backslash: write {text.replace(chr(92), '/')}")
    if _VARIABLE.search(text):
        raise ValueError(f"'{text}': environment variables are not expanded here; write the path itself")
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise ValueError(f"'{text}': there is no user of that name; write the path itself") from None


LocalPath = Annotated[Path, BeforeValidator(local_path)]


def with_absolute_paths(config: Config, base: Path) -> Config:
    """Return the settings with relative paths resolved against `base`, the folder of node.yaml."""
    base = base.absolute()
    dimse = config.node.dimse
    if dimse.tls is not None:
        dimse = dimse.model_copy(update={"tls": dimse.tls.with_base(base)})
    node = config.node.model_copy(update={"storage": base / config.node.storage, "dimse": dimse})
    model = config.model.model_copy(
        update={
            name: base / path for name in ("directory", "bank") if (path := getattr(config.model, name)) is not None
        }
    )
    peers = {name: _peer_with_absolute_paths(peer, base) for name, peer in config.peers.items()}
    return config.model_copy(update={"node": node, "model": model, "peers": peers})


def _peer_with_absolute_paths(peer: Peer, base: Path) -> Peer:
    if peer.folder is not None:
        return peer.model_copy(update={"folder": base / peer.folder})
    return peer.model_copy(update={"tls": peer.tls.with_base(base)}) if peer.tls is not None else peer


def refuse_storage_of_0_1(path: Path) -> None:
    """Raise ConfigError if a relative `node.storage` was used from the working folder, as version 0.1 did.

    path: node.yaml. A storage there, and none beside node.yaml, would be left behind with all that it holds.
    """
    node = Source.read(path).data.get("node")
    written = Path(str(node.get("storage") or "data") if isinstance(node, dict) else "data")
    before, now = Path.cwd() / written, path.absolute().parent / written
    if written.is_absolute() or before.resolve() == now.resolve() or now.exists():
        return
    if (before / "node.sqlite").exists() or (before / "spool").exists():
        raise ConfigError(
            f"{path}: node.storage '{written}' now means {now} (relative to node.yaml), and version 0.1 used {before}, "
            f"which has data: move that folder there, or write 'storage: {before}'"
        )
