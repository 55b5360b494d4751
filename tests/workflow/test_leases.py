"""Who is dead by a lease that stands still: no wall clock takes part. Clock and owners are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from voxtell_dicom.workflow import recovery
from voxtell_dicom.workflow.recovery import Leases, lease_table

TTL_S = 30


@dataclass
class Pending:
    """A pending workflow, as the durable engine lists it."""

    executor_id: str


class Site:
    """Two nodes on one database: `mine` watches, `other` owns pending work. `now`: the monotonic clock of `mine`."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine, self.now = engine, 0.0
        self.mine = Leases(engine, "mine", ttl_s=TTL_S, monotonic=lambda: self.now)
        self.other = Leases(engine, "other", ttl_s=TTL_S)
        self.other.renew()
        self.mine.dead_executors()

    def after(self, seconds: float, *, alive: bool) -> list[str]:
        """Let time pass in steps of five seconds. Returns who is dead at its end."""
        dead: list[str] = []
        for _ in range(int(seconds / 5)):
            self.now += 5
            if alive:
                self.other.renew()
            dead = self.mine.dead_executors()
        return dead


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(recovery.DBOS, "list_workflows", lambda **_: [Pending("other"), Pending("mine")])
    return Site(sa.create_engine(f"sqlite:///{tmp_path}/node.sqlite"))


def test_a_lease_that_stands_still_for_a_lifetime_is_dead(site: Site) -> None:
    assert site.after(300, alive=True) == []
    assert site.after(TTL_S, alive=False) == []
    assert site.after(5, alive=False) == ["other"]
    assert site.after(5, alive=True) == []


def test_an_owner_without_a_lease_is_dead_after_a_lifetime(site: Site) -> None:
    with site.engine.begin() as connection:
        connection.execute(sa.delete(lease_table))
    assert site.after(TTL_S, alive=False) == []
    assert site.after(10, alive=False) == ["other"]


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_wall_clock_of_the_database_decides_nothing(site: Site, hours: int) -> None:
    """Set back an hour, it delayed the takeover by an hour; put forward, everybody was dead at once."""
    with site.engine.begin() as connection:  # what `other` wrote before the clock was set
        connection.execute(sa.update(lease_table).values(expires=lease_table.c.expires - 3600 * hours))
    assert site.after(60, alive=True) == []
    with site.engine.begin() as connection:
        connection.execute(sa.update(lease_table).values(expires=lease_table.c.expires - 3600 * hours))
    assert site.after(TTL_S, alive=False) == []
    assert site.after(10, alive=False) == ["other"]


def test_a_node_that_stood_still_itself_takes_nobody_for_dead(site: Site) -> None:
    site.now += 3600  # a paused virtual machine
    assert site.mine.dead_executors() == []
    assert site.after(60, alive=True) == []
