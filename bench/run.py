"""One run: part after part, each on the databases that it is measured on."""

from __future__ import annotations

import importlib
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, cast

from bench import records
from bench.figures import Figure, Result, look_around, name_of, table
from bench.parts import ON_BOTH
from bench.site import CannotMeasure, Site
from bench.stores import Kind, SqliteStores, Stores
from supervisor.clock import SystemClock


class Part(Protocol):
    """What the module of a part has."""

    TITLE: str

    def measure(self, site: Site) -> tuple[Figure, ...]:
        """Measure, with everything written where the site says.

        Raises:
            CannotMeasure: something that it needs is not there.
        """
        ...


class Run:
    """Measures into `results`; `folder` is a new one, `url` a Postgres server, if given."""

    def __init__(self, *, folder: Path, results: Path, is_quick: bool, url: str) -> None:
        self._folder = folder
        self._results = results
        self._is_quick = is_quick
        self._url = url
        # Before anything is written.
        self._commit = records.commit()
        self.failed: list[str] = []
        self._shared = folder / "shared"
        self._shared.mkdir()

    def measure(self, parts: Sequence[str], kinds: Sequence[Kind]) -> None:
        """Measure each part on each of these databases that it is measured on; print the tables.

        A part that fails is told of, and put into `failed`; the others are measured.
        """
        with ExitStack() as stack:
            opened: dict[Kind, Stores | None] = {}
            for part in parts:
                for kind in kinds:
                    if kind != "sqlite" and part not in ON_BOTH:
                        continue
                    if kind not in opened:
                        opened[kind] = self._open(kind, stack)
                    stores = opened[kind]
                    if stores is not None:
                        self._try(part, stores)

    def _open(self, kind: Kind, stack: ExitStack) -> Stores | None:
        folder = self._folder / kind
        folder.mkdir()
        if kind == "sqlite":
            return SqliteStores(folder)
        try:
            # Imported here: it needs psycopg, which SQLite alone does not.
            from bench.postgres_stores import postgres_stores

            return stack.enter_context(postgres_stores(self._url, folder))
        except ImportError as error:
            _say(f"Postgres is not measured: {error}")
            return None

    def _try(self, part: str, stores: Stores) -> None:
        name = name_of(part, stores.kind)
        try:
            self._measure(part, stores)
        except CannotMeasure as error:
            _say(f"{name} is not measured: {error}")
        except Exception:  # noqa: BLE001 - a part's border: the run goes on, and ends with 1
            self.failed.append(name)
            _say(f"{name} failed:\n{traceback.format_exc()}")

    def _measure(self, part: str, stores: Stores) -> None:
        module = cast("Part", importlib.import_module(f"bench.{part}"))
        name = name_of(part, stores.kind)
        folder = self._folder / name
        folder.mkdir()
        site = Site(folder=folder, shared=self._shared, stores=stores, is_quick=self._is_quick)
        conditions = look_around(
            stores, SystemClock(), commit=self._commit, is_quick=self._is_quick
        )
        began_s = time.monotonic()
        try:
            figures = module.measure(site)
        finally:
            stores.clear()
            shutil.rmtree(folder)
        title = module.TITLE if stores.kind == "sqlite" else f"{module.TITLE}, on Postgres"
        result = Result(name=name, title=title, conditions=conditions, figures=figures)
        records.keep(result, self._results)
        print(table(result))
        print(f"{name} took {time.monotonic() - began_s:.0f} s\n", flush=True)


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
