"""The x86-64 machine as a kernel's manifest names it.

PROGRAM = Program(
    name="hello",
    entry=machine.ENTRY,
    roots=machine.ROOTS,
    linker_script=machine.LINKER_SCRIPT,
    implementations=(*machine.IMPLEMENTATIONS, kernel_main, handle_system_call, ...),
)
"""

from macadamia.machine.x86_64 import layout
from macadamia.machine.x86_64.clock import set_timer, stop_timer, time_now
from macadamia.machine.x86_64.entry import (
    activate,
    debug_entry,
    interrupt_entry,
    own_stack_entry,
    resume,
    system_call_entry,
)
from macadamia.machine.x86_64.fpu import switch_fpu
from macadamia.machine.x86_64.interrupts import (
    acknowledge_interrupt,
    allow_interrupts,
    disable_interrupt,
    enable_interrupt,
    idle,
)
from macadamia.machine.x86_64.io_ports import set_io_permissions
from macadamia.machine.x86_64.kernel_space import invalidate_page, load_page_table, physical_pointer
from macadamia.machine.x86_64.panic import stop
from macadamia.machine.x86_64.power import power_off
from macadamia.machine.x86_64.serial import console_read, console_write, log_write
from macadamia.machine.x86_64.start import machine_start
from macadamia.machine.x86_64.user_bases import set_user_bases, set_user_gs_base
from macadamia.machine.x86_64.user_copy import copy_from_user, copy_to_user, load_user_word, store_user_word

ENTRY = machine_start
ROOTS = (system_call_entry, interrupt_entry, own_stack_entry, debug_entry)
LINKER_SCRIPT = layout.LINKER_SCRIPT
IMPLEMENTATIONS = (
    *(time_now, set_timer, stop_timer),
    *(idle, allow_interrupts, enable_interrupt, disable_interrupt, acknowledge_interrupt),
    *(activate, resume, switch_fpu, set_user_bases, set_user_gs_base, set_io_permissions),
    *(physical_pointer, load_page_table, invalidate_page),
    *(copy_from_user, copy_to_user, load_user_word, store_user_word),
    *(console_write, console_read, log_write, power_off, stop),
)
