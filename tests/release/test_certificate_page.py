"""The page and the text say what the signed file says: every leaf of it, and nothing that runs or loads."""

import copy
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accountants import AdaptivePlan, Budget, Claim, ExponentialMechanism, Gaussian, PrivacyUnit
from accountants.certificate import Draw, Issue, predicate
from accountants.deployment import ASKS, NOT_DECLARED, Deployment
from accountants.dsse import Envelope
from accountants.lifetime import Charge, Lifetime
from accountants.plan import FixedPlan
from dpsynth.release import admit, read_certificate, write_page
from dpsynth.release.certificate import certificate_page, certificate_text
from dpsynth.release.certificate.outline import DECLARED, LAYOUT, leaves, outline, shown

HOSTILE = "<script>alert(1)</script>&amp;\"'><img src=x onerror=y>"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


class Seen(HTMLParser):
    """The text of a page, its tags and their attributes."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.words, self.tags, self.attributes, self.open = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self):
        return squeezed(" ".join(self.words))


def squeezed(text):
    """White space does not count; in wrapped text it may stand anywhere."""
    return re.sub(r"\s", "", text)


def body_of(plan=None, unit=None, lifetime=None, given=(), **claim):
    made = Claim(
        Budget("1"), unit or PrivacyUnit("patient", 3), plan or FixedPlan([Gaussian(40.0)]), "mst", "d" * 64, **claim
    )
    return predicate(
        software="dpsynth 0",
        dataset="clinic",
        claim=made,
        charged={},
        lifetime=lifetime or Lifetime.of(Budget(3)),
        spent=Charge.of(made),
        draw=Draw("a" * 64, "b" * 64, 100, given),
        issue=Issue("2026-01-31", "f" * 32, 7, "e" * 64, False),
        issuer={"key_id": "c" * 64, "public_key": "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"},
        deployment=Deployment(**{name: f"words of {name}" for name in ASKS if name != "about_units"}, about_units=120),
    )


BODIES = {
    "fixed": body_of(parameters={"a": {"b": [1, 2.5, None, True]}, "c": []}, purpose="teaching"),
    "adaptive": body_of(AdaptivePlan(0.1), frame=(Gaussian(500.0),)),
    "row": body_of(unit=PrivacyUnit(), given=("age", "sex"), assumptions=("about 20000 rows",)),
    "sum": body_of(lifetime=Lifetime.of(Budget(3), "sum"), numerics="idealised", schema_origin="public-frame"),
}


@pytest.fixture(params=[*BODIES, "real"])
def body(request, release):
    return release.certificate["predicate"] if request.param == "real" else BODIES[request.param]


def test_every_leaf_of_the_file_is_on_the_page_and_in_the_text(body):
    page, text = Seen(certificate_page(body)).text, squeezed(certificate_text(body))
    walked = list(leaves(body))
    assert len(walked) > 100
    for path, leaf in walked:
        value = squeezed(shown(leaf))
        assert value, path
        assert value in page, path
        assert value in text, path


def test_every_leaf_is_shown_exactly_once_where_a_person_looks(body):
    absent = [line for section in outline(body) for entry in section.entries if entry.absent for line in entry.lines]
    left_out = [name for line in absent for name in line.removeprefix(f"{NOT_DECLARED}: ").split(", ")]
    assert left_out == [name for name in ASKS if body["deployment"][name] == NOT_DECLARED]
    lines = [line for section in outline(body) for e in section.entries if not e.absent for line in e.lines]
    cells = [cell for section in outline(body) for entry in section.entries for row in entry.rows for cell in row]
    values = sorted(shown(leaf) for _, leaf in leaves(body))
    seen = [line.split(": ", 1)[1] if re.match(r"[\w.]+: ", line) and line not in values else line for line in lines]
    assert sorted([*seen, *filter(None, cells), *[NOT_DECLARED] * len(left_out)]) == values


def test_looks_that_are_alike_are_one_line_with_their_number():
    pair = [ExponentialMechanism(0.01), Gaussian(80.0)]
    body = body_of(FixedPlan([Gaussian(20.0), *pair * 22, Gaussian(20.0)]))
    before = copy.deepcopy(body)
    (planned,) = [e for section in outline(body) for e in section.entries if e.label == "Looks planned"]
    assert planned.columns == ("kind", "count", "eta", "noise_multiplier")
    assert planned.rows == (
        ("gaussian", "2", "", "20.0"),
        ("exponential_mechanism", "22", "0.01", ""),
        ("gaussian", "22", "", "80.0"),
    )
    assert body == before
    assert len(body["looks"]["plan"]["events"]) == 46  # the file has each run of them, in order


@pytest.mark.parametrize("count", ["1", True, None, 1.0])
def test_looks_whose_number_is_none_are_shown_as_they_are(count):
    body = body_of()
    body["looks"]["plan"]["events"] = [{"kind": "gaussian", "count": count}] * 2
    (planned,) = [e for section in outline(body) for e in section.entries if e.label == "Looks planned"]
    assert planned.rows == (("gaussian", shown(count)),) * 2


def test_nothing_is_left_without_a_title(body):
    assert [section.title for section in outline(body)] == [title for title, _, _ in LAYOUT]
    labels = [entry.label for section in outline(body) for entry in section.entries]
    assert all(labels)
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize("given", [(), ("curator",), ("name", "about_units"), tuple(ASKS)])
def test_what_was_not_declared_is_one_line_that_names_each_field(given):
    words = Deployment.from_json({name: 120 if name == "about_units" else f"Words on {name}" for name in given})
    body = {**body_of(), "deployment": words.to_json()}
    (section,) = [section for section in outline(body) if section.title == DECLARED]
    rest = [name for name in ASKS if name not in given]
    assert [entry.label for entry in section.entries if not entry.absent] == [ASKS[n] for n in ASKS if n in given]
    assert [entry.lines for entry in section.entries if entry.absent] == (
        [(f"{NOT_DECLARED}: {', '.join(rest)}",)] if rest else []
    )
    assert squeezed("Nothing was declared") not in squeezed(certificate_text(body)) if given else True
    for name in rest:
        assert name in certificate_page(body)
    assert set(body["deployment"]) == set(ASKS)


def test_words_and_fields_of_strangers_do_not_pass_for_what_was_not_declared():
    body = {
        **body_of(),
        "deployment": {"curator": "not declared ", "stranger": NOT_DECLARED, "contact": [NOT_DECLARED]},
    }
    assert not [entry for section in outline(body) for entry in section.entries if entry.absent]
    assert ("deployment.stranger", (NOT_DECLARED,)) in [(e.label, e.lines) for e in outline(body)[-1].entries]


def test_a_field_of_the_future_is_shown_too(body):
    more = {**body, "novel": {"field": ["of", {"the": "future"}]}, "looks": {**body["looks"], "extra": "kept"}}
    last = outline(more)[-1]
    assert last.title == "Further fields"
    assert {(entry.label, entry.lines) for entry in last.entries} == {
        ("looks.extra", ("kept",)),
        ("novel.field.1", ("of",)),
        ("novel.field.2.the", ("future",)),
    }


def test_the_page_is_a_function_of_the_values_alone(body):
    def turned(value):
        if isinstance(value, dict):
            return {name: turned(inner) for name, inner in reversed(value.items())}
        return [turned(inner) for inner in value] if isinstance(value, list) else value

    kept = copy.deepcopy(body)
    again = json.loads(json.dumps(turned(body)))
    assert certificate_page(again) == certificate_page(body)
    assert certificate_text(again) == certificate_text(body)
    assert body == kept


def test_the_figures_for_one_person_lead_for_the_release_and_for_all_of_them(release):
    said = release.certificate["predicate"]
    for words in (Seen(release.page).text, squeezed(certificate_text(said))):
        for part in ("guarantee", "lifetime"):
            assert said[part]["most_the_odds_can_change"] in words
            best = f"{float(said[part]['best_true_positive_rate']['at_most']) * 100:g}in100"
            assert words.index(best) < words.index(squeezed("What is promised") if "ε" in words else "WHATISPROMISED")
    assert release.page.count('class="whole"') == release.page.count('class="one"') == 2


def test_the_page_loads_nothing_runs_nothing_and_can_be_read(body):
    page = certificate_page(body)
    seen = Seen(page)
    assert not {"script", "link", "img", "iframe", "object", "form", "base", "a"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "href", "srcdoc")]
    assert "url(" not in page
    assert "@import" not in page
    assert "://" not in page
    assert ("lang", "en") in seen.attributes
    assert ("scope", "col") in seen.attributes
    assert any(name == "aria-label" for name, _ in seen.attributes)
    assert seen.tags.count("h1") == 1


def test_words_of_strangers_stay_words(body):
    told = {**body, "deployment": dict.fromkeys(ASKS, HOSTILE), "dataset": HOSTILE, HOSTILE: HOSTILE}
    seen = Seen(certificate_page(told))
    assert squeezed(HOSTILE) in seen.text
    assert not {"script", "img"} & set(seen.tags)
    assert "\x1b" not in certificate_text({**body, "dataset": "\x1b[31m", "\x1b[2J": "\x1b]0;"})
    assert "\u202e" not in certificate_page({**body, "dataset": "\u202egnp"})


@given(
    path=st.sampled_from([path for path, _ in leaves(BODIES["adaptive"]) if not any(step.isdigit() for step in path)]),
    value=JSON,
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_makes_a_page(path, value):
    body = copy.deepcopy(BODIES["adaptive"])
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    page, text = Seen(certificate_page(body)).text, squeezed(certificate_text(body))
    for _, leaf in leaves(body):
        assert squeezed(shown(leaf)) in page
        assert squeezed(shown(leaf)) in text


@given(body=st.dictionaries(st.sampled_from(list(BODIES["fixed"])) | st.text(max_size=5), JSON, max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_json_makes_a_page(body):
    assert Seen(certificate_page(body)).tags
    assert certificate_text(body)


def test_a_list_with_a_name_for_each_item_does_not_become_a_square(body):
    wide = {**body, "assumptions": [{f"name {i}": str(i)} for i in range(3000)]}
    assert len(certificate_page(wide)) < 2_000_000


def test_declared_words_reach_the_certificate_and_nothing_else(place, tmp_path):
    words = Deployment(curator="Kirkwall Infirmary", justification="Chosen by the ethics board.")
    released = admit(place.model.sample(5), place.account, deployment=words)
    folder = released.write(tmp_path / "declared")
    for name in ("certificate.html", "certificate.json"):
        raw = (folder / name).read_bytes()
        text = Envelope.from_bytes(raw).payload if name.endswith("json") else raw
        assert b"Kirkwall Infirmary" in text
        assert b"not declared" in text
    for name in ("report.html", "README.txt", "schema.yaml", "synthetic.parquet"):
        assert b"Kirkwall" not in (folder / name).read_bytes()
    assert "Kirkwall" not in "".join(json.dumps(dict(row.body)) for row in place.account.ledger.rows("clinic"))
    assert b"Kirkwall" not in (place.folder / "ledger.db").read_bytes()


def test_the_certificate_is_read_as_text_or_as_a_page_of_its_own(folder, release, tmp_path):
    assert read_certificate(folder) == certificate_text(release.certificate["predicate"])
    page = write_page(folder, tmp_path / "page.html")
    assert page.read_text("utf-8") == release.page
