"""More hands for a platform: `python -m gridsecure_api.worker` on any machine of its zone.

It takes jobs from the platform's queue, which is rows of its database, and reads and writes
ciphertexts in its object store. It has no port, no signing key and no folder, and talks to no
platform: start and end as many as you like, at any time.
"""

from __future__ import annotations

import logging
import signal
import sys
from threading import Event

from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.crew import Crew
from gridsecure.compute.job_engines import choose_engine
from gridsecure.compute.tables import SCHEMA
from gridsecure.errors import GridSecureError
from gridsecure.policy.levels import open_level
from gridsecure.store.database import open_database
from gridsecure.store.objects import open_objects
from gridsecure.store.schema import migrate
from gridsecure_api.deps import utc_now
from gridsecure_api.settings import WorkerSettings
from gridsecure_api.start import read_settings
from gridsecure_api.worker_sandboxes import hold_sandbox, state_job_sandbox


def work(settings: WorkerSettings, *, until: Event) -> None:
    """Take jobs until an event is set; what is in hand then is laid down for others.

    Raises:
        StorageError: The database or the object store cannot be used.
        InputError: A URL names nothing that a worker can reach (`objects.url`), the sandbox falls
            below the security level (`level.below`), or as `choose_engine` and
            `state_job_sandbox`.
    """
    hold_sandbox(open_level(settings.level), settings.sandbox, whose="the worker")
    engine = open_database(settings.database)
    migrate(engine, SCHEMA)
    objects = PlatformObjects(open_objects(settings.objects), engine)
    open_pool = choose_engine(
        settings.engine,
        objects=objects.store,
        workers=settings.workers,
        tls=settings.engine_tls,
        sandbox=settings.sandbox,
    )
    state_job_sandbox(settings, settings.objects)
    crew = Crew(engine, objects, open_pool=open_pool, clock=utc_now)
    crew.go_on_duty()
    until.wait()
    crew.stop()
    engine.dispose()


def main() -> None:
    """A worker as the environment describes it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    until = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: until.set())
    try:
        work(read_settings(WorkerSettings), until=until)
    except GridSecureError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
