"""Import-time help for writing assembly: AT&T text that becomes the template of `asm`."""


def lines(*texts: str) -> str:
    """Instructions, one or more to a text, in order."""
    return "\n".join(texts)


def template(*texts: str) -> str:
    """A template of `asm`: `$` is an immediate as usual, `@0` to `@9` are the operands.

    `@k0` is the 32-bit name of a register operand, `@P0` a function to call or jump to.
    """
    text = lines(*texts).replace("$", "$$")
    for number in range(10):
        text = text.replace(f"@k{number}", f"${{{number}:k}}").replace(f"@P{number}", f"${{{number}:P}}")
        text = text.replace(f"@{number}", f"${{{number}}}")
    return text
