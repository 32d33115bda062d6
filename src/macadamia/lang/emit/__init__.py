"""The back half of the compiler's own work: from the typed tree to LLVM text."""

from macadamia.lang.emit.module import TRIPLES, EmitOptions, Module, Profile, Target, emit

__all__ = ["TRIPLES", "EmitOptions", "Module", "Profile", "Target", "emit"]
