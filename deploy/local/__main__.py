"""The local stack's command line, for the Makefile: `python -m deploy.local up|down|reset|status|logs|rebuild`."""

import argparse
import logging
import os
import sys

from deploy.local.down import down, reset
from deploy.local.failure import CannotRunError
from deploy.local.layout import Layout
from deploy.local.rebuild import rebuild
from deploy.local.settings import load_settings
from deploy.local.status import logs, status
from deploy.local.up import up


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "reset", "status", "logs", "rebuild"])
    command = parser.parse_args().command
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is not up yet is no news here
    try:
        settings = load_settings()
        layout = Layout.of(settings)
        match command:
            case "up":
                up(settings)
            case "down":
                down(layout)
            case "reset":
                reset(layout)
            case "status":
                status(layout)
            case "logs":
                logs(layout)
            case "rebuild":
                return rebuild(settings, layout)
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us is gone, as in `… | head`
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
