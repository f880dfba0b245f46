"""The page of the report: complete, self-contained, safe from what a user writes, atomic."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from experiments.files import whole_file
from experiments.report import write, write_report
from experiments.report.figures import Picture, picture
from experiments.report.formula import formula
from experiments.report.view import cards, evidence, figure, gauge, subjects, tally, verdict_of
from proofs_check import core_claims
from proofs_check.claim import Claim, Hypothesis, Mutant, Outcome, Status, Tolerance
from ufm import InputError


def make_claim(**changes: object) -> Claim:
    plain = Claim(
        id="a-claim",
        title="A claim",
        statement="One is one.",
        latex=r"\lambda_W = \lambda_H",
        source="derived here",
        literature="proved",
        hypotheses=(Hypothesis("d is large", lambda s: True),),
        region=lambda quick: (),
        check=lambda s: 0.0,
        tolerance=Tolerance(1e-9, "rounding"),
        tier="T0",
        mutant=Mutant("two is one"),
        subject="numbers",
    )
    return replace(plain, **changes)


def make_outcome(claim: Claim | None = None, **changes: object) -> Outcome:
    plain = Outcome(
        claim=claim or make_claim(),
        status=Status.VERIFIED,
        region="K=3..4, d=2..6",
        instances=12,
        outside=3,
        worst_margin=0.02,
        worst_error=2e-11,
        worst_specimen="ce K=4 d=6 n=2, critical",
        mutant_rejected=True,
        mutant_margin=4e6,
        counterexample=None,
        evidence="proved properties",
        losses=("ce", "focal(2)"),
        seconds=1.5,
    )
    return replace(plain, **changes)


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def every(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = attributes.items()
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted)]


def fetched(html: str) -> list[str]:
    """Everything that a browser would load to show the page, but data inside the page."""
    loads = []
    for tag, attributes in Page(html).tags:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            loads.append(attributes.get(name))
        if tag in ("link", "use", "image", "base"):
            loads += [attributes.get("href"), attributes.get("xlink:href")]
    loads += re.findall(r"url\(\s*['\"]?([^'\")]+)", html)
    loads += re.findall(r"@import\s+['\"]?([^'\";]+)", html)
    loads += re.findall(r"(?:fetch|XMLHttpRequest|importScripts|import)\s*\(", html)
    return [x for x in loads if x and not x.startswith("data:")]


def written(tmp_path: Path, *outcomes: Outcome) -> str:
    return write_report(outcomes, tmp_path, figures=False).read_text(encoding="utf-8")


@pytest.fixture
def one_picture(monkeypatch: pytest.MonkeyPatch) -> Picture:
    """A cheap picture instead of the set of the report."""

    def draw(ax):
        ax.plot([0, 1], [1, 0])
        return ax

    made = picture("tiny", "A tiny picture", "A falling line.", [("a", "one line", draw)])
    monkeypatch.setattr(write, "pictures", lambda say: (made,))
    return made


def test_the_page_has_every_core_claim(tmp_path: Path) -> None:
    claims = core_claims()
    html = written(tmp_path, *(make_outcome(claim) for claim in claims))
    page = Page(html)
    assert len(page.every("details", **{"class": "claim"})) == len(claims)
    for claim in claims:
        assert f"<code>{claim.id}</code>" in html
        assert claim.title in page.text


def test_a_card_says_all_there_is_to_say(tmp_path: Path) -> None:
    text = Page(written(tmp_path, make_outcome())).text
    for part in (
        "Verified",
        "One is one.",
        "d is large",
        "12 instances: K=3..4, d=2..6",
        "3 more outside the hypotheses",
        "error 2e-11 = 0.02 tolerances, at ce K=4 d=6 n=2, critical",
        "1e-09: rounding",
        "two is one: rejected, 4.0 × 10⁶ tolerances off",
        "tier T0 (one float64 number); rests on proved properties",
        "proved; derived here",
    ):
        assert part in text, part


def test_nothing_is_fetched(tmp_path: Path, one_picture: Picture) -> None:
    html = write_report([make_outcome()], tmp_path).read_text(encoding="utf-8")
    assert fetched(html) == []
    assert not Page(html).every("iframe")
    assert all("src" not in script for script in Page(html).every("script"))
    # Negative control: the test sees what it is there to see.
    broken = html.replace("</head>", '<script src="https://a.org/x.js"></script></head>')
    broken = broken.replace("</style>", "@import 'https://a.org/x.css'; a{b:url(x.png)}</style>")
    assert set(fetched(broken)) == {"https://a.org/x.js", "https://a.org/x.css", "x.png"}


def test_every_page_behind_is_self_contained_and_every_link_leads_somewhere(
    tmp_path: Path,
) -> None:
    write_report([make_outcome(claim) for claim in core_claims()], tmp_path, figures=False)
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.html")}
    assert len(pages) == len(core_claims()) + 3
    ids = {path: {a["id"] for _, a in page.tags if "id" in a} for path, page in pages.items()}
    links = 0
    for path, page in pages.items():
        assert fetched(path.read_text(encoding="utf-8")) == []
        for link in page.every("a"):
            address, _, anchor = (link["href"] or "").partition("#")
            target = (path.parent / address).resolve() if address else path
            assert target in pages, link
            assert not anchor or anchor in ids[target], link
            links += 1
    assert links > 5 * len(core_claims())


def test_what_a_claim_cannot_see_and_what_was_left_out_are_on_its_card(tmp_path: Path) -> None:
    outcome = make_outcome(alterations=31, survivors=("K - 1 -> K - 2",), left_out=7)
    html = written(tmp_path, outcome)
    assert "30 of 31 rejected" in html
    assert "K - 1 -&gt; K - 2" in html
    assert "7 specimens, not run" in html
    broken = written(tmp_path, make_outcome(status=Status.BROKEN, reason="ValueError: no"))
    assert "Could not be run" in broken
    assert "ValueError: no" in broken
    plain = written(tmp_path, make_outcome())
    assert not any(text in plain for text in ("Altered formulas", "Filtered out"))


def test_what_a_user_writes_is_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'too'"
    claim = make_claim(
        id="mine",
        title=nasty,
        statement=nasty,
        source=nasty,
        subject=nasty,
        literature=nasty,
        tolerance=Tolerance(1e-9, nasty),
        latex=rf"\text{{{nasty}}} \href{{javascript:alert(3)}}{{x}}",
        hypotheses=(Hypothesis(nasty, lambda s: True),),
        mutant=Mutant(nasty),
    )
    outcome = make_outcome(claim, worst_specimen=nasty, region=nasty, losses=('x" onclick="y',))
    html = written(tmp_path, outcome)
    page, plain = Page(html), Page(written(tmp_path, make_outcome()))
    assert len(page.every("script")) == len(plain.every("script")) == 1
    assert not page.every("img")
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "javascript:" not in (attributes.get("href") or "")
    assert page.text.count("<script>alert(1)</script>") >= 6
    [card] = page.every("details", **{"class": "claim"})
    assert nasty.lower() in (card["data-text"] or "")


@pytest.mark.parametrize(
    ("holds", "status", "key", "word"),
    [
        (True, Status.VERIFIED, "verified", "Verified"),
        (True, Status.NO_COUNTEREXAMPLE, "unrefuted", "No counterexample"),
        (True, Status.COUNTEREXAMPLE, "failed", "Failed"),
        (False, Status.COUNTEREXAMPLE, "refuted", "Refuted, as expected"),
        (False, Status.VERIFIED, "failed", "Not refuted, but should be"),
        (True, Status.UNDECIDED, "undecided", "Undecided"),
        (False, Status.UNDECIDED, "undecided", "Undecided"),
        (True, Status.NOT_APPLICABLE, "failed", "No instance"),
        (True, Status.NOT_RUN, "outside", "Not run"),
        (True, Status.BROKEN, "failed", "Could not be run"),
    ],
)
def test_the_badge(tmp_path: Path, holds: bool, status: Status, key: str, word: str) -> None:
    outcome = make_outcome(make_claim(holds=holds), status=status)
    badge = verdict_of(outcome)
    assert (badge.key, badge.word) == (key, word)
    # The page is red exactly where the command line exits with an error.
    assert (key in ("failed", "undecided")) is (not outcome.expected)
    html = written(tmp_path, outcome)
    assert f'<span class="badge {key}"><span aria-hidden="true">{badge.icon}</span> {word}' in html
    assert ("Not as it should be" in html) is (not outcome.expected)


def test_the_head_counts(tmp_path: Path) -> None:
    outcomes = [
        make_outcome(),
        make_outcome(status=Status.NO_COUNTEREXAMPLE),
        make_outcome(make_claim(holds=False), status=Status.COUNTEREXAMPLE),
        make_outcome(status=Status.COUNTEREXAMPLE, counterexample="ce K=3 d=1"),
        make_outcome(status=Status.UNDECIDED, mutant_rejected=False, mutant_margin=3.0),
        make_outcome(status=Status.NOT_RUN, mutant_rejected=None, instances=0),
    ]
    count = tally(cards(outcomes))
    assert (count.claims, count.verified, count.refuted, count.failed) == (6, 2, 1, 1)
    assert (count.undecided, count.outside) == (1, 1)
    assert (count.mutants_rejected, count.mutants, count.instances) == (4, 5, 60)
    text = Page(written(tmp_path, *outcomes)).text
    assert "smallest found: ce K=3 d=1" in text
    assert "not rejected , only 3 tolerances off" in text
    assert "6 claims run on 60 instances" in text
    assert "4 / 5 mutants rejected" in text


def test_one_of_a_kind_is_no_plural(tmp_path: Path) -> None:
    html = written(tmp_path, make_outcome(instances=1, alterations=1))
    assert "<title>Neural collapse: 1 claim checked</title>" in html
    text = Page(html).text
    assert "1 claim run on 1 instance in" in text
    assert "1 / 1 mutant rejected" in text
    assert "1 / 1 altered formula rejected" in text
    assert not re.search(r"\b1 (claims|instances|mutants|formulas)\b", text)


def test_evidence_is_counted_by_what_the_literature_says(tmp_path: Path) -> None:
    """What failed, and what was not run, is evidence of nothing."""
    outcomes = [
        make_outcome(make_claim(id="one", literature="proved")),
        make_outcome(make_claim(id="two", literature="proved")),
        make_outcome(make_claim(id="three", literature="open", tier="S")),
        make_outcome(
            make_claim(id="four", literature="refuted", holds=False), status=Status.COUNTEREXAMPLE
        ),
        make_outcome(make_claim(id="five", literature="recalled"), status=Status.COUNTEREXAMPLE),
        make_outcome(make_claim(id="six", literature="recalled", tier="E"), status=Status.NOT_RUN),
    ]
    told = {
        row: {column: [card.outcome.claim.id for card in found] for column, found in cells.items()}
        for row, cells in evidence(cards(outcomes)).items()
    }
    assert told == {
        "proved": {"S": [], "T0": ["one", "two"], "counterexample": []},
        "open": {"S": ["three"], "T0": [], "counterexample": []},
        "refuted": {"S": [], "T0": [], "counterexample": ["four"]},
    }
    page = Page(written(tmp_path, *outcomes))
    (both,) = page.every("a", title="one, two")
    assert both["href"] == "#claim-one"
    assert evidence(cards(outcomes[4:])) == {}


def test_claims_are_grouped_in_order_of_appearance() -> None:
    order = [make_outcome(make_claim(subject=s, id=f"c{i}")) for i, s in enumerate("baba")]
    grouped = subjects(cards(order))
    assert list(grouped) == ["b", "a"]
    assert [card.outcome.claim.id for card in grouped["b"]] == ["c0", "c2"]


def test_filters_offer_what_is_there(tmp_path: Path) -> None:
    other = make_outcome(make_claim(id="b"), status=Status.UNDECIDED, losses=("mse", "focal(3)"))
    page = Page(written(tmp_path, make_outcome(), other))
    [form] = page.every("form")
    assert "hidden" in form  # a script shows it, so that nobody meets dead controls
    assert {"loss", "verdict", "text"} <= {
        a.get("name") for tag, a in page.tags if tag in ("select", "input")
    }
    options = {a["value"] for a in page.every("option")}
    assert options == {"", "ce", "focal", "mse", "verified", "undecided"}
    data = [(a["data-loss"], a["data-verdict"]) for a in page.every("details")]
    assert data == [("ce focal", "verified"), ("mse focal", "undecided")]


def test_figures_are_in_the_page_and_beside_it(tmp_path: Path, one_picture: Picture) -> None:
    lines: list[str] = []
    html = write_report([], tmp_path, progress=lines.append).read_text(encoding="utf-8")
    page = Page(html)
    [image] = page.every("img")
    head, content = (image["src"] or "").split(",")
    assert head == "data:image/svg+xml;base64"
    assert ElementTree.fromstring(base64.b64decode(content)).tag.endswith("svg")
    assert image["alt"] == "one line"
    assert "A falling line." in page.text
    figures = tmp_path / "figures"
    assert sorted(x.name for x in figures.iterdir()) == ["tiny.png", "tiny.svg"]
    assert (figures / "tiny.png").read_bytes().startswith(b"\x89PNG")
    assert lines[-1] == "page"


def test_without_figures_there_are_none(tmp_path: Path) -> None:
    html = written(tmp_path)
    assert not Page(html).every("img")
    assert "Pictures" not in html
    assert "No claim was run." in html
    assert [x.name for x in tmp_path.iterdir()] == ["index.html"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["render", "write_whole", "pictures"])
def test_a_failure_leaves_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: type[BaseException]
) -> None:
    page = write_report([make_outcome()], tmp_path, figures=False)
    before = page.read_bytes()

    def fail(*arguments: object) -> object:
        if where == "write_whole":
            # Half of the page is written, then the power goes.
            with whole_file(page) as stream:
                stream.write(b"<!doctype html><p>half")
                raise error
        raise error

    monkeypatch.setattr(write, where, fail)
    with pytest.raises(error):
        write_report([], tmp_path, figures=where == "pictures")
    assert page.read_bytes() == before
    assert sorted(x.name for x in tmp_path.iterdir()) == ["claims", "index.html"]
    monkeypatch.undo()
    assert write_report([], tmp_path, figures=False).read_bytes() != before


def test_a_folder_is_made_and_a_file_refused(tmp_path: Path) -> None:
    assert write_report([], tmp_path / "a" / "b", figures=False).is_file()
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="older for the report"):
            write_report([], place, figures=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_provenance_is_there(tmp_path: Path) -> None:
    text = Page(written(tmp_path)).text
    for label in ("Written", "ufm-lab", "Python", "jax", "numpy", "Device", "float64"):
        assert label in text


def test_a_formula_becomes_mathml() -> None:
    pytest.importorskip("latex2mathml")
    made = str(formula(r"\lambda_W \le \frac{1}{K} \quad \min_{W} \mathbf{1}"))
    tree = ElementTree.fromstring(made)
    tags = {element.tag.split("}")[1] for element in tree.iter()}
    assert {"math", "msub", "mfrac", "munder"} <= tags
    assert 'class="bold"' in made
    # The xmlns is a name; a page that loads it loads nothing.
    assert fetched(made) == []


@pytest.mark.parametrize(
    "latex", [r"\unknowncommand{x}", r"\frac{1", r"\left(", "}{", r"\begin{cases} a", "\\"]
)
def test_a_formula_that_does_not_convert_is_shown_or_shown_as_code(latex: str) -> None:
    made = str(formula(latex))
    ElementTree.fromstring(made)
    assert "\\" not in re.sub(r"<code.*?</code>|aria-label=\"[^\"]*\"", "", made)


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"\mathbb R^d", "ℝ"),
        (r"\mathcal G", "𝒢"),
        (r"\Big\lVert x\Big\rVert", "‖"),
        (r"\arg\min_t t", "min"),
        (r"\begin{aligned}a&=b\cr c&=d\end{aligned}", "<mtr"),
        (r"f\ge0 \tag{C.1}", "C"),
    ],
)
def test_what_the_converter_does_not_know_is_said_otherwise(latex: str, shown: str) -> None:
    made = str(formula(latex))
    assert shown in made
    assert "<code" not in made


def test_a_formula_in_a_line_is_inline() -> None:
    assert 'display="inline"' in formula("x", "inline")
    assert 'display="block"' in formula("x")


def test_without_the_converter_a_formula_is_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "latex2mathml.converter", None)
    formula.cache_clear()
    assert str(formula("a < b")) == '<code class="latex">a &lt; b</code>'


def test_margins_are_placed_and_written() -> None:
    assert gauge(1e-8) == 0
    assert gauge(1e12) == 100
    assert gauge(1e-30) == 0
    assert gauge(float("nan")) is None
    assert gauge(100.0) > gauge(1.0)
    assert figure(float("inf")) == "∞"
    assert figure(float("nan")) == figure(None) == "–"
    assert figure(-1.5e-7) == "-1.5 × 10⁻⁷"
