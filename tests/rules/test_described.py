"""Prompts that describe a finding: known by their words, and only run where a rule says that it is an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.phantom_prompts import ABSENT
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.phantom.prompts import SYNONYMS
from voxtell_dicom.rules import load_config
from voxtell_dicom.terms.findings import finding_word
from voxtell_dicom.terms.terminology import ABNORMAL, STRUCTURE, TISSUE, _table

FILE = """\
version: 1
model: {engine: phantom}
rules:
  - name: chest
    when: {Modality: CT}
    prompts:
      - liver
      - {text: Pulmonary Nodules, label: Nodules}
"""


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("hypodense liver lesion", "lesion"),
        ("Liver tumours", "tumours"),
        ("brain metastases", "metastases"),
        ("pulmonary emboli", "emboli"),
        ("left pleural effusion", "effusion"),
        ("ground-glass opacities", "opacities"),
        ("subdural haemorrhage", "haemorrhage"),
        ("liver", ""),
        ("cystic duct", ""),
        ("lymph nodes of the neck", ""),
        ("gallbladder", ""),
        # labels of data sets
        ("liver_tumor", "tumor"),
        ("Kidney_Cyst_Left", "Cyst"),
        ("lung_nodules", "nodules"),
        # by their endings, and what ends so but is none
        ("hepatocellular carcinoma", "carcinoma"),
        ("hepatic hemangiomas", "hemangiomas"),
        ("appendicitis", "appendicitis"),
        ("hydronephrosis of the left kidney", "hydronephrosis"),
        ("splenomegaly", "splenomegaly"),
        *(
            (anatomy, "")
            for anatomy in ("zygoma", "prostatic stroma", "anastomosis", "aponeurosis", "clitoris", "pelvis")
        ),
        # a mass, and how much there is of something
        ("left renal mass", "mass"),
        ("pelvic masses", "masses"),
        *((amount, "") for amount in ("muscle mass", "left ventricular mass", "lean body mass", "myocardial mass")),
        ("kidney stones", "kidney stones"),
        ("clot in the pulmonary artery", "clot"),
        ("enlarged lymph nodes", "enlarged"),
        ("dilated bile ducts", "dilated"),
        ("HCC in segment 4", "HCC"),
        ("appendicolith", "appendicolith"),
        ("tear duct", ""),
    ],
)
def test_the_word(prompt: str, word: str) -> None:
    assert finding_word(prompt) == word


def test_of_the_phantom_only_the_lesion_and_what_it_lacks_are_findings() -> None:
    anatomy = [text for concept, others in SYNONYMS.items() if concept != "liver lesion" for text in (concept, *others)]
    assert [text for text in anatomy if finding_word(text)] == []
    assert all(map(finding_word, ("liver lesion", *SYNONYMS["liver lesion"])))
    assert [text for text in ABSENT if finding_word(text)] == ["kidney tumour", "lung nodule", "pleural effusion"]


def test_what_is_coded_as_a_finding_is_described_as_one() -> None:
    """The words of `rules` and those of `encode`, which do not know one another."""
    for term in _table().values():
        word = finding_word(term.type.meaning)
        if term.category == ABNORMAL:
            assert word, term.type
        elif term.category in (STRUCTURE, TISSUE):
            assert not word or "fistula" in term.type.meaning, term.type  # a congenital one is a structure to DICOM


@pytest.mark.parametrize("said", ["", "    experimental: false\n"])
def test_a_rule_must_say_that_it_is_an_experiment(tmp_path: Path, said: str) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(FILE + said)
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{path}:8: rule 'chest': 'Pulmonary Nodules' describes a finding (Nodules), not anatomy")
    assert "experimental: true" in line


def test_then_it_runs_and_the_threshold_engine_never_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(FILE + "    experimental: true\n")
    assert load_config(path).rules[0].experimental
    path.write_text(FILE.replace("phantom", "threshold"))
    assert not load_config(path).rules[0].experimental
