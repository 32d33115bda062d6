/* A walk of four-level page tables, as src/macadamia/examples/page_walk.py. */

#include "measured.h"

#define PAGE_SHIFT 12
#define INDEX_BITS 9
#define ENTRIES (1 << INDEX_BITS)
#define LEVELS 4
#define PRESENT (UINT64_C(1) << 0)
#define WRITABLE (UINT64_C(1) << 1)
#define LARGE (UINT64_C(1) << 7)
#define FRAME UINT64_C(0x000FFFFFFFFFF000)
#define FRAMES 64
#define NOT_MAPPED (~UINT64_C(0))

struct table {
    uint64_t entries[ENTRIES];
} __attribute__((aligned(4096)));

struct physical_memory {
    struct table frames[FRAMES];
    uint64_t used;
};

static struct table *table_at(struct physical_memory *memory, uint64_t entry)
{
    return &memory->frames[(entry & FRAME) >> PAGE_SHIFT];
}

static uint64_t allocate(struct physical_memory *memory)
{
    struct table *table;

    if (memory->used == FRAMES)
        return 0;
    table = &memory->frames[memory->used];
    for (size_t i = 0; i < ENTRIES; i++)
        table->entries[i] = 0;
    memory->used++;
    return (memory->used - 1) << PAGE_SHIFT;
}

static void clear(struct physical_memory *memory)
{
    memory->used = 0;
    allocate(memory);
}

static uint64_t index_at(uint64_t address, unsigned level)
{
    return (address >> (PAGE_SHIFT + INDEX_BITS * (level - 1))) & (ENTRIES - 1);
}

static uint64_t translate(struct physical_memory *memory, uint64_t address)
{
    struct table *table = &memory->frames[0];

    for (unsigned level = LEVELS; level > 0; level--) {
        uint64_t entry = table->entries[index_at(address, level)];
        if (!(entry & PRESENT))
            return NOT_MAPPED;
        if (level == 1 || entry & LARGE) {
            uint64_t offset_mask = (UINT64_C(1) << (PAGE_SHIFT + INDEX_BITS * (level - 1))) - 1;
            return (entry & FRAME & ~offset_mask) | (address & offset_mask);
        }
        table = table_at(memory, entry);
    }
    return NOT_MAPPED;
}

static bool map_page(struct physical_memory *memory, uint64_t address, uint64_t frame, unsigned leaf_level)
{
    struct table *table = &memory->frames[0];

    for (unsigned level = LEVELS; level > leaf_level; level--) {
        size_t index = index_at(address, level);
        if (!(table->entries[index] & PRESENT)) {
            uint64_t fresh = allocate(memory);
            if (fresh == 0)
                return false;
            table->entries[index] = fresh | PRESENT | WRITABLE;
        }
        table = table_at(memory, table->entries[index]);
    }
    table->entries[index_at(address, leaf_level)] = frame | (leaf_level > 1 ? LARGE : 0) | PRESENT | WRITABLE;
    return true;
}

#define REGIONS 8
#define PAGES 512
#define LOOKUPS 20000
#define REGION_SHIFT 36
static struct physical_memory memory;

void c_page_walk_setup(void)
{
    random_state = SEED;
    clear(&memory);
    for (uint64_t region = 0; region < REGIONS; region++) {
        uint64_t start = region << REGION_SHIFT;
        uint64_t first_page = 0;
        if (region % 4 == 0) {
            map_page(&memory, start, region << 21, 2);
            first_page = 512;
        }
        for (uint64_t page = first_page; page < first_page + PAGES; page++)
            map_page(&memory, start + (page << PAGE_SHIFT), next_random() & 0xFFFFFF000, 1);
    }
}

void c_page_walk_run(void)
{
    uint64_t address_of_region = 0;
    uint64_t digest = 0;

    for (uint64_t i = 0; i < LOOKUPS; i++) {
        uint64_t page = i * 7 % (2 * PAGES);
        digest += translate(&memory, address_of_region + (page << PAGE_SHIFT) + i % 4096);
        address_of_region = (address_of_region + (UINT64_C(1) << REGION_SHIFT)) % ((uint64_t)REGIONS << REGION_SHIFT);
    }
    outcome = digest;
}

uint64_t c_page_walk_result(void)
{
    return outcome;
}
