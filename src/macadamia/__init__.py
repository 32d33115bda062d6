"""Macadamia: two microkernels, Mach and L4, and a Linux-compatible system on both, written in Python."""
