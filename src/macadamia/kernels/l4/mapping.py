"""The mapping database: who maps which frame from whom.

What the rest of the kernel calls (docs in each module):

    kernel_memory.py   kernel_memory.donate(start, end)              the kernel's own memory, one range, at start
                       kernel_memory.allocate_page() -> PhysAddr      zeroed; 0 when exhausted; free_page(frame)
                       kernel_memory.free_pages                       counter, for tests and accounting
    slab.py            Slab[T].allocate() -> Ptr[T] | None, .free(p), .used      objects of up to 4032 bytes
    space.py           create_space() -> Ptr[Space] | None
                       space.address_space                            the machine's AddressSpace: load(), translate()
                       space.area_error(kip_area, utcb_area) -> CallError       SpaceControl's checks
                       space.hold_utcb(address) -> Ptr[u8] | None     a thread gets its UTCB: kernel's view of it
                       space.drop_utcb(address)                       ... and gives it back
                       space.map_kernel_page(address, frame, rights) -> bool    KIP, stubs: outside of map and unmap
    identity.py        set_sigma0(space), reserve(start, end): sigma0's space is physical memory 1:1, but for this
                       map_identity(address) -> bool                  sigma0's own page faults
    map_item.py        transfer = local(Transfer)                     one map or grant item
                       transfer.prepare(sender, receiver, send_base, fpage, window, grant=...)
                       transfer.run() -> Outcome
    unmap.py           unmapping = local(Unmapping)                   one fpage of Unmap
                       unmapping.prepare(space, fpage, flush=...)
                       unmapping.run() -> Outcome; then unmapping.status: Rights
                       unmapping.cancel()                             when a preempted one is given up
                       configure_areas(space, kip_area, utcb_area, kip) -> Outcome   after area_error said OK
                       delete_space(space) -> Outcome

`Outcome` is DONE, RESTART (the interface `preemption_point() -> bool` said so: everything is consistent, call
`run` again with the same object to go on) or OUT_OF_MEMORY (what was done stays). A Transfer may simply be dropped,
and one that is made anew finishes the work.
"""
