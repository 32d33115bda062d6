"""Algorithms a kernel needs, in kernel Python: written to be read, and measured against C by `mac bench lang`."""
