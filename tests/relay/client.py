"""An LNS client that shares no code with the relay: discovery, then echoed traffic.

    client.py ADDRESS EUI        ADDRESS is host:port, or unix:/path

Prints one line and exits 0, or ends with an error. The LNS must send messages back.
"""

import json
import os
import socket
import sys

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

MESSAGES = 2000
WINDOW = 32


def open_socket(address, uri):
    """Connects without a proxy; compression is offered, as most clients do."""
    if not address.startswith("unix:"):
        return connect(uri, proxy=None, max_size=None)
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(address.removeprefix("unix:"))
    return connect(uri, sock=stream, proxy=None, max_size=None)


def discover(address, base, eui):
    with open_socket(address, base + "/router-info") as lns:
        lns.send(json.dumps({"router": eui}))
        return json.loads(lns.recv(timeout=30))


def converse(lns):
    for number in range(MESSAGES + WINDOW):
        if number < MESSAGES:
            lns.send(f"{number}:" + "x" * (number % 300))
        if number >= WINDOW:
            back = lns.recv(timeout=30)
            assert back.split(":")[0] == str(number - WINDOW), back
    # One message in fragments, one of 64 KiB, a ping.
    lns.send(["one ", "message ", "in ", "pieces"])
    assert lns.recv(timeout=30) == "one message in pieces"
    block = os.urandom(64 * 1024)
    lns.send(block)
    assert lns.recv(timeout=30) == block
    assert lns.ping().wait(timeout=30)


def main(address, eui):
    base = "ws://localhost" if address.startswith("unix:") else f"ws://{address}"
    answer = discover(address, base, eui)
    uri = answer["uri"]
    assert uri.startswith(base), answer
    assert "error" in discover(address, base, "::dead:beef"), "a foreign gateway was let in"
    try:
        open_socket(address, base + "/traffic/nobody").close()
        raise AssertionError("a path that nobody was given was let in")
    except InvalidStatus as refused:
        assert refused.response.status_code == 404, refused
    with open_socket(address, uri) as lns:
        converse(lns)
    print(f"{MESSAGES} messages, each once and in order")


if __name__ == "__main__":
    main(*sys.argv[1:])
