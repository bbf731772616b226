"""What a row costs at the end of a long ledger: the same as at its start. No clocks here, only what is gone through."""

import math

from hypothesis import given
from hypothesis import strategies as st

from accountants import Budget, Ledger, Policy, SigningKey
from accountants.ledger.frozen_map import FrozenMap


@given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(), max_size=5), max_size=40))
def test_a_frozen_map_is_a_dict_that_is_copied(changes):
    plain: dict[int, int] = {}
    frozen: FrozenMap[int, int] = FrozenMap()
    earlier = []
    for each in changes:
        earlier.append((frozen, dict(plain)))
        plain.update(each)
        frozen = frozen.updated(each)
        assert frozen == plain
        assert list(frozen) == list(plain), "keys keep the order in which they first came"
        assert len(frozen) == len(plain)
        assert all(frozen.get(key) == plain.get(key) for key in range(31))
    for before, then in earlier:
        assert before == then, "a change changes no other"


def test_changes_copy_little():
    frozen: FrozenMap[int, int] = FrozenMap()
    size, copied = 4096, 0
    for number in range(size):
        frozen = frozen.updated({number: number})
        copied += len(frozen._layers[-1])
        assert len(frozen._layers) <= math.log2(number + 1) + 1
    assert copied <= size * (math.log2(size) + 1)


def test_no_step_goes_through_all_releases(monkeypatch, make_claim):
    """Nothing that a session does up to its commit iterates over releases or draws."""
    account = Ledger(key=SigningKey.generate()).open("a", Budget(3, 1e-8))
    account.ledger.amend("a", policy=Policy(purposes={"research": Budget(2, 1e-8)}))
    for _ in range(8):
        account.reserve(make_claim("0.05", purpose="research")).void()
    claim, walk = make_claim("0.1", purpose="research"), FrozenMap.__iter__

    def watched(self):
        assert not any("release" in type(value).__name__.lower() for value in self._layers[0].values())
        return walk(self)

    with monkeypatch.context() as patch:
        patch.setattr(FrozenMap, "__iter__", watched)
        for _ in range(3):
            run = account.reserve(claim)
            run.start()
            run.commit("a" * 64)
            account.reserve(claim).void()
            assert account.state.unit == claim.unit
            assert account.state.running is None
    assert account.state.spent_on(purpose="research").epsilon == claim.budget.epsilon * 3
    assert account.state.spent_on(purpose="other").epsilon == 0
    account.ledger.verify()
