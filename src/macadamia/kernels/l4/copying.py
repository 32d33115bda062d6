"""Transfers that stop in the middle: page faults in strings, transfer timeouts, long copies.

A page fault is the faulting thread's own: it sends the fault message to its own pager, while its partner is
locked in state TRANSFERRING. The time for all faults of one transfer is limited by the transfer timeouts of
both sides, counted from the first (fact sheet, section 6.1).
"""

from macadamia.abi.l4.errors import IpcError
from macadamia.abi.l4.fpages import Rights
from macadamia.abi.l4.times import NEVER, Time, Timeouts
from macadamia.kernels.l4 import cancellation, fault_message, suspended, timeouts
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.transfer import Outcome
from macadamia.lang import Ptr, u64
from macadamia.machine.interface import time_now

RECEIVER_FAULT_IP = 0xFFFF_FFFF_FFFF_FFFF  # the receiver executes nothing while it is copied to


def lock_partner(sender: Ptr[Thread], receiver: Ptr[Thread], outcome: Outcome) -> Ptr[Thread] | None:
    """The transfer stopped with `outcome`. Gives the thread that must now send its fault message; None for a
    long transfer that only lets others run, and when the time for faults is over."""
    sender.activity = Activity.COPY
    sender.state = ThreadState.READY
    receiver.state = ThreadState.TRANSFERRING
    if outcome == Outcome.PREEMPTED or not begin_limit(sender, receiver):
        return None
    if outcome == Outcome.SENDER_FAULT:
        suspended.suspend(sender, sender.copy.expires)
        address = sender.copy.source.address()
        fault_message.store(sender, address, sender.frame.rip, Rights.READ, Activity.COPY_FAULT)
        return sender
    sender.state = ThreadState.TRANSFERRING
    suspended.suspend(receiver, sender.copy.expires)
    address = sender.copy.target.address()
    fault_message.store(receiver, address, u64(RECEIVER_FAULT_IP), Rights.WRITE, Activity.COPY_FAULT)
    return receiver


def begin_limit(sender: Ptr[Thread], receiver: Ptr[Thread]) -> bool:
    """Count the transfer timeout from the first fault. False if it is zero: the transfer is over."""
    if sender.copy.expires != 0:
        return True
    now = time_now()
    limit = min(send_limit(sender, now), receive_limit(receiver, now))
    if limit <= now:
        time_out(sender, receiver, now)
        return False
    sender.copy.expires = limit
    return True


def limit_of(time: Time, now: u64) -> u64:
    return u64(timeouts.LONGEST) if time == NEVER else timeouts.expiry(time, now)


def send_limit(sender: Ptr[Thread], now: u64) -> u64:
    """When the sender's patience ends."""
    utcb = sender.utcb
    assert utcb is not None
    return limit_of(Timeouts(utcb.transfer_timeouts).send, now)


def receive_limit(receiver: Ptr[Thread], now: u64) -> u64:
    """When the receiver's patience ends."""
    utcb = receiver.utcb
    assert utcb is not None
    return limit_of(Timeouts(utcb.transfer_timeouts).receive, now)


def time_out(sender: Ptr[Thread], receiver: Ptr[Thread], now: u64) -> None:
    """The side with the smaller timeout gets code 5, the other 6; the sender when they are equal."""
    if send_limit(sender, now) <= receive_limit(receiver, now):
        cancellation.end_transfer(sender, IpcError.TRANSFER_TIMEOUT_OWN, IpcError.TRANSFER_TIMEOUT_PARTNER)
    else:
        cancellation.end_transfer(sender, IpcError.TRANSFER_TIMEOUT_PARTNER, IpcError.TRANSFER_TIMEOUT_OWN)


def expire(thread: Ptr[Thread]) -> None:
    """The time of the transfer that `thread` faulted in is over."""
    cancellation.withdraw_fault(thread)
    partner = thread.copy.partner
    assert partner is not None
    if thread.copy.sending:
        time_out(thread, partner, time_now())
    else:
        time_out(partner, thread, time_now())
