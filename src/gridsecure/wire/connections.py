"""HTTP clients that share what their process trusts: reading the roots takes 90 ms a client."""

from __future__ import annotations

import ssl
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx


@cache
def trusted_roots() -> ssl.SSLContext:
    """The certificate authorities that TLS connections of this process believe, read once."""
    return httpx.create_ssl_context()


def new_client(**options: Any) -> httpx.Client:
    """A client that follows no redirect and keeps no cookie: one would number its requests.

    Args:
        options: As `httpx.Client` takes them.
    """
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.Client(verify=trusted_roots(), follow_redirects=False, cookies=jar, **options)


def unlinked_client(**options: Any) -> httpx.Client:
    """A client whose every request has a connection of its own, so that none shows the next.

    Args:
        options: As `httpx.Client` takes them.
    """
    return new_client(limits=httpx.Limits(max_keepalive_connections=0), **options)
