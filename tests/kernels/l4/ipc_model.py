"""Threads and IPC in plain Python: what the kernel must do, without rings, heaps or registers.

A step is a tuple: a name and its arguments. `Model.apply` says what follows from it; `perform` lets the
kernel do the same; `compare` asserts that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from macadamia.kernels.l4.thread import ThreadState
from macadamia.kernels.l4.thread_table import USER_BASE
from tests.kernels.l4.harness import ANY, NIL, ZERO, Kernel, gid, machine

NAMES = "ABCD"
LINE = "I"  # an interrupt line, whose handler is A
LINE_NUMBER = 3
FIRST_NUMBER = USER_BASE + 3
FINITE = 20  # microseconds
TIMEOUTS = {"never": 0, "zero": ZERO, "finite": FINITE}
TIMEOUT, NON_EXISTENT, CANCELLED = 1, 2, 3
Step = tuple[Any, ...]


@dataclass
class Peer:
    """A thread or the line."""

    alive: bool = True
    state: str = "ready"  # ready, sending, receiving, halted; the line: idle instead of ready
    partner: str = ""  # sending: to whom; receiving: from whom, "any" for all
    then: str = ""
    receive_timeout: str = "never"
    deadline: int | None = None
    word: int = 0
    halted: bool = False
    queue: list[str] = field(default_factory=list)  # those who send to it, in order
    result: tuple[Any, ...] | None = None  # ("got", from, word), ("sent",), ("failed", code, phase)


class Model:
    """All peers, and the time in microseconds."""

    def __init__(self, count: int) -> None:
        self.peers = {name: Peer() for name in NAMES[:count]}
        self.peers[LINE] = Peer(state="idle")
        self.now = 0

    def apply(self, step: Step) -> None:
        getattr(self, step[0])(*step[1:])

    def is_possible(self, step: Step) -> bool:
        """Whether the thread that a step is about can do, or suffer, it."""
        if step[0] == "pass_time" or step[0] == "fire":
            return True
        peer = self.peers[step[1]]
        if step[0] == "create":
            return not peer.alive
        return peer.alive and (step[0] != "ipc" or peer.state == "ready")

    # Steps

    def ipc(self, name: str, to: str, from_: str, word: int, send: str, receive: str) -> None:
        peer = self.peers[name]
        peer.then, peer.receive_timeout, peer.word = from_, receive, word
        if not to:
            self.receive(name)
        elif not self.peers[to].alive:
            self.end(name, "failed", NON_EXISTENT, "send")
        elif to == LINE:
            if name == "A" and self.peers[LINE].state == "receiving":
                self.peers[LINE].state = "idle"
            self.receive(name)
        elif self.waits(to, name):
            self.deliver(name, to)
            self.receive(name)
        elif send == "zero":
            self.end(name, "failed", TIMEOUT, "send")
        else:
            self.block(name, "sending", to, send)
            self.peers[to].queue.append(name)

    def fire(self) -> None:
        line = self.peers[LINE]
        if not line.alive or line.state != "idle":
            return
        if self.waits("A", LINE):
            self.deliver(LINE, "A")
            line.state = "receiving"
        else:
            line.state, line.partner = "sending", "A"
            self.peers["A"].queue.append(LINE)

    def cancel(self, name: str, phase: str) -> None:
        peer = self.peers[name]
        if peer.state == {"send": "sending", "receive": "receiving"}[phase]:
            self.withdraw(name)
            self.end(name, "failed", CANCELLED, phase)

    def halt(self, name: str) -> None:
        peer = self.peers[name]
        peer.halted = True
        if peer.state == "ready":
            peer.state = "halted"

    def resume(self, name: str) -> None:
        peer = self.peers[name]
        peer.halted = False
        if peer.state == "halted":
            peer.state = "ready"

    def delete(self, name: str) -> None:
        if name == "A":
            self.withdraw(LINE)
            self.peers[LINE] = Peer(alive=False, state="idle")
        self.withdraw(name)
        for sender in self.peers[name].queue:
            self.end(sender, "failed", NON_EXISTENT, "send")
        self.peers[name] = Peer(alive=False)

    def create(self, name: str) -> None:
        self.peers[name] = Peer()
        if name == "A":
            self.peers[LINE] = Peer(state="idle")

    def pass_time(self, microseconds: int) -> None:
        self.now += microseconds
        for name, peer in self.peers.items():
            if peer.deadline is not None and peer.deadline <= self.now:
                phase = "send" if peer.state == "sending" else "receive"
                self.withdraw(name)
                self.end(name, "failed", TIMEOUT, phase)

    # What they are made of

    def waits(self, name: str, sender: str) -> bool:
        peer = self.peers[name]
        return peer.state == "receiving" and peer.partner in ("any", sender)

    def receive(self, name: str) -> None:
        peer = self.peers[name]
        if not peer.then:
            self.end(name, "sent")
            return
        for sender in peer.queue:
            if peer.then in ("any", sender):
                peer.queue.remove(sender)
                self.deliver(sender, name)
                if sender == LINE:
                    self.peers[LINE].state = "receiving"
                else:
                    self.peers[sender].deadline = None
                    self.receive(sender)
                return
        if peer.then != "any" and not self.peers[peer.then].alive:
            self.end(name, "failed", NON_EXISTENT, "receive")
        elif peer.receive_timeout == "zero":
            self.end(name, "failed", TIMEOUT, "receive")
        else:
            self.block(name, "receiving", peer.then, peer.receive_timeout)

    def block(self, name: str, state: str, partner: str, timeout: str) -> None:
        peer = self.peers[name]
        peer.state, peer.partner, peer.result = state, partner, None
        peer.deadline = self.now + FINITE if timeout == "finite" else None

    def deliver(self, sender: str, receiver: str) -> None:
        self.end(receiver, "got", sender, self.peers[sender].word)

    def end(self, name: str, *result: Any) -> None:
        peer = self.peers[name]
        if name == LINE:
            return
        peer.state = "halted" if peer.halted else "ready"
        peer.deadline, peer.result = None, result

    def withdraw(self, name: str) -> None:
        peer = self.peers[name]
        if peer.state == "sending":
            self.peers[peer.partner].queue.remove(name)


# The same on the kernel


def number_of(name: str) -> int:
    return LINE_NUMBER if name == LINE else FIRST_NUMBER + NAMES.index(name)


def id_of(name: str) -> int:
    return {"": NIL, "any": ANY}.get(name) or (gid(number_of(name)) if name else NIL)


def begin(count: int, profile: Any = "checked") -> Kernel:
    """A kernel with so many threads, each in a space of its own, and the line associated with the first."""
    kernel = Kernel(profile)
    for name in NAMES[:count]:
        kernel.spawn_space(number_of(name))
    perform(kernel, ("associate",))
    return kernel


def perform(kernel: Kernel, step: Step) -> None:
    thread = kernel.thread(number_of(step[1])) if len(step) > 1 and isinstance(step[1], str) else None
    match step[0]:
        case "associate":
            assert kernel.thread_control(gid(LINE_NUMBER), gid(LINE_NUMBER), NIL, id_of("A")) is None
        case "ipc":
            _, _, to, from_, word, send, receive = step
            kernel.ipc(thread, id_of(to), id_of(from_), word, send=TIMEOUTS[send], receive=TIMEOUTS[receive])
        case "fire":
            kernel.interrupt(LINE_NUMBER)
        case "cancel":
            kernel.exchange_registers(kernel.root, id_of(step[1]), {"send": 4, "receive": 2}[step[2]])
        case "halt" | "resume":
            kernel.exchange_registers(kernel.root, id_of(step[1]), 0x101 if step[0] == "halt" else 0x100)
        case "delete":
            assert kernel.thread_control(id_of(step[1]), NIL) is None
        case "create":
            kernel.spawn_space(number_of(step[1]))
            if step[1] == "A":
                perform(kernel, ("associate",))
        case "pass_time":
            kernel.pass_time(step[1])


STATES = {
    ThreadState.READY: "ready",
    ThreadState.SENDING: "sending",
    ThreadState.RECEIVING: "receiving",
    ThreadState.HALTED: "halted",
    ThreadState.INACTIVE: "idle",
}


def compare(kernel: Kernel, model: Model) -> None:
    kernel.check()
    for name, peer in model.peers.items():
        thread = kernel.thread(number_of(name))
        assert thread.exists() == peer.alive, name
        if not peer.alive:
            continue
        assert STATES[thread.state] == peer.state, name
        assert thread.halted == peer.halted
        assert (thread.wake_slot != 0) == (peer.deadline is not None)
        if peer.result is not None:
            assert outcome(kernel, thread, peer.result) == peer.result, name
    machine_has = bool(machine.enabled & 1 << LINE_NUMBER)
    assert machine_has == model.peers[LINE].alive


def outcome(kernel: Kernel, thread: Any, expected: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the thread's last Ipc returned, in the model's words."""
    result = kernel.result(thread)
    if result.failure is not None:
        return ("failed", int(result.failure[0]), result.failure[1])
    if result.from_ == NIL:
        return ("sent",)
    name = next((name for name in (*NAMES, LINE) if id_of(name) == result.from_), "?")
    return ("got", name, 0 if name == LINE else result.words[0]) if expected else ()
