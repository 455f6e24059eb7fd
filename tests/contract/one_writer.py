"""A process that opens a store, writes one latch, and ends: `python -m ... URL FOLDER SCOPE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from supervisor.storage.open import open_database
from tests.contract.latches import put


async def _write(url: str, folder: str, scope: str) -> None:
    database = await open_database(url, state_dir=Path(folder), now_us=1)
    await database.write(put, scope)
    await database.close()


if __name__ == "__main__":
    asyncio.run(_write(*sys.argv[1:]))
