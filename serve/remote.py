"""Audio from an address: only from hosts that the server lists, and never from inside its network.

The name is resolved here, every address that it has must be public, and the connection goes to the address that was
checked: a name that resolves to something else a moment later (DNS rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

import httpx

from fas_serve.errors import APIError, invalid

TIMEOUT = 15.0  # seconds, for all of a download
DEFAULT_PORTS = {"http": 80, "https": 443}
# Of IPv6 the open internet is 2000::/3; all else (NAT64, IPv4 in other clothes, site-local, unique local) stays inside or leads
# there. Within it: Teredo and other protocols of the IETF, documentation, 6to4.
IPV6 = ipaddress.ip_network("2000::/3")
NOT_PUBLIC = tuple(
    map(ipaddress.ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "192.88.99.0/24"))
)
ISATAP = (0x00005EFE, 0x02005EFE)  # the upper half of an interface identifier that holds an IPv4 address


async def fetch(url: str, where: str, hosts: tuple[str, ...], max_bytes: int) -> bytes:
    """The bytes at an address.

    Args:
        url: http or https.
        where: the part of the request that errors name.
        hosts: `name` or `name:port` from which may be fetched.
        max_bytes: at most.

    Raises:
        APIError: 400 for an address that is not allowed, redirects, fails, takes too long or is too big.
    """
    target = _allowed(url, where, hosts)
    try:
        return await asyncio.wait_for(_download(target, where, max_bytes), TIMEOUT)
    except (asyncio.TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        slow = isinstance(error, asyncio.TimeoutError | httpx.TimeoutException)
        problem = f"no answer within {TIMEOUT:.0f} s" if slow else "cannot be fetched"
        raise invalid(f"{where}: audio_url: {problem}", where, "media_unavailable") from None


def _allowed(url: str, where: str, hosts: tuple[str, ...]) -> SplitResult:
    def refuse(problem: str) -> APIError:
        hint = "send the audio itself, as input_audio or as data: URL"
        return invalid(f"{where}: audio_url: {problem}; {hint}", where, "media_not_allowed")

    try:
        target = urlsplit(url)
        port, host = target.port, target.hostname
    except ValueError:
        raise refuse("not an address") from None
    if target.scheme not in DEFAULT_PORTS or not host:
        raise refuse("expected a data:, https: or http: address; files of the server are never read")
    if target.username is not None or target.password is not None:
        raise refuse("an address with a user name is not fetched")
    plain = port in (None, DEFAULT_PORTS[target.scheme])
    if not (f"{host}:{port}" in hosts or (plain and host in hosts)):
        raise refuse("its host is not one that this server fetches from (server option --allowed-media-hosts)")
    return target


async def _download(target: SplitResult, where: str, max_bytes: int) -> bytes:
    host, port = target.hostname, target.port or DEFAULT_PORTS[target.scheme]
    address = await _public_address(host, port, where)
    url = target._replace(netloc=f"[{address}]:{port}" if ":" in address else f"{address}:{port}", fragment="").geturl()
    name = host if target.port is None else f"{host}:{target.port}"
    headers = {"Host": name, "Accept-Encoding": "identity"}  # what is compressed could be a bomb
    async with (
        httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT) as client,
        client.stream("GET", url, headers=headers, extensions={"sni_hostname": host}) as response,
    ):
        if response.is_redirect or response.status_code != 200:
            said = "a redirect" if response.is_redirect else f"status {response.status_code}"
            problem = f"{where}: audio_url: the host answered with {said}; expected the audio itself"
            raise invalid(problem, where, "media_unavailable")
        return await _read(response, where, max_bytes)


async def _read(response: httpx.Response, where: str, max_bytes: int) -> bytes:
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > max_bytes:
            raise invalid(f"{where}: audio_url: more than {max_bytes} bytes", where, "audio_too_big")
    return bytes(data)


async def _public_address(host: str, port: int, where: str) -> str:
    addresses = await resolve(host, port)
    if not addresses or not all(map(is_public, addresses)):
        problem = f"{where}: audio_url: its host has a loopback, private or link-local address"
        raise invalid(problem, where, "media_not_allowed")
    return addresses[0]


async def resolve(host: str, port: int) -> list[str]:
    """Every address of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [entry[4][0] for entry in found]


def is_public(address: str) -> bool:
    """Whether an address belongs to the open internet, the one inside an IPv6 address included."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6:
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        if ip not in IPV6 or (int(ip) >> 32) & 0xFFFFFFFF in ISATAP:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in NOT_PUBLIC)
