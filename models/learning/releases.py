"""Releases: a model's files in a folder that appears whole, under a name made of what is in them, checked before it is loaded.

Whoever learns writes one and publishes its `Release` event; whoever serves reads the event and opens the folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil

from streams.events import Release

# What the manifest's own form is; a release of another form is refused, and the running model stays.
FORMAT = 1
MANIFEST = "release.json"
# Releases of one name that stay on disk: fewer, and there is less to roll back to.
KEPT = 5
# How a version begins: when it was released, to the second.
_STAMP = "%Y%m%dT%H%M%S"


class BadRelease(ValueError):
    """This release can't be loaded. The message says what was expected, what came and where."""


def write(
    root: Path,
    name: str,
    files: Mapping[str, bytes],
    *,
    figures: Mapping[str, float],
    at: int,
    kept: Collection[str] = (),
) -> Release:
    """Write a model's files below `root` and return the event that tells of them; `at` is now, Unix ms.

    The folder appears whole or not at all. Older releases of the name go, but for the newest `KEPT` and the versions `kept`.

    Raises:
        OSError: the disk takes it not; nothing is left of it.
    """
    digests = _digests(files)
    sha256 = _digest(digests)
    version = f"{datetime.fromtimestamp(at / 1000, UTC).strftime(_STAMP)}-{sha256[:8]}"
    folder = root / name / version
    beside = folder.with_name(f".{version}.{os.getpid()}.tmp")
    manifest = {"format": FORMAT, "name": name, "version": version, "files": digests, "figures": dict(figures)}
    try:
        beside.mkdir(parents=True)
        for file, content in {**files, MANIFEST: json.dumps(manifest, indent=1).encode()}.items():
            with (beside / file).open("wb") as out:
                out.write(content)
                out.flush()
                # The event that tells of it may be durable before the disk is.
                os.fsync(out.fileno())
        if not folder.exists():
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _tidy(folder, kept)
    uri = folder.resolve().as_uri()
    return Release(name=name, version=version, uri=uri, sha256=sha256, released_at=at, gate=dict(figures))


def same_files(files: Mapping[str, bytes], version: str) -> bool:
    """Return whether a version is of these files: it is named after them."""
    return version.endswith(f"-{_digest(_digests(files))[:8]}")


def _tidy(newest: Path, kept: Collection[str]) -> None:
    """Remove the oldest releases beside the newest, and what processes that are gone had begun."""
    beside = [path for path in newest.parent.iterdir() if path != newest]
    begun = [path for path in beside if path.name.startswith(".") and not psutil.pid_exists(int(path.name.split(".")[-2]))]
    older = sorted(path for path in beside if not path.name.startswith("."))
    oldest = [path for path in older[: max(0, len(older) - KEPT + 1)] if path.name not in kept]
    for path in [*begun, *oldest]:
        shutil.rmtree(path, ignore_errors=True)


def versions(root: Path, name: str) -> list[str]:
    """Return the versions of a name that are on disk below `root`, oldest first."""
    return sorted(path.parent.name for path in (root / name).glob(f"[0-9]*/{MANIFEST}"))


def on_disk(root: Path, name: str, version: str) -> Release | None:
    """Return a release as the event that told of it, None where it can't be read."""
    folder = root / name / version
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        at = datetime.strptime(folder.name.split("-")[0], _STAMP).replace(tzinfo=UTC)
        return Release(
            name=manifest["name"],
            version=manifest["version"],
            uri=folder.resolve().as_uri(),
            sha256=_digest(manifest["files"]),
            released_at=round(at.timestamp() * 1000),
            gate=manifest["figures"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digests(root: Path, name: str, version: str) -> dict[str, str]:
    """Return the sha256 of each file of a release, as its manifest has them.

    Raises:
        BadRelease: it can't be read.
    """
    path = root / name / version / MANIFEST
    try:
        return {str(file): str(sha256) for file, sha256 in json.loads(path.read_bytes())["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRelease(f"{path}: expected a release's manifest, got {type(error).__name__}: {error}") from error


def opened(release: Release) -> Path:
    """Return the folder of a release whose every file is as it was written.

    Raises:
        BadRelease: it is not there, not whole, of another form, or not what the event tells of.
    """
    address = urlsplit(release.uri)
    if address.scheme != "file":
        raise BadRelease(f"release {release.name} {release.version}: expected a file: URI, got {release.uri!r}")
    folder = Path(unquote(address.path))
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise BadRelease(f"{folder / MANIFEST}: expected form {FORMAT}; this version of Headwater reads no other")
        digests = {file: _digest_of(folder / file) for file in sorted(manifest["files"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRelease(f"{folder}: expected a whole release, got {type(error).__name__}: {error}") from error
    if _digest(digests) != release.sha256:
        changed = [file for file, digest in digests.items() if digest != manifest["files"][file]]
        raise BadRelease(f"{folder}: expected sha256 {release.sha256}, got another; changed: {', '.join(changed) or 'all'}")
    return folder


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {file: hashlib.sha256(content).hexdigest() for file, content in sorted(files.items())}


def _digest(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
