"""Delays that survive a wall clock that is set back.

DBOS keeps a delayed workflow until the wall clock of the host has reached a point in time. Set back by an hour, the
clock would delay each delivery attempt and each look at a study by that hour.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from dbos import DBOS

_TOLERANCE_S = 1.0  # smaller steps do no harm

log = structlog.get_logger(__name__)


class DelayGuard:
    """Moves delayed workflows along with a wall clock that was set back.

    longest_s: no delay is longer than this; one that seems to be was set by a clock that ran ahead (the clock may have
    been set back while no node ran). wall, monotonic: clocks, in seconds.
    """

    def __init__(
        self,
        longest_s: float,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest_s = longest_s
        self._wall, self._monotonic = wall, monotonic
        self._offset = wall() - monotonic()
        self._first = True

    def check(self) -> list[str]:
        """Shift delayed workflows by the step that the wall clock made backwards. Returns the ids of those moved."""
        now = self._wall()
        offset = now - self._monotonic()
        step_s, self._offset = offset - self._offset, offset
        back_s = -step_s if step_s < -_TOLERANCE_S else 0.0
        if not (self._first or back_s):
            return []
        latest = now + self._longest_s
        moved = []
        for workflow in DBOS.list_workflows(status="DELAYED", load_input=False, load_output=False):
            until = (workflow.delay_until_epoch_ms or 0) / 1000
            due = min(until - back_s, latest)
            if due < until - _TOLERANCE_S:
                DBOS.set_workflow_delay(workflow.workflow_id, delay_until_epoch_ms=max(0, int(1000 * due)))
                moved.append(workflow.workflow_id)
        self._first = False
        if back_s:
            log.warning("the wall clock was set back: delays moved along", seconds=round(back_s), workflows=len(moved))
        return moved
