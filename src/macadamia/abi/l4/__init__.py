"""The L4 X.2 interface on amd64: word formats, register and memory layouts, numbers.

Facts: L4 eXperimental Kernel Reference Manual, version X.2, and shared/abi/l4-x2-amd64.md. The modules are
kernel Python, so the kernel, user programs and host-side tests use the same definitions.
"""
