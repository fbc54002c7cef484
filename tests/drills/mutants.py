"""Deliberate breakages of the product, each of which a named test must find: proof that the tests can fail.

`tests/drills/mutants/` holds one patch each. A patch says in its first two lines what it breaks and which test turns
red. Everything happens in copies; the checkout itself must never be written to.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).parent / "mutants"
_HEAD = re.compile(r"Breaks: (?P<breaks>.+)\nTurns red: (?P<killer>tests/\S+\.py::\S+)\n\n(?=diff )")
_FAST = "tests/unit/"  # seconds, and no broker: what `make test` has time for
_TEST_WITHIN = 60  # seconds for one test: a mutant that waits for ever counts as found
_RUN_WITHIN = 600  # seconds for a whole run of pytest, brokers included
_WITHOUT = ("-p", "no:cacheprovider", "-p", "no:schemathesis")  # half a second less
FIRST_EXAMPLE = "TESTS_FIRST_EXAMPLE"  # set: hypothesis fails by the first example it finds, not the smallest
_NOTHING_RAN = {4, 5}  # pytest's exit codes: no such file or test, and nothing collected
_SAID = 80  # characters of what a failed test said
_TAIL = 15  # lines of a run that says nothing clear
# A test that fails like this has met code that does not run, not code that does the wrong thing.
_DOES_NOT_RUN = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "UnboundLocalError")


class NotAMutant(Exception):
    """A file in the folder that is no patch with its two lines, or a name that is no file there."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One patch: `breaks` in a sentence, `killer` as pytest names it."""

    name: str
    path: Path
    breaks: str
    killer: str

    @property
    def fast(self) -> bool:
        return self.killer.startswith(_FAST)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`text` is what is printed; only a kill is `good`."""

    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest: its exit code, what each failed test said first, and how many could not be run at all."""

    code: int
    failures: tuple[str, ...]
    errors: int
    output: str


def read_mutant(path: Path) -> Mutant:
    """Raises NotAMutant."""
    found = _HEAD.match(path.read_text())
    if found is None:
        raise NotAMutant(
            f"{path.name}: its first lines must be `Breaks: …`, `Turns red: tests/….py::…` and an empty one"
        )
    return Mutant(path.stem, path, found["breaks"], found["killer"])


def mutants_in(folder: Path) -> list[Mutant]:
    return [read_mutant(path) for path in sorted(folder.glob("*.patch"))]


def rotated(mutants: Sequence[Mutant], turn: int) -> Mutant:
    """The fast one whose turn it is."""
    fast = [mutant for mutant in mutants if mutant.fast]
    return fast[turn % len(fast)]


def git(root: Path, *arguments: str) -> str:
    """Ask about the checkout, whoever its files belong to: in CI that may be another user."""
    command = ["git", "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def copy_of(root: Path) -> Iterator[Path]:
    """The working tree without what Git ignores, in a temporary folder."""
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in filter(None, listed.split("\0")):
            if (root / name).is_file():  # a deleted one is listed until it is committed
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, copy / name)
        yield copy


def apply(mutant: Mutant, copy: Path) -> str | None:
    """Change the copy; a sentence where the patch no longer fits."""
    above = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}  # the copy is in no repository
    done = subprocess.run(
        ["git", "apply", mutant.path], cwd=copy, env=above, check=False, capture_output=True, text=True
    )
    return None if done.returncode == 0 else done.stderr.strip()


def run_tests(tests: Sequence[str], copy: Path) -> Run:
    """Run exactly these in the copy, with this interpreter."""
    report = copy / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", *_WITHOUT, f"--timeout={_TEST_WITHIN}"]
    done = subprocess.run(
        [*command, f"--junit-xml={report}", *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", FIRST_EXAMPLE: "1"},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_RUN_WITHIN,
    )
    tail = "\n".join(done.stdout.splitlines()[-_TAIL:])
    if not report.exists():
        return Run(done.returncode, (), 0, tail)
    cases = ET.parse(report).getroot()
    failures = tuple(failure.get("message", "") for failure in cases.iter("failure"))
    return Run(done.returncode, failures, sum(1 for _ in cases.iter("error")), tail)


def verdict_of(mutant: Mutant, run: Run) -> Verdict:
    """Killed is: the named test ran, and failed by what it found."""
    if run.code == 0:
        return Verdict(good=False, text=f"SURVIVED {mutant.killer}")
    broken = [failure for failure in run.failures if failure.startswith(_DOES_NOT_RUN)]
    if run.code == 1 and run.failures and not broken:
        said = " ".join(run.failures[0].split())[:_SAID]
        return Verdict(good=True, text=f"killed by {mutant.killer} ({said})")
    why = broken[0] if broken else f"pytest ended with {run.code}, {run.errors} errors"
    if run.code in _NOTHING_RAN:
        why = "there is no such test"
    return Verdict(good=False, text=f"NOT JUDGED by {mutant.killer}: {why}\n{run.output}")


def judge(mutant: Mutant, root: Path) -> Verdict:
    """Break a copy of `root`, and see whether the named test notices."""
    with copy_of(root) as copy:
        rotten = apply(mutant, copy)
        if rotten is not None:
            return Verdict(good=False, text=f"ROTTED, the patch does not apply: {rotten}")
        return verdict_of(mutant, run_tests([mutant.killer], copy))


def red_without(mutants: Sequence[Mutant], root: Path) -> str | None:
    """What the tests say where nothing is broken, if they are not green there: then they prove nothing."""
    with copy_of(root) as copy:
        run = run_tests(sorted({mutant.killer for mutant in mutants}), copy)
    return None if run.code == 0 else run.output


def drill(mutants: Sequence[Mutant], root: Path, say: Callable[[str], None]) -> bool:
    """Judge them one by one; whether all were killed, by tests that are green without them."""
    red = red_without(mutants, root)
    if red is not None:
        say(f"not green without a mutant:\n{red}")
        return False
    killed = 0
    for mutant in mutants:
        began = time.monotonic()
        verdict = judge(mutant, root)
        killed += verdict.good
        say(f"{mutant.name} ({time.monotonic() - began:.0f} s): {verdict.text}")
        if not verdict.good:
            say(f"  {mutant.breaks}")
    say(f"mutants: {killed} of {len(mutants)} killed")
    return killed == len(mutants)


def chosen(mutants: Sequence[Mutant], names: Sequence[str], *, by_rotation: bool, root: Path) -> list[Mutant]:
    """Raises NotAMutant."""
    if by_rotation:
        return [
            rotated(mutants, int(git(root, "rev-parse", "HEAD"), 16))
        ]  # each commit its own; the same commit always the same
    known = {mutant.name: mutant for mutant in mutants}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NotAMutant(f"no such mutant: {', '.join(unknown)} (there are {', '.join(known)})")
    return [known[name] for name in names] or list(mutants)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="of tests/drills/mutants/<name>.patch")
    parser.add_argument("--all", action="store_true", help="every one of them")
    parser.add_argument("--one-by-rotation", action="store_true", help="a fast one, another with each commit")
    given = parser.parse_args(arguments)
    if bool(given.names) + given.all + given.one_by_rotation != 1:
        parser.error("say which: names, --all or --one-by-rotation")
    try:
        mutants = chosen(mutants_in(PATCHES), given.names, by_rotation=given.one_by_rotation, root=ROOT)
    except NotAMutant as error:
        parser.error(str(error))
    return 0 if drill(mutants, ROOT, say) else 1


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
