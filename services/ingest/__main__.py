"""`python -m services.ingest`: the process."""

from chassis.service import Service, run
from chassis.settings import load_settings
from services.ingest.app import build
from services.ingest.settings import IngestSettings


def main() -> None:
    settings = load_settings(IngestSettings)

    async def make() -> Service:
        return await build(settings)

    run("ingest", settings, make)


if __name__ == "__main__":
    main()
