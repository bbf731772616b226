"""Faults injected into the ledger by the thousand, and what was lost.

* ``kill at a point``: a session is killed (SIGKILL) around each write of a release, and while it starts.
* ``kill at random``: sessions run release after release and are killed at moments nobody chose.
* ``race``: two or eight processes race for the last of a budget; one may win.
* ``rollback``: a restored backup, a forked copy, a swapped anchor, each of which the anchor must catch.
* ``lost connection`` (PostgreSQL): the server ends a session's connections while it works.

After each fault the next session opens the ledger and checks everything: chain, signatures, charges, anchor. Whatever a
session was told is on record must be there, every look must be charged, the budget must hold. A fault that breaks
any of it counts as lost.

    python experiments/ledger_faults.py --out results/ledger_faults.tsv
    python experiments/ledger_faults.py --quick
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accountants import (
    Account,
    Budget,
    Charge,
    Claim,
    FixedPlan,
    GateRefused,
    Gaussian,
    Ledger,
    LedgerCorrupt,
    LedgerError,
    PrivacyUnit,
    SigningKey,
)
from tests.accountants.faults import DATASET, POINTS, Child, audit, die_at, one_release, patiently
from tests.accountants.places import ANCHORS, LEDGERS, AnchorPlace, Place, PostgresPlace, SQLitePlace
from tests.postgres import Server, binaries

Say = Callable[[object], object]
BUDGET = Budget(1, "1e-8")
KILLS = [(where, nth) for where in POINTS for nth in (1, 2, 3, 4)] + [("locked", 1)]
PER_LEDGER = 20
"""Faults on one ledger before a new one is made."""


def claim(noise_multiplier: float, budget: Budget) -> Claim:
    plan = FixedPlan([Gaussian(noise_multiplier)])
    return Claim(budget=budget, unit=PrivacyUnit("person", 3), plan=plan, generator="aim", schema_digest="5c" * 32)


SMALL = claim(1000.0, Budget("0.02", "1e-9"))
LARGE = claim(7.0, Budget("0.95", "1e-9"))


class Bench:
    """A kind of store, and places on it."""

    def __init__(self, kind: str, folder: Path, server: Server | None, seed: int) -> None:
        self.kind, self.folder, self.server = kind, folder, server
        self.key = SigningKey.generate()
        self.random = random.Random(f"{kind} {seed}")
        self._made = 0

    def place(self, database: str = LEDGERS) -> Place:
        self._made += 1
        if self.server is None:
            return SQLitePlace(self.folder / f"{database}-{self._made}.db")
        return PostgresPlace(self.server, database)

    def anchor(self) -> AnchorPlace:
        """A file or a second database, in turn."""
        if self._made % 2:
            self._made += 1
            return AnchorPlace(self.folder / f"anchor-{self._made}.json")
        second = self.place(ANCHORS)
        return AnchorPlace(second.url, second)


class Scene:
    """One anchored ledger with one account, and what its sessions said before they died."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.place, self.anchor = bench, bench.place(), bench.anchor()
        self.said: list[str] = []
        self.ledger().open(DATASET, BUDGET)

    def ledger(self) -> Ledger:
        return Ledger(self.place.url, self.bench.key, anchor=self.anchor.where)

    def account(self) -> Account:
        return self.ledger().account(DATASET)

    def release(self, account: Account, say: Say) -> None:
        patiently(lambda: one_release(account, SMALL, say))

    def until_killed(self, say: Say) -> None:
        account = self.account()
        while True:
            self.release(account, say)

    def die(self, where: str, nth: int, say: Say) -> None:
        account = self.account()
        die_at(where, nth)
        self.release(account, say)

    def however_often_the_server_hangs_up(self, say: Say) -> None:
        while True:
            try:
                self.until_killed(say)
            except LedgerCorrupt:
                raise
            except LedgerError:
                continue

    def reserve(self, go: Path, say: Say) -> None:
        account = self.account()
        say("ready")
        while not go.exists():
            time.sleep(0.0005)
        try:
            say(f"reserve {account.reserve(LARGE).id}")
        except GateRefused as refused:
            say(refused.rule if "left" in refused.reason else refused)

    def bury(self, session: Child) -> None:
        """Hear a killed session out, check the ledger, and make room for the next one."""
        self.said += session.hear_all()
        assert session.wait() == signal.SIGKILL, self.said[-1]
        account = patiently(lambda: audit(self.place.url, self.bench.key, self.anchor.where, self.said))
        if not account.state.lifetime.admits(account.state.spent, Charge.total([Charge.of(SMALL)] * 40)):
            account.ledger.amend(DATASET, budget=Budget(2 * account.state.budget.epsilon, BUDGET.delta))


@contextmanager
def child(work: Callable[[Say], object]) -> Iterator[Child]:
    made = Child(work)
    try:
        yield made
    finally:
        made.end()


def scenes(bench: Bench, times: int) -> Iterator[tuple[int, Scene]]:
    scene = Scene(bench)
    for number in range(times):
        if number and number % PER_LEDGER == 0:
            scene = Scene(bench)
        yield number, scene


def kill_at_a_point(bench: Bench, times: int) -> Iterator[None]:
    for number, scene in scenes(bench, times):
        with child(partial(scene.die, *KILLS[number % len(KILLS)])) as session:
            scene.bury(session)
        yield


def kill_at_random(bench: Bench, times: int) -> Iterator[None]:
    for _, scene in scenes(bench, times):
        with child(scene.until_killed) as session:
            time.sleep(bench.random.uniform(0.005, 0.15))
            session.kill()
            scene.bury(session)
        yield


def lost_connection(bench: Bench, times: int) -> Iterator[None]:
    assert bench.server is not None
    for _, scene in scenes(bench, times):
        with child(scene.however_often_the_server_hangs_up) as session:
            for _ in range(3):
                time.sleep(bench.random.uniform(0.01, 0.05))
                with bench.server.connect(LEDGERS) as administrator:
                    administrator.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        f"WHERE datname IN ('{LEDGERS}', '{ANCHORS}') AND pid != pg_backend_pid()"
                    )
            session.kill()
            scene.bury(session)
        yield


def race(bench: Bench, times: int) -> Iterator[None]:
    for number in range(times):
        scene, go = Scene(bench), bench.folder / f"go-{number}"
        racers = [Child(partial(scene.reserve, go)) for _ in range(2 if number % 2 else 8)]
        try:
            assert {racer.hear() for racer in racers} == {"ready"}
            go.touch()
            heard = sorted(racer.hear() for racer in racers)
        finally:
            for racer in racers:
                racer.end()
        assert heard[:-1] == ["lifetime"] * (len(racers) - 1), heard
        account = audit(scene.place.url, bench.key, scene.anchor.where, heard[-1:])
        assert len(account.state.releases) == 1
        yield


def rollback(bench: Bench, times: int) -> Iterator[None]:
    for number in range(times):
        scene = Scene(bench)
        account = scene.account()
        for _ in range(bench.random.randrange(3)):
            account.reserve(SMALL)
        older = scene.place.rows()
        scene.release(account, lambda _: None)
        match number % 3:
            case 0:
                scene.place.load(older)
            case 1:
                scene.place = bench.place()
                Ledger(scene.place.url, bench.key)
                scene.place.load(older)
                fork = Ledger(scene.place.url, bench.key).account(DATASET)
                for _ in range(bench.random.randrange(1, 8)):
                    fork.reserve(SMALL)
            case 2:
                other = Ledger(bench.place().url, bench.key)
                for dataset in range(bench.random.randrange(1, 8)):
                    other.open(f"other-{dataset}", BUDGET)
                scene.anchor.swap(other.head)
        assert caught(lambda scene=scene: scene.ledger().verify())
        assert caught(lambda scene=scene: scene.account().reserve(SMALL))
        yield


def caught(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except LedgerCorrupt:
        return True
    return False


FAULTS: dict[str, tuple[Callable[[Bench, int], Iterator[None]], int, int]] = {
    "kill at a point": (kill_at_a_point, 630, 210),
    "kill at random": (kill_at_random, 1000, 300),
    "race": (race, 100, 40),
    "rollback": (rollback, 120, 100),
    "lost connection": (lost_connection, 0, 100),
}
"""How often each is injected: on SQLite, on PostgreSQL."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Faults injected into the ledger, and what was lost.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of each")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments; where a kill lands still varies")
    parser.add_argument("--stores", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--out", type=Path, help="tab-separated file to write")
    arguments = parser.parse_args()
    lines = ["store\tfault\tinjected\tlost\tseconds"]
    print(lines[0])
    failed = False
    for kind in arguments.stores:
        installed = binaries()
        if kind == "postgresql" and installed is None:
            print("no PostgreSQL server binaries: skipped", file=sys.stderr)
            continue
        server = Server(installed) if kind == "postgresql" and installed else None
        try:
            for name in (LEDGERS, ANCHORS) if server else ():
                with server.connect() as connection:  # type: ignore[union-attr]
                    connection.execute(f"CREATE DATABASE {name}")
            for fault, (inject, *often) in FAULTS.items():
                times = often[server is not None] // (20 if arguments.quick else 1)
                if not times:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    begun, done, lost = time.monotonic(), 0, 0
                    bench = Bench(kind, Path(folder), server, arguments.seed)
                    try:
                        for _ in inject(bench, times):
                            done += 1
                    except Exception:
                        traceback.print_exc()
                        done, lost, failed = done + 1, 1, True  # and no further: what is lost is to be looked into
                    lines.append(f"{kind}\t{fault}\t{done}\t{lost}\t{time.monotonic() - begun:.0f}")
                    print(lines[-1], flush=True)
        finally:
            if server is not None:
                server.stop()
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
