"""Where a server is and which key it wants: settings name the address and the variable, and hold no secret."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from diptych.models.server.secret_keys import without_logins

_OPENAI_URL = "https://api.openai.com/v1"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


def check_server(base_url: str | None, api_key_env: str | None) -> None:
    """ValueError where the settings of a server lead to none, or are themselves a secret."""
    check_no_secret(base_url, api_key_env)
    if base_url:
        server_url(base_url)


def check_no_secret(base_url: str | None, api_key_env: str | None) -> None:
    """ValueError where the settings of a server are a secret, since settings are written into files. The message does
    not hold it.
    """
    if base_url is not None and (without_logins(base_url) != base_url or {"?", "#"} & {*base_url}):
        raise ValueError(
            "base_url holds a name and a password, or what follows a ? or a #: settings are written into files. Name"
            " the address alone; one with a password may stand in the environment variable OPENAI_BASE_URL, with"
            " api_key_env=null"
        )
    if api_key_env is not None and not _VARIABLE.fullmatch(api_key_env) and api_key_env not in os.environ:
        raise ValueError(
            "api_key_env is the name of an environment variable, in capitals unless it is set, and not the key itself:"
            " settings are written into files. Say export OPENAI_API_KEY=..., and leave api_key_env=OPENAI_API_KEY"
        )


def server_url(base_url: str | None) -> str:
    """The address of a server: of OPENAI_BASE_URL, else OpenAI's own, where the settings name none. ValueError where it
    leads to no server.
    """
    url = base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI_URL
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or not url.isprintable() or " " in url:
        name, shown = "base_url" if base_url else "OPENAI_BASE_URL", without_logins(url)[:200]
        raise ValueError(f"{name}={shown!r} is no address of a server, such as http://localhost:8000/v1")
    return url.rstrip("/")


def read_key(api_key_env: str | None) -> str | None:
    """The key in an environment variable; None where a server wants none. ValueError, without it, where there is none,
    or what can be no key.
    """
    if api_key_env is None:
        return None
    key = os.environ.get(api_key_env, "").strip()
    if not key:
        raise ValueError(
            f"the environment variable {api_key_env} is not set: put the server's key there, or set"
            " api_key_env to null for a server that wants none"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(f"the environment variable {api_key_env} holds no key: blanks or odd characters are in it")
    return key
