"""Letting the current thread use I/O ports: the permission bitmap of the TSS (SDM volume 1, 19.5.2).

The processor's copy is loaded when a thread with another set becomes current. Threads without ports cost one
store.
"""

from macadamia.lang import Ptr, copy_bytes, implements, pointer_to
from macadamia.machine import interface
from macadamia.machine.io_permissions import BITMAP_BYTES, IoPermissions
from macadamia.machine.x86_64.processor import IO_BITMAP_NONE, IO_BITMAP_OFFSET, this_processor


@implements(interface.set_io_permissions)
def set_io_permissions(permissions: Ptr[IoPermissions] | None) -> None:
    processor = this_processor()
    if permissions is None:
        processor.task.io_bitmap_offset = IO_BITMAP_NONE
        return
    if processor.io_version != permissions.version:
        copy_bytes(pointer_to(processor.task.io_bitmap[0]), pointer_to(permissions.denied[0]), BITMAP_BYTES)
        processor.io_version = permissions.version
    processor.task.io_bitmap_offset = IO_BITMAP_OFFSET
