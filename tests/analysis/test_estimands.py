"""Estimates from simulated measurements: their errors are as large as they say, and the naive ones' are not."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from dpsynth.analysis import Analysis
from dpsynth.analysis.cuts import Cuts
from dpsynth.analysis.values import question
from dpsynth.encoding import Encoder
from dpsynth.errors import NotSupported
from dpsynth.measurement import NoisyCounts
from dpsynth.release.measurements import Measurements
from dpsynth.schema import Schema

SCHEMA = Schema.loads(
    """
columns:
  ill:   {type: boolean}
  drug:  {type: categorical, values: [placebo, verum]}
  stage: {type: ordinal, values: [I, II, III]}
  score: {type: integer, min: 0, max: 9, bins: 10, missing: true}
"""
)
ROWS, SIGMA = 4000, 25.0
NOISES, SAMPLES = 50, 100


def population(rows, rng):
    """A confounded treatment: later stages get the drug more often, and are ill more often."""
    stage = rng.choice(3, rows, p=[0.4, 0.35, 0.25])
    drug = rng.random(rows) < 0.3 + 0.2 * stage
    ill = rng.random(rows) < 0.2 + 0.2 * stage - 0.1 * drug
    score = np.clip(np.round(3 + stage + 2 * ill + rng.normal(0, 1.5, rows)), 0, 9)
    return pd.DataFrame(
        {
            "ill": ill,
            "drug": np.where(drug, "verum", "placebo"),
            "stage": np.array(["I", "II", "III"])[stage],
            "score": np.where(rng.random(rows) < 0.1, np.nan, score),
        }
    )


def counted(frame):
    """The rows as a table over all columns."""
    codes, domain = Encoder(SCHEMA).encode(frame), SCHEMA.domain
    table = np.zeros(domain.shape)
    np.add.at(table, tuple(codes[a] for a in domain.attributes), 1)
    return table


def measurements(table, rng, cliques, sigma=SIGMA):
    """One-ways and the margins named, as a release of independent columns and a further look would have them."""
    domain, answers = SCHEMA.domain, []
    for clique in [*((a,) for a in domain.attributes), *cliques]:
        counts = table.sum(axis=tuple(i for i, a in enumerate(domain.attributes) if a not in clique))
        noise = rng.normal(0, sigma, counts.shape) if sigma else 0.0
        answers.append(NoisyCounts(clique, counts + np.rint(noise), sigma or 1e-9))
    parameters = {"denoise": False, "merge_below": 0.0}
    return Measurements("d", "independent", parameters, float(table.sum()), tuple(answers))


PAIRS = [*combinations(SCHEMA.names, 2)]
TRIPLE = ("ill", "drug", "stage")
QUESTIONS = {
    "mean": ["score", "ill"],
    "proportion": ["stage=III", "score<4"],
    "difference": ["ill by drug", "score by stage: III - I"],
    "regress": ["ill ~ drug + stage"],
    "effect": ["ill of drug given stage"],
}


def ask(analysis):
    found = {}
    for kind, texts in QUESTIONS.items():
        for text in texts:
            got = getattr(analysis, kind)(text)
            found |= {each.question: each for each in (got if isinstance(got, tuple) else (got,))}
    return found


WHOLE = population(400_000, np.random.default_rng(5))
SAMPLE = population(ROWS, np.random.default_rng(6))
MARGINS = [*PAIRS, TRIPLE]


def answered(table, rng=None, sigma=SIGMA):
    return ask(Analysis.made(SCHEMA, measurements(table, rng, MARGINS, sigma if rng else 0), SAMPLE))


@pytest.fixture(scope="module")
def truth():
    return {name: each.estimate for name, each in answered(counted(WHOLE)).items()}


def test_the_truth_is_found_without_noise(truth):
    assert truth["mean score"] == pytest.approx(WHOLE["score"].mean())
    assert truth["proportion score<4"] == pytest.approx((WHOLE["score"] < 4).sum() / WHOLE["score"].notna().sum())
    means = WHOLE.groupby("drug")["ill"].mean()
    assert truth["difference of ill, drug=verum less drug=placebo"] == pytest.approx(means["verum"] - means["placebo"])
    assert means["verum"] - means["placebo"] > -0.06
    assert truth["effect on ill, drug=verum less drug=placebo, given stage"] == pytest.approx(-0.1, abs=0.006)
    assert truth["regression of ill on drug=verum"] == pytest.approx(-0.1, abs=0.006)
    assert truth["regression of ill on stage=III"] == pytest.approx(0.4, abs=0.02)


def test_noise_is_as_large_as_said():
    """Errors against the sample's own figures, over what they say of themselves, have a standard deviation of 1."""
    rng, table = np.random.default_rng(7), counted(SAMPLE)
    exactly, z = answered(table), {}
    for _ in range(NOISES):
        for name, each in answered(table, rng).items():
            z.setdefault(name, []).append((each.estimate - exactly[name].estimate) / each.noise)
    spread = {name: np.std(each) for name, each in z.items()}
    assert all(0.8 < each < 1.2 for each in spread.values()), spread
    assert all(abs(np.mean(each)) < 0.35 for each in z.values())
    assert np.median([*spread.values()]) == pytest.approx(1.0, abs=0.06)


def test_intervals_hold_and_naive_ones_do_not(truth):
    rng, held, naive = np.random.default_rng(8), {}, {}
    shares = counted(WHOLE) / len(WHOLE)
    for _ in range(SAMPLES):
        drawn = rng.multinomial(ROWS, shares.ravel()).reshape(shares.shape)
        for name, each in answered(drawn, rng).items():
            held.setdefault(name, []).append(each.low <= truth[name] <= each.high)
            # As wide as the drawing of rows alone would have it, about the same noisy figure.
            naive.setdefault(name, []).append(abs(each.estimate - truth[name]) <= 1.96 * each.sampling)
    each_held = {name: np.mean(each) for name, each in held.items()}
    assert min(each_held.values()) > 0.86, each_held
    assert np.mean([*each_held.values()]) == pytest.approx(0.95, abs=0.02)
    assert np.mean([*naive.values()]) < 0.85


def test_about_the_table_there_is_noise_alone():
    rng = np.random.default_rng(0)
    frame = population(ROWS, rng)
    said = measurements(counted(frame), rng, PAIRS)
    own, rows = Analysis.made(SCHEMA, said, frame).mean("score"), Analysis.made(SCHEMA, said, frame, about="table")
    inside = rows.mean("score")
    assert inside.noise == own.noise > 0
    assert inside.sampling == 0 < own.sampling
    assert own.high - own.low == pytest.approx(2 * 1.959964 * np.hypot(own.noise, own.sampling))
    assert "about the rows themselves" in inside.why
    assert rows.regress("ill ~ stage")[1].sampling == 0


def test_rows_of_one_unit_may_all_be_alike():
    rng = np.random.default_rng(0)
    frame = population(ROWS, rng)
    said = measurements(counted(frame), rng, PAIRS)
    several = Schema(columns=SCHEMA.columns, unit="patient", at_most=4)
    one, four = (Analysis.made(s, said, frame).mean("score") for s in (SCHEMA, several))
    assert four.sampling == pytest.approx(2 * one.sampling)
    assert "rows times 4" in four.notes[-2]


def test_with_columns_supplied_the_table_is_not_asked():
    rng = np.random.default_rng(0)
    frame = population(ROWS, rng)
    given = Analysis.made(SCHEMA, measurements(counted(frame), rng, PAIRS), frame, True)
    assert given.mean("score").naive is None
    with pytest.raises(NotSupported, match="ask about the table"):
        given.regress("ill ~ drug + stage")


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("mean", "scroe", "did you mean 'score'"),
        ("mean", "drug", "categories; ask for a proportion: drug=VALUE"),
        ("proportion", "drug=asprin", "has no cell 'asprin'; it has placebo, verum"),
        ("proportion", "score<4.5", "'score' was counted from 0 to 9 in bins that start at 1, 2, 3"),
        ("proportion", "score<four", "'four' is not a number; 'score' is cut at numbers from 0 to 9"),
        ("proportion", "score<nan", "'nan' is not a number"),
        ("proportion", "score>=0", "score>=0 is true of all rows with a value: 'score' is declared from 0 to 9"),
        ("proportion", "score<0", "is true of no rows"),
        ("proportion", "score<99", "is true of all rows"),
        ("proportion", "score>=-1", "is true of all rows"),
        ("proportion", "score>5", "only < and >= are asked, at the start of a bin; of whole numbers write score>=6"),
        ("proportion", "score<=5", "of whole numbers write score<6"),
        ("proportion", "score!=5", "ask score=5, and take it from 1"),
        ("proportion", "drug>verum", "holds no numbers"),
        ("proportion", "ill", "ask ill=VALUE, such as ill=true"),
        ("proportion", "score", "ask score<NUMBER or score>=NUMBER, or its mean"),
        ("proportion", "drug=Verum", "did you mean 'verum'?"),
        ("proportion", "score=missing", "the share of rows without a value in 'score' cannot be asked"),
        ("proportion", "drug<3", "holds no numbers"),
        ("proportion", "drug", "is no question"),
        ("proportion", "sex=F", "no column 'sex'"),
        ("difference", "ill drug", "is no comparison"),
        ("difference", "ill by stage", "has 3 values; say which to compare, as stage: III - I"),
        ("difference", "ill by stage: IV - I", "does not name two values of 'stage'"),
        ("difference", "ill by ill", "asked for twice"),
        ("difference", "ill by score<3", "never counted together"),
        ("difference", "score by drug", "'score' were never counted together"),
        ("difference", "score by drug", "'drug' with 'ill'; 'score' with none"),
        ("effect", "ill of drug given stage", "; sets with 'ill' are (ill, drug), (ill, stage)"),
        ("effect", "ill of drug", "asks for no effect"),
        ("regress", "ill", "is no regression"),
        ("regress", "ill ~ drug + ", "no column ''"),
        ("regress", "ill ~ ill", "asked for twice"),
        ("regress", "ill ~ drug + 1", "'1' is no term; terms are columns, questions or C(COLUMN), joined by +"),
        ("regress", "ill ~ log(score)", "no interactions or functions"),
        ("regress", "ill ~ drug:stage", "no interactions or functions"),
        ("regress", "ill ~ drug*stage", "no interactions or functions"),
        ("regress", "ill ~ score - 1", "no interactions or functions"),
        ("regress", "ill ~ I(score<3)", "no interactions or functions"),
        ("regress", "ill ~ drug + drug", "'drug' stands there twice; terms are"),
        ("regress", "ill ~ drug + drug=verum", "cannot be told apart; leave one out"),
    ],
)
def test_what_cannot_be_answered_says_why_and_what_can(kind, text, says):
    rng = np.random.default_rng(0)
    frame = population(ROWS, rng)
    analysis = Analysis.made(SCHEMA, measurements(counted(frame), rng, [("ill", "drug"), ("ill", "stage")]), frame)
    with pytest.raises(NotSupported) as refused:
        getattr(analysis, kind)(text)
    assert says in str(refused.value)


def test_regression_is_suggested_where_pairs_answer_it():
    analysis = Analysis.made(SCHEMA, measurements(counted(SAMPLE), None, PAIRS, 0), SAMPLE)
    with pytest.raises(NotSupported, match=r"beside it: ill ~ drug \+ stage$"):
        analysis.effect("ill of drug given stage")
    with pytest.raises(NotSupported, match=r"beside it: ill ~ score<3 \+ stage$"):
        analysis.effect("ill of score<3 given stage")
    fewer = Analysis.made(SCHEMA, measurements(counted(SAMPLE), None, [("ill", "drug"), ("ill", "stage")], 0), SAMPLE)
    with pytest.raises(NotSupported) as refused:
        fewer.effect("ill of drug given stage")
    assert "regression" not in str(refused.value)


def test_wrong_types_are_a_sentence():
    analysis = Analysis.made(SCHEMA, measurements(counted(SAMPLE), None, PAIRS, 0), SAMPLE)
    for kind in QUESTIONS:
        with pytest.raises(TypeError, match=f"^{kind} takes .*, as text; got int$"):
            getattr(analysis, kind)(3)
    with pytest.raises(TypeError, match="tables takes a whole number; got str"):
        analysis.tables("five")
    with pytest.raises(TypeError, match="level takes a number"):
        Analysis.made(SCHEMA, analysis.measurements, SAMPLE, level="95%")


def test_a_coefficient_names_what_it_is_against():
    analysis = Analysis.made(SCHEMA, measurements(counted(SAMPLE), None, PAIRS, 0), SAMPLE)
    constant, third = (analysis.regress("ill ~ stage")[i] for i in (0, 2))
    assert (constant.against, third.against) == (None, "I")
    assert str(third).startswith("regression of ill on stage=III (against I)\n  estimate ")


def test_a_question_parts_its_rows_from_all_others():
    table = counted(SAMPLE)
    analysis = Analysis.made(SCHEMA, measurements(table, None, PAIRS, 0), SAMPLE)
    with_score = SAMPLE.dropna(subset="score")
    low, high = (with_score.loc[with_score["score"].lt(3) == side, "ill"].mean() for side in (True, False))
    assert analysis.difference("ill by score<3").estimate == pytest.approx(low - high)
    assert analysis.difference("ill by stage=III").estimate == pytest.approx(
        SAMPLE.loc[SAMPLE["stage"] == "III", "ill"].mean() - SAMPLE.loc[SAMPLE["stage"] != "III", "ill"].mean()
    )


def test_groups_that_noise_drowns_are_refused():
    rng = np.random.default_rng(0)
    frame = population(ROWS, rng)
    frame["drug"] = "placebo"
    analysis = Analysis.made(SCHEMA, measurements(counted(frame), rng, PAIRS), frame)
    with pytest.raises(NotSupported, match="'drug=verum' cannot be told from none: about"):
        analysis.difference("ill by drug")


def test_pairs_alone_need_rows_with_values():
    rng = np.random.default_rng(0)
    frame = population(ROWS, rng)
    analysis = Analysis.made(SCHEMA, measurements(counted(frame), rng, PAIRS), frame)
    with pytest.raises(NotSupported, match="of the rows are without a value in 'score', 'drug', 'stage'"):
        analysis.regress("score ~ drug + stage")
    slope = replace(analysis, level=0.999).regress("score ~ drug")[
        1
    ]  # counted together: rows without a value are left out
    assert slope.low < frame.groupby("drug")["score"].mean().diff().iloc[-1] < slope.high


def test_level_and_about_are_checked():
    frame = population(10, np.random.default_rng(0))
    said = measurements(counted(frame), np.random.default_rng(0), PAIRS)
    with pytest.raises(NotSupported, match="level must lie between 0 and 1"):
        Analysis.made(SCHEMA, said, frame, level=95)
    with pytest.raises(NotSupported, match="about must be one of population, table"):
        Analysis.made(SCHEMA, said, frame, about="sample")


MERGED = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
"""Ten scores in pairs, then the empty and the outside cell together."""


def merged(table, rng, sigma):
    """One-ways over scores as they are; with other columns they were counted in pairs of neighbours."""
    said = measurements(table, rng, [("ill", "drug")], sigma)
    together, answers = np.eye(6)[MERGED], list(said.answers)
    for other in ("ill", "drug"):
        rest = tuple(i for i, a in enumerate(SCHEMA.names) if a not in (other, "score"))
        counts = table.sum(axis=rest) @ together
        noise = np.rint(rng.normal(0, sigma, counts.shape))
        answers.append(NoisyCounts((other, "score"), counts + noise, sigma, {"score": MERGED}))
    return replace(said, answers=tuple(answers))


def test_means_of_merged_cells_are_estimated_and_their_noise_counts():
    rng, table, z = np.random.default_rng(9), counted(SAMPLE), {}
    for sigma in [1e-6, *([SIGMA] * NOISES)]:
        analysis = replace(Analysis.made(SCHEMA, merged(table, rng, sigma), SAMPLE), about="table")
        for kind, text in [("difference", "score by drug"), ("regress", "score ~ drug")]:
            found = getattr(analysis, kind)(text)
            found = found[1] if kind == "regress" else found
            z.setdefault(text, []).append((found.estimate, found.noise, found.merging))
        assert "were merged before other columns were counted" in found.notes[0]
        with pytest.raises(NotSupported, match=r"'score=3' cannot be told apart beside .* score starts at 2, 4, 6, 8$"):
            analysis.difference("score=3 by drug")
        assert analysis.difference("score<4 by drug").noise > 0
    for text, each in z.items():
        exactly = each[0][0]
        assert exactly == pytest.approx(SAMPLE.groupby("drug")["score"].mean().diff().iloc[-1], abs=0.05)
        assert np.std([(value - exactly) / noise for value, noise, _ in each[1:]]) == pytest.approx(1, abs=0.25), text
        assert 0 < each[1][2] < 0.2 * abs(each[1][0])


def test_a_value_counted_with_rows_without_one_hides_the_others():
    said, odd = measurements(counted(SAMPLE), None, [], 0), np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9])
    counts = NoisyCounts(("drug", "score"), counted(SAMPLE).sum(axis=(0, 2)) @ np.eye(10)[odd], 1.0, {"score": odd})
    analysis = Analysis.made(SCHEMA, replace(said, answers=(*said.answers, counts)), SAMPLE)
    with pytest.raises(
        NotSupported, match=r"a rare value of 'score' and rows without one were .* all rows can be asked$"
    ):
        analysis.difference("score<3 by drug")


def test_an_outcome_that_merging_hides_is_refused():
    rng, table = np.random.default_rng(9), counted(SAMPLE)
    said = merged(table, rng, 1e-6)
    far = np.array([0, 1, 2, 3, 4, 4, 3, 2, 1, 0, 5, 5])  # scores that lie apart together
    together = np.eye(6)[far]
    exactly = table.sum(axis=(0, 2))  # drug by score
    answers = [a for a in said.answers if "score" not in a.clique or len(a.clique) == 1]
    answers.append(NoisyCounts(("drug", "score"), exactly @ together, SIGMA, {"score": far}))
    analysis = Analysis.made(SCHEMA, replace(said, answers=tuple(answers)), SAMPLE)
    with pytest.raises(NotSupported, match="of the variance of 'score' is inside cells that were merged"):
        analysis.difference("score by drug")
    assert analysis.mean("score").estimate == pytest.approx(SAMPLE["score"].mean(), abs=0.3)


@pytest.mark.parametrize(
    ("name", "map_", "weights", "said"),
    [
        ("score", MERGED, np.array([0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]), "score starts at 2, 4, 6, 8"),
        ("score", np.arange(12), np.ones(12), "score starts at every bin"),
        ("score", np.array([0, 1, 2, 3, 4, 4, 3, 2, 5, 6, 7, 7]), np.ones(12), "score starts at 1, 2, 8, 9"),
        ("stage", np.array([0, 1, 0, 2]), np.ones(4), "stage has II"),
        ("stage", np.array([0, 1, 2, 2]), np.ones(4), "rows with a rare value and without one were counted together"),
        ("stage", np.array([0, 1, 2, 2]), np.array([1, 1, 1, 0]), "stage has I, II, III"),
        ("stage", np.array([0, 0, 0, 1]), np.ones(4), "stage has no value: all rows were counted together"),
    ],
)
def test_cuts_are_those_that_merging_left(name, map_, weights, said):
    assert said in str(Cuts.of(SCHEMA, name, map_, weights))


def test_dates_are_cut_at_dates():
    schema = Schema.loads("columns: {day: {type: date, min: 2020-01-01, max: 2020-12-31, bins: 4}}")
    assert question(schema, "day", "<", "2020-07-02").mean.tolist() == [1, 1, 0, 0, 0]
    for value, says in {
        "2020-06-30": "start at 2020-04-01, 2020-07-02, 2020-10-01",
        "2019-06-30": "true of no rows with a value: 'day' is declared from 2020-01-01 to 2020-12-31",
        "2021-01-01": "true of all rows",
        "June": "'June' is not a date; 'day' is cut at dates from 2020-01-01",
    }.items():
        with pytest.raises(NotSupported) as refused:
            question(schema, "day", "<", value)
        assert says in str(refused.value)
