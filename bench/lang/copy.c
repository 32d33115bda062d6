/* Copying words, as src/macadamia/examples/copy.py. */

#include "measured.h"

static void copy_words(uint64_t *to, const uint64_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

#define WORDS 8192
static uint64_t source[WORDS];
static uint64_t target[WORDS];

void c_copy_setup(void)
{
    random_state = SEED;
    for (size_t i = 0; i < WORDS; i++) {
        source[i] = next_random();
        target[i] = 0;
    }
}

void c_copy_run(void)
{
    copy_words(target, source, WORDS);
}

uint64_t c_copy_result(void)
{
    uint64_t digest = 0;

    for (size_t i = 0; i < WORDS; i++)
        digest = mix(digest, target[i]);
    return digest;
}
