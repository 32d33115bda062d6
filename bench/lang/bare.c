/* Runs every case in C and in kernel Python, and writes one line for each to the debug console:
   CASE SYSTEM INSTRUCTIONS RESULT, numbers in decimal. */

#include "measured.h"

#define DEBUG_CONSOLE_PORT 0xE9
#define EXIT_PORT 0xF4 /* isa-debug-exit */

struct side {
    const char *system;
    void (*setup)(void);
    void (*run)(void);
    uint64_t (*result)(void);
};

struct test_case {
    const char *name;
    struct side sides[2];
};

#define DECLARE(side, name)                                                                                            \
    void side##_##name##_setup(void);                                                                                  \
    void side##_##name##_run(void);                                                                                    \
    uint64_t side##_##name##_result(void);
#define SIDE(text, side, name) { text, side##_##name##_setup, side##_##name##_run, side##_##name##_result }
#define DECLARE_BOTH(name) DECLARE(c, name) DECLARE(python, name)
#define CASE(name) { #name, { SIDE("gcc", c, name), SIDE("macadamia", python, name) } },
#define ALL(X) X(sort) X(crc32) X(hash_table) X(red_black_tree) X(page_walk) X(copy) X(bit_scan) X(list_walk)

ALL(DECLARE_BOTH)
static const struct test_case cases[] = { ALL(CASE) };

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint64_t time_stamp(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static void put_text(const char *text)
{
    for (; *text; text++)
        out8(DEBUG_CONSOLE_PORT, (uint8_t)*text);
}

static void put_number(uint64_t value)
{
    if (value >= 10)
        put_number(value / 10);
    out8(DEBUG_CONSOLE_PORT, (uint8_t)('0' + value % 10));
}

static void nothing(void)
{
}

static uint64_t count(void (*volatile run)(void))
{
    uint64_t before = time_stamp();

    run();
    return time_stamp() - before;
}

static void measure(const char *name, const struct side *side, uint64_t overhead)
{
    uint64_t instructions;

    side->setup();
    instructions = count(side->run) - overhead;
    put_text(name);
    put_text(" ");
    put_text(side->system);
    put_text(" ");
    put_number(instructions);
    put_text(" ");
    put_number(side->result());
    put_text("\n");
}

void c_main(void)
{
    uint64_t overhead = count(nothing);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t side = 0; side < 2; side++)
            measure(cases[i].name, &cases[i].sides[side], overhead);
    out8(EXIT_PORT, 0);
}
