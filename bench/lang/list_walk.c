/* A circular list with links in its elements, as src/macadamia/examples/list_walk.py. */

#include "measured.h"

struct thread {
    struct thread *next;
    struct thread *previous;
    uint64_t identifier;
    uint32_t priority;
    uint32_t ticks;
};

static void make_head(struct thread *head)
{
    head->next = head;
    head->previous = head;
}

static void insert_before(struct thread *thread, struct thread *successor)
{
    thread->next = successor;
    thread->previous = successor->previous;
    successor->previous->next = thread;
    successor->previous = thread;
}

static void unlink(struct thread *thread)
{
    thread->previous->next = thread->next;
    thread->next->previous = thread->previous;
}

static void enqueue(struct thread *head, struct thread *thread)
{
    struct thread *place = head->next;

    while (place != head && place->priority >= thread->priority)
        place = place->next;
    insert_before(thread, place);
}

static struct thread *find(struct thread *head, uint64_t identifier)
{
    for (struct thread *thread = head->next; thread != head; thread = thread->next)
        if (thread->identifier == identifier)
            return thread;
    return NULL;
}

static uint64_t total_ticks(const struct thread *head)
{
    uint64_t total = 0;

    for (const struct thread *thread = head->next; thread != head; thread = thread->next)
        total += thread->ticks;
    return total;
}

#define THREADS 200
static struct thread head;
static struct thread threads[THREADS];

void c_list_walk_setup(void)
{
    random_state = SEED;
    make_head(&head);
    for (size_t i = 0; i < THREADS; i++) {
        threads[i].identifier = i;
        threads[i].priority = (uint32_t)(next_random() % 32);
        threads[i].ticks = (uint32_t)(next_random() % 1000);
    }
}

void c_list_walk_run(void)
{
    uint64_t total = 0;

    for (size_t i = 0; i < THREADS; i++)
        enqueue(&head, &threads[i]);
    for (uint64_t i = 0; i < THREADS; i += 2) {
        struct thread *thread = find(&head, i);
        if (thread)
            unlink(thread);
    }
    for (int round = 0; round < 20; round++)
        total += total_ticks(&head);
    outcome = total;
}

uint64_t c_list_walk_result(void)
{
    return mix(outcome, head.next->identifier);
}
