"""The report: built from noisy answers, synthetic rows and the schema; safe to open, honest on what it lacks."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accountants import Budget, Claim, ExponentialMechanism, FixedPlan, Gaussian, PrivacyUnit
from accountants.certificate import Draw
from accountants.events import ADD_OR_REMOVE
from accountants.lifetime import Lifetime
from dpsynth.columns import Boolean, Categorical, Coded, Integer
from dpsynth.kernel.moments import moment_scales
from dpsynth.measurement import NoisyCounts, NoisyMoments, Score, Selected
from dpsynth.release.report import margins
from dpsynth.release.report import page as html_of
from dpsynth.release.report.budget import spending
from dpsynth.release.report.charts import bars, percent, shorten
from dpsynth.release.report.counted import counted
from dpsynth.release.report.facts import Facts
from dpsynth.release.report.margins import asked_moments, unmeasured
from dpsynth.release.report.report import ReleaseReport
from dpsynth.release.report.verdicts import judged
from dpsynth.schema import Schema
from tests.strategies import schemas

PLAN = FixedPlan([Gaussian(30.0)])


def facts(schema, transcript, codes, *, rows=None, total=1000.0, k=1, plan=PLAN, given=()):
    unit = PrivacyUnit(schema.unit, schema.at_most)
    claim = Claim(Budget(1), unit, plan, "mst", schema.digest, assumptions=("the schema",))
    return Facts(
        dataset="clinic",
        issued="2026-01-31",
        claim=claim,
        charged={"plan": plan.to_json()["events"], "frame": []},
        lifetime=Lifetime.of(Budget(3)),
        relation=ADD_OR_REMOVE,
        draw=Draw("a" * 64, "b" * 64, rows or len(next(iter(codes.values()))), given),
        schema=schema,
        transcript=transcript,
        total=total,
        codes=codes,
        key_id="c" * 64,
    )


def page(known):
    return html_of.page(ReleaseReport.of(known))


def columns(schema, said, codes, rows, total):
    return margins.columns(schema, counted(said), codes, rows, total)


def fits(schema, said, codes, rows, total):
    return judged(counted(said), schema, codes, rows, total)


def measured(schema, clique, sigma=5.0, rows=1000, seed=0):
    shape = schema.domain.project(clique).shape
    values = np.random.default_rng(seed).multinomial(rows, np.full(int(np.prod(shape)), 1 / np.prod(shape)))
    return NoisyCounts(clique, values.reshape(shape).astype(np.int64), sigma)


def uniform(schema, rows=1000, seed=0):
    rng = np.random.default_rng(seed)
    return {a: rng.integers(0, size, rows) for a, size in schema.domain.sizes.items()}


class Page(HTMLParser):
    """Collects tags, attributes and text; void elements aside, tags must balance."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.stack = [], [], [], []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "rect", "path", "circle", "br"):
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


_TAGS = """html head meta title style body div main h1 h2 h3 p b ul li table thead tbody tr th td details summary
figure figcaption bdi span i dl dt dd code svg g rect path circle text"""
_ATTRIBUTES = """lang charset name content http-equiv class role aria-label style open title viewbox d x y width height
cx cy r"""
TAGS, ATTRIBUTES = set(_TAGS.split()), set(_ATTRIBUTES.split())


def harmless(html):
    """No element, attribute or address by which a page could load or run anything."""
    seen = Page(html)
    assert set(seen.tags) <= TAGS
    assert {name for name, _ in seen.attributes} <= ATTRIBUTES
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert all(re.fullmatch(r"flex: [0-9.]+ 1 0", value) for name, value in seen.attributes if name == "style")
    assert "default-src 'none'" in html
    return seen


def test_a_real_release(release):
    text = " ".join(" ".join(harmless(release.report).text).split())
    assert "SYNTHETIC" in text
    for said in (
        "patient",
        "ε = 1",
        "× 2.72",
        "1.61 in 100",
        "ε = 3",
        "about 3000 rows",
        "Not protected",
        "dpsynth verify",
    ):
        assert said in text, said
    assert "Where the codebook may be wrong" in text  # a fifth of the wards is 'atlantis'
    assert "anonym" not in release.report.lower()


def test_dates_are_named_by_where_they_start_and_in_full_in_the_tip():
    schema = Schema.loads(
        """
columns:
  day: {type: date, min: 2020-01-01, max: 2024-12-31, bins: 20}
  hour: {type: datetime, min: 2020-01-01, max: 2020-01-03 23:59:59, bins: 12}
  at: {type: datetime, min: 2020-01-01, max: 2024-12-31 23:59:59, bins: 20}
"""
    )
    shown = {}
    for margin in columns(schema, (), uniform(schema), 1000, 1000.0):
        drawn = str(bars(margin))
        shown[margin.name] = re.findall(r'class="name"[^>]*>([^<]*)<', drawn)
        tips = re.findall(r"<title>(.*?): ", drawn)
        assert [bar.label for bar in margin.bars][:-1] == tips[:-1]
        assert not any(label.endswith("…") for label in shown[margin.name][:-1]), shown
        assert len(set(shown[margin.name])) == len(margin.bars)
    assert shown["day"][:2] == ["from 2020-01-01", "from 2020-04-01"]
    assert shown["hour"][:3] == ["01-01 00:00:00", "01-01 06:00:00", "01-01 12:00:00"]
    assert shown["at"][0] == "from 2020-01-01"


def test_equal_facts_give_equal_bytes(place):
    schema = place.model.schema
    said = tuple(measured(schema, (a,)) for a in schema.names)
    pages = {page(facts(schema, said, uniform(schema), k=2)) for _ in range(2)}
    assert len(pages) == 1
    assert page(facts(schema, (), uniform(schema))) not in pages


HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style></script><img src=x onerror=alert(1)>",
    "\"onmouseover='alert(1)'",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&amp;",
    "\u202eevil\u2066",
    "ﷺ" * 40,
    "x" * 5000,
    "🙂" * 200,
    "http://example.com/a.js",
    "--><svg/onload=alert(1)>",
    "a\u2028b\u00a0c\u0300\u0301",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_and_values_are_only_text(text):
    schema = Schema(
        columns=(Categorical(name=text, values=(text, "b"), label=text), Boolean(name="other")),
        name=text,
        unit="u" + text,
    )
    said = (measured(schema, (text,)), Selected(((text, "other"),), 0), measured(schema, (text, "other")))
    html = page(facts(schema, said, uniform(schema), given=(text,)))
    seen = harmless(html)
    assert max(map(len, seen.text)) < 12_000
    assert "49" not in [part.strip() for part in seen.text]
    assert len(html) < 200_000


@given(schema=schemas(max_columns=3), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_schema_makes_a_page(schema, seed):
    names = schema.domain.attributes
    said = (measured(schema, names[:1], seed=seed), Selected((names[:1],), 0))
    harmless(page(facts(schema, said, uniform(schema, 30, seed))))


def test_fifty_columns_stay_small():
    schema = Schema(
        columns=tuple(Integer(name=f"a rather long column name {i}", min=0, max=10**6, bins=40) for i in range(50))
    )
    names = schema.names
    said = tuple(measured(schema, (a,)) for a in names)
    for i in range(150):
        pair = schema.domain.clique((names[i % 50], names[(i * 7 + 1) % 50]))
        said += (Selected((pair,), 0), measured(schema, pair, seed=i))
    html = page(facts(schema, said, uniform(schema, 2000)))
    assert len(html.encode()) < 2_000_000
    harmless(html)


def test_a_column_of_many_cells_is_merged_and_adds_up():
    schema = Schema(
        columns=(
            Coded(name="code", cardinality=3000),
            Integer(name="age", min=0, max=119, bins=120, missing=True),
            Boolean(name="b"),
        )
    )
    said = tuple(measured(schema, (a,)) for a in schema.names)
    code, age, flag = columns(schema, said, uniform(schema), 1000, 1000.0)
    assert len(code.bars) == len(age.bars) == 24
    assert len(flag.bars) == 3
    for margin, answer in zip((code, age, flag), said, strict=True):
        assert sum(bar.released for bar in margin.bars) == pytest.approx(1)
        assert sum(bar.measured for bar in margin.bars) == pytest.approx(answer.values.sum() / 1000)
        assert sum(bar.sigma**2 for bar in margin.bars) == pytest.approx(answer.values.size * (5 / 1000) ** 2)
    assert [bar.label for bar in age.bars[-2:]] == ["missing", "(outside the codebook)"]
    assert age.bars[0].label == "[0, 5)" or age.bars[0].label.startswith("0")
    assert [bar.rest for bar in code.bars].count(True) == 1


def test_margins_of_merged_and_of_joint_measurements():
    schema = Schema(columns=(Categorical(name="a", values=("x", "y", "z")), Boolean(name="b")))
    merged = np.array([0, 1, 1, 1])
    joint = NoisyCounts(("a", "b"), np.array([[40, 10, 0], [30, 20, 0]]), 2.0, {"a": merged})
    a, b = columns(schema, (joint,), {"a": np.array([0, 1, 2, 3]), "b": np.array([0, 0, 1, 1])}, 4, 100.0)
    assert [bar.label for bar in a.bars] == ["x", "y or z or (outside the codebook)"]
    assert [bar.measured for bar in a.bars] == [0.5, 0.5]
    assert [bar.released for bar in a.bars] == [0.25, 0.75]
    assert a.bars[0].sigma == pytest.approx(2 * 3**0.5 / 100)
    assert [bar.measured for bar in b.bars] == [0.7, 0.3, 0.0]
    assert a.source == b.source == ("a", "b")
    (fit,) = fits(
        schema, (joint,), {"a": np.array([0] * 5 + [2] * 5), "b": np.array([0, 0, 0, 0, 1, 0, 0, 0, 1, 1])}, 10, 100.0
    )
    assert fit.distance == pytest.approx(0)


def test_repeated_counts_are_averaged_by_their_precision():
    schema = Schema.from_domain({"a": 1})
    said = (NoisyCounts(("a",), np.array([100, 0]), 3.0), NoisyCounts(("a",), np.array([75, 25]), 4.0))
    (a,) = columns(schema, said, {"a": np.zeros(4, int)}, 4, 100.0)
    assert (a.times, a.sigma) == (2, pytest.approx(2.4))
    assert [bar.measured for bar in a.bars] == pytest.approx([0.91, 0.09])
    assert [bar.sigma for bar in a.bars] == pytest.approx([0.024, 0.024])
    assert "measured 2 times" in page(facts(schema, said, {"a": np.zeros(4, int)}))


def test_repeated_looks_at_a_margin_are_one_line():
    schema = Schema.from_domain({"a": 1, "b": 1})
    merged = {"a": np.array([0, 0])}
    said = (
        NoisyCounts(("a", "b"), np.array([[100, 0], [0, 0]]), 3.0),
        NoisyCounts(("a", "b"), np.array([[75, 25], [0, 0]]), 4.0),
        NoisyCounts(("a", "b"), np.array([[60, 40]]), 5.0, merged),
        NoisyCounts(("a", "b"), np.array([[80, 20]]), 5.0, {"a": merged["a"].copy()}),
        NoisyCounts((), np.array(100), 5.0),
    )
    codes = {"a": np.zeros(4, int), "b": np.zeros(4, int)}
    plain, coarse = fits(schema, said, codes, 4, 100.0)
    assert (plain.times, plain.sigma, plain.distance) == (2, pytest.approx(2.4), pytest.approx(0.09))
    assert (coarse.times, coarse.cells, coarse.distance) == (2, 2, pytest.approx(0.3))
    text = " ".join(" ".join(Page(page(facts(schema, said, codes))).text).split())
    assert text.count("counted 2 times") == 2


def test_a_margin_below_its_noise_is_not_praised():
    schema = Schema.from_domain({"a": 9, "b": 9})
    codes = uniform(schema, 10_000)
    for sigma, verdict, style in ((1.0, "agrees", "close"), (400.0, "too-noisy", "blurred")):
        counts = np.histogram2d(codes["a"], codes["b"], bins=(range(11), range(11)))[0].astype(np.int64)
        noisy = NoisyCounts(("a", "b"), counts, sigma)
        (fit,) = fits(schema, (noisy,), codes, 10_000, 10_000.0)
        assert fit.verdict == verdict
        html = page(facts(schema, (noisy,), codes, total=10_000.0))
        assert f'<td class="say"><span class="{style}">' in html
        assert ('<td class="say"><span class="close">' in html) == (verdict == "agrees")


def test_a_bin_with_most_rows_is_reported():
    schema = Schema(
        columns=(
            Integer(name="wide", min=0, max=99, bins=10),
            Integer(name="fine", min=0, max=9),
            Integer(name="spread", min=0, max=99, bins=10, missing=True),
            Categorical(name="c", values=("x", "y")),
        )
    )
    codes = {a: np.repeat([0, 1], [81, 19]) for a in ("wide", "fine", "c")}
    codes["spread"] = np.repeat([0, 1, 10], [10, 9, 81])  # most are missing
    margins = list(columns(schema, (), codes, 100, 100.0))
    label, share = margins[0].crowded
    assert (label, share) == ("[0, 10)", pytest.approx(0.81))
    assert [margin.crowded for margin in margins[1:]] == [None, None, None]
    html = page(facts(schema, (), codes))
    assert html.count("Finer bins there would help") == 1


def test_rows_left_out_are_described_not_exposed():
    schema = Schema(columns=(Boolean(name="b"),), unit="zper", at_most=3)
    text = " ".join(" ".join(Page(page(facts(schema, (), uniform(schema)))).text).split())
    described = text.partition("What the data describe")[2].partition("Taken as public")[0]
    assert "at most 3 rows of each 'zper'" in described
    assert "left out" not in text.partition("Not protected")[2].partition("What the budget bought")[0]
    assert "any one unit (all rows that share one value of 'zper', at most 3 of them used)" in text
    assert "a chance of 1 in a billion is left" in text


def test_the_noise_alone_is_what_noise_alone_makes():
    """The mean distance of a right table to its noisy measurement is the one stated, within 2 %."""
    rng, sigma, total = np.random.default_rng(7), 20.0, 10_000
    schema = Schema.from_domain({"a": 30})
    codes = {"a": rng.integers(0, 31, total)}
    exact = np.bincount(codes["a"], minlength=31)
    distances, stated = [], []
    for _ in range(300):
        noisy = exact + np.rint(rng.normal(0, sigma, 31)).astype(np.int64)
        (fit,) = fits(schema, (NoisyCounts(("a",), noisy, sigma),), codes, total, float(total))
        distances.append(fit.distance)
        sampling = np.sqrt((sigma / total) ** 2 + exact / total * (1 - exact / total) / total)
        stated.append(fit.noise / (sampling.sum() / (31 * sigma / total)))
        assert fit.verdict == "agrees"
    assert np.mean(distances) == pytest.approx(np.mean(stated), rel=0.02)
    shifted = {"a": np.where(codes["a"] < 15, 0, codes["a"])}
    (fit,) = fits(schema, (NoisyCounts(("a",), exact, sigma),), shifted, total, float(total))
    assert fit.verdict == "contradicts"
    assert schema.domain["a"] == 31


def test_outside_is_reported_from_three_sigma_on():
    schema = Schema.from_domain({"a": 2, "b": 2})
    codes = {"a": np.zeros(10, int), "b": np.zeros(10, int)}
    said = (NoisyCounts(("a",), np.array([50, 50, 31]), 10.0), NoisyCounts(("b",), np.array([50, 50, 30]), 10.0))
    a, b = columns(schema, said, codes, 10, 100.0)
    assert a.outside == (31.0, 10.0)
    assert b.outside is None
    text = " ".join(Page(page(facts(schema, said, codes))).text)
    assert "Where the codebook may be wrong" in text
    assert "1 column in 740" not in text
    assert "one column in 740" in text


def test_pairs_that_were_never_measured_are_listed():
    schema = Schema.from_domain(dict.fromkeys("abcd", 2))
    said = (measured(schema, ("a", "b", "c")), measured(schema, ("d",)))
    assert unmeasured(schema.domain, said) == {"a": ("d",), "b": ("d",), "c": ("d",), "d": ("a", "b", "c")}
    text = " ".join(" ".join(Page(page(facts(schema, said, uniform(schema)))).text).split())
    assert "3 of 6 pairs of columns were never counted together" in text
    assert "any other column" in text
    everything = tuple(measured(schema, (a, b)) for a in "abcd" for b in "abcd" if a < b)
    assert unmeasured(schema.domain, everything) == {}
    assert "Every pair of columns was counted" in page(facts(schema, everything, uniform(schema)))
    assert "never measured: not to be trusted" in page(facts(schema, said[:1], uniform(schema)))


def test_moments_are_no_counts_of_several_columns():
    claim = Claim(Budget(1), PrivacyUnit("u", 3), FixedPlan([Gaussian(40.0)]), "aim", "a" * 64)
    scores = tuple(Score(a, np.arange(3)) for a in "ab")
    sigma, diagonal = moment_scales(Gaussian(40.0), 3, 5)
    answer = NoisyMoments(scores, 5, np.zeros((2, 2), np.int64), sigma, diagonal)
    spent = spending(claim, {"plan": claim.plan.to_json()["events"]}, (answer,))
    assert spent.moments == pytest.approx(1 / 1600 / float(claim.capacity))
    assert spent.more == 0
    (look,) = spent.looks
    assert (look.joint, look.measured, look.cells, look.clique) == (True, False, 3, ("a", "b"))
    assert asked_moments((answer,)) == ("a", "b")


def test_the_shares_of_the_budget_add_up():
    schema = Schema(columns=tuple(Boolean(name=name) for name in "ab"), unit="u", at_most=3)
    plan = FixedPlan([Gaussian(40.0), ExponentialMechanism(0.05), Gaussian(50.0), Gaussian(60.0)])
    claim = Claim(Budget(1), PrivacyUnit("u", 3), plan, "mst", "a" * 64)
    said = (
        *(measured(schema, (a,), sigma=40.0 * 3 * 2**0.5) for a in "ab"),  # stacked in one event
        Selected((("a", "b"),), 0),
        measured(schema, ("a", "b"), sigma=150.0),
    )
    spent = spending(claim, {"plan": FixedPlan(plan.events[:3]).to_json()["events"]}, said)
    events = [float(event.mu_squared) / float(claim.capacity) for event in plan.events]
    assert spent.ones == pytest.approx(events[0])
    assert spent.choices == pytest.approx(events[1])
    assert spent.more == pytest.approx(events[2])
    assert spent.unused == pytest.approx(events[3])
    shares = (spent.totals, spent.ones, spent.more, spent.moments, spent.choices, spent.checks, spent.unused)
    assert sum(shares) == pytest.approx(1)
    assert [look.share for look in spent.looks] == pytest.approx([events[0] / 2, events[0] / 2, events[1], events[2]])


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1e-9, "<0.01 %"), (-1e-9, ">−0.01 %"), (0.00123, "0.12 %"), (-0.05, "−5.0 %"), (1, "100 %")],
)
def test_percent(share, text):
    assert percent(share) == text


def test_shorten():
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"
    assert shorten("a\x00\u202eb\n", 9) == "a··b·"


def test_a_table_drawn_with_columns_supplied_is_not_called_a_bad_fit():
    schema = Schema.from_domain({"a": 3, "b": 3})
    said = (measured(schema, ("a",)), measured(schema, ("a", "b")))
    codes = {a: np.zeros(1000, dtype=np.int64) for a in ("a", "b")}
    assert "contradicts its measurement" in page(facts(schema, said, codes))
    html = page(facts(schema, said, codes, given=("a",)))
    assert "contradicts" not in html
    assert "Not compared" in html
