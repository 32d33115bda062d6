"""ThreadControl: creating, activating, changing, moving and deleting threads; interrupt association
(X.2 manual, section 2.4; the fact sheet, sections 6.3 and 8.3)."""

from macadamia.abi.l4.errors import CallError, IpcError
from macadamia.abi.l4.identifiers import NIL_THREAD, ThreadId
from macadamia.abi.l4.times import Timeouts
from macadamia.abi.l4.utcb import MESSAGE_REGISTERS_OFFSET, UTCB_SIZE, Utcb
from macadamia.kernels.l4 import cancellation, interrupt_lines, scheduler, unmap_call
from macadamia.kernels.l4.mapping import Outcome
from macadamia.kernels.l4.names import global_name
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.space import Space, create_space, free_space
from macadamia.kernels.l4.space_control import delete_space
from macadamia.kernels.l4.system_call import is_privileged, refuse, restart
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import (
    INTERRUPT_LINES,
    THREAD_NUMBERS,
    USER_BASE,
    find_thread,
    make_thread_slot,
    release_thread_slot,
    thread_slot,
    thread_with_number,
)
from macadamia.lang import Ptr, cast, copy_bytes, fill_bytes, sizeof, u8, u64
from macadamia.machine.addresses import VirtAddr

LEAVE = 0xFFFF_FFFF_FFFF_FFFF  # a UtcbLocation of all ones changes nothing


def system_call_thread_control(caller: Ptr[Thread]) -> None:
    """Inputs RDI dest, R8 SpaceSpecifier, RDX scheduler, RSI pager, R9 UtcbLocation; RAX = 1 if it
    succeeded."""
    frame = caller.frame
    error = dest_error(caller, ThreadId(frame.rdi))
    if error != CallError.OK:
        refuse(caller, error)
    elif ThreadId(frame.rdi).number >= USER_BASE and frame.r8 == 0:
        delete_thread(caller, ThreadId(frame.rdi))
    else:
        answer(caller, control_thread(caller, ThreadId(frame.rdi)))


def dest_error(caller: Ptr[Thread], dest: ThreadId) -> CallError:
    """Whether the caller may control this thread at all."""
    if not is_privileged(caller):
        return CallError.NO_PRIVILEGE
    if dest.is_local():
        return CallError.INVALID_SPACE  # as Pistachio, whose programs check it; the manual: invalid thread
    is_gap = INTERRUPT_LINES <= dest.number < USER_BASE
    return CallError.INVALID_THREAD if is_gap or dest.number >= THREAD_NUMBERS else CallError.OK


def answer(caller: Ptr[Thread], error: CallError) -> None:
    """The end of a call that took effect, or did not."""
    if error != CallError.OK:
        refuse(caller, error)
    else:
        caller.frame.rax = 1


def control_thread(caller: Ptr[Thread], dest: ThreadId) -> CallError:
    """All but deletion."""
    frame = caller.frame
    specifier, pager = global_name(caller, ThreadId(frame.r8)), global_name(caller, ThreadId(frame.rsi))
    scheduler_id = global_name(caller, ThreadId(frame.rdx))
    if dest.number < INTERRUPT_LINES:
        return control_interrupt(dest, pager)
    thread = thread_with_number(dest.number)
    if thread is None:
        return make_thread(dest, specifier, scheduler_id, pager, frame.r9)
    return change_thread(thread, dest, specifier, scheduler_id, pager, frame.r9)


def control_interrupt(line: ThreadId, handler: ThreadId) -> CallError:
    """Associate an interrupt line with the thread `handler`, or with none when that is the line itself."""
    if line.version != interrupt_lines.INTERRUPT_VERSION:
        return CallError.INVALID_THREAD
    if handler != line and find_thread(handler) is None:
        return CallError.INVALID_THREAD
    thread = thread_with_number(line.number)
    if thread is not None:
        interrupt_lines.dissociate(thread)
    if handler == line:
        return CallError.OK
    if not make_thread_slot(line.number):
        return CallError.OUT_OF_MEMORY
    if interrupt_lines.associate(line.number, handler):
        return CallError.OK
    release_thread_slot(line.number)
    return CallError.INVALID_THREAD


def make_thread(
    dest: ThreadId, specifier: ThreadId, scheduler_id: ThreadId, pager: ThreadId, utcb_location: u64
) -> CallError:
    """A new thread, in a space of its own if the specifier is the thread itself."""
    if scheduler_id.is_nil():
        return CallError.INVALID_THREAD
    if scheduler_id != dest and find_thread(scheduler_id) is None:
        return CallError.INVALID_SCHEDULER
    if not make_thread_slot(dest.number):
        return CallError.OUT_OF_MEMORY
    space = create_space() if specifier == dest else space_of(specifier)
    if space is None:
        release_thread_slot(dest.number)
        return CallError.OUT_OF_MEMORY if specifier == dest else CallError.INVALID_SPACE
    thread = thread_slot(dest.number)
    initialise(thread, dest, space, scheduler_id)
    error = configure(thread, pager, utcb_location)
    if error != CallError.OK:
        space.threads -= 1
        if space.threads == 0:
            free_space(space)
        clear(thread)
    return error


def space_of(specifier: ThreadId) -> Ptr[Space] | None:
    """The space that a thread stands for."""
    member = find_thread(specifier)
    return None if member is None else member.space


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


def change_thread(
    thread: Ptr[Thread],
    dest: ThreadId,
    specifier: ThreadId,
    scheduler_id: ThreadId,
    pager: ThreadId,
    utcb_location: u64,
) -> CallError:
    """Give an existing thread what the arguments name."""
    if not scheduler_id.is_nil() and scheduler_id != dest and find_thread(scheduler_id) is None:
        return CallError.INVALID_SCHEDULER
    error = location_error(thread, utcb_location)
    if error == CallError.OK and specifier != dest and specifier != thread.id:
        error = move(thread, space_of(specifier))
    if error == CallError.OK:
        error = configure(thread, pager, utcb_location)
    if error != CallError.OK:
        return error
    rename(thread, dest)
    if not scheduler_id.is_nil():
        thread.scheduler = scheduler_id
    return CallError.OK


def location_error(thread: Ptr[Thread], utcb_location: u64) -> CallError:
    """Whether an existing thread may have its UTCB there: only an inactive one may change its mind."""
    space = thread.space
    if utcb_location == LEAVE or space is None:
        return CallError.OK
    if thread.utcb is not None:
        same = utcb_location + MESSAGE_REGISTERS_OFFSET == u64(thread.local_id)
        return CallError.OK if same else CallError.UTCB_AREA
    if space.is_initialised() and not space.utcb_fits(utcb_location, u64(UTCB_SIZE)):
        return CallError.UTCB_AREA
    return CallError.OK


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
    utcb, error = hold_utcb(thread, space)
    if utcb is None:
        return error
    fill_bytes(cast(u8, utcb), 0, UTCB_SIZE)
    thread.utcb = utcb
    utcb.my_global_id = thread.id
    utcb.pager = pager
    thread.frame.start(u64(0), u64(0))
    wait_for_start(thread, pager)
    return CallError.OK


def hold_utcb(thread: Ptr[Thread], space: Ptr[Space]) -> tuple[Ptr[Utcb] | None, CallError]:
    """The UTCB at the thread's location, in `space`; or why there is none."""
    location = u64(thread.local_id) - MESSAGE_REGISTERS_OFFSET
    if not space.utcb_fits(location, u64(UTCB_SIZE)):
        return None, CallError.UTCB_AREA
    memory = space.hold_utcb(VirtAddr(location))
    if memory is None:
        return None, CallError.OUT_OF_MEMORY
    space.active_threads += 1
    return cast(Utcb, memory), CallError.OK


def drop_utcb(thread: Ptr[Thread], space: Ptr[Space]) -> None:
    """The thread needs the UTCB that it has in `space` no more."""
    if thread.utcb is not None:
        space.active_threads -= 1
        space.drop_utcb(VirtAddr(u64(thread.local_id) - MESSAGE_REGISTERS_OFFSET))
        thread.utcb = None


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
    interrupt_lines.dissociate_all_of(thread.id)
    cancellation.fail_senders(thread)
    if thread.virtual_sender == thread.id:
        thread.virtual_sender = id_
    thread.id = id_
    utcb = thread.utcb
    if utcb is not None:
        utcb.my_global_id = id_


def move(thread: Ptr[Thread], target: Ptr[Space] | None) -> CallError:
    """Put the thread into another space; an active one takes its UTCB along."""
    space = thread.space
    if target is None or space is None:
        return CallError.INVALID_SPACE
    if target == space:
        return CallError.OK
    if space.threads == 1 or thread == processor.current:
        return CallError.INVALID_SPACE  # nobody could reach what it leaves; the space of the caller is in use
    old = thread.utcb
    if old is not None:
        new, error = hold_utcb(thread, target)
        if new is None:
            return error
        if cancellation.in_transfer(thread) or thread.activity == Activity.COPY_FAULT:
            cancellation.end_ipc(thread, IpcError.ABORTED)
        copy_bytes(cast(u8, new), cast(u8, old), UTCB_SIZE)
        drop_utcb(thread, space)
        thread.utcb = new
    space.threads -= 1
    target.threads += 1
    thread.space = target
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
        clear(thread)
    caller.frame.rax = 1


def stop(thread: Ptr[Thread]) -> None:
    """End everything the thread is part of. May be done again."""
    unmap_call.give_up(thread)
    interrupt_lines.dissociate_all_of(thread.id)
    if cancellation.in_transfer(thread) or thread.activity == Activity.COPY_FAULT:
        cancellation.end_ipc(thread, IpcError.ABORTED)
    cancellation.detach(thread)
    thread.state = ThreadState.INACTIVE
    cancellation.fail_senders(thread)
    scheduler.forget(thread)


def leave_space(thread: Ptr[Thread]) -> bool:
    """Give back the UTCB, and the space if no thread is left in it. False: preempted, call again."""
    space = thread.space
    if space is None:
        return True
    drop_utcb(thread, space)
    if space.threads == 1 and delete_space(space) == Outcome.RESTART:
        return False
    if space.threads > 1:
        space.threads -= 1
    thread.space = None
    return True


def clear(thread: Ptr[Thread]) -> None:
    """The thread number is free again; nothing of the thread stays in its control block."""
    number = thread.id.number
    fill_bytes(cast(u8, thread), 0, sizeof(Thread))
    release_thread_slot(number)
