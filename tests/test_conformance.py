"""docs/dicom-conformance.md says what the code does: its tables are made here, from the code and from real objects.

After a change that alters a table: `.venv/bin/python -m tests.test_conformance` writes them anew; read the difference.
"""

from __future__ import annotations

import re
import ssl
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE

from tests.encode import made
from voxtell_dicom.archive.archive import Archive
from voxtell_dicom.archive.database import open_database
from voxtell_dicom.config import Config, Peer, Rule
from voxtell_dicom.config.settings import Http
from voxtell_dicom.config.tls_settings import PeerTls, TlsProfile
from voxtell_dicom.deliver.commitment import AT_ONCE_S
from voxtell_dicom.deliver.outcomes import meaning, of_store_status
from voxtell_dicom.dicom.sop_classes import starts_work
from voxtell_dicom.encode import RECEIPTS, encode, in_other_form, output_context
from voxtell_dicom.jobs.book import JobBook
from voxtell_dicom.network import commitment
from voxtell_dicom.network.associations import introduce
from voxtell_dicom.network.tls import client_context
from voxtell_dicom.receive import commitment as receive_commitment
from voxtell_dicom.receive import dimse
from voxtell_dicom.receive.completion import Completion
from voxtell_dicom.receive.intake import OUT_OF_RESOURCES, PROCESSING_FAILURE, STATUS
from voxtell_dicom.terms.terminology import PRIVATE_SCHEME, PRIVATE_SCHEME_UID
from voxtell_dicom.web.app import create_api
from voxtell_dicom.web.services import Services
from voxtell_dicom.web.store_report import SYNTAX_NOT_SUPPORTED

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/dicom-conformance.md"
OUTPUTS = get_args(get_args(Rule.model_fields["outputs"].annotation)[0])
KINDS = (*OUTPUTS, *RECEIPTS)
RULE = {"name": "abdomen", "when": {"Modality": "CT"}, "prompts": ["liver"], "receipt": "always"}
CONFIG = Config.model_validate({"version": 1, "model": {"engine": "phantom"}, "rules": [RULE]})
FULL = {
    "IssuerOfPatientID": "Hospital",
    "PatientAge": "056Y",
    "PatientSize": "1.7",
    "PatientWeight": "70",
    "StudyDescription": "Abdomen",
    "BodyPartExamined": "ABDOMEN",
    "TimezoneOffsetFromUTC": "+0100",
    "ReferringPhysicianName": "Roe^R",
    "PositionReferenceIndicator": "XY",
    "LossyImageCompression": "01",
    "LossyImageCompressionRatio": "10",
    "LossyImageCompressionMethod": "ISO_15444_1",
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Ä",
}
NAMES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}  # newer than pydicom's dictionary
LACKING = ("PatientBirthDate", "PatientSex", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName")


def created(folder: Path) -> dict[str, tuple[Dataset, Dataset]]:
    """Kind → the object made of a source that says much, and of one that says little."""
    sparse = {**dict.fromkeys(LACKING), "Manufacturer": None, "PositionReferenceIndicator": None}
    objects: dict[tuple[str, str], Dataset] = {}
    for name, attributes in (("full", FULL), ("sparse", sparse)):
        volume = made.volume(folder / name, **attributes)
        plan = made.plan(["liver", "something odd"], outputs=OUTPUTS)
        found = made.found(plan, made.masks(volume.grid.shape, 2))
        results = encode(output_context(plan, volume, found, config=CONFIG, directory=folder / f"{name}-out"), CONFIG)
        for result in [*results, *(other for result in results if (other := in_other_form(result)))]:
            objects.setdefault((result.kind, name), pydicom.dcmread(result.path))  # of several the first
    kinds = dict.fromkeys(kind for kind, _ in objects)
    assert set(kinds) == set(KINDS), "every output, and each form of the receipt, makes an object here"
    return {kind: (objects[kind, "full"], objects[kind, "sparse"]) for kind in kinds}


def tables(folder: Path) -> dict[str, str]:
    """Name → markdown of every generated table."""
    objects = created(folder)
    ours = _scp(folder)
    sender = AE("X")
    introduce(sender)
    classes = {kind: full.SOPClassUID for kind, (full, _) in objects.items()}
    defaults = CONFIG.receive
    return {
        "created": _table(
            ("output", "SOP class", "UID", "Modality", "transfer syntax"),
            [
                (
                    f"`{kind}`",
                    NAMES.get(uid, uid.name),
                    uid,
                    objects[kind][0].Modality,
                    objects[kind][0].file_meta.TransferSyntaxUID.name,
                )
                for kind, uid in classes.items()
            ],
        ),
        "syntaxes": _table(("transfer syntax", "UID"), [(UID(uid).name, uid) for uid in dimse.TRANSFER_SYNTAXES]),
        "classes": _table(
            ("SOP class", "UID", "starts work"),
            [(UID(uid).name, uid, _starts(uid)) for uid in sorted(dimse._CLASSES, key=_numerically)],
        ),
        "identification": _table(
            ("where", "Implementation Class UID", "Implementation Version Name"),
            [
                ("Storage SCP", ours.implementation_class_uid, _version(ours)),
                ("SCU associations", sender.implementation_class_uid, _version(sender)),
                ("files of results", *_written(objects["seg"][0])),
            ],
        ),
        "policies": _table(
            ("what", "value"),
            [
                ("largest PDU received", f"{ours.maximum_pdu_size} bytes"),
                ("simultaneous associations as acceptor", f"`receive.max_associations`, {ours.maximum_associations}"),
                ("an association without traffic is taken for lost after", f"{ours.network_timeout:g} s"),
                ("a request is whole after (`receive.bounds.request_s`)", f"{defaults.bounds.request_s:g} s"),
                ("every other PDU is whole after (`receive.bounds.pdu_s`)", f"{defaults.bounds.pdu_s:g} s"),
                (
                    "connections of one address at once (`receive.bounds.connections_per_address`)",
                    defaults.bounds.connections_per_address,
                ),
                (
                    "storage classes beside those of 8.6, from peers (`receive.any_class_from_peers`)",
                    "yes" if defaults.any_class_from_peers else "no",
                ),
                ("asynchronous operations", "none: one outstanding operation"),
                ("the called AE title must be ours", "yes" if ours.require_called_aet else "no"),
                ("unknown callers accepted (`receive.accept_unknown`)", "yes" if defaults.accept_unknown else "no"),
            ],
        ),
        "tls": _table(
            ("profile", "TLS", "suites of TLS 1.2"),
            [(f"`{profile}`", *_offered(profile)) for profile in get_args(TlsProfile)],
        ),
        "commitment": _table(
            ("what", "as SCU", "as SCP"),
            [
                ("SOP class", commitment.PUSH_MODEL, commitment.PUSH_MODEL),
                ("requested by", "`commit: true` of the peer", "`receive.commitment: true`"),
                (
                    "N-ACTION",
                    f"action type {commitment.REQUEST}; one transaction for the objects of a series, no file-set",
                    f"0000; {_STATUS['no instances']:04X} without transaction or instances; "
                    f"{_STATUS['no such action']:04X} for another action; "
                    f"{_STATUS['too many']:04X} with too many waiting",
                ),
                (
                    "N-EVENT-REPORT",
                    f"on the same association for {AT_ONCE_S:g} s, later on one of the peer, which has the SCP role; "
                    f"0000, or {commitment.INVALID_ARGUMENT:04X} for a transaction that is none of ours",
                    f"event type {commitment.ALL_COMMITTED} or {commitment.SOME_FAILED}, on the same association, "
                    "or on a new one with the SCP role for ourselves",
                ),
                (
                    "Failure Reason",
                    "0119, 0122: failed; others: sent and requested again",
                    f"{commitment.NO_SUCH_INSTANCE:04X}, {commitment.CLASS_CONFLICT:04X}",
                ),
                (
                    "how long",
                    f"requested again without a report for `commit_timeout_s`, {COMMITTING.commit_timeout_s:g} s",
                    "instances are held as `receive.retention` says, then dropped",
                ),
            ],
        ),
        "received": _table(
            ("status", "when"),
            [
                ("0000", "the instance lies on disk, or was there already"),
                (
                    f"{dimse.OUT_OF_RESOURCES:04X}",
                    "the spool is full or cannot be written: the sender should try again",
                ),
                (f"{dimse.PROCESSING_FAILURE:04X}", "an error of the receiver"),
                *((f"{status:04X}", f"refused: `{code}`") for code, status in STATUS.items()),
            ],
        ),
        "sent": _table(
            ("answer of the peer", "meaning", "then"),
            [(f"{status:04X}", meaning(status), _then(status)) for status in ANSWERS],
        ),
        "configuration": _table(
            ("key of node.yaml", "default"),
            [
                ("`node.ae_title`", CONFIG.node.ae_title),
                ("`node.dimse.host`, `port`", f"{CONFIG.node.dimse.host}, {CONFIG.node.dimse.port}"),
                (
                    "`node.http.host`, `port`",
                    f"without `node.http` nothing listens; with it {Http().host}, {Http().port}",
                ),
                ("`receive.quiet_s`", f"{defaults.quiet_s:g} s without news: the series is complete"),
                ("`receive.incomplete_s`", f"{defaults.incomplete_s:g} s, after a lost link or with slices missing"),
                ("`receive.max_associations`", defaults.max_associations),
                ("`receive.accept_unknown`", str(defaults.accept_unknown).lower()),
                ("`receive.drain_s`", f"{defaults.drain_s:g} s for open associations when the node stops"),
                ("`delivery.first_retry_s`, `longest_retry_s`", _retries()),
                ("`delivery.drain_s`", f"{CONFIG.delivery.drain_s:g} s for deliveries when the node stops"),
                ("`node.series_number_base`", CONFIG.node.series_number_base),
            ],
        ),
        "dicomweb": _table(
            ("service", "method", "resource"),
            [
                (operation["tags"][0], method.upper(), path.removeprefix("/dicomweb"))
                for path, methods in _web_routes(folder).items()
                for method, operation in methods.items()
                if path.startswith("/dicomweb")
            ],
        ),
        "store_failures": _table(
            ("reason", "when"),
            [
                (f"{OUT_OF_RESOURCES:04X}", "the spool is full or cannot be written: the sender should try again"),
                (f"{PROCESSING_FAILURE:04X}", "an error of the receiver"),
                (f"{SYNTAX_NOT_SUPPORTED:04X}", "the transfer syntax is not one of 4.2.1"),
                *((f"{status:04X}", f"refused: `{code}`") for code, status in STATUS.items()),
            ],
        ),
        "attributes": _attributes(objects),
        "coding": _table(
            ("designator", "UID"),
            [(PRIVATE_SCHEME, PRIVATE_SCHEME_UID)],
        ),
    }


def _offered(profile: TlsProfile) -> tuple[str, str]:
    """Versions and TLS 1.2 suites of a profile, as OpenSSL has them."""
    context = client_context(PeerTls(profile=profile))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    return "1.2, 1.3", ", ".join(each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3")


_STATUS = {
    "no instances": receive_commitment._INVALID_ARGUMENT,
    "no such action": receive_commitment._NO_SUCH_ACTION,
    "too many": receive_commitment._RESOURCE_LIMITATION,
}
COMMITTING = Peer(ae_title="PACS", host="pacs", port=104, commit=True)
ANSWERS = (
    0x0000,
    0x0001,
    0x0107,
    0x0110,
    0x0111,
    0x0116,
    0x0122,
    0x0124,
    0xA700,
    0xA900,
    0xB000,
    0xB006,
    0xB007,
    0xC000,
)


def _then(status: int) -> str:
    if status == 0x0111:
        return "C-FIND at the peer: delivered where the object is there, else failed"
    state, warning = of_store_status(status)
    return {"retry": "sent again, later", "failed": "failed; `jobs retry`"}.get(state, state) + (
        ", with the warning" if warning else ""
    )


def _starts(uid: str) -> str:
    if uid == dimse.Verification:
        return "-"
    return "only where a rule names the class" if not starts_work(uid) else "yes"


def _retries() -> str:
    delivery = CONFIG.delivery
    return f"{delivery.first_retry_s:g} s, growing to {delivery.longest_retry_s:g} s"


def _scp(folder: Path) -> AE:
    """The application entity as the node sets it up; its port stays closed."""
    node = CONFIG.node.model_copy(update={"storage": folder, "database": f"sqlite:///{folder}/node.sqlite"})
    archive = Archive(folder / "spool", open_database(CONFIG.model_copy(update={"node": node})), CONFIG.receive)
    completion = Completion(archive, CONFIG.receive, {}, lambda _connection, _series: None)
    entity: AE = dimse.StorageScp(CONFIG, archive, completion)._ae
    return entity


def _web_routes(folder: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return the paths of the OpenAPI document of the web face; its port stays closed."""
    engine = open_database(
        CONFIG.model_copy(update={"node": CONFIG.node.model_copy(update={"storage": folder / "web"})})
    )
    archive = Archive(folder / "web/spool", engine, CONFIG.receive)
    completion = Completion(archive, CONFIG.receive, {}, lambda _connection, _series: None)
    paths = create_api(Services(CONFIG, engine, archive, completion, JobBook(engine))).openapi()["paths"]
    return dict(sorted(paths.items()))


def _written(ds: Dataset) -> tuple[str, str]:
    return str(ds.file_meta.ImplementationClassUID), str(ds.file_meta.ImplementationVersionName)


def _version(entity: AE) -> str:
    return str(entity.implementation_version_name)


def _numerically(uid: str) -> list[int]:
    return [int(part) for part in uid.split(".")]


def _attributes(objects: dict[str, tuple[Dataset, Dataset]]) -> str:
    """The first level of the data sets: which object has which attribute, with a value or without, and where from."""
    tags = sorted({element.tag for full, _ in objects.values() for element in full})
    rows = []
    for tag in tags:
        cells = [_presence(full, sparse, tag) for full, sparse in objects.values()]
        example = next(full for full, _ in objects.values() if tag in full)[tag]
        name = f"{example.name} ({tag.group:04X},{tag.element:04X})"
        rows.append((name, example.VR, "copied" if example.keyword in COPIED else "made", *cells))
    return _table(("attribute", "VR", "value", *(f"`{kind}`" for kind in objects)), rows)


COPIED = frozenset(FULL) - {"SpecificCharacterSet"} | {
    *LACKING,
    *("PatientID", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID", "PatientPosition"),
}


def _presence(full: Dataset, sparse: Dataset, tag: pydicom.tag.BaseTag) -> str:
    """PS3.2's words: ALWAYS, VNAP (the value may be empty), ANAP (the attribute may be absent), EMPTY."""
    if tag not in full:
        return ""
    if full[tag].is_empty:
        return "EMPTY"
    if tag not in sparse:
        return "ANAP"
    return "VNAP" if sparse[tag].is_empty else "ALWAYS"


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(map(str, head)), *(list(map(str, row)) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


BLOCK = re.compile(r"<!-- made: (\w+) -->\n(.*?)\n<!-- end -->", flags=re.DOTALL)


def rewritten(page: str, made_tables: dict[str, str]) -> str:
    return BLOCK.sub(lambda found: f"<!-- made: {found[1]} -->\n{made_tables[found[1]]}\n<!-- end -->", page)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return tables(tmp_path_factory.mktemp("conformance"))


def test_every_table_is_that_of_the_code(real: dict[str, str]) -> None:
    stated = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    assert set(stated) == set(real)
    for name, table in real.items():
        assert stated[name].splitlines() == table.splitlines(), f"{name}: run python -m tests.test_conformance"


def test_the_chapters_are_those_of_the_standard() -> None:
    """PS3.2 Annex A: the chapters of a conformance statement, in order."""
    headings = re.findall(r"^## (\d) (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings == [
        ("1", "Conformance statement overview"),
        ("2", "Contents"),
        ("3", "Introduction"),
        ("4", "Networking"),
        ("5", "Media interchange"),
        ("6", "Support of character sets"),
        ("7", "Security"),
        ("8", "Annexes"),
    ]


def test_what_it_says_is_missing_is_missing() -> None:
    """Each of these sentences must go when the feature comes."""
    page = PAGE.read_text(encoding="utf-8")
    code = {path: path.read_text(encoding="utf-8") for path in (ROOT / "voxtell_dicom").rglob("*.py")}

    def used(word: str) -> bool:
        return any(word in text for text in code.values())

    absent = {
        "Storage Commitment is not supported": used("send_n_action") or used("EVT_N_ACTION"),
        "no DICOMweb server": (ROOT / "voxtell_dicom/web").is_dir(),
        "C-MOVE is not used": used("send_c_move"),
        "DIMSE over TLS is not supported": used("wrap_socket"),
        "No DICOMDIR is read or written": used("pydicom.fileset"),
        "No audit trail is sent": used("AuditMessage"),
    }
    for sentence, there in absent.items():
        assert (sentence in page) != there, sentence


def main() -> None:
    """Write the tables of the page anew."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), tables(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
