"""node.yaml as pydantic models: the one place where settings, defaults and units are written (contracts § 8).

`load_config` reads a file and says what is wrong with it by file, line, word and nearest right word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[^\\\x00-\x1f]*[^\\\x00-\x20][^\\\x00-\x1f]*$")]


class Strict(BaseModel):
    """No unknown keys; immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dimse(Strict):
    """Where the Storage SCP listens."""

    host: str = "127.0.0.1"
    port: int = Field(11112, ge=0, le=65535)


class Http(Strict):
    """Where the web face listens."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)


class NodeSettings(Strict):
    """This node: its name on the network and where it keeps things."""

    ae_title: AeTitle = "VOXTELL"
    dimse: Dimse = Dimse()
    http: Http = Http()
    storage: Path = Path("./data")
    database: str | None = None  # default: SQLite file in the storage folder
    series_number_base: int = Field(100, ge=1, le=10000)  # Series Number = source number × this + rule index


class Retention(Strict):
    """How long instances are kept, in hours. What is undelivered is never dropped."""

    delivered_h: float = Field(24, ge=0)
    unmatched_h: float = Field(168, ge=0)
    refused_h: float = Field(168, ge=0)


class Receive(Strict):
    """When a series is complete, and who may send."""

    quiet_s: float = Field(30, gt=0)
    incomplete_s: float = Field(600, gt=0)  # after an abort or lost link, or where instances are known to be missing
    accept_unknown: bool = False
    max_associations: int = Field(50, ge=1)
    min_free_percent: float = Field(10, ge=0, lt=100)
    retention: Retention = Retention()


class Model(Strict):
    """Which engine segments. Exactly one of `directory` and `engine`."""

    directory: Path | None = None
    engine: Literal["phantom", "threshold"] | None = None
    devices: list[str] = ["auto"]
    bank: Path | None = None  # prompt-embedding bank (.npz); default: the one beside the model

    @model_validator(mode="after")
    def _one_engine(self) -> Model:
        if (self.directory is None) == (self.engine is None):
            raise ValueError("give either 'directory' (a VoxTell model) or 'engine' (phantom or threshold), not both")
        return self


class Peer(Strict):
    """A system we know: a DIMSE peer (ae_title, host, port), a DICOMweb peer (dicomweb), or a folder."""

    ae_title: AeTitle | None = None
    host: str | None = None
    port: int | None = Field(None, ge=1, le=65535)
    dicomweb: str | None = None
    folder: Path | None = None
    username_env: str | None = None  # names of environment variables: secrets never stand in this file
    password_env: str | None = None
    token_env: str | None = None
    quiet_s: float | None = Field(None, gt=0)  # overrides receive.quiet_s for series from this peer
    profile: Literal["generic", "ohif", "weasis", "slicer"] = "generic"
    timeout_s: float = Field(60, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> Peer:
        if self.dicomweb is None and self.folder is None and self.ae_title is None:
            raise ValueError("give 'ae_title' (with 'host' and 'port' to send to it), 'dicomweb' or 'folder'")
        if (self.host is None) != (self.port is None):
            raise ValueError("'host' and 'port' go together")
        return self

    @property
    def can_receive(self) -> bool:
        """Whether results can be sent to it (a peer with a title alone may only send to us)."""
        return self.dicomweb is not None or self.folder is not None or self.host is not None


class PromptSettings(Strict):
    """A prompt with its words and colour for the viewer."""

    text: str = Field(min_length=1, max_length=1024)
    label: str | None = Field(None, max_length=64)
    color: str | None = Field(None, pattern=r"^#[0-9a-fA-F]{6}$")
    threshold: float = Field(0.5, gt=0, lt=1)


class Condition(Strict):
    """One condition on an attribute or a fact of the series. All that are given must hold."""

    equals: str | float | None = None
    one_of: list[str | float] | None = None
    matches: str | None = None  # regular expression, searched anywhere in the value
    at_least: float | None = None
    at_most: float | None = None
    absent: bool | None = None


class Rule(Strict):
    """Which prompts to run on which series, and where the results go."""

    name: str = Field(min_length=1, max_length=64)
    scope: Literal["series"] = "series"
    when: dict[str, Any]  # keyword → value, list of values, or Condition; checked by rules/
    prompts: list[str | PromptSettings] = Field(min_length=1)
    outputs: list[Literal["seg"]] = ["seg"]
    send_to: list[str] = []


class Delivery(Strict):
    """How sending is repeated while a peer is away."""

    first_retry_s: float = Field(5, gt=0)
    longest_retry_s: float = Field(600, gt=0)
    give_up_after_h: float | None = Field(None, gt=0)  # default: never


class Config(Strict):
    """The whole of node.yaml."""

    version: Literal[1]
    node: NodeSettings = NodeSettings()
    receive: Receive = Receive()
    model: Model
    peers: dict[str, Peer] = {}
    rules: list[Rule] = []
    delivery: Delivery = Delivery()
