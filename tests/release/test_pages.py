"""The pages in a real headless browser: nothing loaded, nothing complained of, no sideways scrolling on a phone."""

import numpy as np
import pytest

from dpsynth.columns import Categorical, Integer
from dpsynth.constraints.checking import Checked
from dpsynth.measurement import NoisyCounts, Selected
from dpsynth.release.report.page import page
from dpsynth.schema import Schema
from tests.browser import browser, tab
from tests.release.test_release_report import report
from tests.release.test_report import HOSTILE

pytestmark = pytest.mark.skipif(
    browser() is None, reason="no browser is installed; `apt-get install chromium` to see the pages as a reader does"
)
PHONE, DESKTOP = 360, 1200
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
CUT_OFF = """[...document.querySelectorAll('main *')].filter(e => {
  for (let at = e; at; at = at.parentElement)
    if (at instanceof SVGElement || getComputedStyle(at).overflowX === 'auto') return false;
  return e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).map(e => e.outerHTML.slice(0, 120))"""
"""What sticks out of the page and of any box that scrolls by itself."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with tab(tmp_path_factory.mktemp("profile")) as running:
        yield running


def looked_at(opened, path, width, **how):
    """Open a page; it must be quiet and fit. Returns its text."""
    opened.open(path, width, **how)
    assert opened.complaints() == []
    wide, room = opened.run(WIDTHS)
    assert wide <= room
    assert opened.run(CUT_OFF) == []
    return opened.run("document.body.innerText")


@pytest.mark.parametrize("name", ["report.html", "certificate.html"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_pages_of_a_release_open_quietly_and_fit(opened, written, name, width):
    text = looked_at(opened, written / name, width)
    assert text.startswith("SYNTHETIC")
    assert "clinic" in text


def test_text_is_large_enough_on_a_phone_and_charts_are_drawn(opened, written):
    looked_at(opened, written / "report.html", PHONE)
    assert opened.run("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    heights = "[...document.querySelectorAll('.chart text')].map(t => t.getBoundingClientRect().height)"
    assert min(opened.run(heights)) >= 10
    assert opened.run("document.querySelectorAll('svg.chart .bar').length") > 6
    inside = """[...document.querySelectorAll('svg.chart')].every(s => s.getBoundingClientRect().width > 200)"""
    assert opened.run(inside)


def test_dark_readers_get_dark_pages(opened, written):
    looked_at(opened, written / "report.html", DESKTOP, dark=True)
    assert opened.run("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page on which every name, label and category is an attack."""
    columns = [Categorical(name=text, values=(text, "b" + text), label=text) for text in HOSTILE]
    columns.append(Integer(name="<table><tr>" + "w" * 500, min=0, max=10**6, bins=40))
    schema = Schema(columns=tuple(columns), name=HOSTILE[0], unit="u" + HOSTILE[1])
    codes = {a: np.arange(1000) % 2 for a in schema.domain.attributes}
    names = schema.domain.attributes
    said = [NoisyCounts((a,), np.full(size, 1000 // size), 5.0) for a, size in schema.domain.sizes.items()]
    shape = schema.domain.shape_of(names[:2])
    said += [Selected((names[:2],), 0), NoisyCounts(names[:2], np.full(shape, 111), 5.0)]
    held = tuple(Checked(text, text, 1) for text in HOSTILE[:3])
    checked = [NoisyCounts(names[1:3], np.full(schema.domain.shape_of(names[1:3]), 111), 5.0)]
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    path.write_text(page(report(schema, said, codes, held=held, evaluation=checked)), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_hostile_names_do_nothing_and_break_nothing(opened, hostile, width):
    text = looked_at(opened, hostile, width)
    assert "<script>alert(1)</script>" in text  # as text
    assert opened.run("document.scripts.length + document.images.length + document.forms.length") == 0
    assert opened.run("[...document.querySelectorAll('*')].every(e => !e.getAttributeNames().some(n => /^on/.test(n)))")
