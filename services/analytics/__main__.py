"""`python -m services.analytics`: run the read side; with `rebuild`, have the one that runs rebuild it from the log."""

import sys

from chassis.service import run
from chassis.settings import load_settings
from services.analytics.app import build
from services.analytics.command import rebuild
from services.analytics.settings import AnalyticsSettings

if __name__ == "__main__":
    settings = load_settings(AnalyticsSettings)
    if sys.argv[1:2] == ["rebuild"]:
        sys.exit(rebuild(settings, sys.argv[2:]))
    run("analytics", settings, lambda: build(settings))
