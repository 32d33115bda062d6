"""The front end: from Python syntax trees to the typed tree, with every error a person can make found here.

One module per subject: `names` and fields in values, conversions, operators, calls, built-ins, assignments,
control flow, loops, match, formatting. `program` drives them from a program's roots.
"""

from macadamia.lang.check.program import ProgramChecker, check_program

__all__ = ["ProgramChecker", "check_program"]
