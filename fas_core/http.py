"""Clients that carry audio and keys: to the address that the user gave, and to no other."""


def strict_options() -> dict:
    """Options of a client of httpx.

    A redirect is not followed: whoever answers would choose who gets the audio. A proxy of the environment (HTTPS_PROXY) is
    used where the connection through it is encrypted, and not for http: it would read audio and key.
    """
    return {"follow_redirects": False, "mounts": {"http://": None}}
