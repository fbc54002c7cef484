"""`python -m services.router`: run the router until SIGTERM."""

from functools import partial

from chassis.service import run
from chassis.settings import load_settings
from services.router.app import build
from services.router.settings import RouterSettings

if __name__ == "__main__":
    settings = load_settings(RouterSettings)
    run("router", settings, partial(build, settings))
