"""ThreadControl: creating, activating, changing, moving and deleting threads; interrupt association
(X.2 manual, section 2.4; the fact sheet, sections 6.3 and 8.3)."""

from macadamia.abi.l4.errors import CallError, IpcError
from macadamia.abi.l4.identifiers import NIL_THREAD, ThreadId
from macadamia.abi.l4.times import Timeouts
from macadamia.abi.l4.utcb import MESSAGE_REGISTERS_OFFSET, UTCB_SIZE, Utcb
from macadamia.kernels.l4 import cancellation, interrupt_lines, scheduler
from macadamia.kernels.l4.space import Space, create_space
from macadamia.kernels.l4.system_call import is_privileged, refuse, restart
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import (
    INTERRUPT_LINES,
    THREAD_NUMBERS,
    USER_BASE,
    find_thread,
    make_thread_slot,
    thread_slot,
    thread_with_number,
)
from macadamia.kernels.l4.unmap import Outcome as SpaceOutcome
from macadamia.kernels.l4.unmap import delete_space
from macadamia.lang import Ptr, cast, fill_bytes, sizeof, u64
from macadamia.machine.addresses import VirtAddr

LEAVE = 0xFFFF_FFFF_FFFF_FFFF  # a UtcbLocation of all ones changes nothing


def system_call_thread_control(caller: Ptr[Thread]) -> None:
    """Inputs RDI dest, R8 SpaceSpecifier, RDX scheduler, RSI pager, R9 UtcbLocation; RAX = 1 if it
    succeeded."""
    if not is_privileged(caller):
        refuse(caller, CallError.NO_PRIVILEGE)
        return
    dest = ThreadId(caller.frame.rdi)
    if caller.frame.r8 == 0 and dest.number >= USER_BASE and not dest.is_local():
        delete_thread(caller, dest)
        return
    error = control_thread(caller, dest)
    if error != CallError.OK:
        refuse(caller, error)
        return
    caller.frame.rax = 1


def control_thread(caller: Ptr[Thread], dest: ThreadId) -> CallError:
    """All but deletion."""
    frame = caller.frame
    if dest.is_local() or dest.number >= THREAD_NUMBERS:
        return CallError.INVALID_THREAD
    if dest.number < INTERRUPT_LINES:
        return control_interrupt(dest, ThreadId(frame.rsi))
    if dest.number < USER_BASE:
        return CallError.INVALID_THREAD
    return create_or_change(dest, ThreadId(frame.r8), ThreadId(frame.rdx), ThreadId(frame.rsi), frame.r9)


def control_interrupt(line: ThreadId, handler: ThreadId) -> CallError:
    """Associate an interrupt line with the thread `handler`, or with none when that is the line itself."""
    thread = interrupt_lines.interrupt_thread(line)
    if thread is None:
        return CallError.INVALID_THREAD
    if handler == line:
        if thread.exists():
            cancellation.detach(thread)
            interrupt_lines.dissociate(thread)
        return CallError.OK
    if find_thread(handler) is None or not interrupt_lines.associate(thread, line.number, handler):
        return CallError.INVALID_THREAD
    return CallError.OK


def create_or_change(
    dest: ThreadId, specifier: ThreadId, scheduler_id: ThreadId, pager: ThreadId, utcb_location: u64
) -> CallError:
    """Make the thread if there is none of its number, then give it what the arguments name."""
    thread = thread_with_number(dest.number)
    if thread is None:
        error = create(dest, specifier, scheduler_id)
        if error != CallError.OK:
            return error
        thread = thread_slot(dest.number)
        error = configure(thread, pager, utcb_location)
        if error != CallError.OK:
            forget(thread)
        return error
    error = move(thread, specifier, dest)
    if error != CallError.OK:
        return error
    error = configure(thread, pager, utcb_location)
    if error == CallError.OK:
        rename(thread, dest)
        if not scheduler_id.is_nil():
            thread.scheduler = scheduler_id
    return error


def create(dest: ThreadId, specifier: ThreadId, scheduler_id: ThreadId) -> CallError:
    """A new inactive thread, in a space of its own if the specifier is the thread itself."""
    if find_thread(scheduler_id) is None and scheduler_id != dest:
        return CallError.INVALID_SCHEDULER
    space: Ptr[Space] | None = None
    if specifier == dest:
        space = create_space()
        if space is None:
            return CallError.OUT_OF_MEMORY
    else:
        member = find_thread(specifier)
        if member is None:
            return CallError.INVALID_SPACE
        space = member.space
    if space is None:
        return CallError.INVALID_SPACE
    if not make_thread_slot(dest.number):
        return CallError.OUT_OF_MEMORY
    initialise(thread_slot(dest.number), dest, space, scheduler_id)
    return CallError.OK


def initialise(thread: Ptr[Thread], id_: ThreadId, space: Ptr[Space], scheduler_id: ThreadId) -> None:
    """The state of a thread that was just created: inactive, with the defaults of section 6.3."""
    thread.id = id_
    thread.virtual_sender = id_
    thread.local_id = NIL_THREAD
    thread.space = space
    thread.state = ThreadState.INACTIVE
    thread.activity = Activity.USER
    thread.scheduler = scheduler_id
    thread.priority = scheduler.DEFAULT_PRIORITY
    thread.time_slice = scheduler.DEFAULT_TIME_SLICE
    thread.slice_left = scheduler.DEFAULT_TIME_SLICE
    space.threads += 1


def configure(thread: Ptr[Thread], pager: ThreadId, utcb_location: u64) -> CallError:
    """Set the UTCB location of an inactive thread; a pager activates it, or is set."""
    if utcb_location != LEAVE and thread.utcb is None:
        thread.local_id = ThreadId(utcb_location + MESSAGE_REGISTERS_OFFSET)
    if pager.is_nil():
        return CallError.OK
    utcb = thread.utcb
    if utcb is not None:
        utcb.pager = pager
        return CallError.OK
    return activate(thread, pager)


def activate(thread: Ptr[Thread], pager: ThreadId) -> CallError:
    """Give an inactive thread its UTCB and let it wait for its pager's start message."""
    space = thread.space
    if space is None or not space.is_initialised():
        return CallError.INVALID_SPACE
    location = u64(thread.local_id) - MESSAGE_REGISTERS_OFFSET
    if not space.utcb_fits(location, u64(UTCB_SIZE)):
        return CallError.UTCB_AREA
    page = space.hold_utcb(VirtAddr(location))
    if page is None:
        return CallError.OUT_OF_MEMORY
    utcb = cast(Utcb, page)
    fill_bytes(page, 0, UTCB_SIZE)
    thread.utcb = utcb
    space.active_threads += 1
    utcb.my_global_id = thread.id
    utcb.pager = pager
    thread.frame.start(u64(0), u64(0))
    wait_for_start(thread, pager)
    return CallError.OK


def wait_for_start(thread: Ptr[Thread], pager: ThreadId) -> None:
    """The start protocol: a closed wait for the pager, with no typed items accepted and no timeout."""
    thread.activity = Activity.START
    thread.state = ThreadState.RECEIVING
    thread.waiting_for = pager
    thread.then_receive = pager
    thread.timeouts = Timeouts(0)


def rename(thread: Ptr[Thread], id_: ThreadId) -> None:
    """Give the thread another version; those who wait to send to the old one fail."""
    if thread.id == id_:
        return
    cancellation.fail_senders(thread)
    thread.id = id_
    thread.virtual_sender = id_
    utcb = thread.utcb
    if utcb is not None:
        utcb.my_global_id = id_


def move(thread: Ptr[Thread], specifier: ThreadId, dest: ThreadId) -> CallError:
    """Put the thread into the space of `specifier`, if that is another one; only an inactive thread moves."""
    if specifier == dest or specifier == thread.id:
        return CallError.OK
    member = find_thread(specifier)
    if member is None:
        return CallError.INVALID_SPACE
    target = member.space
    if target is None:
        return CallError.INVALID_SPACE
    if thread.space == target:
        return CallError.OK
    if thread.utcb is not None:
        return CallError.UTCB_AREA
    if not leave_space(thread):
        return CallError.INVALID_SPACE
    thread.space = target
    target.threads += 1
    return CallError.OK


def delete_thread(caller: Ptr[Thread], dest: ThreadId) -> None:
    """SpaceSpecifier nil. The last thread of a space takes the space with it."""
    thread = thread_with_number(dest.number)
    if thread is not None and thread == caller:
        refuse(caller, CallError.INVALID_THREAD)
        return
    if thread is not None:
        stop(thread)
        if not leave_space(thread):
            restart(caller)
            return
        forget(thread)
    caller.frame.rax = 1


def stop(thread: Ptr[Thread]) -> None:
    """End everything the thread is part of. May be done again."""
    if cancellation.in_transfer(thread):
        cancellation.end_transfer(thread, IpcError.ABORTED, IpcError.ABORTED)
    cancellation.fail_senders(thread)
    cancellation.detach(thread)
    thread.state = ThreadState.INACTIVE
    scheduler.forget(thread)


def leave_space(thread: Ptr[Thread]) -> bool:
    """Give back the UTCB, and the space if no thread is left in it. False: preempted, call again."""
    space = thread.space
    if space is None:
        return True
    if space.threads == 1 and delete_space(space) == SpaceOutcome.RESTART:
        return False
    if space.threads > 1:
        if thread.utcb is not None:
            space.active_threads -= 1
            space.drop_utcb(VirtAddr(u64(thread.local_id) - MESSAGE_REGISTERS_OFFSET))
        space.threads -= 1
    thread.utcb = None
    thread.space = None
    return True


def forget(thread: Ptr[Thread]) -> None:
    """The thread number is free again; nothing of the thread stays in its control block."""
    fill_bytes(thread, 0, sizeof(Thread))
