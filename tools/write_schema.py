"""Write config/node.schema.json from the models of voxtell_dicom/config.py."""

from __future__ import annotations

import json
from pathlib import Path

from voxtell_dicom.config import json_schema

TARGET = Path(__file__).parents[1] / "config/node.schema.json"

if __name__ == "__main__":
    TARGET.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
