"""What a rule may say about a series, as options of the commands that work without rules."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class References(StrEnum):
    """What becomes of several Frame of Reference UIDs on the slices of one stack."""

    refuse = "refuse"
    accept = "accept"


MaxGap = Annotated[
    float, typer.Option(min=1.5, max=10, help="Bridge missing slices: up to gaps of so many times the spacing.")
]
FramesOfReference = Annotated[
    References,
    typer.Option(help="accept: slices of one stack with several Frame of Reference UIDs are one."),
]
