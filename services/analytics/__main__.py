"""`python -m services.analytics`: run the read side."""

from chassis.service import run
from chassis.settings import load_settings
from services.analytics.app import build
from services.analytics.settings import AnalyticsSettings

if __name__ == "__main__":
    settings = load_settings(AnalyticsSettings)
    run("analytics", settings, lambda: build(settings))
