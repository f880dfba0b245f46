"""The README is run: its library example as a doctest, its theorem as the file it names."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from experiments.models import named_model
from landscape import solve
from proofs_check.registry import load_claims
from proofs_check.run import check_claim

ROOT = Path(__file__).parents[1]
THEOREM = ROOT / "docs" / "examples" / "my_theorem.py"


def test_the_library_example_is_true():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed == 0


def test_the_theorem_of_the_readme_is_the_file_and_has_under_15_lines():
    code = THEOREM.read_text(encoding="utf-8").split('"""\n', 1)[1].strip()
    assert code in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len([line for line in code.splitlines() if line]) < 15


@pytest.mark.slow
def test_the_true_theorem_is_verified_and_the_wrong_one_refuted():
    outcomes = {outcome.claim.id: outcome for outcome in map(check_claim, load_claims(THEOREM))}
    assert outcomes["balanced-norms"].status.name == "VERIFIED"
    assert outcomes["balanced-norms"].mutant_rejected
    wrong = outcomes["equal-rows"]
    assert wrong.status.name == "COUNTEREXAMPLE"
    assert wrong.counterexample is not None
    assert "counts=3,2,1" in wrong.counterexample


def test_the_model_of_contributing_is_one(tmp_path):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "wells.py"
    file.write_text(code, encoding="utf-8")
    declared = named_model(f"{file}:Wells")
    assert [parameter.name for parameter in declared.parameters] == ["d", "depth", "coupling"]
    assert all(parameter.help for parameter in declared.parameters)
    found = solve(declared.build({"d": 3, "depth": 2.0, "coupling": 0.1}))
    # x = +-y with |x|^2 = t: (t - 2)^2 / 2 - t^2 / 10 is least at t = 2.5.
    assert found.objective == pytest.approx(-0.5, abs=1e-12)
    # How short it is, and the shortest of the lab, as the page says.
    told = re.search(r"The model above has (\d+) lines", text)
    assert told is not None
    assert int(told[1]) == len(code.splitlines()) < 40
    sizes = re.findall(r"`(ufm/models/\w+\.py)` with (\d+)", text)
    assert len(sizes) == 2
    for name, lines in sizes:
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) == int(lines)
