/* What the C side of `mac bench lang` shares: see src/macadamia/examples/measured.py, which it mirrors. */

#ifndef MEASURED_H
#define MEASURED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEED UINT64_C(0x2545F4914F6CDD1D)

extern uint64_t random_state;
extern uint64_t outcome; /* what the last run computed, when that is one number */

/* xorshift64 (Marsaglia, 2003). */
static inline uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Fold one value into a digest that depends on the order. */
static inline uint64_t mix(uint64_t digest, uint64_t value)
{
    return (digest ^ value) * UINT64_C(0x00000100000001B3);
}

#endif
