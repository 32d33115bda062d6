"""The laboratory: the command line, build cache, QEMU runner, symbols, debugger and benchmarks.

Everything here is ordinary Python that runs on the host. `./mac` starts `macadamia.lab.cli`.
"""
