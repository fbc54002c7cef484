"""`python -m services.sender`: send until SIGTERM."""

from functools import partial

from chassis.service import run
from chassis.settings import load_settings
from services.sender.app import build
from services.sender.settings import SenderSettings

if __name__ == "__main__":
    settings = load_settings(SenderSettings)
    run("sender", settings, partial(build, settings))
