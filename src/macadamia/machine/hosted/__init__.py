"""The simulated twin of the machine: a kernel's functions run on it in CPython and under jit.

`memory` is kernel Python; the rest is ordinary Python and is called back from compiled code.
"""
