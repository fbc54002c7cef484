"""`make rebuild`: the command of analytics, in the environment of the one that runs here."""

import os
import subprocess

from chassis.clock import SystemClock
from deploy.local.credentials import load_or_create
from deploy.local.failure import CannotRunError
from deploy.local.layout import Layout
from deploy.local.lock import holder
from deploy.local.programs import ROOT, service_programs
from deploy.local.settings import StackSettings


def rebuild(settings: StackSettings, layout: Layout) -> int:
    """The command's exit status. Raises CannotRunError where no stack runs."""
    if holder(layout.lock) is None:
        raise CannotRunError(f"No stack runs in {layout.run_dir}: `make up` starts one.")
    credentials = load_or_create(layout.secrets, SystemClock().now_ms())
    programs = service_programs(layout, settings, credentials)
    analytics = next(program for program in programs if program.service == "analytics")
    environment = {**os.environ, **analytics.environment}  # noqa: TID251 — handed on, not read
    return subprocess.run([*analytics.command, "rebuild"], cwd=ROOT, env=environment, check=False).returncode
