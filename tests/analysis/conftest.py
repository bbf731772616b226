"""Releases to analyse, made once."""

from pathlib import Path

import pytest

import dpsynth as dp
from accountants import Budget, Ledger
from accountants.keys import Keyring
from dpsynth.release import ModelStore
from tests.helpers import schema, table


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """Folders of releases by generator; `given` those of the same model with every patient smoking."""
    found = {}

    def release(generator: str, epsilon: float = 8.0, *, given: bool = False) -> Path:
        if generator not in found:
            home = tmp_path_factory.mktemp("analysed")
            keys = Keyring(home / "keys")
            ledger = Ledger(f"sqlite:///{home / 'ledger.db'}", keys.signing_key(create=True))
            account = ledger.open("visits", Budget(10))
            model = dp.fit(dp.plan(generator, schema(), Budget(epsilon)), table(3000), account, store=ModelStore(None))
            found[generator] = dp.admit(model.sample(seed=1), account).write(home / "release")
            sealed = model.sample(seed=1, given={"smoker": True})
            dp.admit(sealed, account).write(home / "given")
        return found[generator].parent / "given" if given else found[generator]

    return release
