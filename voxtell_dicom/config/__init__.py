"""node.yaml: schema, source with line numbers, messages."""

from voxtell_dicom.config.settings import (
    DEVICE,
    Bounds,
    Codes,
    CodeWords,
    Condition,
    Config,
    Criterion,
    Model,
    OnWarning,
    Peer,
    PromptSettings,
    Receive,
    Rule,
    json_schema,
    load_config,
    problems,
    settings_of,
)
from voxtell_dicom.config.source import Problem, Source

__all__ = [
    "DEVICE",
    "Bounds",
    "CodeWords",
    "Codes",
    "Condition",
    "Config",
    "Criterion",
    "Model",
    "OnWarning",
    "Peer",
    "Problem",
    "PromptSettings",
    "Receive",
    "Rule",
    "Source",
    "json_schema",
    "load_config",
    "problems",
    "settings_of",
]
