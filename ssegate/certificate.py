"""
The certificate of the data port, and how it is renewed under a listener that stays open.

A pair that was renewed is not loaded into the context in use: that keeps one pair for each kind of key, so an
old RSA pair would stay beside a new ECDSA one, and a new certificate whose key does not fit would spoil it.
Each pair has a context of its own; every connection is given the latest during its handshake, those that are
there keep theirs.
"""

from __future__ import annotations

import ssl

from ssegate.config import Tls

__all__ = ["Certificate", "load"]


class Certificate:
    """
    The certificate that is shown to new connections.

    Attributes:
        context: For the listener, once and for all.
    """

    def __init__(self, pair: ssl.SSLContext) -> None:
        self.context = self._shown = pair
        # Called in every handshake, for clients that name no server, too.
        self.context.sni_callback = self._give

    def show(self, pair: ssl.SSLContext) -> None:
        """Show *pair* from now on."""
        self._shown = pair

    def _give(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._shown


def load(tls: Tls) -> ssl.SSLContext:
    """
    Return the certificate and key of *tls*.

    Raises:
        OSError: They cannot be read or do not fit together; the message names them.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a word in its place the library would ask the terminal for the password of a locked key.
        context.load_cert_chain(tls.cert, tls.key, password="")
    except (OSError, ValueError) as error:
        # The library's own words name no file.
        raise OSError(f"tls: {tls.cert} with {tls.key} cannot be used: {error}") from error
    return context
