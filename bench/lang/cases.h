/* The table of cases: what each is called, and its three functions in C and in kernel Python. */

#ifndef CASES_H
#define CASES_H

#include "measured.h"

#define ALL_CASES(X) X(sort) X(crc32) X(hash_table) X(red_black_tree) X(page_walk) X(copy) X(bit_scan) X(list_walk)

struct side {
    const char *system;
    void (*setup)(void);
    void (*run)(void);
    uint64_t (*result)(void);
};

enum { C, PYTHON, SIDES };

struct test_case {
    const char *name;
    struct side sides[SIDES];
};

#define DECLARE(side, name)                                                                                            \
    void side##_##name##_setup(void);                                                                                  \
    void side##_##name##_run(void);                                                                                    \
    uint64_t side##_##name##_result(void);
#define DECLARE_BOTH(name) DECLARE(c, name) DECLARE(python, name)
#define SIDE(text, side, name) { text, side##_##name##_setup, side##_##name##_run, side##_##name##_result }
#define CASE(name) { #name, { SIDE("gcc", c, name), SIDE("macadamia", python, name) } },

ALL_CASES(DECLARE_BOTH)
static const struct test_case cases[] = { ALL_CASES(CASE) };
#define CASES (sizeof cases / sizeof *cases)

#endif
