"""Secrets from the environment: read when they are used, and in no message, log line, database row or URL."""

from __future__ import annotations

import os
import re

from voxtell_dicom.config.settings import Config
from voxtell_dicom.errors import ConfigError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_secret(variable: str, *, ascii_only: bool = False) -> str:
    """Return the value of an environment variable that node.yaml names.

    ascii_only: for a token, which is sent in a header as it is (RFC 6750). Raises ConfigError, without the value, if it
    is not set or cannot be sent in an HTTP header.
    """
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"the environment variable {variable} is not set; node.yaml names it")
    if _CONTROL.search(value):
        raise ConfigError(
            f"the environment variable {variable} holds a line break or another control character, which no "
            "HTTP header can carry: set it without one"
        )
    if ascii_only and not value.isascii():
        raise ConfigError(f"the environment variable {variable} holds characters that are not ASCII: it is no token")
    return value


def check_secrets(config: Config) -> None:
    """Raise ConfigError for the first secret of a peer that is set and cannot be used; it names peer and variable."""
    for name, peer in config.peers.items():
        for variable, ascii_only in ((peer.token_env, True), (peer.username_env, False), (peer.password_env, False)):
            if variable and os.environ.get(variable):
                try:
                    read_secret(variable, ascii_only=ascii_only)
                except ConfigError as error:
                    raise ConfigError(f"peers.{name}: {error}") from None
