"""Assignment, evaluation order, calls and stops three ways."""

from macadamia.lang import (
    Ptr,
    panic,
    u8,
    u16,
    u32,
    u64,
    unreachable,
)
from macadamia.lang import i32 as signed
from tests.lang.event_log import log, log_length, logged, note
from tests.lang.three_ways import TrapKind, run_three_ways, trap_three_ways

# Assignment


def definite(a: u32) -> u32:
    if a > 10:
        x = a * 2
        y: u64 = 5
    elif a > 5:
        x = a
        y = u64(a)
    else:
        return 0
    return x + u32(y)


def assigned_in_match(a: u8) -> u16:
    match a:
        case 0:
            value: u16 = 7
        case 1 | 2:
            value = 8
        case _:
            value = a
    return value


def assigned_before_break(n: u32) -> u32:
    while True:
        n += 1
        result = n * 2
        if n > 5:
            break
    return result


def annotated() -> u64:
    a: u64 = 5
    b: u8 = 200
    a = b
    b += 100
    return a * 1000 + b


def augmented(a: signed, b: signed) -> signed:
    a += b
    a -= 3
    a *= b
    a //= 7
    a %= 1000
    a <<= 3
    a >>= 1
    a &= 0xFFFF
    a |= 0x10000
    a ^= b
    return a


def augmented_element(i: u32) -> u32:
    log[note(i)] += note(10)
    return log[i]


def swap(a: u32, b: u32) -> tuple[u32, u32]:
    a, b = b, a
    return a, b


def rotate_three(a: u8, b: u8, c: u8) -> tuple[u8, u8, u8]:
    a, b, c = b, c, a
    return a, b, c


def swap_elements(i: u32, j: u32) -> None:
    log[i], log[j] = log[j], log[i]


def sequential_targets() -> u32:
    """Targets are assigned from left to right: the index of the second sees the first."""
    i: u32 = 0
    i, log[i] = 3, 77
    return i


class TestAssignment:
    def test_definite(self) -> None:
        assert [int(run_three_ways(definite, u32(a))) for a in (3, 7, 20)] == [0, 14, 45]
        assert [int(run_three_ways(assigned_in_match, u8(a))) for a in (0, 1, 9)] == [7, 8, 9]
        assert run_three_ways(assigned_before_break, u32(0)) == 12

    def test_annotated_names_widen(self) -> None:
        assert run_three_ways(annotated) == 200 * 1000 + 44

    def test_augmented(self) -> None:
        for a, b in [(5, 9), (-5, 9), (100000, -77), (-(2**31), 3)]:
            expected = self.augmented_reference(a, b)
            assert run_three_ways(augmented, signed(a), signed(b)) == expected

    @staticmethod
    def augmented_reference(a: int, b: int) -> int:
        def wrap(x: int) -> int:
            return (x + 2**31) % 2**32 - 2**31

        a = wrap(wrap(wrap(a + b) - 3) * b) // 7 % 1000
        return wrap(((a << 3 >> 1) & 0xFFFF | 0x10000) ^ b)

    def test_augmented_element_evaluates_its_place_once(self) -> None:
        log[3] = 5
        assert logged(augmented_element, u32(3))[:2] == [3, 10]

    def test_swap(self) -> None:
        assert run_three_ways(swap, u32(1), u32(2)) == (2, 1)
        assert run_three_ways(rotate_three, u8(1), u8(2), u8(3)) == (2, 3, 1)
        log[5], log[9] = u32(55), u32(99)
        run_three_ways(swap_elements, u32(5), u32(9))
        assert (log[5], log[9]) == (99, 55)

    def test_targets_are_assigned_from_left_to_right(self) -> None:
        log[0] = log[3] = u32(0)
        assert run_three_ways(sequential_targets) == 3
        assert (log[0], log[3]) == (0, 77)


# Evaluation order


def pair(a: u32, b: u32) -> u32:
    return note(100 + a - b)


def order_of_arguments() -> u32:
    return pair(note(1), note(2)) + pair(b=note(3), a=note(4))


def order_of_operators() -> u32:
    return note(1) + note(2) * note(3) - note(4)


def order_of_store() -> None:
    log[note(40)] = note(2)


def order_of_tuple() -> tuple[u32, u32]:
    a, b = note(1), note(2)
    log[note(50)], log[note(51)] = note(3), note(4)
    return a, b


def read_before_call(a: u32) -> u32:
    """The left side is read before the call on the right changes it."""
    log[60] = a
    return log[60] + changes_60()


def changes_60() -> u32:
    log[60] = 1000
    return 1


class TestEvaluationOrder:
    def test_arguments(self) -> None:
        assert logged(order_of_arguments) == [1, 2, 99, 3, 4, 101]

    def test_operators(self) -> None:
        assert logged(order_of_operators) == [1, 2, 3, 4]

    def test_store_evaluates_the_value_first(self) -> None:
        assert logged(order_of_store) == [2, 40]

    def test_tuples(self) -> None:
        assert logged(order_of_tuple) == [1, 2, 3, 4, 50, 51]

    def test_operand_is_read_before_a_later_call(self) -> None:
        assert run_three_ways(read_before_call, u32(7)) == 8


# Calls


def factorial(n: u64) -> u64:
    return 1 if n == 0 else n * factorial(n - 1)


def is_even(n: u32) -> bool:
    return n == 0 or is_odd(n - 1)


def is_odd(n: u32) -> bool:
    return n != 0 and is_even(n - 1)


def ackermann(m: u32, n: u32) -> u32:
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


def with_defaults(a: u32, b: u32 = 7, c: bool = True) -> u32:
    return a * 100 + b * 10 + u32(c)


def calls_with_defaults() -> tuple[u32, u32, u32, u32]:
    return with_defaults(1), with_defaults(1, 2), with_defaults(1, c=False), with_defaults(c=False, b=3, a=4)


def quotient(a: u32, b: u32) -> tuple[u32, u32, bool]:
    return a // b, a % b, a % b == 0


def uses_tuple(a: u32, b: u32) -> u32:
    result = quotient(a, b)
    q, r, exact = quotient(b, a)
    return result[0] * 1000 + result[1] * 100 + u32(result[2]) * 10 + q + r + u32(exact)


class TestCalls:
    def test_recursion(self) -> None:
        assert run_three_ways(factorial, u64(20)) == 2432902008176640000
        assert run_three_ways(is_even, u32(10)) is True
        assert run_three_ways(is_odd, u32(10)) is False
        assert run_three_ways(ackermann, u32(2), u32(3)) == 9

    def test_defaults_and_keywords(self) -> None:
        assert run_three_ways(calls_with_defaults) == (171, 121, 170, 430)

    def test_tuples(self) -> None:
        assert run_three_ways(uses_tuple, u32(17), u32(5)) == 3 * 1000 + 2 * 100 + 0 + 0 + 5


# Stops


def asserts(a: u32) -> u32:
    assert a < 10, "too large"
    return a


def asserts_of_integers(a: u32, p: Ptr[u32] | None) -> u32:
    assert a
    assert p, "no pointer"
    return p[0]


def panics(a: u32) -> u32:
    if a == 0:
        panic("zero")
    return a


def not_reached(a: u8) -> u8:  # noqa: RET503 (ruff does not know that unreachable does not return)
    match a:
        case 0:
            return 1
        case 1:
            return 2
    unreachable("only two values")


def effects_before_the_trap(a: u32) -> u32:
    log[0] = 123
    assert a, "no"
    log[0] = 456
    return a


class TestStops:
    def test_assert(self) -> None:
        assert run_three_ways(asserts, u32(9)) == 9
        assert trap_three_ways(asserts, u32(10), release=10) == TrapKind.ASSERT

    def test_assert_of_integer_and_pointer(self) -> None:
        log_length[0] = 8
        assert run_three_ways(asserts_of_integers, u32(1), log_length) == 8
        assert trap_three_ways(asserts_of_integers, u32(0), log_length, release=8) == TrapKind.ASSERT
        assert trap_three_ways(asserts_of_integers, u32(1), None) == TrapKind.ASSERT

    def test_panic(self) -> None:
        assert run_three_ways(panics, u32(3)) == 3
        assert trap_three_ways(panics, u32(0)) == TrapKind.PANIC

    def test_unreachable(self) -> None:
        assert run_three_ways(not_reached, u8(1)) == 2
        assert trap_three_ways(not_reached, u8(2)) == TrapKind.PANIC

    def test_effects_before_a_trap_stay(self) -> None:
        """The bytes of all statics are compared, after a trap too."""
        assert trap_three_ways(effects_before_the_trap, u32(0), release=0) == TrapKind.ASSERT
