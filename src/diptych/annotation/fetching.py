"""Remote images to files: each URL once, and each file whole or not there."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from diptych.photos.photo_file import read_photo
from diptych.storage.whole import whole_file

_AT_A_TIME = 8
_MOST_BYTES = 64 * 2**20
_BLOCK = 2**16
_WAITS_S = (0.5, 2.0)  # before the second and the third try
_WORTH_RETRYING = (408, 425, 429)
_SAFE = "%/:=&?~#+!$,;'@()*[]"  # of a URL; anything else, such as a blank, is escaped


class FetchFailure(ValueError):
    """A remote image could not be had. `reason` is `unreachable` (no connection, or a busy or faulty server, three
    times), `not_found`, `refused_by_server`, `too_large` or `no_image`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ImageFetcher:
    """Fetches http(s) URLs into `folder`, each into a file named by a hash of the URL; a file that is there is not
    fetched again. Images are of at most 64 MiB, and are decoded once before they count. A try takes `timeout_s` at
    most. Threads and processes may share a folder. Construction does no I/O.
    """

    def __init__(self, folder: str | Path, timeout_s: float = 60.0) -> None:
        self.folder, self.timeout_s = Path(folder), timeout_s

    def path(self, url: str) -> Path:
        """The file of a URL, whether it is there or not."""
        return self.folder / hashlib.sha256(url.encode()).hexdigest()[:20]

    def fetch(self, url: str) -> Path:
        """The file of the image, fetched if need be.

        Raises:
            FetchFailure: the image cannot be fetched.
            OSError: the folder cannot be written.
        """
        path = self.path(url)
        if path.exists():
            return path
        for wait_s in (*_WAITS_S, None):
            try:
                data = self._download(url)
                break
            except FetchFailure as failure:
                if failure.reason != "unreachable" or wait_s is None:
                    raise
            time.sleep(wait_s)
        self._keep(path, data, url)
        return path

    def fetch_all(self, urls: Iterable[str]) -> Iterator[tuple[str, Path | FetchFailure]]:
        """Each URL with its file, or why there is none, in the order of the URLs; eight are fetched at a time."""
        urls = list(urls)
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            try:
                yield from zip(urls, pool.map(self._outcome, urls), strict=True)
            finally:
                pool.shutdown(cancel_futures=True)

    def _outcome(self, url: str) -> Path | FetchFailure:
        try:
            return self.fetch(url)
        except FetchFailure as failure:
            return failure

    def _download(self, url: str) -> bytes:
        ends_at = time.monotonic() + self.timeout_s
        data = bytearray()
        try:
            request = Request(quote(url, safe=_SAFE), headers={"User-Agent": "diptych"})
            with urlopen(request, timeout=self.timeout_s) as answer:
                while block := answer.read1(_BLOCK):
                    data += block
                    if len(data) > _MOST_BYTES:
                        raise FetchFailure("too_large", f"{url} has more than {_MOST_BYTES >> 20} MiB; make it smaller")
                    if time.monotonic() > ends_at:
                        raise TimeoutError("it takes too long")
                length = answer.headers.get("Content-Length")
            if length is not None and int(length) != len(data):
                raise OSError(f"it broke off after {len(data)} of {length} bytes")
        except HTTPError as error:
            raise _of_status(url, error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise FetchFailure("unreachable", f"{url} cannot be reached ({error}); run the command again") from None
        except FetchFailure:
            raise
        except ValueError as error:
            raise FetchFailure("not_found", f"{url} is no address ({error}); correct it in the pairs") from None
        return bytes(data)

    def _keep(self, path: Path, data: bytes, url: str) -> None:
        with whole_file(path) as temporary:
            temporary.write_bytes(data)
            try:
                read_photo(temporary)
            except ValueError as error:
                raise FetchFailure("no_image", f"{url} is no readable image: {error.__cause__ or error}") from None


def _of_status(url: str, status: int) -> FetchFailure:
    if status in (404, 410):
        return FetchFailure("not_found", f"{url} is not there ({status}); correct it in the pairs, or remove them")
    if status >= 500 or status in _WORTH_RETRYING:
        return FetchFailure("unreachable", f"{url}: the server failed ({status}); run the command again")
    return FetchFailure(
        "refused_by_server", f"{url}: the server refuses it ({status}); fetch it yourself, and name the file"
    )
