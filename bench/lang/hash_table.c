/* Open addressing with linear probing, as src/macadamia/examples/hash_table.py. */

#include "measured.h"

#define CAPACITY_LOG2 12
#define CAPACITY ((size_t)1 << CAPACITY_LOG2)
#define EMPTY 0

struct slot {
    uint64_t key;
    uint64_t value;
};

struct hash_table {
    uint64_t count;
    struct slot slots[CAPACITY];
};

static size_t home_of(uint64_t key)
{
    return key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - CAPACITY_LOG2);
}

static void clear(struct hash_table *table)
{
    table->count = 0;
    for (size_t i = 0; i < CAPACITY; i++)
        table->slots[i].key = EMPTY;
}

static size_t index_of(const struct hash_table *table, uint64_t key)
{
    size_t index = home_of(key);

    while (table->slots[index].key != key && table->slots[index].key != EMPTY)
        index = (index + 1) % CAPACITY;
    return index;
}

static struct slot *find(struct hash_table *table, uint64_t key)
{
    struct slot *slot = &table->slots[index_of(table, key)];

    return slot->key == key ? slot : NULL;
}

static bool insert(struct hash_table *table, uint64_t key, uint64_t value)
{
    struct slot *slot = &table->slots[index_of(table, key)];

    if (slot->key == EMPTY) {
        if (table->count == CAPACITY - 1)
            return false;
        table->count++;
        slot->key = key;
    }
    slot->value = value;
    return true;
}

static bool hash_remove(struct hash_table *table, uint64_t key)
{
    size_t hole = index_of(table, key);

    if (table->slots[hole].key == EMPTY)
        return false;
    table->count--;
    for (size_t i = (hole + 1) % CAPACITY; table->slots[i].key != EMPTY; i = (i + 1) % CAPACITY) {
        if ((i - home_of(table->slots[i].key)) % CAPACITY >= (i - hole) % CAPACITY) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole].key = EMPTY;
    return true;
}

#define KEYS 3000
static struct hash_table table;
static uint64_t keys[KEYS];

void c_hash_table_setup(void)
{
    random_state = SEED;
    clear(&table);
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = next_random();
}

void c_hash_table_run(void)
{
    uint64_t total = 0;

    for (size_t i = 0; i < KEYS; i++)
        insert(&table, keys[i], i);
    for (size_t i = 0; i < KEYS; i += 3)
        hash_remove(&table, keys[i]);
    for (size_t i = 0; i < KEYS; i++) {
        struct slot *slot = find(&table, keys[i]);
        if (slot)
            total += slot->value;
    }
    outcome = total;
}

uint64_t c_hash_table_result(void)
{
    return mix(outcome, table.count);
}
