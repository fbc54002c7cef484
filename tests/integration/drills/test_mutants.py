"""The runner of the mutants, on a repository of three files: only a test that fails by what it finds is a kill."""

import subprocess
from pathlib import Path

import pytest

from tests.drills.mutants import NotAMutant, Verdict, drill, judge, read_mutant, rotated

FILE = "tests/unit/test_sums.py"
SUM, BLIND = f"{FILE}::test_sum", f"{FILE}::test_blind"
PATCH = """Breaks: sums.
Turns red: {killer}

diff --git a/sums.py b/sums.py
--- a/sums.py
+++ b/sums.py
@@ -1,2 +1,2 @@
 def add(a: int, b: int) -> int:
-    return a + b
+    {line}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout: `test_sum` looks, `test_blind` does not, `test_red` is red anyway."""
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "sums.py").write_text("def add(a: int, b: int) -> int:\n    return a + b\n")
    (tmp_path / "tests" / "unit" / "test_sums.py").write_text(
        "from sums import add\n\n\ndef test_sum():\n    assert add(2, 2) == 4\n\n\ndef test_blind():\n    add(2, 2)\n\n\n"
        "def test_red():\n    assert False\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def judged(root: Path, line: str = "return a - b", killer: str = SUM) -> Verdict:
    patch = root / "a.patch"
    patch.write_text(PATCH.format(killer=killer, line=line))
    return judge(read_mutant(patch), root)


def test_a_mutant_that_its_test_notices_is_killed_and_the_checkout_stays_as_it_was(root: Path) -> None:
    verdict = judged(root)
    assert verdict.good
    assert verdict.text.startswith(f"killed by {SUM} (")
    assert "return a + b" in (root / "sums.py").read_text()


def test_a_mutant_that_its_test_does_not_notice_survives(root: Path) -> None:
    assert judged(root, killer=BLIND) == Verdict(good=False, text=f"SURVIVED {BLIND}")


def test_a_patch_that_does_not_apply_has_rotted(root: Path) -> None:
    (root / "sums.py").write_text("def add(a: int, b: int) -> int:\n    return sum((a, b))\n")
    verdict = judged(root)
    assert not verdict.good
    assert verdict.text.startswith("ROTTED")


@pytest.mark.parametrize("line", ["return a +", "return c"], ids=["syntax", "name"])
def test_code_that_does_not_run_is_no_mutant(root: Path, line: str) -> None:
    verdict = judged(root, line=line)
    assert not verdict.good
    assert verdict.text.startswith("NOT JUDGED")


def test_a_test_that_is_not_there_proves_nothing(root: Path) -> None:
    verdict = judged(root, killer=f"{FILE}::test_gone")
    assert not verdict.good
    assert "there is no such test" in verdict.text


def test_a_test_that_is_red_anyway_proves_nothing(root: Path) -> None:
    patch = root / "a.patch"
    patch.write_text(PATCH.format(killer=f"{FILE}::test_red", line="return a - b"))
    said: list[str] = []
    assert not drill([read_mutant(patch)], root, said.append)
    assert said[0].startswith("not green without a mutant")
    assert "1 failed" in said[0]


def test_one_survivor_is_a_failure_of_the_whole_drill(root: Path) -> None:
    for name, killer in (("good", SUM), ("bad", BLIND)):
        (root / f"{name}.patch").write_text(PATCH.format(killer=killer, line="return a - b"))
    said: list[str] = []
    assert not drill([read_mutant(root / "good.patch"), read_mutant(root / "bad.patch")], root, said.append)
    assert said[-1] == "mutants: 1 of 2 killed"


def test_by_rotation_each_fast_one_has_its_turn(root: Path) -> None:
    mutants = []
    for name, killer in (("a", SUM), ("b", "tests/integration/test_slow.py::test_it"), ("c", SUM)):
        (root / f"{name}.patch").write_text(PATCH.format(killer=killer, line="return a - b"))
        mutants.append(read_mutant(root / f"{name}.patch"))
    assert [rotated(mutants, turn).name for turn in range(3)] == ["a", "c", "a"]


def test_a_patch_must_say_what_it_breaks_and_which_test_finds_it(root: Path) -> None:
    (root / "a.patch").write_text("diff --git a/sums.py b/sums.py\n")
    with pytest.raises(NotAMutant, match=r"a\.patch"):
        read_mutant(root / "a.patch")
