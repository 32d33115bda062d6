/* CRC-32 over a table, as src/macadamia/examples/crc32.py, whose import makes the table; here it is constant too,
   in a header that the benchmark writes (lab/measure/freestanding.py). */

#include "measured.h"

static const uint32_t table[256] = {
#include "crc_table.h"
};

static uint32_t crc32(const uint8_t *data, size_t count)
{
    uint32_t crc = 0xFFFFFFFF;

    for (size_t i = 0; i < count; i++)
        crc = table[(crc ^ data[i]) & 0xFF] ^ (crc >> 8);
    return ~crc;
}

#define COUNT 65536
static uint8_t data[COUNT];

void c_crc32_setup(void)
{
    random_state = SEED;
    for (size_t i = 0; i < COUNT; i++)
        data[i] = (uint8_t)next_random();
}

void c_crc32_run(void)
{
    outcome = crc32(data, COUNT);
}

uint64_t c_crc32_result(void)
{
    return outcome;
}
