"""Data files: the folders that are searched, downloads, and checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from hwmodels.errors import NeurofaError

VARIABLE = "NEUROFA_DATA"
"""Environment variable that names the user's data folder."""


def cache_folder() -> Path:
    """Return the user's cache folder, into which files are downloaded."""
    import pooch

    return Path(pooch.os_cache("neurofa"))


def data_folders() -> list[Path]:
    """Return the folders that may hold data files, in the order of the search.

    Raises:
        NeurofaError: the environment names a folder that does not exist.
    """
    named = os.environ.get(VARIABLE)
    if named is None:
        return [cache_folder()]
    if not Path(named).is_dir():
        raise NeurofaError(f"got {VARIABLE}='{named}'; expected an existing folder; create it or unset {VARIABLE}")
    return [Path(named), cache_folder()]


def find_file(relative: str) -> Path | None:
    """Return the file of that relative path in the first data folder that has it; None where none has."""
    return next((folder / relative for folder in data_folders() if (folder / relative).is_file()), None)


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern, sorted, without what systems hide beside them (``._name`` of macOS).

    Args:
        folder: where they lie.
        pattern: of their names, with folders where they lie deeper.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def sha256(blob: bytes) -> str:
    """Return the hexadecimal SHA-256 of the content of a file."""
    return hashlib.sha256(blob).hexdigest()


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        NeurofaError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise NeurofaError(f"got {path} ({error.strerror}); expected a readable file; check its permissions") from None


def download(urls: Sequence[str], known_hash: str | None, target: Path) -> Path:
    """Download a file, whole and verified or not at all, with a progress bar on stderr.

    Args:
        urls: addresses of the same file, tried in order.
        known_hash: ``"sha256:..."`` or ``"md5:..."``; None: none, the reader checks the content.
        target: path of the file.

    Returns:
        ``target``.

    Raises:
        NeurofaError: no address has the file with that checksum.
    """
    import pooch
    import requests

    # the progress bar replaces the log line of pooch
    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for url in urls:
        bar = _Bar(target.name)
        try:
            downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16)
            pooch.retrieve(url, known_hash, fname=target.name, path=target.parent, downloader=downloader)
        except requests.RequestException as error:
            reasons.append(f"{url}: {type(error).__name__}")
        except ValueError as error:
            reasons.append(f"{url}: wrong checksum ({' '.join(str(error).split())})")
        except OSError as error:
            raise NeurofaError(
                f"got {target.parent} ({error.strerror}); expected a writable folder; check its permissions and space"
            ) from None
        else:
            return target
        finally:
            bar.close()
    raise NeurofaError(
        f"got no {target.name} ({'; '.join(reasons)}); expected a download; check the network, or put the file "
        f"under a folder and name that folder in {VARIABLE}"
    )


class _Bar:
    """A rich progress bar with the methods that pooch calls."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self.total = 0
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(title, total=None)

    def update(self, size: int) -> None:
        """Advance by ``size`` bytes; the bar appears with the first call."""
        self._bar.start()
        self._bar.update(self._task, total=self.total or None, advance=size)

    def reset(self) -> None:
        """Set the bar to zero bytes."""
        self._bar.reset(self._task)

    def close(self) -> None:
        """Stop the bar and leave it on the screen."""
        self._bar.stop()
