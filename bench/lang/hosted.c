/* The same objects in a Linux process, for the clock: every case in turns on both sides, so that both meet the same
   weather, and the best of ROUNDS. Writes lines as bare.c does: CASE SYSTEM NANOSECONDS RESULT. */

#define _POSIX_C_SOURCE 199309L
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cases.h"

#define ROUNDS 300

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t duration(const struct side *side)
{
    side->setup();
    uint64_t before = now();

    side->run();
    return now() - before;
}

static void measure(const struct test_case *test)
{
    uint64_t best[SIDES] = { UINT64_MAX, UINT64_MAX };

    for (int round = 0; round < ROUNDS; round++) {
        for (size_t side = 0; side < SIDES; side++) {
            uint64_t taken = duration(&test->sides[side]);
            if (taken < best[side])
                best[side] = taken;
        }
    }
    for (size_t side = 0; side < SIDES; side++) {
        const struct side *measured = &test->sides[side];
        printf("%s %s %" PRIu64 " %" PRIu64 "\n", test->name, measured->system, best[side], measured->result());
    }
}

int main(void)
{
    for (size_t i = 0; i < CASES; i++)
        measure(&cases[i]);
    return 0;
}
