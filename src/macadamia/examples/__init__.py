"""Algorithms a kernel needs, written to be read; `mac bench lang` measures them against C."""
