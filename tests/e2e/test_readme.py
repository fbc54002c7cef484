"""Every command of the README does what it says: they are taken from it and run, in order, in a stack of their own (R56)."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands_of_the_readme() -> list[str]:
    return BLOCK.findall((ROOT / "README.md").read_text())


def test_the_test_command_is_the_one_ci_runs() -> None:
    assert "make test\n" in commands_of_the_readme()
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_other_command_works(tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "".join(block for block in commands_of_the_readme() if block != "make test\n")
    assert "make demo" in script
    environment = {**os.environ, "RUN_DIR": str(tmp_path / "run"), "PORT_BASE": "23000"}
    environment.pop("SENDARIX_PARTITIONS", None)  # who reads it has none
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for sight in (
        "message.delivered",
        "signature verified",
        "Your verification code",
        '"status":"queued"',
        '"object":"list"',
    ):
        assert sight in said, f"{sight!r} is not in:\n{said}"
    assert not (tmp_path / "run" / "stack.json").exists(), "make down left the stack up"
