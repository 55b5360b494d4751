"""node.yaml: what is wrong is named by file, line, word and nearest right word; what is right is read."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import jsonschema
import pytest
import yaml

from voxtell_dicom.config import json_schema, load_config
from voxtell_dicom.config.paths import refuse_storage_of_0_1
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.rules import load_config as load_checked

ROOT = Path(__file__).parents[1]
SHIPPED = [ROOT / "config/node.yaml", *sorted((ROOT / "config/examples").glob("*.yaml"))]

GOOD = """\
version: 1
node:
  ae_title: VOXTELL
model: {engine: threshold}
peers:
  pacs: {ae_title: PACS, host: 127.0.0.1, port: 104}
  scanner: {ae_title: CT1}
rules:
  - name: first
    when: {Modality: CT}
    prompts: [liver, "> 300"]
    send_to: [pacs]
"""


def complaints(tmp_path: Path, text: str) -> list[str]:
    """The lines of the ConfigError that the text gives, without the folder."""
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(f"{tmp_path}/") for line in lines]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_are_right(path: Path) -> None:
    config = load_checked(path)
    assert config.rules
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema())


def test_there_are_examples() -> None:
    assert len(SHIPPED) >= 4


def test_committed_schema_is_current() -> None:
    committed = json.loads((ROOT / "config/node.schema.json").read_text())
    assert committed == json_schema(), "run: .venv/bin/python tools/write_schema.py"


def test_schema_refuses_what_the_program_refuses() -> None:
    for wrong in (
        {"version": 1, "model": {"engine": "fantom"}},
        {"version": 1, "model": {"engine": "phantom"}, "rules": [{"name": "a", "when": {}, "prompts": ["x"]}]},
        {"version": 1, "model": {"engine": "phantom"}, "nod": {}},
        {"version": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json_schema())


def test_defaults(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD)
    config = load_config(path)
    assert config.node.storage == tmp_path / "data"  # relative to node.yaml
    assert config.receive.quiet_s == 30
    assert config.receive.incomplete_s == 600
    assert config.receive.max_associations == 50
    assert not config.receive.accept_unknown
    assert config.rules[0].outputs == ["seg"]
    assert config.delivery.give_up_after_h is None
    assert not config.peers["scanner"].can_receive


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ae_title: VOXTELL", "ae_titel: VOXTELL", ":3: unknown key 'ae_titel' in node; did you mean 'ae_title'?"),
        ("port: 104}", "prot: 104}", "unknown key 'prot' in peers.pacs; did you mean 'port'?"),
        ("prompts:", "promts:", "node.yaml:11: unknown key 'promts' in rules[0]; did you mean 'prompts'?"),
        ("threshold}", "treshold}", "'treshold' is not one of phantom, threshold; did you mean 'threshold'?"),
        ("[pacs]", "[pasc]", "12: rule 'first' sends to 'pasc', which is not under peers; did you mean 'pacs'?"),
        ("[pacs]", "[scanner]", "'scanner', which cannot receive; give it 'host' and 'port'"),
        ("[pacs]", "[pacs]\n    outputs: [sge]", "13: rules[0].outputs[0]: 'sge' is not one of seg, labelmap, "),
        ("[liver,", "[liver, Liver,", "node.yaml:11: rule 'first': 'liver' twice"),
        ("[liver,", "[{text: a, colour: red},", "unknown key 'colour' in rules[0].prompts[0]; did you mean 'color'?"),
        ("[liver,", "[{text: a, color: red},", "11: rules[0].prompts[0].color: 'red' is not a colour like"),
        ("VOXTELL", "VOXTELL_AND_MORE_", ":3: node.ae_title: 'VOXTELL_AND_MORE_': string should have at most 16"),
        ("VOXTELL", '"  "', ":3: node.ae_title: '  ' is not an AE title"),
        ("{ae_title: CT1}", "{dicomweb: pacs/web}", "peers.scanner.dicomweb: 'pacs/web' is not the root of a"),
        ("{ae_title: CT1}", "{dicomweb: 'http://a:b@pacs/web'}", "the value is not the root of a"),
        ("{ae_title: CT1}", "{ae_title: CT1, username_env: X}", "'username_env' and 'password_env' go together"),
        ("{ae_title: CT1}", "{host: a, port: 1, dicomweb: 'http://a'}", "'host' and 'port' need the peer's 'ae_title'"),
        ("{ae_title: CT1}", "{ae_title: CT1, host: a}", "'host' and 'port' go together"),
        ("104", "70000", "node.yaml:6: peers.pacs.port: '70000': input should be less than or equal to 65535"),
        ("threshold}", "threshold, devices: [cpu, gpu]}", ":4: model.devices[1]: 'gpu' is not a device: auto, cpu,"),
        ("threshold}", "threshold, devices: []}", ":4: model.devices: list should have at least 1 item"),
        ("{engine: threshold}", "{}", "node.yaml:4: model: give either 'directory'"),
        ("model: {engine: threshold}\n", "", "node.yaml:1: 'model' is required"),
        ("version: 1", "version: 2", "node.yaml:1: version: '2' is not one of 1"),
        ("name: first", "name: ''", "node.yaml:9: rules[0].name"),
        ("  scanner", "  pacs", "node.yaml:7: 'pacs' stands here and on line 6; keep one of them"),
        ("[pacs]", "[pacs", "not valid YAML"),
        (GOOD, "", "node.yaml:1: expected 'key: value' lines"),
        (GOOD, "- 1\n", "node.yaml:1: expected 'key: value' lines"),
        (GOOD, "a: &x [*x]\nversion: 1\nmodel: {engine: phantom}\n", "unknown key 'a'"),
        ("version: 1", "version: 2026-99-99", "not valid YAML"),
        ("{ae_title: CT1}", "{folder: 'C:\\results\\seg'}", "is a path of Windows: mount the share on this machine"),
        ("{ae_title: CT1}", "{folder: 'C:/results'}", "is a path of Windows"),
        ("{ae_title: CT1}", "{folder: 'c:results'}", "is a path of Windows"),
        ("{ae_title: CT1}", "{folder: //server/share}", "is a path of Windows"),
        ("{ae_title: CT1}", "{folder: 'file://server/share'}", "is a URL, not a folder"),
        ("{ae_title: CT1}", "{folder: 'file://localhost/srv'}", "is a URL: write /srv"),
        ("104", "1:44", "node.yaml:6: YAML reads 1:44 in base 60; write the number itself"),
        ("104", "yes", "node.yaml:6: peers.pacs.port: YAML reads this as a truth value; write a number"),
        ("{ae_title: CT1}", "{folder: '\\\\server\\share\\seg'}", "is a path of Windows"),
        ("{ae_title: CT1}", "{folder: 'results\\seg'}", "has a backslash: write results/seg"),
        ("{ae_title: CT1}", "{folder: 'smb://server/share'}", "is a URL, not a folder"),
        ("{ae_title: CT1}", "{folder: 'file:///srv/out'}", "is a URL: write /srv/out"),
        ("{ae_title: CT1}", "{folder: $HOME/out}", "environment variables are not expanded here"),
        ("{ae_title: CT1}", "{folder: '%TEMP%/out'}", "environment variables are not expanded here"),
        ("{ae_title: CT1}", "{folder: '~nobody-of-that-name/out'}", "there is no user of that name"),
        ("{ae_title: CT1}", "{folder: ''}", "is empty; give the path"),
        ("{engine: threshold}", "{directory: 'D:\\voxtell'}",
         ":4: model.directory: 'D:\\voxtell' is a path of Windows"),
        ("ae_title: VOXTELL", "storage: 'smb://a/b'", ":3: node.storage: 'smb://a/b' is a URL, not a folder"),
        ("104", "0104", ":6: YAML reads 0104 as 68 (octal); write 104,"),
        ("104", "0189", ":6: 0189 is no number; write 189,"),
        ("ae_title: VOXTELL", "ae_title: NO",
         ':3: node.ae_title: YAML reads NO as a truth value; put it in quotes: "NO"'),
        ("ae_title: VOXTELL", "ae_title: 0123",
         ":3: YAML reads 0123 as 83 (octal); write 123, or \"0123\" if it is text"),
        ("ae_title: VOXTELL", "ae_title: 123", 'YAML reads 123 as the number 123; put it in quotes: "123"'),
        ("ae_title: VOXTELL", "ae_title: X\nreceive: {quiet_s: .inf}",
         "receive.quiet_s: 'inf': input should be a finite number"),
    ],
)  # fmt: skip
def test_complaint(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    found = complaints(tmp_path, GOOD.replace(old, new))
    assert any(said in line for line in found), found


def test_paths_of_the_home_folder_and_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "node.yaml"
    path.write_text(GOOD.replace("scanner: {ae_title: CT1}", "scanner: {folder: ~/out}\n  beside: {folder: ./out}"))
    config = load_config(path)
    assert config.peers["scanner"].folder == tmp_path / "home/out"
    assert config.peers["beside"].folder == tmp_path / "out"


def test_storage_of_version_0_1_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 0.1 took a relative storage from the working folder."""
    (tmp_path / "config").mkdir()
    path = tmp_path / "config/node.yaml"
    path.write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    refuse_storage_of_0_1(path)
    (tmp_path / "data/spool").mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"now means {tmp_path}/config/data .* used {tmp_path}/data"):
        refuse_storage_of_0_1(path)
    (tmp_path / "config/data").mkdir()
    refuse_storage_of_0_1(path)


def test_all_problems_at_once_in_order_of_lines(tmp_path: Path) -> None:
    text = GOOD.replace("ae_title: VOXTELL", "ae_titel: X").replace("threshold", "fantom").replace("[pacs]", "[nobody]")
    lines = [int(line.split(":")[1]) for line in complaints(tmp_path, text)]
    assert lines == [3, 4, 12]


def test_conditions_and_the_rest_in_one_report(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(GOOD.replace("ae_title: VOXTELL", "ae_titel: X").replace("Modality: CT", "Modality: CT, Slices: 3"))
    with pytest.raises(ConfigError) as caught:
        load_checked(path)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["3", "10"]


def test_same_rule_name_twice(tmp_path: Path) -> None:
    text = GOOD + "  - {name: first, when: {Modality: MR}, prompts: [x]}\n"
    assert complaints(tmp_path, text) == [
        "node.yaml:13: a rule named 'first' stands on line 9 already; give each its own name"
    ]


def test_colour_without_quotes_is_not_lost(tmp_path: Path) -> None:
    text = GOOD.replace('[liver, "> 300"]', "\n      - text: liver\n        color: #ff0000")
    assert any("write it in quotes" in line for line in complaints(tmp_path, text))


def test_missing_file_and_binary_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"version: 1\n\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(tmp_path / "binary.yaml")


def test_spoilt_files_never_give_anything_but_a_complaint(tmp_path: Path) -> None:
    """Random damage: the file is still right, or is refused as a ConfigError that names a line; never a traceback."""
    random = Random(7)
    pieces = [
        "[",
        "}",
        ":",
        "- ",
        "~",
        "-1",
        ".nan",
        '"',
        "\n  ",
        "&a ",
        "*a",
        "<<: ",
        "!!python/name:os",
        "0x1F",
        "\x00",
    ]
    text = (ROOT / "config/examples/orthanc-autorouting.yaml").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    path = tmp_path / "node.yaml"
    refused: list[str] = []
    for _ in range(150):
        place = random.randrange(len(text))
        path.write_text(text[:place] + random.choice(pieces) + text[place + random.choice((0, 1, 5)) :])
        try:
            load_checked(path)
        except ConfigError as error:
            refused.append(str(error))
    assert 20 < len(refused) < 150
    assert all(line.startswith(f"{path}:") for text in refused for line in text.splitlines())
