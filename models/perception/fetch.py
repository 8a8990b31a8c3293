"""Fetching media from addresses that strangers name, without becoming their way into our network.

Each hop is resolved once, its addresses are checked, and the connection goes to the very address that was checked: a name that
resolves differently a moment later, or a redirect to a private host, gains nothing.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import stamina

from models.settings import MediaSettings
from streams.ports import BadMedia, MediaUnavailable, PerceptionUnavailable

Resolve = Callable[[str], list[str]]


def resolve(host: str) -> list[str]:
    """Return the IP addresses of `host`, IPv4 first. Raises OSError where it has none."""
    addresses = [str(address[4][0]) for address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    # Only the first is tried, and a machine without a way to IPv6 is likelier than one without a way to IPv4.
    return sorted(addresses, key=lambda address: ":" in address)


def is_public(address: str) -> bool:
    """Return whether an IP address is one that anyone on the internet could mean."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        # An IPv4 address in IPv6 clothes reaches what it reaches undressed.
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


def pinned_address(host: str, settings: MediaSettings, resolve: Resolve = resolve) -> str:
    """Return the address to connect to for `host`; raises BadMedia where any of its addresses is private, OSError for none."""
    addresses = resolve(host)
    private = [address for address in addresses if not is_public(address)]
    if private and host not in settings.private_hosts:
        raise BadMedia(f"expected a public host, got '{host}' at {private[0]}; allow it by media.private_hosts if it is yours")
    return addresses[0]


def fetch(uri: str, settings: MediaSettings, into: Path, *, resolve: Resolve = resolve) -> None:
    """Write the media at an http(s) `uri` to the file `into`, within the limits of size, time and redirects.

    Raises:
        BadMedia: a private host, a limit exceeded, or an answer other than 200.
        MediaUnavailable: its host could not be found or reached, or said so, in several tries.
        PerceptionUnavailable: this machine can't keep the file now.
    """
    try:
        asyncio.run(_fetch(uri, settings, into, resolve))
    except TimeoutError as error:
        size = into.stat().st_size if into.exists() else 0
        raise BadMedia(
            f"{uri}: expected to be fetched in {settings.fetch_timeout_s} s (media.fetch_timeout_s), got {size} bytes"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, socket.gaierror, UnicodeError) as error:
        kind = MediaUnavailable if _is_momentary(error) else BadMedia
        raise kind(f"{uri}: expected media to fetch, got {type(error).__name__}: {error}") from error
    except OSError as error:
        raise PerceptionUnavailable(f"{uri} can't be kept here now: {error}") from error


async def _fetch(uri: str, settings: MediaSettings, into: Path, resolve: Resolve) -> None:
    # One deadline over names, connections, headers and bodies: a host that sends a byte now and then resets every other.
    async with asyncio.timeout(settings.fetch_timeout_s):
        async for attempt in stamina.retry_context(on=_is_momentary, attempts=3, timeout=None, wait_initial=0.2):
            with attempt:
                await _fetch_once(uri, settings, into, resolve)


async def _fetch_once(uri: str, settings: MediaSettings, into: Path, resolve: Resolve) -> None:
    # Without a proxy of the environment: it would resolve the name itself, unchecked.
    async with httpx.AsyncClient(trust_env=False, timeout=min(5.0, settings.fetch_timeout_s)) as client:
        for _ in range(settings.max_redirects + 1):
            async with _answer(client, uri, settings, resolve) as answer:
                if not answer.has_redirect_location:
                    answer.raise_for_status()
                    await _save(answer, uri, settings, into)
                    return
                uri = str(httpx.URL(uri).join(answer.headers["location"]))
    raise BadMedia(f"{uri}: expected media after at most {settings.max_redirects} redirects (media.max_redirects), got another")


@asynccontextmanager
async def _answer(
    client: httpx.AsyncClient, uri: str, settings: MediaSettings, resolve: Resolve
) -> AsyncIterator[httpx.Response]:
    url = httpx.URL(uri)
    if url.scheme not in ("http", "https") or url.scheme not in settings.allowed_schemes:
        raise BadMedia(f"{uri}: expected a redirect to http or https, got scheme '{url.scheme}'")
    address = await _on_a_thread(lambda: pinned_address(url.host, settings, resolve))
    # The certificate and the virtual host are still those of the name.
    headers = {"host": url.netloc.decode("ascii"), "accept-encoding": "identity"}
    request = client.stream("GET", url.copy_with(host=address), headers=headers, extensions={"sni_hostname": url.host})
    async with request as answer:
        yield answer


async def _on_a_thread(look_up: Callable[[], str]) -> str:
    """Return what `look_up` does. Cancelled, it is left to itself: a resolver can't be told to stop."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()

    def settle(address: str | None, error: Exception | None) -> None:
        if not found.done():
            found.set_result(address or "") if error is None else found.set_exception(error)

    def look() -> None:
        address, failure = None, None
        try:
            address = look_up()
        except Exception as error:
            failure = error
        # The loop is closed where the deadline passed meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, address, failure)

    threading.Thread(target=look, name="resolve", daemon=True).start()
    return await found


async def _save(answer: httpx.Response, uri: str, settings: MediaSettings, into: Path) -> None:
    said = answer.headers.get("content-length", "")
    if said.isdigit() and int(said) > settings.max_bytes:
        raise _too_large(uri, settings, f"{said} announced")
    size = 0
    with into.open("wb") as file:
        async for chunk in answer.aiter_raw():
            size += len(chunk)
            if size > settings.max_bytes:
                raise _too_large(uri, settings, "more")
            file.write(chunk)


def _too_large(uri: str, settings: MediaSettings, got: str) -> BadMedia:
    return BadMedia(f"{uri}: expected at most {settings.max_bytes} bytes (media.max_bytes), got {got}")


def _is_momentary(error: Exception) -> bool:
    """Return whether the same request may succeed in a moment."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 500, 502, 503, 504)
    return isinstance(error, (httpx.TransportError, socket.gaierror))
