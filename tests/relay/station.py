"""A station without a radio: it keeps Basic Station's reconnect times and reads its files.

    station.py HOME EUI [SCALE]     HOME/tc.uri names the LNS; SCALE shortens every wait

| what ended | waits, s |
|---|---|
| discovery | 0, 10, 20, 30, 40, 50, 60, 60 ... |
| traffic that was open | 1, 2, 4, 8, 16, then discovery again |
| traffic that was refused | 10, then discovery again |

Each event is one line on standard output. A bad address at the start ends it with code 1.
It runs until it is killed.
"""

import json
import pathlib
import re
import sys
import time

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

TIMEOUT_S = 60
VERSION = {"msgtype": "version", "station": "2.0.6", "protocol": 2, "features": "rmtsh"}


def say(*words):
    print(*words, flush=True)


class Station:
    def __init__(self, home, eui, scale):
        self.home, self.eui, self.scale = pathlib.Path(home), eui, scale

    def uri(self):
        """The address, read at each connect."""
        text = (self.home / "tc.uri").read_text().strip()
        if len(text) > 127 or not re.fullmatch(r"wss?://[^/\s]+:\d+", text):
            raise ValueError(f"bad address {text!r}")
        return text

    def wait(self, seconds):
        time.sleep(seconds * self.scale)

    def discover(self):
        """Asks until there is an answer."""
        tries = 0
        while True:
            self.wait(min(tries, 6) * 10)
            tries += 1
            try:
                uri = self.uri() + "/router-info"
                with connect(uri, proxy=None, compression=None, open_timeout=TIMEOUT_S) as lns:
                    lns.send(json.dumps({"router": self.eui}))
                    answer = json.loads(lns.recv(timeout=TIMEOUT_S))
            except (OSError, WebSocketException, TimeoutError) as error:
                say("discovery failed", type(error).__name__)
                continue
            if answer.get("error") or "uri" not in answer:
                say("discovery rejected", answer.get("error"))
                continue
            say("discovered", answer["uri"])
            return answer["uri"]

    def traffic(self, uri):
        """Stays on the traffic socket; whether it was open at all."""
        is_open = False
        try:
            with connect(uri, proxy=None, compression=None, open_timeout=TIMEOUT_S) as lns:
                is_open = True
                lns.send(json.dumps(VERSION))
                for message in lns:
                    say("got", json.loads(message).get("msgtype"))
        except (OSError, WebSocketException, TimeoutError) as error:
            say("traffic broke" if is_open else "traffic refused", type(error).__name__)
        if is_open:
            say("traffic ended", lns.close_code)
        return is_open

    def run(self):
        while True:
            uri = self.discover()
            for backoff in (1, 2, 4, 8, 16):
                if not self.traffic(uri):
                    self.wait(10)
                    break
                self.wait(backoff)


if __name__ == "__main__":
    station = Station(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 1.0)
    try:
        station.uri()
    except (OSError, ValueError) as error:
        say("no LNS:", error)
        sys.exit(1)
    station.run()
