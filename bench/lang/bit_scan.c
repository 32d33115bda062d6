/* A bitmap of free identifiers, as src/macadamia/examples/bit_scan.py. */

#include "measured.h"

#define WORD_BITS 64
#define WORDS 64
#define NONE_FREE (WORDS * WORD_BITS)

struct bitmap {
    uint64_t words[WORDS];
};

static void fill(struct bitmap *bitmap)
{
    for (size_t i = 0; i < WORDS; i++)
        bitmap->words[i] = ~UINT64_C(0);
}

static void release(struct bitmap *bitmap, uint64_t identifier)
{
    bitmap->words[identifier / WORD_BITS] |= UINT64_C(1) << identifier % WORD_BITS;
}

static uint64_t allocate(struct bitmap *bitmap)
{
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t word = bitmap->words[i];
        if (word) {
            bitmap->words[i] = word & (word - 1);
            return i * WORD_BITS + __builtin_ctzll(word);
        }
    }
    return NONE_FREE;
}

#define ROUNDS 20
static struct bitmap bitmap;

void c_bit_scan_setup(void)
{
    fill(&bitmap);
}

void c_bit_scan_run(void)
{
    uint64_t digest = 0;
    uint64_t identifier;

    while ((identifier = allocate(&bitmap)) != NONE_FREE)
        digest += identifier;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < 64; i++)
            release(&bitmap, (i * i + round * 61) % NONE_FREE);
        for (uint64_t i = 0; i < 64; i++)
            digest = mix(digest, allocate(&bitmap));
    }
    outcome = digest;
}

uint64_t c_bit_scan_result(void)
{
    return outcome;
}
