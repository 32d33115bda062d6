"""A connection to QEMU's control channel (QMP, the QEMU Machine Protocol): one JSON object per line.

The runner waits on this socket together with the guest's console in one plain loop and needs two
commands, so these few lines replace the asyncio library qemu.qmp and its start-up time.
"""

import json
import re
import socket
import time
from typing import Any

_ANSWER_SECONDS = 5.0


class Monitor:
    """QMP over a connected socket. Events that arrive are kept in `events`, oldest first.

    `version` is QEMU's version, from its greeting; None until that has arrived.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._answers: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.version: tuple[int, ...] | None = None
        self.closed = False
        connection.setblocking(False)
        self._send("qmp_capabilities")  # QEMU sends events only after this; its answer is not awaited

    def fileno(self) -> int:
        """The descriptor to wait on; when it is readable, call `receive`."""
        return self._connection.fileno()

    def receive(self) -> None:
        """Take in what has arrived, without waiting."""
        try:
            arrived = self._connection.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            arrived = b""
        self.closed = self.closed or not arrived
        *lines, self._buffer = (self._buffer + arrived).split(b"\n")
        for line in lines:
            self._sort(line)

    def registers(self) -> dict[str, int]:
        """The first processor's registers by lower-case name (rip, rsp, cr2, ...); {} if QEMU is mute.

        QEMU prints EIP or RIP by the processor's mode; both come back as `rip`, and so on.
        """
        text = self.human("info registers")
        found = re.findall(r"\b(CR[0-4]|[RE](?:AX|BX|CX|DX|SI|DI|BP|SP|IP)|R\d+)\s*=([0-9a-f]+)", text)
        registers: dict[str, int] = {}
        for name, value in found:
            full = "r" + name[1:].lower() if name[0] == "E" else name.lower()
            registers.setdefault(full, int(value, 16))
        return registers

    def human(self, command: str) -> str:
        """The answer to a command of QEMU's human monitor; "" when none comes."""
        answer = self._ask("human-monitor-command", {"command-line": command})
        return str(answer.get("return", ""))

    def status(self) -> str:
        """QEMU's run state (running, paused, shutdown, ...); "unknown" when none comes."""
        answer = self._ask("query-status", {})
        return str(answer["return"].get("status", "unknown")) if "return" in answer else "unknown"

    def _ask(self, command: str, arguments: dict[str, str]) -> dict[str, Any]:
        self._answers.clear()
        self._send(command, arguments)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline and not self.closed:
            self.receive()
            for answer in self._answers:
                if answer.get("id") == command:
                    return answer
            time.sleep(0.01)
        return {}

    def _send(self, command: str, arguments: dict[str, str] | None = None) -> None:
        message = {"execute": command, "id": command, "arguments": arguments or {}}
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.closed = True

    def _sort(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        if "event" in message:
            self.events.append(message)
        elif "QMP" in message:
            version = message["QMP"]["version"]["qemu"]
            self.version = (version["major"], version["minor"])
        else:
            self._answers.append(message)
