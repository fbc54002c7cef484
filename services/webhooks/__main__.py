"""`python -m services.webhooks`: run webhooks until SIGTERM."""

from functools import partial

from chassis.service import run
from chassis.settings import load_settings
from services.webhooks.app import build
from services.webhooks.settings import WebhooksSettings

if __name__ == "__main__":
    settings = load_settings(WebhooksSettings)
    run("webhooks", settings, partial(build, settings))
