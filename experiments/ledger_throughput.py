"""How long a release's bookkeeping takes on ledgers of different length: reserve, start, commit, in both stores.

A ledger of the wanted length is made by signing rows directly. Then: the time to open it (every row is verified once),
cycles of reserve -> start -> commit through the ordinary calls, each with all its transactions and fsyncs (on the
clock, and of this process's own work), and the full check that the gate makes before a table leaves.

    python experiments/ledger_throughput.py --out results/ledger_throughput.tsv
    python experiments/ledger_throughput.py --quick
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accountants import Budget, Claim, FixedPlan, Gaussian, Ledger, PrivacyUnit, SigningKey
from accountants.ledger import Row
from accountants.ledger.store import LAYOUT
from tests.postgres import Server, binaries

SIZES = (0, 1_000, 10_000, 100_000)
MODEL = "a" * 64
CLAIM = Claim(
    budget=Budget("0.005", "1e-9"),
    unit=PrivacyUnit("person", 3),
    plan=FixedPlan([Gaussian(5_000.0)] * 4),
    generator="aim",
    schema_digest="5c" * 32,
)


@contextmanager
def store(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'ledger.db'}"
        return
    found = binaries()
    assert found is not None
    server = Server(found, {"fsync": "on"})
    try:
        yield server.url("postgres")
    finally:
        server.stop()


def fill(ledger: Ledger, key: SigningKey, size: int) -> None:
    """Releases of three rows each, signed and chained as `Draft` does, inserted in one transaction."""
    account = ledger.open("big", Budget(3, "1e-8"))
    if not size:
        return
    probe = account.reserve(CLAIM)
    probe.start()
    probe.commit(MODEL)
    rows = list(ledger.rows())
    pattern = rows[1:]
    with ledger._store.write() as connection:
        seq, prev, made = rows[-1].seq, rows[-1].hash, []
        while seq < size:
            release_id = f"{seq:032x}"
            for old in pattern:
                body: dict[str, Any] = {name: value for name, value in old.body.items() if name != "version"}
                body["release"] = release_id
                row = Row.signed(seq + 1, "big", old.kind, body, prev, key)
                seq, prev = row.seq, row.hash
                made.append(asdict(row))
        for start in range(0, len(made), 1000):
            connection.execute(LAYOUT.table.insert(), made[start : start + 1000])


def measure(kind: str, size: int, cycles: int) -> dict[str, Any]:
    key = SigningKey.generate()
    with tempfile.TemporaryDirectory() as folder, store(kind, Path(folder)) as url:
        fill(Ledger(url, key), key, size)
        begun = time.perf_counter()
        ledger = Ledger(url, key)
        rows = ledger.head[0]
        opened = time.perf_counter() - begun
        account = ledger.account("big")
        account.reserve(CLAIM).void()  # what is computed once per process
        took, worked = [], []
        for _ in range(cycles):
            begun, idle = time.perf_counter(), time.process_time()
            run = account.reserve(CLAIM)
            run.start()
            run.commit(MODEL)
            took.append(time.perf_counter() - begun)
            worked.append(time.process_time() - idle)
        begun = time.perf_counter()
        ledger.verify()
        verified = time.perf_counter() - begun
    return {
        "store": kind,
        "rows": rows,
        "open_seconds": round(opened, 3),
        "cycles": cycles,
        "cycle_cpu_ms_median": round(1000 * statistics.median(worked), 2),
        "cycle_ms_median": round(1000 * statistics.median(took), 2),
        "cycle_ms_p90": round(1000 * sorted(took)[int(0.9 * len(took))], 2),
        "cycles_per_second": round(len(took) / sum(took), 1),
        "full_check_seconds": round(verified, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The ledger's speed at different lengths.")
    parser.add_argument("--quick", action="store_true", help="up to 1,000 rows, few cycles")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--stores", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--out", type=Path, help="tab-separated file to write")
    arguments = parser.parse_args()
    lines: list[str] = []
    for kind in arguments.stores:
        if kind == "postgresql" and binaries() is None:
            print("no PostgreSQL server binaries: skipped", file=sys.stderr)
            continue
        for size in SIZES[:2] if arguments.quick else SIZES:
            figures = measure(kind, size, 10 if arguments.quick else arguments.cycles)
            if not lines:
                lines.append("\t".join(figures))
                print(lines[0])
            lines.append("\t".join(map(str, figures.values())))
            print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
