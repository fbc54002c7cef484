"""Documents name only what exists: every path in them is a file or folder of this repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "services").glob("*/README.md")),
    *sorted((ROOT / "deploy").rglob("README.md")),
    ROOT / "client" / "README.md",
]
# `services/x/…`, `tests/…`: what looks like a path of ours. A placeholder in angle brackets ends it.
PATH = re.compile(r"`((?:chassis|client|deploy|docs|requirements|rules|schemas|services|tests)/[\w./-]*)")
LINK = re.compile(r"\]\(([\w./-]+)\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_exists(document: Path) -> None:
    text = document.read_text()
    missing = [name for name in PATH.findall(text) if not (ROOT / name).exists()]
    missing += [name for name in LINK.findall(text) if not (document.parent / name).exists()]
    assert missing == []


def test_every_service_has_the_same_files() -> None:
    wanted = {
        "README.md",
        "__main__.py",
        "app.py",
        "handlers.py",
        "ports.py",
        "settings.py",
        "metrics.py",
        "domain",
        "adapters",
    }
    for service in ("ingest", "router", "sender", "webhooks", "analytics"):
        present = {path.name for path in (ROOT / "services" / service).iterdir()}
        assert wanted <= present, f"services/{service} lacks {sorted(wanted - present)}"


def test_every_module_opens_by_saying_what_it_is() -> None:
    modules = [
        path
        for root in ("schemas", "rules", "chassis", "services", "deploy", "client")
        for path in (ROOT / root).rglob("*.py")
    ]
    silent = [
        str(path.relative_to(ROOT))
        for path in modules
        if path.stat().st_size and not path.read_text().startswith('"""')
    ]
    assert silent == []
