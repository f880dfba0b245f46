"""``--html``: one file that says command, data, precision and provenance, and needs no other."""

import dataclasses
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.cli.atlas_captions import CAPTIONS, caption_of
from experiments.networks.comparison.page import decay_in_words, empirical, end_of
from experiments.networks.comparison.table import Row
from experiments.networks.training import FeatureDecay, Outcome, WeightDecay
from experiments.report.self_contained import OwnPage, part_of, render_own
from experiments.report.view import FAILED, NO_INSTANCE, REFUTED, VERIFIED
from ufm import UFM, CrossEntropy, lift


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = UFM(CrossEntropy(), 3, 5, 4, lambda_W=0.03, lambda_H=0.007)
    W, H, _ = lift(model, model.minimiser().point)
    path = tmp_path_factory.mktemp("page") / "network.npz"
    arrays = {"features": H.T.astype(np.float32), "classifier": W.astype(np.float32)}
    np.savez(path, labels=model.labels, **arrays)
    return path


def words_of(page):
    """The text of a page, after a look that nothing is fetched."""
    text = page.read_text()
    plain = re.sub(r'data:image[^"]*', "", text)
    assert "http" not in plain.replace("http://www.w3.org", "")
    assert not re.search(r'(src|href)="(?!data:|#|")', plain)
    plain = re.sub(r"<style>.*?</style>", "", plain, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", plain).split()), text.count("<img")


def test_the_page_of_a_network_says_everything(ufm, saved, tmp_path):
    page = tmp_path / "own.html"
    assert ufm("measure --lambda-w 0.03 --html", page, saved).code == 0
    words, pictures = words_of(page)
    assert f"Command: ufm measure --lambda-w 0.03 --html {page} {saved}" in words
    assert "at the proved minimum" in words
    assert "Counts 4 of every class" in words
    assert "Stored as float32; what is measured is computed in float64" in words
    assert "let pass" in words  # the diagnosis
    # Every convention, on the page without --all; and no second precision beside the stored one.
    assert "Papyan, Han, Donoho 2020" in words
    assert ("Arithmetic float64" in words, "Precision" in words) == (True, False)
    for label in ("Revision", "Python", "jax", "Device"):
        assert label in words
    assert pictures == 2
    several = tmp_path / "several.html"
    assert ufm("measure --lambda-w 0.03 --html", several, saved, saved).code == 0
    words, pictures = words_of(several)
    assert (words.count("network"), pictures) >= (2, 1)


def test_the_pages_of_a_point(ufm, tmp_path):
    point, page = tmp_path / "point.npz", tmp_path / "page.html"
    assert ufm("solve -K 3 -d 2 --html", page, "--save", point).code == 0
    words, pictures = words_of(page)
    assert "MORSE_BOTT_MINIMUM, GLOBAL" in words
    assert ("Seed 0" in words, pictures) == (True, 2)
    assert ufm("verdict --html", page, point).code == 0
    words, _ = words_of(page)
    assert "Verdict on a point" in words
    assert "duality gap" in words


def test_every_diagram_of_an_atlas_has_a_caption():
    folder = Path(importlib.import_module("experiments.cli").__file__).parent
    source = (folder / "atlas_figures.py").read_text()
    names = re.findall(r'Diagram\(\s*f?"([a-z-]+)', source)
    assert len(names) > 14
    assert {caption_of(name)[1] for name in names} == {said for _, said in CAPTIONS.values()}
    assert caption_of("geometry-rank-2-1")[0].endswith("(rank 2, number 1)")


@pytest.mark.slow
def test_the_page_of_a_landscape(ufm, tmp_path):
    page = tmp_path / "page.html"
    assert ufm("atlas -K 3 --html", page).code == 0
    words, pictures = words_of(page)
    assert "4 orbits of critical points" in words
    assert pictures > 5


@pytest.mark.parametrize("words", ["measure", "solve", "verdict", "atlas -K 3"])
def test_a_page_that_cannot_be_written_is_refused_before_any_work(ufm, saved, words):
    files = [saved] if words in ("measure", "verdict") else []
    for place, says in (("no/a.html", "existing folder for --html"), ("a.pdf", "ends in .html")):
        ran = ufm(f"{words} --html {place}", *files)
        assert (ran.code, says in ran.err, ran.out) == (2, True, "")


def test_what_a_page_shows_is_escaped():
    text = render_own(OwnPage("<b>", "<script>", "ufm <x>", ["<i>"], {"Data": "<u>"}))
    for bad in ("<b>", "<script>", "<x>", "<i>", "<u>"):
        assert bad not in text
    assert part_of("a line") == "a line"


@dataclasses.dataclass(frozen=True)
class Card:
    verdict: object


def test_claims_about_runs_do_not_fail_like_theorems():
    found = [
        card.verdict.word
        for card in empirical([Card(v) for v in (FAILED, REFUTED, NO_INSTANCE, VERIFIED)])
    ]
    assert found == ["Not in all of these runs"] * 2 + ["Not applicable", "Verified"]
    assert {card.verdict.key for card in empirical([Card(FAILED), Card(NO_INSTANCE)])} == {
        "outside"
    }
    fit, unfit = ({"train_accuracy": x} for x in (1.0, 0.99))
    assert "did not fit" not in end_of(Row("ce", 1.0, 0, Outcome.COMPLETED, fit))
    assert "did not fit" in end_of(Row("ce", 1.0, 0, Outcome.COMPLETED, unfit))
    assert "did not fit" not in end_of(Row("ce", 1.0, 0, Outcome.NOT_FINITE, {}))
    assert decay_in_words(FeatureDecay(5e-4, 1.23456789e-7)).startswith(
        "lambda_W = 0.0005, lambda_H = 1.23456789e-07"
    )
    assert decay_in_words(WeightDecay(3e-3)) == "weight_decay = 0.003 on everything that is trained"
