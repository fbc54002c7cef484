"""Locks are hashed, complete and name no registry; each service's lock holds its own imports (ADR 4)."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
OURS = {"schemas", "rules", "chassis", "services", "deploy", "tests"}
SERVICES = ("ingest", "router", "sender", "webhooks", "analytics")


def locked(group: str) -> set[str]:
    text = (ROOT / "requirements" / f"{group}.txt").read_text()
    return {name.lower() for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "chassis"])
def test_every_group_has_a_hashed_lock_without_hosts(group: str) -> None:
    text = (ROOT / "requirements" / f"{group}.txt").read_text()
    assert "://" not in text
    assert text.count("==") <= text.count("--hash=sha256:")
    wanted = {canonical(re.split(r"[<>=\[;]", item)[0]) for item in GROUPS[group] if isinstance(item, str)}
    assert wanted <= {canonical(name) for name in locked(group)}


def imports_of(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - OURS - set(sys.stdlib_module_names)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_only_what_its_lock_holds(service: str) -> None:
    distributions = packages_distributions()
    have = {canonical(name) for name in locked(service)}
    needed = imports_of(ROOT / "services" / service) | imports_of(ROOT / "chassis") | imports_of(ROOT / "schemas")
    missing = {name for name in needed if not {canonical(d) for d in distributions.get(name, [name])} & have}
    assert missing == set()


def test_nothing_in_the_repository_locks_a_registry() -> None:
    assert not list(ROOT.glob("**/uv.lock"))
