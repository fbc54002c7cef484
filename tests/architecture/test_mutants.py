"""The mutants keep up with the code: every patch applies to this checkout, and the test it names is there."""

import subprocess
from pathlib import Path

import pytest

from tests.drills.mutants import PATCHES, read_mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("patch", sorted(PATCHES.glob("*.patch")), ids=lambda path: path.stem)
def test_every_patch_applies_and_its_test_is_there(patch: Path) -> None:
    mutant = read_mutant(patch)
    applies = subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, check=False, capture_output=True, text=True)
    assert applies.returncode == 0, f"the code has moved on, write the patch anew: {applies.stderr}"
    file, _, test = mutant.killer.partition("::")
    assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text(), f"there is no {mutant.killer}"


def test_there_are_enough_of_them() -> None:
    mutants = [read_mutant(path) for path in PATCHES.glob("*.patch")]
    assert len(mutants) >= 12
    assert any(mutant.fast for mutant in mutants)
