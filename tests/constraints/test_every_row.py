"""Whatever the schema, the constraints and the model: no drawn row breaks a constraint."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dpsynth.constraints.checking import check
from dpsynth.encoding import Encoder
from dpsynth.errors import BundleError
from dpsynth.generators.constrained import constrained
from dpsynth.generators.drawing import draw_rows
from dpsynth.release.fitted import _drawn
from dpsynth.release.given import encode_given
from tests.constraints.drawing import constrained_schemas, ignorant

SEEDS = st.integers(0, 2**16)


def broken(schema, frame):
    return {found.says: found.broken for found in check(schema.columns, schema.constraints, frame) if found.broken}


@settings(deadline=None, max_examples=150)
@given(constrained_schemas(), SEEDS, st.booleans(), st.integers(1, 60))
def test_every_row_satisfies_every_constraint(schema, seed, told, rows):
    assume(schema.constraints)
    model = ignorant(schema, seed)
    if told:
        model = constrained(model, schema.rules)
    encoder = Encoder(schema)
    codes, frame, tally = draw_rows(model, encoder, rows, np.random.default_rng(seed))
    assert broken(schema, frame) == {}
    assert len(frame) == rows
    assert tally.broken >= 0
    again = encoder.encode(frame)
    for column in schema.encoded:  # codes and values say the same
        name, read = column.name, again[column.name]
        inside = np.asarray(codes[name]) < column.outside_code
        np.testing.assert_array_equal(read[inside], np.asarray(codes[name])[inside])
        assert frame[name][~inside].isna().all()


@settings(deadline=None, max_examples=150)
@given(constrained_schemas(), SEEDS, st.data())
def test_given_columns_stay_and_every_row_satisfies_every_constraint(schema, seed, data):
    assume(schema.constraints)
    encoder, rng = Encoder(schema), np.random.default_rng(seed)
    names = data.draw(st.lists(st.sampled_from(schema.names), min_size=1, max_size=3, unique=True))
    rows = 12
    source = ignorant(schema, seed + 1)
    if data.draw(st.booleans()):  # columns of rows that exist, else of rows that may be impossible
        _, whole, _ = draw_rows(source, encoder, rows, rng)
    else:
        whole = encoder.decode(source.sample(rows, rng), rng)
    kept = whole[names]
    assume(all(schema.column(name).missing or kept[name].notna().all() for name in names))
    supplied = encode_given(kept, None, encoder)
    try:
        _, frame = _drawn(ignorant(schema, seed), encoder, rows, rng, supplied)
    except BundleError as error:
        if "no row can satisfy the constraint" not in str(error):
            raise
        return
    assert broken(schema, frame) == {}
    for name in names:
        assert frame[name].isna().equals(kept[name].isna())
        full = kept[name].notna()
        assert frame[name][full].tolist() == kept[name][full].tolist()


@settings(deadline=None, max_examples=60)
@given(constrained_schemas(max_columns=4), SEEDS)
def test_rows_that_exist_are_never_refused(schema, seed):
    """All columns given from rows that satisfy the constraints: nothing changes."""
    assume(schema.constraints)
    encoder, rng = Encoder(schema), np.random.default_rng(seed)
    _, whole, _ = draw_rows(ignorant(schema, seed, outside=False), encoder, 10, rng)
    assume(all(schema.column(name).missing or whole[name].notna().all() for name in schema.names))
    _, frame = _drawn(ignorant(schema, seed), encoder, 10, rng, encode_given(whole, None, encoder))
    pd.testing.assert_frame_equal(frame, whole)
