"""The pages behind the front page: claims, the graph of what rests on what, derivations."""

import json
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

from experiments.report import derivations, write_report
from experiments.report.derivations import citations, labels, sections
from experiments.report.graph import ROW, components, dependencies, drawing, neighbourhood
from experiments.report.pages import MOST_ROWS, rows
from experiments.report.view import cards
from proofs_check import checker, core_claims
from proofs_check.claim import Measurement
from proofs_check.rigorous.certificate import PointCertificate
from proofs_check.rigorous.point import prove_critical
from tests.test_experiments.test_report import Page, make_claim, make_outcome
from ufm import UFM, CrossEntropy


def outcome(name, *uses, **more):
    return make_outcome(make_claim(id=name, title=name.title(), uses=uses, **more))


DIAMOND = [
    outcome("floor"),
    outcome("left", "floor"),
    outcome("right", "floor"),
    outcome("roof", "left", "right", "floor"),
    outcome("shed"),
]


def page_of(folder: Path, name: str) -> str:
    return (folder / "claims" / f"{name}.html").read_text(encoding="utf-8")


def test_a_page_says_all_there_is_to_say(tmp_path):
    seen = tuple(Measurement(f"ce K={K}", K * 1e-12, (K / 7,), (K / 7 + 1e-12,)) for K in (3, 4))
    claim = make_claim(id="mine", source="CE-4; after Zhu et al. (2021)", uses=("elsewhere",))
    told = make_outcome(claim, measurements=seen, alterations=9, survivors=("K -> K + 1",))
    write_report([told], tmp_path, figures=False, command="ufm verify --claim {} -v".format)
    html = page_of(tmp_path, "mine")
    text = Page(html).text
    for part in (
        "A claim",
        "One is one.",
        "d is large",
        "CE-4 Strict saddles",
        "ce K=3",
        "0.5714286",
        "4.0 × 10⁻¹²",
        "4.0 × 10⁻³",
        "1e-09: rounding",
        "two is one: rejected",
        "K -> K + 1",
        "8 of 9 rejected",
        "claims that were not run: elsewhere",
        "ufm verify --claim mine -v",
    ):
        assert part in text, part
    assert "<math" in html
    assert 'href="../theory.html#CE-4"' in html


def test_many_instances_are_cut_to_those_with_the_largest_errors():
    many = tuple(Measurement(f"at {i}", i * 1e-12) for i in range(3 * MOST_ROWS))
    shown = rows(make_outcome(measurements=many))
    assert len(shown) == MOST_ROWS
    assert shown[0].instance == f"at {3 * MOST_ROWS - 1}"
    assert [row.instance for row in rows(make_outcome(measurements=many[:7]))] == [
        f"at {i}" for i in range(7)
    ]


def test_links_lead_from_a_claim_to_what_it_rests_on_and_back(tmp_path):
    write_report(DIAMOND, tmp_path, figures=False)
    beside = {
        name: {link["data-claim"] for link in Page(page_of(tmp_path, name)).every("a")
               if "data-claim" in link}
        for name in ("floor", "left", "roof", "shed")
    }  # fmt: skip
    assert beside == {
        "floor": {"floor", "left", "right", "roof"},
        "left": {"floor", "left", "roof"},
        "roof": {"floor", "left", "right", "roof"},
        "shed": set(),
    }
    whole = (tmp_path / "graph.html").read_text(encoding="utf-8")
    assert whole.count('data-claim="') == 4
    assert "1 claims that use none" in whole
    # Colours are named: all four claims of the diamond have one verdict.
    assert whole.count('class="badge ') == 1
    # What left and right imply is not drawn again.
    assert whole.count("<path") == 4


def test_without_uses_there_is_no_graph(tmp_path):
    html = write_report([outcome("one"), outcome("two")], tmp_path, figures=False).read_text()
    assert not (tmp_path / "graph.html").exists()
    assert "graph.html" not in html


def test_a_circle_is_opened_and_a_claim_does_not_use_itself():
    graph = dependencies(cards([outcome("one", "two", "one"), outcome("two", "one")]))
    assert list(graph.edges) == [("two", "one")]


def test_boxes_do_not_overlap_and_stand_to_the_right_of_what_they_use():
    graph = dependencies(cards([make_outcome(claim) for claim in core_claims()]))
    parts = components(graph)
    assert max(len(part) for part in parts) > 50
    for part in (*parts, neighbourhood(graph, "explicit-negative-curvature")):
        made = drawing(part)
        place = {box.card.outcome.claim.id: box for box in made.boxes}
        assert set(place) == set(part)
        for used, user in part.edges:
            assert place[used].x + place[used].width < place[user].x
        columns = {}
        for box in made.boxes:
            columns.setdefault(box.x, []).append(box.y)
            assert box.x + box.width <= made.width
            assert 0 <= box.y <= box.y + box.height <= made.height
        for ys in columns.values():
            assert all(b - a > ROW - 1 for a, b in pairwise(sorted(ys)))


def test_every_formula_of_the_theory_renders_and_nothing_is_left_marked():
    found = derivations.derivations(claim.source for claim in core_claims())
    assert len(found) > 70
    for each in found:
        assert 'class="latex"' not in each.body, each.label
        assert "$" not in each.body.replace("\\$", ""), each.label
        assert not any(mark in each.body for mark in ("\ue000", "\ue001")), each.label


def test_derivations_are_those_cited_and_citations_lead_to_what_is_shown():
    both = {each.label: each for each in derivations.derivations(["CE-4, LS-2b", "7.1"])}
    assert list(both) == ["CE-4", "LS-2", "7.1"]
    assert 'href="#7.1"' in both["LS-2"].body
    assert "CE-3" in both["CE-4"].body
    assert 'href="#CE-3"' not in both["CE-4"].body
    assert "CE-3" in both["CE-4"].cites


def test_what_a_proof_uses_is_a_claim_that_the_theory_cites_and_no_proof_is_a_circle():
    """Every edge of the graph is a citation in docs/theory.md, or the source names the claim."""
    claims = {claim.id: claim for claim in core_claims()}
    theory = nx.DiGraph((label, other) for label in sections() for other in citations(label))
    edges = [(claim, claims[used]) for claim in claims.values() for used in claim.uses]
    assert len(edges) > 150
    assert nx.is_directed_acyclic_graph(nx.DiGraph((a.id, b.id) for a, b in edges))

    def cited(claim, used):
        if used.id in claim.source:
            return True
        return any(
            here == there or (here in theory and there in nx.descendants(theory, here))
            for here in labels(claim.source)
            for there in labels(used.source)
        )

    assert [(a.id, b.id) for a, b in edges if not cited(a, b)] == []
    # Negative control: spectra of one-vs-rest have nothing to do with graphs.
    assert not cited(claims["bce-free-bias"], claims["graph-collapse"])


@pytest.mark.parametrize("places", [(), (Path("nowhere.md"),)])
def test_without_the_theory_there_are_no_derivations(monkeypatch, tmp_path, places):
    monkeypatch.setattr(derivations, "PLACES", places)
    sections.cache_clear()
    write_report([outcome("one", source="CE-4")], tmp_path, figures=False)
    sections.cache_clear()
    assert not (tmp_path / "theory.html").exists()
    assert "no section" in page_of(tmp_path, "one")


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A certificate that holds, and one whose index is off by one."""
    folder = tmp_path_factory.mktemp("atlas") / "certificates"
    folder.mkdir()
    model = UFM(CrossEntropy(), 3, 2, 1, lambda_W=0.1, lambda_H=0.1)
    text = PointCertificate(prove_critical(model, model.origin())).text()
    (folder / "good.json").write_text(text)
    told = json.loads(text)
    told["claim"]["index"] += 1
    told["digest"] = checker.digest(told)
    (folder / "wrong.json").write_text(json.dumps(told))
    return folder


VERIFY = "verify --quick --no-figures --claim identity-soft-threshold --out report --json"


def test_certificates_are_checked_copied_and_listed(certified, ufm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The folder of an atlas has them in a folder of its own.
    ran = ufm(f"{VERIFY} --certificates {certified.parent}")
    assert ran.code == 1, ran.err
    answers = [(each["file"], each["answer"]) for each in ran.json["certificates"]]
    assert answers == [("good.json", "VALID"), ("wrong.json", "INVALID")]
    page = Page(Path("report/index.html").read_text())
    for name in ("good.json", "wrong.json"):
        (link,) = page.every("a", href=f"certificates/{name}")
        assert "download" in link
        copy = Path("report", "certificates", name).read_bytes()
        assert copy == (certified / name).read_bytes()
    assert "INVALID" in page.text
    assert ran.json["certificates"][1]["said"] in page.text
    (certified / "wrong.json").rename(tmp_path / "away.json")
    try:
        alone = ufm(f"{VERIFY} --certificates {certified}")
    finally:
        (tmp_path / "away.json").rename(certified / "wrong.json")
    assert (alone.code, len(alone.json["certificates"])) == (0, 1)
    plain = ufm(VERIFY)
    assert (plain.code, plain.json["certificates"]) == (0, [])
    assert "Certificates" not in Path("report/index.html").read_text()


def test_a_folder_without_certificates_and_what_is_none_are_refused(ufm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for place in ("empty", "nowhere"):
        ran = ufm(f"{VERIFY} --certificates {place}")
        assert ran.code == 2
        assert "Need a folder with certificates" in ran.err
    Path("empty", "none.json").write_text("[]")
    ran = ufm(f"{VERIFY} --certificates empty")
    assert (ran.code, ran.json["certificates"][0]["answer"]) == (2, "NO CERTIFICATE")
    assert not Path("report", "certificates").exists()
    assert "none.json" in Page(Path("report/index.html").read_text()).text
    assert 'certificates/none.json"' not in Path("report/index.html").read_text()


def test_the_command_on_a_page_is_the_one_that_ran(ufm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my theorems.py").write_text(
        "from proofs_check import claim\n"
        "from ufm import UFM, MSE\n"
        "@claim('mine', 'zero is small', models=[UFM(MSE(), 3, 4, lambda_W=.1, lambda_H=.1)],\n"
        "       uses=['balancedness'])\n"
        "def mine(model, point):\n"
        "    return 0.0\n"
    )
    ran = ufm("verify --no-figures --out report --claims", "my theorems.py")
    assert "mine" in ran.out
    html = page_of(Path("report"), "mine")
    text = Page(html).text
    assert "ufm verify --claims 'my theorems.py' --claim mine --details" in text
    assert "not run: balancedness" in text
    assert ufm(VERIFY).code == 0
    page = Page(page_of(Path("report"), "identity-soft-threshold")).text
    assert "ufm verify --claim identity-soft-threshold --details" in page
