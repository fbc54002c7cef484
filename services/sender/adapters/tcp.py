"""A TCP connection to a server: the first of its addresses that answers, from the address of ours that it is to see."""

import asyncio
import socket

from services.sender.ports import Server


async def connected_to(server: Server) -> socket.socket:
    """Raises OSError, that of the last address."""
    loop, at = asyncio.get_running_loop(), server.address or server.host
    found = await loop.getaddrinfo(at, server.port, type=socket.SOCK_STREAM)
    error = OSError(f"{server.host} has no address")
    for family, kind, protocol, _, address in found:
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.setblocking(False)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if server.source_address is not None:
                connecting.bind((server.source_address, 0))
            await loop.sock_connect(connecting, address)
        except OSError as refused:
            connecting.close()
            error = refused
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise error
