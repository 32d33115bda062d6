"""Control flow three ways: conditions, loops, match."""

import builtins
from typing import Any

import pytest

from macadamia.lang import (
    Array,
    Ptr,
    i8,
    i64,
    likely,
    range,
    u8,
    u32,
    u64,
    unlikely,
)
from macadamia.lang import i32 as signed
from tests.lang.event_log import log, logged, note, truth
from tests.lang.three_ways import run_three_ways

# Conditions


def all_of(a: bool, b: bool, c: bool) -> bool:
    return a and b and not c


def any_of(a: bool, b: bool, c: bool) -> bool:
    return a or (b and c)


def bit_logic(a: bool, b: bool) -> u8:
    result = u8(a & b)
    result = result * 2 + u8(a | b)
    result = result * 2 + u8(a ^ b)
    result = result * 2 + u8(a == b)
    return result * 2 + u8(a != b)


def condition_of_integers(a: u32, b: i8) -> u32:
    if a and not b:
        return 1
    if not a or b:
        return 2
    return 3


def short_circuit(a: bool, b: bool) -> bool:
    return (truth(1, a) and truth(2, b)) or truth(3, a)


def both_evaluated(a: bool, b: bool) -> bool:
    return truth(1, a) & truth(2, b) | truth(3, a) ^ truth(4, b)


def select(c: bool) -> u32:
    return note(1) if truth(2, c) else note(3)


def chain_once(a: u32) -> bool:
    return note(a) < note(5) < note(7)


def member(a: u32) -> bool:
    return a in (2, 3, 5, 7) or a not in (1, 2, 3, 4, 5, 6, 8)


def member_of_values(a: u8, b: u8, c: u8) -> bool:
    return a in (b, c)


def hints(a: u32) -> u32:
    if likely(a > 5):
        return 1
    if unlikely(a == 3):
        return 2
    return 3


class TestConditions:
    @pytest.mark.parametrize("bits", [*builtins.range(8)])
    def test_and_or_not(self, bits: int) -> None:
        a, b, c = bool(bits & 1), bool(bits & 2), bool(bits & 4)
        assert run_three_ways(all_of, a, b, c) is (a and b and not c)
        assert run_three_ways(any_of, a, b, c) is (a or (b and c))
        expected = (a & b) << 4 | (a | b) << 3 | (a ^ b) << 2 | (a == b) << 1 | (a != b)
        assert run_three_ways(bit_logic, a, b) == expected

    def test_integers_as_conditions(self) -> None:
        assert run_three_ways(condition_of_integers, u32(5), i8(0)) == 1
        assert run_three_ways(condition_of_integers, u32(0), i8(0)) == 2
        assert run_three_ways(condition_of_integers, u32(1), i8(-1)) == 2

    def test_short_circuit(self) -> None:
        assert logged(short_circuit, True, True) == [1, 2]
        assert logged(short_circuit, False, True) == [1, 3]
        assert logged(short_circuit, True, False) == [1, 2, 3]

    def test_bit_operators_evaluate_both_sides(self) -> None:
        assert logged(both_evaluated, False, False) == [1, 2, 3, 4]

    def test_conditional_expression_evaluates_one_side(self) -> None:
        assert logged(select, True) == [2, 1]
        assert logged(select, False) == [2, 3]

    def test_chain_evaluates_each_side_once_and_stops(self) -> None:
        assert logged(chain_once, u32(3)) == [3, 5, 7]
        assert logged(chain_once, u32(6)) == [6, 5]

    def test_membership(self) -> None:
        for a in range(10):
            expected = a in (2, 3, 5, 7) or a not in (1, 2, 3, 4, 5, 6, 8)
            assert run_three_ways(member, u32(a)) is expected
        assert run_three_ways(member_of_values, u8(3), u8(1), u8(3)) is True
        assert run_three_ways(member_of_values, u8(3), u8(1), u8(2)) is False

    def test_hints(self) -> None:
        assert [int(run_three_ways(hints, u32(a))) for a in (9, 3, 4)] == [1, 2, 3]


# Loops


def sum_of_squares(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        total += i * i
    return total


def collatz(n: u64) -> u64:
    steps = u64(0)
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def while_with_break(n: u32) -> u32:
    i = u32(0)
    while True:
        i += 3
        if i >= n:
            break
        if i % 2:
            continue
        note(i)
    return i


def nested_loops(n: u32) -> u32:
    count = u32(0)
    for i in range(n):
        for j in range(i):
            if j == 3:
                break
            if (i + j) % 3 == 0:
                continue
            count += 1
        else_count = count
        count = else_count + 1
    return count


def returns_from_a_loop(values: Ptr[Array[u32, 64]], wanted: u32) -> i64:
    for i in range(64):
        if values[i] == wanted:
            return i64(i)
    return -1


def loop_variable_may_change(n: u32) -> u32:
    count = u32(0)
    for i in range(n):
        i *= 2
        note(i)
        count += 1
    return count


def bound_evaluated_once(n: u32) -> u32:
    count = u32(0)
    for _i in range(note(n)):
        n += 1
        count += 1
    return count + n


def variable_after_loop(n: u32) -> u32:
    last = u32(99)
    for i in range(n):
        last = i
    return last


def sum_of_array() -> u32:
    total = u32(0)
    for x in log:
        total = total * 3 + x
    return total


class TestLoops:
    def test_for(self) -> None:
        for n in (0, 1, 5, 100):
            assert run_three_ways(sum_of_squares, u32(n)) == sum(i * i for i in range(u32(n)))

    def test_while(self) -> None:
        assert run_three_ways(collatz, u64(27)) == 111

    def test_break_and_continue(self) -> None:
        assert run_three_ways(while_with_break, u32(20)) == 21
        assert logged(while_with_break, u32(20)) == [6, 12, 18]
        assert run_three_ways(nested_loops, u32(9)) == 23

    def test_return_from_a_loop(self) -> None:
        for i in range(64):
            log[i] = u32(i * 7)
        assert run_three_ways(returns_from_a_loop, log, u32(21)) == 3
        assert run_three_ways(returns_from_a_loop, log, u32(22)) == -1

    def test_changing_the_variable_does_not_change_the_loop(self) -> None:
        assert logged(loop_variable_may_change, u32(4)) == [0, 2, 4, 6]

    def test_bounds_are_evaluated_once(self) -> None:
        assert run_three_ways(bound_evaluated_once, u32(4)) == 12

    def test_value_survives_the_loop(self) -> None:
        assert run_three_ways(variable_after_loop, u32(5)) == 4
        assert run_three_ways(variable_after_loop, u32(0)) == 99

    def test_for_over_an_array(self) -> None:
        expected = 0
        for i in range(64):
            log[i] = u32(i * 7)
            expected = (expected * 3 + int(i) * 7) % 2**32
        assert run_three_ways(sum_of_array) == expected


def ranges(t: Any, step: int) -> Any:
    """A loop whose counter has the type t; it gives the count, the sum and the last value."""

    def loop(start: t, stop: t) -> tuple[u32, i64, t]:
        count = u32(0)
        total = i64(0)
        last = start
        for i in range(start, stop, step):
            count += 1
            total += i64.wrap(i)
            last = i
        return count, total, last

    return loop


U8_ENDS = [0, 1, 2, 100, 127, 128, 253, 254, 255]
I8_ENDS = [-128, -127, -126, -1, 0, 1, 2, 125, 126, 127]


class TestRangeAtTheEndsOfTheType:
    @pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 255, -1, -2, -3, -7, -100, -255])
    def test_u8(self, step: int) -> None:
        self.compare(u8, step, U8_ENDS)

    @pytest.mark.parametrize("step", [1, 2, 3, 7, 100, 127, -1, -2, -3, -7, -100, -128])
    def test_i8(self, step: int) -> None:
        self.compare(i8, step, I8_ENDS)

    def compare(self, t: Any, step: int, ends: list[int]) -> None:
        loop = ranges(t, step)
        for start in ends:
            for stop in ends:
                values = [*builtins.range(start, stop, step)]
                expected = (len(values), sum(values), values[-1] if values else start)
                assert run_three_ways(loop, t(start), t(stop)) == expected, (start, stop, step)

    def test_u64_near_the_top(self) -> None:
        top = 2**64 - 1
        assert run_three_ways(ranges(u64, 3), u64(top - 7), u64(top))[0] == 3
        assert run_three_ways(ranges(u64, -1), u64(3), u64(0))[0] == 3


# match


def numbers(x: u32) -> u32:
    match x:
        case 0:
            return 100
        case 1 | 2 | 3:
            return 200
        case 10:
            note(10)
        case 0xFFFF_FFFF:
            return 300
        case other:
            return other + 1
    return 400


def dense(x: u8) -> u8:
    """Enough neighbouring cases for a jump table."""
    result = u8(0)
    match x:
        case 0:
            result = 11
        case 1:
            result = 7
        case 2:
            result = 5
        case 3:
            result = 13
        case 4:
            result = 2
        case 5:
            result = 3
        case 6 | 7:
            result = 17
        case 9:
            result = 19
    return result


def guarded(x: signed, flag: bool) -> u32:
    match x:
        case 1 if flag:
            return 1
        case -1 | 1:
            return 2
        case n if truth(7, n > 100):
            return 3
        case n if n < 0:
            return u32(-n)
        case _:
            return 5


def match_in_a_loop(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        match i % 4:
            case 0:
                continue
            case 1:
                total += 10
            case 3 if i > 8:
                break
            case _:
                total += 1
    return total


def match_evaluates_once(x: u32) -> u32:
    match note(x):
        case 1:
            return 10
        case 2:
            return 20
        case n:
            return n


class TestMatch:
    def test_literals_and_names(self) -> None:
        for x, expected in [
            (0, 100),
            (1, 200),
            (3, 200),
            (10, 400),
            (2**32 - 1, 300),
            (4, 5),
            (2**32 - 2, 2**32 - 1),
        ]:
            assert run_three_ways(numbers, u32(x)) == expected

    def test_jump_table(self) -> None:
        table = [11, 7, 5, 13, 2, 3, 17, 17, 0, 19, 0]
        assert [int(run_three_ways(dense, u8(x))) for x in range(11)] == table
        assert run_three_ways(dense, u8(255)) == 0

    def test_guards(self) -> None:
        cases = [(1, True, 1), (1, False, 2), (-1, True, 2), (101, True, 3), (-7, True, 7), (50, True, 5)]
        for x, flag, expected in cases:
            assert run_three_ways(guarded, signed(x), flag) == expected
        assert logged(guarded, signed(50), True) == [7]
        assert logged(guarded, signed(1), False) == []

    def test_inside_a_loop(self) -> None:
        assert run_three_ways(match_in_a_loop, u32(20)) == 10 + 1 + 1 + 10 + 1 + 1 + 10 + 1

    def test_subject_is_evaluated_once(self) -> None:
        for x in (1, 2, 3):
            assert logged(match_evaluates_once, u32(x)) == [x]
