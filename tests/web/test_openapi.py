"""Every route, by its OpenAPI document: Schemathesis finds no server error, and the document says what is answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.system.node_process import NodeProcess


def test_schemathesis_finds_no_server_error(node: NodeProcess, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    url = f"http://127.0.0.1:{node.http_port}"
    checks = "not_a_server_error,use_after_free,unsupported_method"
    command = [program, "run", f"{url}/openapi.json", "--url", url, "--checks", checks, "--max-examples", "5"]
    options = [
        "--phases",
        "coverage,fuzzing",
        "--seed",
        "12",
        "--request-timeout",
        "30",
        "--no-color",
        "--workers",
        "2",
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path, timeout=250)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Traceback" not in node.log()
