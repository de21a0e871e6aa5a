"""The web, for addresses out of other people's files: only places that everybody can reach, and until a time at most.

What counts is the address that is connected to, whatever the name, and however it is written: a name may lead to this
machine, and so may a redirection. Proxies are those of the environment.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from diptych.parallel.deadline import within
from diptych.parallel.private_parts import set_connector

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# What not every Python counts as private: protocol assignments, where a cloud has its metadata; the address at which
# another has them; site-local addresses; those of translators within a network; those of documentation.
_FURTHER = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "168.63.129.16/32", "fec0::/10", "64:ff9b:1::/48", "3fff::/20"))
)


class PrivateAddress(OSError):
    """The place is this machine, or in a private network."""


def open_guarded(request: Request, ends_at: float, private: bool) -> Any:
    """The answer to a request, as `urlopen` gives it; ten redirections are followed, to http and https only. Reading
    from it ends at `ends_at`, on the monotonic clock, too.

    Raises:
        PrivateAddress: the place is not for everybody, and `private` is false; it may be the `reason` of a URLError.
        OSError: it cannot be had.
    """
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        _Redirections(),
        _Plain(ends_at, private),
        _Encrypted(ends_at, private),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=_left(ends_at))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the whole internet, whichever IPv4 address an IPv6 address may stand for."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        teredo = ip.teredo[1] if ip.teredo else None
        translated = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        meant = ip.ipv4_mapped or ip.sixtofour or teredo or translated
        if meant is not None:
            return is_public(str(meant))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in one for one in _FURTHER)


class _Redirections(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        fp.close()  # or else the content would be read, however much
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise HTTPError(newurl, code, "it leads to what is no web address", headers, None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Plain(HTTPHandler):
    def __init__(self, ends_at: float, private: bool) -> None:
        super().__init__()
        self._ends_at, self._private = ends_at, private

    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_connections(http.client.HTTPConnection, req, self._ends_at, self._private), req)


class _Encrypted(HTTPSHandler):
    def __init__(self, ends_at: float, private: bool) -> None:
        super().__init__(context=_certificates())
        self._ends_at, self._private = ends_at, private

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        connections = _connections(http.client.HTTPSConnection, req, self._ends_at, self._private)
        return self.do_open(connections, req, context=_certificates())


@cache
def _certificates() -> ssl.SSLContext:
    """Those of this machine; to load them takes longer than a small picture."""
    return ssl.create_default_context()


def _connections(
    kind: type[http.client.HTTPConnection], request: Request, ends_at: float, private: bool
) -> Callable[..., Any]:
    """What opens a connection of this kind for a request. Where a proxy does that, the name is looked up all the same;
    one that only the proxy knows is left to it.
    """
    asked = Request(request.full_url).host or ""  # as it is connected to without a proxy: `%31` in it is a 1
    place, proxied = urlsplit(f"//{asked}"), request.host != asked
    if proxied and not private:
        with suppress(socket.gaierror):
            _public_addresses(ends_at, place.hostname or "", place.port or 80)

    def open_connection(host: str, timeout: float, **more: Any) -> http.client.HTTPConnection:
        connection: Any = kind(host, timeout=_left(ends_at), **more)
        set_connector(connection, partial(_connected, ends_at, private or proxied))
        connection.response_class = partial(_Response, ends_at)
        return connection

    return open_connection


def _connected(ends_at: float, private: bool, place: tuple[str, int], *_: object) -> socket.socket:
    failure: OSError = OSError(f"{place[0]} has no address")
    look_up = _addresses if private else _public_addresses
    for family, address in look_up(ends_at, *place):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(_left(ends_at))
            connection.connect(address)
            connection.settimeout(_left(ends_at))  # for the handshake
            return connection
        except OSError as error:
            connection.close()
            failure = error
    raise failure


def _addresses(ends_at: float, host: str, port: int) -> list[tuple[int, Any]]:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = within(_left(ends_at), look_up, f"looking up {host}")
    return [(family, address) for family, *_, address in found]


def _public_addresses(ends_at: float, host: str, port: int) -> list[tuple[int, Any]]:
    found = _addresses(ends_at, host, port)
    public = [(family, address) for family, address in found if is_public(address[0])]
    if found and not public:
        raise PrivateAddress(f"{host} is {found[0][1][0]}, an address of this machine or of a private network")
    return public


class _Response(http.client.HTTPResponse):
    """Waits for each byte until the time is over, instead of anew for each."""

    def __init__(self, ends_at: float, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        reader: Any = self.fp
        self.fp = io.BufferedReader(_Timed(reader.detach(), sock, ends_at))


class _Timed(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, connection: socket.socket, ends_at: float) -> None:
        self._raw, self._connection, self._ends_at = raw, connection, ends_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(_left(self._ends_at))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("it takes too long")
    return left
