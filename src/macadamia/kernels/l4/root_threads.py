"""The threads that exist without having been created by a user: sigma0's and the root task's first
(the fact sheet, section 2.4)."""

from macadamia.abi.l4.fpages import ALL_RIGHTS, fpage
from macadamia.abi.l4.identifiers import NIL_THREAD, ThreadId, global_id
from macadamia.abi.l4.utcb import MESSAGE_REGISTERS_OFFSET
from macadamia.kernels.l4 import completion, scheduler
from macadamia.kernels.l4.kip import kernel_interface_page
from macadamia.kernels.l4.mapping import Outcome
from macadamia.kernels.l4.space import Space, create_space
from macadamia.kernels.l4.space_control import set_areas
from macadamia.kernels.l4.thread import Thread
from macadamia.kernels.l4.thread_control import activate, initialise
from macadamia.kernels.l4.thread_table import USER_BASE, make_thread_slot, thread_slot
from macadamia.lang import Ptr, u8, u32, u64

ROOT_VERSION = 1
SIGMA0 = global_id(u32(USER_BASE), u32(ROOT_VERSION))
ROOT_TASK = global_id(u32(USER_BASE + 2), u32(ROOT_VERSION))  # UserBase + 1 is reserved for sigma1
ROOT_PRIORITY = 255
ROOT_UTCB_AREA = 0xBF00_0000
ROOT_UTCB_AREA_LOG2 = 18
ROOT_KIP_AREA = 0xBFF0_0000
ROOT_KIP_AREA_LOG2 = 12


def create_root_space() -> Ptr[Space] | None:
    """A privileged space with its areas. None when there is not enough memory for the kernel to start."""
    space = create_space()
    if space is None:
        return None
    space.privileged = True
    kip_area = fpage(u64(ROOT_KIP_AREA), u8(ROOT_KIP_AREA_LOG2), ALL_RIGHTS)
    utcb_area = fpage(u64(ROOT_UTCB_AREA), u8(ROOT_UTCB_AREA_LOG2), ALL_RIGHTS)
    outcome = set_areas(space, kip_area, utcb_area, kernel_interface_page())
    return space if outcome == Outcome.DONE else None


def start_root_thread(id_: ThreadId, space: Ptr[Space], pager: ThreadId, ip: u64) -> Ptr[Thread] | None:
    """The first thread of a root space, ready at `ip`; the root task schedules it. None: out of memory."""
    if not make_thread_slot(id_.number):
        return None
    thread = thread_slot(id_.number)
    initialise(thread, id_, space, ROOT_TASK)
    thread.priority = ROOT_PRIORITY
    thread.local_id = ThreadId(ROOT_UTCB_AREA + MESSAGE_REGISTERS_OFFSET)
    activate(thread, pager)
    if thread.utcb is None:
        return None
    thread.frame.jump(ip)
    completion.succeed(thread, NIL_THREAD)
    scheduler.queue_if_ready(thread)
    return thread
