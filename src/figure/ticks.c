#include "figure/ticks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char minus[] = "\xE2\x88\x92";

double kh_ticks_step(double low, double high, size_t wanted, bool whole) {
    const double rough = (high - low) / (double)(wanted ? wanted : 1);
    const double power = pow(10, floor(log10(rough)));
    const double share = rough / power; /* 1 <= share < 10, up to rounding */
    const double factor = share <= 1.0 + 1e-9   ? 1
                          : share <= 2.0 + 1e-9 ? 2
                          : share <= 5.0 + 1e-9 ? 5
                                                : 10;
    const double step = factor * power;
    return whole && step < 1 ? 1 : step;
}

kh_ticks kh_ticks_linear(double low, double high, size_t wanted, bool whole) {
    kh_ticks ticks = {0};
    const double step = kh_ticks_step(low, high, wanted, whole);
    if (!(step > 0) || !isfinite(step)) return ticks;
    const double slack = step * 1e-6;
    const double first = ceil((low - slack) / step);
    for (size_t i = 0; i < KH_TICKS_MAX; i++) {
        const double value = (first + (double)i) * step;
        if (!(value <= high + slack)) break;
        ticks.at[ticks.count++] = fabs(value) < slack ? 0.0 : value;
    }
    const double digits = -floor(log10(step) + 1e-9);
    ticks.decimals = digits > 0 ? (int)digits : 0;
    return ticks;
}

kh_ticks kh_ticks_log(double low, double high, size_t wanted) {
    kh_ticks ticks = {0};
    const int first = (int)floor(log10(low) - 1e-9), last = (int)ceil(log10(high) + 1e-9);
    const int decades = (int)floor(log10(high) + 1e-9) - (int)ceil(log10(low) - 1e-9) + 1;
    const bool is_fine = decades < 3;
    const int stride = decades > (int)wanted && wanted > 0 ? decades / (int)wanted + 1 : 1;
    const double factors[] = {1, 2, 5};
    for (int power = first; power <= last; power++) {
        if (!is_fine && power % stride != 0) continue;
        for (size_t f = 0; f < (is_fine ? 3u : 1u) && ticks.count < KH_TICKS_MAX; f++) {
            const double value = factors[f] * pow(10, power);
            if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9))
                ticks.at[ticks.count++] = value;
        }
    }
    ticks.is_power = last > 5 || first < -3;
    return ticks;
}

/* Appends UTF-8 superscript digits of an exponent. */
static void add_exponent(char *out, int exponent) {
    static const char *const digits[] = {
        "\xE2\x81\xB0", "\xC2\xB9",     "\xC2\xB2",     "\xC2\xB3",     "\xE2\x81\xB4",
        "\xE2\x81\xB5", "\xE2\x81\xB6", "\xE2\x81\xB7", "\xE2\x81\xB8", "\xE2\x81\xB9"};
    char plain[16];
    (void)snprintf(plain, sizeof plain, "%d", exponent < 0 ? -exponent : exponent);
    if (exponent < 0) strcat(out, "\xE2\x81\xBB");
    for (const char *p = plain; *p; p++)
        strcat(out, digits[*p - '0']);
}

/* Groups the whole digits of "12345.678" by thousands and puts a true minus in front. */
static void group(const char *plain, bool is_negative, char out[KH_NUMBER_ROOM]) {
    const size_t whole = strcspn(plain, ".,");
    size_t used = 0;
    if (is_negative && strspn(plain, "0.,") < strlen(plain)) {
        memcpy(out, minus, 3);
        used = 3;
    }
    for (size_t i = 0; plain[i]; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0) out[used++] = ',';
        out[used++] = plain[i] == ',' ? '.' : plain[i]; /* whatever the locale says */
    }
    out[used] = '\0';
}

static const char *scientific(double value, int decimals, char out[KH_NUMBER_ROOM]) {
    int exponent = (int)floor(log10(fabs(value)));
    double mantissa = value / pow(10, exponent);
    const double rounding = 0.5 * pow(10, -decimals);
    if (fabs(mantissa) + rounding >= 10) {
        mantissa /= 10;
        exponent++;
    }
    char plain[24];
    (void)snprintf(plain, sizeof plain, "%.*f", decimals, fabs(mantissa));
    group(plain, value < 0, out);
    const bool is_one = strcmp(plain, "1") == 0;
    if (is_one) out[value < 0 ? 3 : 0] = '\0';
    strcat(out, is_one ? "10"
                       : "\xC3\x97"
                         "10");
    add_exponent(out, exponent);
    return out;
}

const char *kh_number(double value, int decimals, char out[KH_NUMBER_ROOM]) {
    if (isnan(value)) return strcpy(out, "NaN");
    if (isinf(value)) return strcpy(out, value > 0 ? "\xE2\x88\x9E" : "\xE2\x88\x92\xE2\x88\x9E");
    const double size = fabs(value);
    if (size >= 1e7 || decimals > 5) return size > 0 ? scientific(value, 1, out) : strcpy(out, "0");
    char plain[32];
    (void)snprintf(plain, sizeof plain, "%.*f", decimals < 0 ? 0 : decimals, size);
    group(plain, value < 0, out);
    return out;
}

const char *kh_number_short(double value, int digits, char out[KH_NUMBER_ROOM]) {
    if (!isfinite(value)) return kh_number(value, 0, out);
    const double size = fabs(value);
    if (!(size > 0)) return strcpy(out, "0");
    const int power = (int)floor(log10(size));
    if (power >= 7 || power < -4) return scientific(value, digits > 1 ? digits - 1 : 0, out);
    const int decimals = digits - 1 - power > 0 ? digits - 1 - power : 0;
    char plain[32];
    (void)snprintf(plain, sizeof plain, "%.*f", decimals, size);
    if (decimals > 0) {
        size_t end = strlen(plain);
        while (end > 0 && plain[end - 1] == '0')
            end--;
        if (end > 0 && (plain[end - 1] == '.' || plain[end - 1] == ',')) end--;
        plain[end] = '\0';
    }
    group(plain, value < 0, out);
    return out;
}

const char *kh_tick_text(const kh_ticks *ticks, size_t index, char out[KH_NUMBER_ROOM]) {
    const double value = ticks->at[index];
    const bool is_plain = value > 0.99 && value < 10.01; /* "1", not "10⁰" */
    if (ticks->is_power && value > 0 && !is_plain) return scientific(value, 0, out);
    if (ticks->decimals == 0) {
        const double size = fabs(value);
        if (size >= 1e7) return kh_number_short(value, 3, out);
        if (size > 0 && size < 1) return kh_number_short(value, 3, out);
    }
    return kh_number(value, ticks->decimals, out);
}
