/* Heap sort, as src/macadamia/examples/sort.py. */

#include "measured.h"

static void sift_down(uint32_t *values, size_t root, size_t end)
{
    uint32_t value = values[root];
    size_t hole = root;
    size_t child = 2 * root + 1;

    while (child < end) {
        if (child + 1 < end && values[child] < values[child + 1])
            child++;
        if (values[child] <= value)
            break;
        values[hole] = values[child];
        hole = child;
        child = 2 * hole + 1;
    }
    values[hole] = value;
}

static void heap_sort(uint32_t *values, size_t count)
{
    for (size_t root = count / 2; root-- > 0;)
        sift_down(values, root, count);
    for (size_t end = count; end-- > 1;) {
        uint32_t largest = values[0];
        values[0] = values[end];
        values[end] = largest;
        sift_down(values, 0, end);
    }
}

#define COUNT 10000
static uint32_t values[COUNT];

void c_sort_setup(void)
{
    random_state = SEED;
    for (size_t i = 0; i < COUNT; i++)
        values[i] = (uint32_t)next_random();
}

void c_sort_run(void)
{
    heap_sort(values, COUNT);
}

uint64_t c_sort_result(void)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < COUNT; i++)
        digest = mix(digest, values[i]);
    return digest;
}
