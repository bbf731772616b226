"""The private page: hostile names are text, nothing is loaded, and in a real browser it is quiet and fits a phone."""

from __future__ import annotations

import re

import pytest

from dpsynth.evaluation.custodian.charts import Scale, number, said, strip
from dpsynth.evaluation.custodian.finding import Finding
from dpsynth.evaluation.custodian.page import page
from tests.evaluation.custodian.test_gate import ABOUT

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</table></details><style>*{display:none}</style>",
    "{{ 7 * 7 }}",
    "\u202egnp.exe",
    "w" * 400,
)


def findings() -> list[Finding]:
    found = [Finding("fidelity", "total variation distance, 2-way", "", 0.25, baseline=0.125)]
    for text in HOSTILE:
        found.append(Finding("fidelity", "total variation distance, columns", text, 0.1, 0.05, 0.2, 0.1, note=text))
        found.append(
            Finding("privacy", f"attack {text}", text, 0.6, 0.5, 0.7, 0.5, 0.99, note=f"{text} FLAGGED: {text}")
        )
        found.append(Finding("utility", text, note=text))
    return found


@pytest.fixture(scope="module")
def html() -> str:
    return page(findings(), {**ABOUT, "dataset": HOSTILE[0], "generator": HOSTILE[1]})


def test_names_are_text(html):
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<style>") == 1
    assert "{{ 7 * 7 }}" in html  # it was not rendered a second time
    assert "\u202e" not in html


def test_it_is_whole_in_itself(html):
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!#)", html)
    assert "default-src 'none'" in html
    assert html.index("Choosing a release after reading this page is a look at the data") < html.index("Fidelity</h2>")
    assert html == page(findings(), {**ABOUT, "dataset": HOSTILE[0], "generator": HOSTILE[1]})


def test_attacks_stand_beside_their_controls_and_the_sentence(html):
    privacy = html[html.index("Privacy attacks</h2>") :]
    assert "Attacks falsify, they never certify" in privacy
    assert 'class="n">control</th>' in privacy
    assert 'class="n">0.99</td>' in privacy
    high = page([Finding("privacy", "an attack", "", 0.9, 0.8, 1.0, 0.5, 0.99)], ABOUT)
    assert 'class="n flag">0.9</td>' in high
    both = [*findings()[:1], Finding("privacy", "a", "", 0.9, 0.8, 1.0, 0.5)]
    assert "<b>1</b> of 1 attack figures exceed" in page(both, ABOUT)


def test_strips_hold_every_figure_on_one_scale():
    found = [Finding("s", "m", "a", 0.5, 0.4, 0.6, 0.1, 0.9), Finding("s", "m", "b", -0.2)]
    scale = Scale.of(found)
    assert scale == Scale(-0.2, 0.9)
    assert 'class="control"' in strip(found[0], scale)
    assert 'class="baseline"' not in strip(found[1], scale)
    assert said(found[0]) == "0.5, between 0.4 and 0.6, baseline 0.1, control 0.9"
    assert Scale.of([Finding("s", "m")]) is None
    assert strip(Finding("s", "m"), None) == ""
    assert Scale.of([Finding("s", "m", "", 3.0)]) == Scale(2.5, 3.5)
    assert [number(x) for x in (float("nan"), 0.0, 12345.0, -0.25, 0.00002)] == [
        "–",
        "0",
        "12\u202f345",
        "−0.25",
        "2.0e−05",
    ]


@pytest.mark.parametrize("width", [360, 1200])
def test_in_a_browser(html, width, tmp_path):
    browser = pytest.importorskip("tests.browser")
    if browser.browser() is None:
        pytest.skip("no browser is installed; `apt-get install chromium` to see the page as a reader does")
    path = tmp_path / "PRIVATE-report.html"
    path.write_text(html, encoding="utf-8")
    with browser.tab(tmp_path / "profile") as opened:
        opened.open(path, width)
        assert opened.complaints() == []
        wide, room = opened.run("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= room
        assert opened.run("document.body.innerText").startswith("PRIVATE")
        assert opened.run("document.querySelectorAll('svg.strip .dot').length") > len(HOSTILE)
        opened.screenshot(tmp_path / "shot.png")
        assert (tmp_path / "shot.png").stat().st_size > 10_000
