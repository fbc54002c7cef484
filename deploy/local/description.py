"""stack.json: the running stack as programs read it; replaced in one step whenever a process is new."""

import json
import os
import shlex
from collections.abc import Iterable
from typing import Any

from deploy.local.children import Child
from deploy.local.credentials import Credentials, write_private
from deploy.local.layout import Layout
from deploy.local.settings import StackSettings


def describe(
    layout: Layout, settings: StackSettings, credentials: Credentials, children: Iterable[Child]
) -> dict[str, Any]:
    """The description, with the supervisor (this process) among the processes."""
    ingest = [layout.url("ingest", replica) for replica in range(1, settings.replicas["ingest"] + 1)]
    return {
        "url": ingest[0],
        "ingest": ingest,
        "keys": {name: credential.key for name, credential in credentials.keys.items()},
        "kafka": layout.kafka.bootstrap_servers,
        "upstream": settings.upstream or layout.mailbox,
        "mailbox": layout.mailbox,
        "processes": [
            {"service": "supervisor", "replica": 1, "pid": os.getpid(), "url": ""},
            *(
                {"service": c.program.service, "replica": c.program.replica, "pid": c.pid, "url": c.program.url}
                for c in children
            ),
        ],
    }


def publish(layout: Layout, description: dict[str, Any]) -> None:
    """Write stack.json, and `env` for shells. Both hold keys, so only their owner can read them."""
    write_private(layout.stack_json, json.dumps(description, indent=2) + "\n")
    url, key = description["url"], description["keys"]["live"]
    write_private(
        layout.shell_file, f"export SENDARIX_URL={shlex.quote(url)}\nexport SENDARIX_API_KEY={shlex.quote(key)}\n"
    )


def withdraw(layout: Layout) -> None:
    """The stack does not run any more."""
    for path in (layout.stack_json, layout.shell_file, layout.running_settings):
        path.unlink(missing_ok=True)
