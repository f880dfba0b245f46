"""The site of the documentation: built without a warning, every link of it followed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.site.links import complaints

ROOT = Path(__file__).parents[1]


def test_dead_links_and_what_a_network_would_bring_are_seen(tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#x">b</a><a href="#top">t</a>'
    )
    (tmp_path / "b.html").write_text('<p id="x"></p><a href="https://example.org">out</a>')
    assert complaints(tmp_path) == []
    (tmp_path / "b.html").write_text(
        '<a href="c.html">c</a><a href="a.html#y">y</a><script src="https://example.org/a.js"></script>'
        '<link rel="stylesheet" href="//example.org/a.css"><img src="no.png">'
    )
    told = complaints(tmp_path)
    for part in ("c.html: no such file", "a.html#y: no such place", "a.js: loaded", "a.css: loaded",
                 "no.png: no such file", "b.html#x: no such place"):  # fmt: skip
        assert sum(part in line for line in told) == 1, part
    assert len(told) == 6


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("furo", reason="needs the extra [docs]")
    pytest.importorskip("myst_parser", reason="needs the extra [docs]")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "docs.site", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return folder


def said(site, page):
    return (site / page).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_formulas_are_mathml_and_theorems_lead_to_claims_and_back(site):
    theory = said(site, "theory.html")
    assert theory.count("<math") > 1000
    assert "$$" not in re.sub(r"<pre>.*?</pre>", "", theory, flags=re.DOTALL)
    address = "claims/whole-landscapes.html#claim-every-orbit-is-a-strict-saddle"
    assert f'href="{address}"' in theory
    assert 'href="../theory.html#CE-4"' in said(site, address.partition("#")[0])


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_the_four_questions_are_answered_in_two_clicks(site):
    front = said(site, "index.html")
    for target, answer in (
        ("conventions.html#what-is-lambda-h-of-a-network", "lambda_H_hat"),
        ("tutorials/own-model.html#batchnorm-and-relu", "orthogonal frame"),
        ("tutorials/own-loss.html", "task `threshold`"),
        ("glossary.html#undecided", "do not decide"),
    ):
        page = target.partition("#")[0]
        assert re.search(rf'href="{re.escape(page)}[^"]*"', front), target
        text = re.sub(
            r"<[^>]+>", "", said(site, page).replace("<code", "`<code").replace("</code>", "`")
        )
        assert answer in text, target


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_the_search_works_without_a_server(site):
    """Its index is a script, which a page from a file may load, and knows words of each kind."""
    page = said(site, "search.html")
    assert "searchindex.js" in page
    index = said(site, "searchindex.js")
    assert index.startswith("Search.setIndex(")
    for word in ("undecided", "minimise_mani", "overshoot"):
        assert f'"{word}"' in index.lower() or f"{word}:" in index.lower() or word in index, word


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_pages_have_formulas_and_search_in_a_browser(site, tmp_path):
    """Chromium, where there is one, finds a word by the search of a page that is a file."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    address = f"file://{site}/search.html?q=overshoot"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000")
    command = [browser, *flags, f"--user-data-dir={tmp_path}", "--dump-dom", address]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert re.search(r'class="search">.*glossary\.html', ran.stdout, re.DOTALL), ran.stdout[-2000:]
