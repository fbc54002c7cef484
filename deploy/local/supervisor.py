"""The process that owns a local stack: starts its parts in order, restarts what dies, ends all in reverse.

`make up` starts it, detached, and reads its progress from its standard output, a line each, until it is ready or has
failed; from then on it only writes its log. It must leave nothing running.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from chassis.clock import Clock, SystemClock
from chassis.log import Log, LogUnavailable
from chassis.service import Crash
from chassis.settings import KafkaSettings
from chassis.telemetry import configure_logging, logger
from deploy.local.children import Child, Children
from deploy.local.credentials import Credentials, load_or_create
from deploy.local.description import describe, publish, withdraw
from deploy.local.failure import CannotRunError, unusable
from deploy.local.kafka import prepare
from deploy.local.layout import Layout
from deploy.local.lock import held
from deploy.local.programs import kafka_program, mailbox_program, service_programs
from deploy.local.readiness import missing_of
from deploy.local.seed import seed
from deploy.local.settings import StackSettings, load_settings
from deploy.provision import ProvisionError, ProvisionSettings, provision

READY, FAILED = "READY", "FAILED "  # how the last line of the progress begins

_READY_WITHIN = 90.0  # seconds; five interpreters start in ten on two idle cores
_TRIES = 3  # what ended so often before it was ready will not get ready
_BAD_SETTINGS = 2  # the status by which chassis.settings ends a process
_DRAIN_WITHIN = 25.0  # a service takes up to 20 s to drain
_END_WITHIN = 10.0
_log = logger("supervisor")


@dataclass(slots=True)
class Stack:
    """One stack coming up, running and going down."""

    settings: StackSettings
    layout: Layout
    credentials: Credentials
    clock: Clock
    crash: Crash
    children: Children = field(init=False)

    def __post_init__(self) -> None:
        self.children = Children(self.clock, self.crash, self._publish)

    def _publish(self) -> None:
        try:
            publish(self.layout, describe(self.layout, self.settings, self.credentials, self.children.all))
        except OSError as error:  # a full disk, a folder that was removed: the processes go on
            _log.error("description_not_written", exc_info=error)

    async def start(self) -> None:
        """Raises CannotRunError with parts running; `stop` ends them."""
        _tell(f"Starting Kafka and a mailbox, logs in {self.layout.logs} …")
        command = await asyncio.to_thread(prepare, self.layout.kafka)
        kafka = await self.children.start(kafka_program(self.layout, command))
        mailbox = await self.children.start(mailbox_program(self.layout))
        await self._ready([kafka, mailbox])
        _tell("Creating topics, a project and its keys …")
        await self._fill()
        counts = ", ".join(f"{count} × {service}" for service, count in self.settings.processes.items())
        _tell(f"Starting {counts} …")
        programs = service_programs(self.layout, self.settings, self.credentials)
        await self._ready([await self.children.start(program) for program in programs])

    async def stop(self) -> None:
        """End the services, then the mailbox, then Kafka: each can still write its last to the next."""
        kafka = [child for child in self.children.all if child.program.service == "kafka"]
        mailbox = [child for child in self.children.all if child.program.service == "mailbox"]
        services = [child for child in self.children.all if child not in (*kafka, *mailbox)]
        await self.children.stop(services, _DRAIN_WITHIN)
        await self.children.stop(mailbox, _END_WITHIN)
        await self.children.stop(kafka, _END_WITHIN)
        withdraw(self.layout)

    async def _fill(self) -> None:
        """Provision the topics, and seed once per Kafka: what a user revoked or removed later stays so."""
        kafka = KafkaSettings(bootstrap_servers=self.layout.kafka.bootstrap_servers, security_protocol="PLAINTEXT")
        try:
            await provision(kafka, ProvisionSettings(replication_factor=1, min_insync_replicas=1))
            if self.layout.seeded.exists():
                return
            log = Log(kafka, client_id="seed")
            await log.start()
            try:
                await seed(log, self.credentials)
            finally:
                await log.stop()
            self.layout.seeded.touch()
        except (ProvisionError, LogUnavailable) as error:
            raise CannotRunError(
                f"Kafka took no topics ({error}): see {self.layout.log_file('kafka')}; `make reset` starts from nothing."
            ) from error

    async def _ready(self, children: Sequence[Child]) -> None:
        """Wait until all are, saying so one by one."""
        waiting = {child.program.name: child for child in children}
        missing = {name: ["no answer"] for name in waiting}
        deadline = self.clock.monotonic() + _READY_WITHIN
        while waiting:
            for name, child in list(waiting.items()):
                _raise_if_hopeless(child)
                missing[name] = await missing_of(child.program.url)
                if not missing[name] and child.alive:
                    del waiting[name]
                    _tell(f"  {name} is ready")
            if waiting and self.clock.monotonic() > deadline:
                name, child = next(iter(waiting.items()))
                raise CannotRunError(
                    f"{name} did not get ready within {_READY_WITHIN:.0f} s ({', '.join(missing[name])}): "
                    f"see {child.program.log_file}, then `make up` again."
                )
            await self.clock.sleep(0.1)


def _raise_if_hopeless(child: Child) -> None:
    if child.exits >= _TRIES or child.last_exit == _BAD_SETTINGS:
        raise CannotRunError(
            f"{child.program.name} ended with status {child.last_exit} instead of getting ready: "
            f"see {child.program.log_file}, then `make up` again."
        )


def _tell(line: str) -> None:
    """To whoever started us; nobody may be there any more."""
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


async def _run(settings: StackSettings, layout: Layout) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    clock, crash = SystemClock(), Crash()
    stack = Stack(settings, layout, load_or_create(layout.secrets, clock.now_ms()), clock, crash)
    asked = asyncio.create_task(_until(stopping, crash))
    try:
        await _up(stack, asked)
        return await asked
    finally:
        asked.cancel()
        await stack.stop()
        _log.info("stopped")


async def _up(stack: Stack, asked: "asyncio.Task[int]") -> None:
    """Start all, unless asked to stop meanwhile. Raises CannotRunError, or OSError."""
    starting = asyncio.create_task(stack.start())
    await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return
    await starting
    stack.layout.running_settings.write_text(stack.settings.model_dump_json())
    _log.info("ready")
    _tell(READY)


async def _until(stopping: asyncio.Event, crash: Crash) -> int:
    """0 once asked to stop, 1 after a fault of our own."""
    reported = asyncio.create_task(crash.reported())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({reported, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if reported.done():
        _log.critical("keeper_failed", exc_info=reported.result())
        return 1
    reported.cancel()
    return 0


def main() -> int:
    settings = load_settings()
    layout = Layout.of(settings)
    configure_logging("supervisor", "1", "info")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is not up yet is no news here
    try:
        with held(layout.lock, wait=False):
            return asyncio.run(_run(settings, layout))
    except BlockingIOError:
        failed = f"A stack runs in {layout.run_dir} already: `make down` ends it."
    except CannotRunError as error:
        failed = str(error)
    except OSError as error:
        failed = str(unusable(layout.run_dir, error))
    _log.error("cannot_run", reason=failed)
    _tell(FAILED + failed)
    return 1


if __name__ == "__main__":
    sys.exit(main())
