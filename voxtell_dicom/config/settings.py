"""node.yaml as pydantic models: the one place where settings, defaults and units are written (contracts § 8).

`load_config` reads a file and says what is wrong with it by file, line, word and nearest right word.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from voxtell_dicom.config.messages import in_words
from voxtell_dicom.config.paths import LocalPath, with_absolute_paths
from voxtell_dicom.config.source import Problem, Source, nearest
from voxtell_dicom.config.tls_settings import AddressRange, PeerTls, ServerTls, Subject
from voxtell_dicom.errors import ConfigError

__all__ = ["Config", "ConfigError", "Problem", "Source", "json_schema", "load_config", "problems"]

AeTitle = Annotated[
    str,
    Field(
        min_length=1,
        max_length=16,
        pattern=r"^[^\\\x00-\x1f]*[^\\\x00-\x20][^\\\x00-\x1f]*$",
        description="an AE title: up to 16 characters, not all blanks, no backslash (PS3.5 VR AE)",
    ),
]

DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
Device = Annotated[str, Field(pattern=DEVICE, description="a device: auto, cpu, cuda or cuda:N")]


_NUMBERS: Final = (int, float, int | None, float | None)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine as only programs on it reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Strict(BaseModel):
    """No unknown keys; immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Raise ValueError where ``yes`` or ``true`` stands in the place of a number: Python counts it as 1."""
        field = cls.model_fields.get(info.field_name or "")
        if isinstance(value, bool) and field is not None and field.annotation in _NUMBERS:
            raise ValueError("YAML reads this as a truth value; write a number")
        return value


class Dimse(Strict):
    """Address of the Storage SCP."""

    host: str = "127.0.0.1"
    port: int = Field(11112, ge=0, le=65535)
    tls: ServerTls | None = None

    @model_validator(mode="after")
    def _two_ports(self) -> Dimse:
        if self.tls is not None and self.tls.port and self.tls.port == self.port:
            raise ValueError("'tls: port' is a port beside 'port'; leave it out to have TLS on 'port' itself")
        return self


class Http(Strict):
    """Address of the listener for DICOMweb, health and metrics; without `node.http` nothing listens.

    public_root: the address under which others reach this listener, behind a proxy: links in answers begin with it.
    """

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    public_root: str | None = Field(
        None,
        pattern=r"^https?://[^/@?#\s]+(/[^?#\s]*)?$",
        description="the address that others use, like https://pacs.example/voxtell, without user or password",
    )

    @field_validator("host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        if not is_loopback(value):
            raise ValueError(
                f"'{value}' is not of this machine alone; there is no sign-in and no TLS yet, so 'node.http.host' must "
                "be 127.0.0.1, ::1 or localhost: let a proxy that asks who is there stand before it"
            )
        return value


class NodeSettings(Strict):
    """This node: its name on the network and where it keeps things."""

    ae_title: AeTitle = "VOXTELL"
    dimse: Dimse = Dimse()
    http: Http | None = None  # default: nothing listens
    storage: LocalPath = Path("./data")  # relative paths: relative to node.yaml
    database: str | None = None  # default: SQLite file in the storage folder
    series_number_base: int = Field(1000, ge=1, le=10000)  # Series Number = source × this + rule index × 10 + kind


class Retention(Strict):
    """How long instances are kept, in hours. What is undelivered is never dropped."""

    delivered_h: float = Field(24, ge=0)
    unmatched_h: float = Field(168, ge=0)
    refused_h: float = Field(168, ge=0)
    jobs_d: float = Field(365, ge=1)  # days: what the job book says of a job that ended and whose series is gone
    workflows_d: float = Field(30, ge=1)  # days: what the durable engine recorded of work that ended


class Bounds(Strict):
    """Limits of what one caller may take of the node; what exceeds one is refused, and the limit is named."""

    request_s: float = Field(15, gt=0)  # from the connection to a whole A-ASSOCIATE-RQ
    pdu_s: float = Field(60, gt=0)  # from the first byte of any other PDU to its last
    idle_s: float = Field(300, gt=0)  # between two PDUs; then the association is taken for lost
    connections_per_address: int = Field(40, ge=1)  # with and without an association
    pdu_kb: int = Field(1024, ge=128, le=65536)  # KiB of one PDU
    dataset_mb: int = Field(1280, ge=1)  # MiB of one dataset, inflated; it is held in memory while it is received
    inflation_ratio: float = Field(250, gt=1)  # of a deflated dataset of more than 64 MiB
    elements: int = Field(300_000, ge=1000)  # in one dataset, those in sequences included


class Receive(Strict):
    """When a series is complete, and who may send."""

    quiet_s: float = Field(30, gt=0)
    incomplete_s: float = Field(600, gt=0)  # after an abort or lost link, or where instances are known to be missing
    accept_unknown: bool = False
    addresses: list[AddressRange] = []  # only callers from these; default: from everywhere
    commitment: bool = False  # peers may ask whether we hold what they sent; we hold it as `retention` says, no longer
    any_class_from_peers: bool = True  # callers under peers may send every storage class, private ones included
    max_associations: int = Field(50, ge=1)
    min_free_percent: float = Field(10, ge=0, lt=100)
    drain_s: float = Field(60, ge=0)  # when the node stops: how long open associations may go on
    bounds: Bounds = Bounds()
    retention: Retention = Retention()


class Windows(Strict):
    """How the model's windows lie over a volume; docs/engine.md says what each setting costs in agreement."""

    step: float = Field(0.5, gt=0, le=1)  # between windows, as a share of the patch
    skip_empty: bool = False  # leave out windows without a voxel of the body
    crop_to_body: bool = False  # lay them over the body's box only


class Model(Strict):
    """Which engine segments. Exactly one of `directory` and `engine`."""

    directory: LocalPath | None = None
    engine: Literal["phantom", "threshold"] | None = None
    # One worker each. auto: a GPU if there is one, else the CPU; several cpu share its CPUs (docs/engine.md: numactl).
    devices: list[Device] = Field(["auto"], min_length=1)
    bank: LocalPath | None = None  # prompt-embedding bank (.npz); default: the one beside the model
    # Embeds prompts that no bank holds, once at the start: a folder, or a name on the hub.
    text_model: str | None = None
    windows: Windows = Windows()
    exact: bool = False  # the plain image decoder, prompt by prompt: slower, to compare with
    bfloat16: bool = False  # on a CPU with AVX-512 BF16: faster, and not exact

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
    dicomweb: str | None = Field(
        None,
        pattern=r"^https?://[^/@\s]+(/\S*)?$",
        description="the root of a DICOMweb server, like https://pacs.example/dicom-web, without user or password",
    )
    folder: LocalPath | None = None
    username_env: str | None = None  # names of environment variables: secrets never stand in this file
    password_env: str | None = None
    token_env: str | None = None
    tls: PeerTls | None = None  # towards a DIMSE peer; a DICOMweb peer has an https address
    addresses: list[AddressRange] = []  # as a caller it comes from one of these; default: from everywhere
    certificate_subject: Subject | None = None  # as a caller it shows a certificate with this subject (node.dimse.tls)
    quiet_s: float | None = Field(None, gt=0)  # overrides receive.quiet_s for series from this peer
    timeout_s: float = Field(60, gt=0)
    commit: bool = False  # results count as delivered once the peer has committed to them (Storage Commitment)
    commit_timeout_s: float = Field(600, gt=0)  # without a report for so long, it is asked again
    profile: Literal["generic", "ohif", "weasis", "slicer"] = "generic"  # how segmentations are made for it
    # Each of these overrides the profile's own (docs/viewers.md). aligned: binary where frames end on whole bytes, else
    # occupancy, which is 0 or 255; fractional: probabilities.
    encoding: Literal["binary", "aligned", "occupancy", "fractional", "labelmap"] | None = None
    transfer_syntax: Literal["auto", "native", "rle", "deflated"] | None = None
    empty_frames: bool | None = None
    segments_per_object: Literal["all", "disjoint", "one"] | None = None  # disjoint: those that do not overlap
    frames_per_object: int | None = Field(None, ge=0)  # split by segments above so many; 0: never
    holes: Literal["keyhole", "xor", "inner"] | None = None  # how a structure set writes them
    # What is sent in the place of a segmentation that it refuses, the first that it takes; native: the same, not
    # compressed.
    fallback: list[Literal["native", "seg", "labelmap", "rtstruct", "secondary", "overlay"]] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Peer:
        if self.dicomweb is None and self.folder is None and self.ae_title is None:
            raise ValueError("give 'ae_title' (with 'host' and 'port' to send to it), 'dicomweb' or 'folder'")
        if (self.host is None) != (self.port is None):
            raise ValueError("'host' and 'port' go together")
        if self.host is not None and self.ae_title is None:
            raise ValueError("'host' and 'port' need the peer's 'ae_title'")
        if self.tls is not None and self.host is None:
            raise ValueError("'tls' is for a peer with 'host' and 'port'")
        if self.commit and self.host is None:
            raise ValueError("'commit' is for a peer with 'host' and 'port'")
        if self.ae_title is None and (self.addresses or self.certificate_subject):
            raise ValueError("'addresses' and 'certificate_subject' need the 'ae_title' of the caller")
        if (self.username_env is None) != (self.password_env is None):
            raise ValueError("'username_env' and 'password_env' go together")
        if self.transfer_syntax == "rle" and self.encoding in (None, "binary", "aligned"):
            raise ValueError("one bit a pixel takes no RLE: leave 'transfer_syntax' auto, or set 'encoding', too")
        if self.segments_per_object == "one" and self.frames_per_object:
            raise ValueError("'frames_per_object' divides objects of several segments, not 'segments_per_object: one'")
        return self

    @property
    def can_receive(self) -> bool:
        """Return whether results can be sent to it (a peer with a title alone may only send to us)."""
        return self.dicomweb is not None or self.folder is not None or self.host is not None


class CodeWords(Strict):
    """A coded concept (PS3.3 8.8)."""

    value: str = Field(min_length=1, max_length=16, pattern=r"^[^\\]+$")
    scheme: str = Field("SCT", min_length=1, max_length=16, pattern=r"^[^\\]+$")  # Coding Scheme Designator
    meaning: str = Field(min_length=1, max_length=64, pattern=r"^[^\\]+$")


class Codes(Strict):
    """What a segment is, in codes."""

    category: Literal["structure", "tissue", "abnormal", "object", "substance", "concept"] = "structure"
    type: CodeWords
    laterality: Literal["left", "right", "both"] | None = None
    region: CodeWords | None = None


class PromptSettings(Strict):
    """A prompt with its words and colour for the viewer."""

    text: str = Field(min_length=1, max_length=1024)
    label: str | None = Field(None, max_length=64)
    color: str | None = Field(None, pattern=r"^#[0-9a-fA-F]{6}$", description='a colour like "#b96f4a"')
    threshold: float = Field(0.5, gt=0, lt=1)
    fill_holes: bool = False
    largest_component: bool = False  # keep only the largest connected part
    minimum_ml: float = Field(0, ge=0)  # remove connected parts that are smaller
    exclusive_group: str = ""  # prompts of a rule in one group share no voxel: the more probable one has it
    codes: str | Codes | None = None  # instead of those of the text: other words (see `terms`), or the codes

    @model_validator(mode="before")
    @classmethod
    def _quoted_color(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("color", "") is None:
            raise ValueError("'color' is empty: YAML takes #… for a comment; write it in quotes")
        return data


Scalar = str | int | float


class Condition(Strict):
    """One condition on an attribute or a fact of the series. All that are given must hold."""

    equals: Scalar | None = None
    one_of: list[Scalar] | None = Field(None, min_length=1)
    matches: str | None = None  # regular expression, searched anywhere in the value; docs/rules.md says which
    not_matches: str | None = None  # is found in none of the values
    at_least: float | None = None
    at_most: float | None = None
    absent: bool | None = None


_SCALAR_SCHEMA = {"type": ["string", "number"]}
_CONDITION_SCHEMA = {
    "anyOf": [
        _SCALAR_SCHEMA,
        {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1, "description": "one of these"},
        Condition.model_json_schema(),
    ]
}
_VOLUME_SCHEMA = {"type": "object", "additionalProperties": _CONDITION_SCHEMA}
_WHEN_SCHEMA = {
    "type": "object",
    "description": "DICOM keyword or fact of the series: the value, a list of values, or a condition",
    "required": ["Modality"],
    "properties": {"volume": _VOLUME_SCHEMA},
    "additionalProperties": _CONDITION_SCHEMA,
}

AnyPrompt = Annotated[
    Annotated[str, Field(min_length=1, max_length=1024), Tag("text")] | Annotated[PromptSettings, Tag("settings")],
    Discriminator(lambda value: "text" if isinstance(value, str | int | float) else "settings"),
]


class Resample(Strict):
    """Run the model at an isotropic spacing where the series is finer or coarser than the bounds; masks come back."""

    spacing_mm: float = Field(gt=0)
    finer_than_mm: float = Field(0, ge=0)
    coarser_than_mm: float | None = Field(None, gt=0)


Criterion = Literal["thinnest", "most slices", "longest", "finest pixels", "largest"]


class Choose(Strict):
    """How a rule of scope study chooses among the volumes of a study: those that meet `where`, then the best."""

    best: list[Criterion] = Field(["thinnest", "most slices"], min_length=1)  # the first decides, the next where equal
    where: Annotated[dict[str, Any], WithJsonSchema(_VOLUME_SCHEMA)] = {}  # facts of the volume, as under when: volume


Action = Literal["deliver", "hold", "drop"]


class OnWarning(Strict):
    """What happens to a result that the self-check speaks against, by the kind of finding. The severest counts."""

    laterality: Action = "hold"  # a segment called left lies on the right of the midline, or the other way
    pair: Action = "hold"  # left and right, or liver and spleen, look swapped
    incomplete: Action = "hold"  # slices are known to be missing from the series
    edge: Action = "deliver"  # a segment touches the edge of the volume
    empty: Action = "deliver"  # a prompt found nothing
    volume: Action = "deliver"  # a segment of implausible volume


class Rule(Strict):
    """Which prompts to run on which series, and where the results go."""

    name: str = Field(min_length=1, max_length=64)
    scope: Literal["series", "study"] = "series"  # study: on the one best volume of a study, once it is quiet
    when: Annotated[dict[str, Any], WithJsonSchema(_WHEN_SCHEMA)]  # keyword → value, list, or Condition; see rules/
    choose: Choose = Choose()
    prompts: list[AnyPrompt] = Field(min_length=1)
    experimental: bool = False  # true: it may have prompts that describe a finding, not anatomy ("liver lesion")
    resample: Resample | None = None
    max_minutes: float = Field(240, gt=0)  # the longest that the model may take for one volume, retries included
    # sr brings seg along
    outputs: list[Literal["seg", "labelmap", "fractional", "sr", "rtstruct", "secondary", "overlay"]] = Field(
        ["seg"], min_length=1
    )
    receipt: Literal["always", "on_problem", "never"] = "on_problem"  # a page that names what was searched, and why not
    receipt_as: Literal["secondary", "sr"] = "secondary"  # a page as an image, or a report of text; both say the same
    holes: Literal["keyhole", "xor", "inner"] = "keyhole"  # for peers that name none
    send_to: list[str] = []
    minimum_confidence: float = Field(0, ge=0, lt=1)  # a segment of lower mean probability is left out, and named
    empty: Literal["omit", "report", "hold"] = "omit"  # a prompt found nothing: leave it out, make a receipt, or hold
    on_warning: OnWarning = OnWarning()
    frames_of_reference: Literal["refuse", "accept"] = "refuse"  # several on one stack: as one; none: one made
    values: Literal["stored", "suv"] = "stored"  # what the model is given: rescaled values, or SUVbw in g/mL (PET only)
    max_gap: float = Field(1.5, ge=1.5, le=10)  # times the spacing: up to it, missing slices are bridged for the model

    @field_validator("choose")
    @classmethod
    def _study_chooses(cls, value: Choose, info: ValidationInfo) -> Choose:
        if info.data.get("scope") == "series":
            raise ValueError("only a rule with 'scope: study' chooses among the volumes of a study")
        return value


class Delivery(Strict):
    """How sending is repeated while a peer is away."""

    first_retry_s: float = Field(5, gt=0)
    longest_retry_s: float = Field(600, gt=0)
    give_up_after_h: float | None = Field(None, gt=0)  # default: never
    drain_s: float = Field(10, ge=0)  # when the node stops: how long deliveries and other steps may go on


class Config(Strict):
    """The whole of node.yaml."""

    version: Literal[1]
    node: NodeSettings = NodeSettings()
    receive: Receive = Receive()
    model: Model
    peers: dict[str, Peer] = {}
    rules: list[Rule] = []
    delivery: Delivery = Delivery()

    @model_validator(mode="after")
    def _certificates_of_callers(self) -> Config:
        tls = self.node.dimse.tls
        if tls is None or tls.client_certificates == "none":
            for name, peer in self.peers.items():
                if peer.certificate_subject:
                    raise ValueError(
                        f"peer '{name}' has a 'certificate_subject', which needs node.dimse.tls with "
                        "'client_certificates: require', or request"
                    )
        return self


def load_config(path: Path | str) -> Config:
    """Read node.yaml. Raises ConfigError naming file, line, word and the nearest right one, for all that is wrong.

    The conditions under ``when`` are left to `rules.load_config`, which knows DICOM's keywords; use that to run a node.
    """
    source = Source.read(Path(path))
    source.refuse(problems(source))
    return settings_of(source)


def settings_of(source: Source) -> Config:
    """Return the settings of a file without problems; relative paths are relative to the file."""
    return with_absolute_paths(Config.model_validate(source.data), Path(source.name).parent)


def problems(source: Source) -> list[Problem]:
    """All that is wrong with the file except what stands under ``when``."""
    found = [*source.misread_numbers(), *_reference_problems(source)]
    try:
        Config.model_validate(source.data)
    except ValidationError as error:
        found += [in_words(source, dict(detail), Config.model_json_schema()) for detail in error.errors()]
    return found


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of node.yaml, for editors; committed as config/node.schema.json."""
    schema = Config.model_json_schema()
    schema["title"] = "node.yaml of voxtell-dicom"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _reference_problems(source: Source) -> Iterator[Problem]:
    """Names that must exist once: peers in send_to, rule names, prompts. Works on the raw file, right or wrong."""
    peers = source.data.get("peers")
    peers = peers if isinstance(peers, dict) else {}
    rules = source.data.get("rules")
    first: dict[str, int] = {}
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        name = str(rule.get("name", index))
        line = source.line(["rules", index, "name"])
        if name in first:
            yield Problem(line, f"a rule named '{name}' stands on line {first[name]} already; give each its own name")
        first.setdefault(name, line)
        for position, peer in _items(rule.get("send_to")):
            line = source.line(["rules", index, "send_to", position])
            if not isinstance(peer, str):
                continue  # said by its type
            if peer not in peers:
                hint = nearest(str(peer), map(str, peers)) or f"; known: {', '.join(map(str, peers)) or 'none'}"
                yield Problem(line, f"rule '{name}' sends to '{peer}', which is not under peers{hint}")
            elif isinstance(peers[peer], dict) and not {"host", "dicomweb", "folder"} & set(peers[peer]):
                yield Problem(line, f"rule '{name}' sends to '{peer}', which cannot receive; give it 'host' and 'port'")
        texts: set[str] = set()
        for position, prompt in _items(rule.get("prompts")):
            text = str(prompt.get("text") if isinstance(prompt, dict) else prompt).strip().casefold()
            if text in texts:
                yield Problem(source.line(["rules", index, "prompts", position]), f"rule '{name}': '{text}' twice")
            texts.add(text)


def _items(value: Any) -> Iterator[tuple[int, Any]]:
    return iter(enumerate(value if isinstance(value, list) else []))
