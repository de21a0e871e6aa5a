"""Remote images to files: each URL once, and each file whole or not there."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request

from diptych.annotation.guarded_web import PrivateAddress, open_guarded
from diptych.models.server.bodies import TooLargeBody, UnreadableBody, unpacked
from diptych.models.server.server_failures import shortened
from diptych.photos.photo_file import decode_photo
from diptych.storage.json_values import encodable
from diptych.storage.whole import write_file

_AT_A_TIME = 8
_MOST_BYTES = 64 * 2**20
_BLOCK = 2**16
_WAITS_S = (0.5, 2.0)  # before the second and the third try
_WORTH_RETRYING = (408, 425, 429)
_SAFE = "%/:=&?~#+!$,;'@()*[]"  # of a URL; anything else, such as a blank, is escaped


class FetchFailure(ValueError):
    """A remote image could not be had. `reason` is `unreachable` (no connection, or a busy or faulty server, three
    times), `not_found`, `refused_by_server`, `private_address`, `too_large` or `no_image`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ImageFetcher:
    """Fetches http(s) URLs into `folder`, each into a file named by a hash of the URL; a file that is there is not
    fetched again. Images are of at most 64 MiB, and are decoded once before they count. One takes `timeout_s` at most,
    with redirections and further tries. Threads and processes may share a folder. Construction does no I/O.

    Addresses come out of files that others may have written: those of this machine and of private networks (where
    clouds keep their keys) are not fetched from, unless `private` says so.
    """

    def __init__(self, folder: str | Path, timeout_s: float = 60.0, private: bool = False) -> None:
        self.folder, self.timeout_s, self.private = Path(folder), timeout_s, private

    def path(self, url: str) -> Path:
        """The file of a URL, whether it is there or not."""
        return self.folder / hashlib.sha256(encodable(url).encode()).hexdigest()[:20]

    def fetch(self, url: str) -> Path:
        """The file of the image, fetched if need be.

        Raises:
            FetchFailure: the image cannot be fetched.
            OSError: the folder cannot be written.
        """
        path = self.path(url)
        if path.exists():
            return path
        ends_at = time.monotonic() + self.timeout_s
        for wait_s in (*_WAITS_S, None):
            try:
                data = download(url, ends_at, self.private)
                break
            except FetchFailure as failure:
                if failure.reason != "unreachable" or wait_s is None or time.monotonic() + wait_s > ends_at:
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

    def _keep(self, path: Path, data: bytes, url: str) -> None:
        try:
            decode_photo(data, shortened(url))
        except ValueError as error:
            raise FetchFailure("no_image", str(error)) from None
        write_file(path, data)


def download(url: str, ends_at: float, private: bool = False) -> bytes:
    """The bytes at an http(s) URL, unpacked, of at most 64 MiB; asks once, until `ends_at` on the monotonic clock, and
    not this machine or private networks unless `private` says so.

    Raises:
        FetchFailure: they cannot be had.
    """
    shown = shortened(url)
    try:
        request = Request(quote(encodable(url), safe=_SAFE), headers={"User-Agent": "diptych"})
        with open_guarded(request, ends_at, private) as answer:
            return _content(answer)
    except HTTPError as error:
        raise _of_status(shown, error) from None
    except TooLargeBody as error:
        raise FetchFailure("too_large", f"{shown}: {error}; make it smaller") from None
    except UnreadableBody as error:
        raise FetchFailure("no_image", f"{shown} cannot be unpacked: {error}; fetch it yourself") from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, PrivateAddress):
            advice = "fetch.private=true retry_failures=true, and with a local model fetch=on"
            message = f"{shown}: {cause}; if the pairs may name such places: {advice}"
            raise FetchFailure("private_address", message) from None
        message = f"{shown} cannot be reached ({shortened(error)}); run the command again"
        raise FetchFailure("unreachable", message) from None
    except ValueError as error:
        raise FetchFailure(
            "not_found", f"{shown} is no address ({shortened(error)}); correct it in the pairs"
        ) from None


def _content(answer: Any) -> bytes:
    """The body of an answer, unpacked. Whether it is whole is known where it has one length that is a number."""
    size = 0

    def blocks() -> Iterator[bytes]:
        nonlocal size
        while block := answer.read1(_BLOCK):
            size += len(block)
            yield block

    encoding = ", ".join(answer.headers.get_all("Content-Encoding") or ())
    data = b"".join(unpacked(blocks(), encoding, _MOST_BYTES))
    given = ", ".join(answer.headers.get_all("Content-Length") or ())  # some servers say it twice
    lengths = {length.strip() for length in given.split(",")}
    length = lengths.pop() if len(lengths) == 1 else ""
    if length.isdecimal() and length.isascii() and length != str(size) and not answer.chunked:
        raise OSError(f"it broke off after {size} of {length} bytes")
    return data


def _of_status(url: str, error: HTTPError) -> FetchFailure:
    status = error.code
    if status in (404, 410):
        return FetchFailure("not_found", f"{url} is not there ({status}); correct it in the pairs, or remove them")
    if status >= 500 or status in _WORTH_RETRYING:
        return FetchFailure("unreachable", f"{url}: the server failed ({status}); run the command again")
    if 300 <= status < 400:
        message = f"{url} leads on without end, or to what is no web address ({status}); name the picture itself"
        return FetchFailure("refused_by_server", message)
    return FetchFailure(
        "refused_by_server", f"{url}: the server refuses it ({status}); fetch it yourself, and name the file"
    )
