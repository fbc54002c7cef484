"""The package and the repository that it lives in agree."""

import inspect
import tomllib
from pathlib import Path

from sendarix import AsyncSendarix, Sendarix

from tests.unit.client.servers import Server

ROOT = Path(__file__).parents[3]


def test_its_dependencies_are_those_that_are_locked_and_tested() -> None:
    package = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]["dependencies"]
    assert package == tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["client"]


def test_both_clients_have_the_same_resources_and_methods() -> None:
    def methods(client: Sendarix | AsyncSendarix) -> dict[str, dict[str, str]]:
        found = {**vars(client), **{f"sandbox.{name}": it for name, it in vars(client.sandbox).items()}}
        return {
            name: {
                method: str(list(inspect.signature(getattr(resource, method)).parameters))
                for method in dir(resource)
                if not method.startswith("_")
            }
            for name, resource in found.items()
            if not name.startswith("_") and name != "sandbox"
        }

    server = Server([])
    assert methods(server.client()) == methods(server.async_client())
