"""Kernel Python compiled into this process."""

from macadamia.lang.jit.library import Library, jit

__all__ = ["Library", "jit"]
