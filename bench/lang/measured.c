/* The two variables that all cases share. */

#include "measured.h"

uint64_t random_state;
uint64_t outcome;
