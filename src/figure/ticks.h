/* figure/ticks.h: round numbers for axes (1, 2 or 5 times a power of ten) and how to write them. */
#ifndef KH_FIGURE_TICKS_H
#define KH_FIGURE_TICKS_H

#include <stdbool.h>
#include <stddef.h>

#define KH_TICKS_MAX   64
#define KH_NUMBER_ROOM 48

typedef struct kh_ticks {
    double at[KH_TICKS_MAX];
    size_t count;
    int decimals;  /* digits after the point that tell neighbours apart */
    bool is_power; /* write as powers of ten */
} kh_ticks;

/* Distance between ticks so that about `wanted` of them cover high - low: 1, 2 or 5 times 10^n.
 * whole: at least 1. */
double kh_ticks_step(double low, double high, size_t wanted, bool whole);

/* Ticks inside [low, high], low < high. */
kh_ticks kh_ticks_linear(double low, double high, size_t wanted, bool whole);
/* Powers of ten inside [low, high], with 2 and 5 between them when fewer than three; 0 < low <
 * high. */
kh_ticks kh_ticks_log(double low, double high, size_t wanted);

/* "−12,345.50": a true minus, thousands apart; far from 1 as "1.2×10⁶"; "NaN", "∞", "−∞". */
const char *kh_number(double value, int decimals, char out[KH_NUMBER_ROOM]);
/* About `digits` significant digits, without zeros at the end that say nothing. */
const char *kh_number_short(double value, int digits, char out[KH_NUMBER_ROOM]);
const char *kh_tick_text(const kh_ticks *ticks, size_t index, char out[KH_NUMBER_ROOM]);

#endif
