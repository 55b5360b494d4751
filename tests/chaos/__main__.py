"""python -m tests.chaos --rounds 60 --seed 1 [--postgresql]: see run.py."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.postgresql import PostgreSql
from tests.chaos.run import RULE, Chaos
from tests.system.node_process import NodeProcess
from tests.system.peers.orthanc import Orthanc


def main() -> None:
    """Run the rounds, say what happens, and end with an error where something was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--storm", type=int, default=0, metavar="KILLS", help="then ten series, and so many in 75 s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true", help="run the node on PostgreSQL, and kill that, too")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it, for a look at what went wrong")
    arguments = parser.parse_args()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(PostgreSql()) if arguments.postgresql else None
        pacs = stack.enter_context(Orthanc(folder / "orthanc"))
        peers = {"pacs": pacs.dimse_settings}
        url = database.url if database else None
        node = stack.enter_context(
            NodeProcess(folder / "node", peers=peers, rules=[RULE], database=url, receive={"incomplete_s": 30})
        )
        chaos = Chaos(folder, node, pacs, random.Random(arguments.seed), database, say)
        for number in range(1, arguments.rounds + 1):
            chaos.round(number)
        if arguments.storm:
            chaos.send(10)
            chaos.storm(arguments.storm, 75)
        say(f"{len(chaos.accepted)} series accepted; kills: {dict(chaos.kills)}")
        try:
            chaos.check(timeout_s=600)
        except BaseException:
            for job in chaos.jobs():
                say(f"{job['id']} {job['state']} {job['reason']}")
            raise
        say("each is exactly one object at the PACS, and no job failed")


if __name__ == "__main__":
    main()
