"""Kernel Python in plain CPython: what the language means."""

from macadamia.lang.definition.function import definition, meaning_of

__all__ = ["definition", "meaning_of"]
