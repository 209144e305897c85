/* Kernels that map each level by itself, and histograms. */
#include "kernels.h"

SCALAR static void look_up(const uint8_t *restrict from, uint8_t *restrict to, ptrdiff_t count,
                           const uint8_t *restrict levels) {
    for (; count >= 8; from += 8, to += 8, count -= 8) {
        const uint8_t a = levels[from[0]], b = levels[from[1]], c = levels[from[2]], d = levels[from[3]];
        const uint8_t e = levels[from[4]], f = levels[from[5]], g = levels[from[6]], h = levels[from[7]];
        to[0] = a, to[1] = b, to[2] = c, to[3] = d, to[4] = e, to[5] = f, to[6] = g, to[7] = h;
    }
    for (ptrdiff_t i = 0; i < count; i++) to[i] = levels[from[i]];
}

void table(const Image *from, const Image *to, const uint8_t *levels) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        look_up(row_of(from, y), row_of(to, y), 3 * to->width, levels);
}

/* Multiply each level by a factor; fractions are cut off. */
VECTORISED static void brighten_row(const uint8_t *restrict from, uint8_t *restrict to, ptrdiff_t count,
                                    float factor) {
    for (ptrdiff_t i = 0; i < count; i++) {
        const int16_t level = (int16_t)(int32_t)((float)from[i] * factor); /* at most 25500 */
        to[i] = narrowed(level);
    }
}

void brightness(const Image *from, const Image *to, float factor) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        brighten_row(row_of(from, y), row_of(to, y), 3 * to->width, factor);
}

VECTORISED static void posterize_row(const uint8_t *restrict from, uint8_t *restrict to,
                                     ptrdiff_t count, uint8_t kept) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = from[i] & kept;
}

/* Keep the upper `bits` of each level. */
void posterize(const Image *from, const Image *to, int bits) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        posterize_row(row_of(from, y), row_of(to, y), 3 * to->width, (uint8_t)(256 - (1 << (8 - bits))));
}

VECTORISED static void solarize_row(const uint8_t *restrict from, uint8_t *restrict to,
                                    ptrdiff_t count, uint8_t least, uint8_t turned) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = from[i] >= least ? from[i] ^ turned : from[i];
}

/* Invert levels from `least` up; none for 256. */
void solarize(const Image *from, const Image *to, int least) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        solarize_row(row_of(from, y), row_of(to, y), 3 * to->width, (uint8_t)least, least < 256 ? 255 : 0);
}

SCALAR static void look_up_each(const uint8_t *restrict from, uint8_t *restrict to, ptrdiff_t width,
                                uint8_t levels[restrict 3][256]) {
    for (ptrdiff_t x = 0; x < width; x++, from += 3, to += 3) {
        const uint8_t red = levels[0][from[0]], green = levels[1][from[1]], blue = levels[2][from[2]];
        to[0] = red, to[1] = green, to[2] = blue;
    }
}

static void three_tables(const Image *from, const Image *to, uint8_t levels[3][256]) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        look_up_each(row_of(from, y), row_of(to, y), to->width, levels);
}

VECTORISED static void extremes(const uint8_t *restrict row, ptrdiff_t count, uint8_t *restrict low,
                                uint8_t *restrict high) {
    for (; count >= PERIOD; row += PERIOD, count -= PERIOD)
        for (int i = 0; i < PERIOD; i++) {
            low[i] = row[i] < low[i] ? row[i] : low[i];
            high[i] = row[i] > high[i] ? row[i] : high[i];
        }
    for (ptrdiff_t i = 0; i < count; i++) {
        low[i] = row[i] < low[i] ? row[i] : low[i];
        high[i] = row[i] > high[i] ? row[i] : high[i];
    }
}

/* Convert a float level to uint8 as torchvision does: the fraction is cut off. */
static inline uint8_t truncated(float level) {
    level = level > 0.0f ? level : 0.0f;
    level = level < 255.0f ? level : 255.0f;
    return (uint8_t)(int32_t)level;
}

/* Stretch each channel to 0 ... 255; by a reciprocal, as torch divides a number by a tensor. */
void autocontrast(const Image *from, const Image *to) {
    uint8_t low[PERIOD], high[PERIOD], levels[3][256];
    memset(low, 255, sizeof low);
    memset(high, 0, sizeof high);
    for (ptrdiff_t y = 0; y < from->height; y++)
        extremes(row_of(from, y), 3 * from->width, low, high);
    for (int channel = 0; channel < 3; channel++) {
        for (int i = channel; i < PERIOD; i += 3) {
            low[channel] = low[i] < low[channel] ? low[i] : low[channel];
            high[channel] = high[i] > high[channel] ? high[i] : high[channel];
        }
        const int32_t least = low[channel], most = high[channel];
        const float scale = most > least ? 1.0f / (float)(most - least) * 255.0f : 1.0f;
        for (int32_t level = 0; level < 256; level++)
            levels[channel][level] =
                most > least ? truncated((float)(level - least) * scale) : (uint8_t)level;
    }
    three_tables(from, to, levels);
}

/* Counts of each level of a channel; two of them, so that equal neighbours do not wait for each other. */
SCALAR static void count_levels(const uint8_t *restrict row, ptrdiff_t width,
                                uint32_t counts[restrict 2][3][256]) {
    for (; width >= 2; width -= 2, row += 6) {
        counts[0][0][row[0]]++, counts[0][1][row[1]]++, counts[0][2][row[2]]++;
        counts[1][0][row[3]]++, counts[1][1][row[4]]++, counts[1][2][row[5]]++;
    }
    if (width) counts[0][0][row[0]]++, counts[0][1][row[1]]++, counts[0][2][row[2]]++;
}

/* Equalise the histogram as Pillow and torchvision do. */
void equalize(const Image *from, const Image *to) {
    uint32_t counts[2][3][256];
    uint8_t levels[3][256];
    memset(counts, 0, sizeof counts);
    for (ptrdiff_t y = 0; y < from->height; y++) count_levels(row_of(from, y), from->width, counts);
    for (int channel = 0; channel < 3; channel++) {
        uint32_t *own = counts[0][channel], last = 0;
        for (int level = 0; level < 256; level++) {
            own[level] += counts[1][channel][level];
            last = own[level] ? own[level] : last;
        }
        const uint64_t step = ((uint64_t)(from->height * from->width) - last) / 255;
        uint64_t below = 0;
        for (int level = 0; level < 256; below += own[level++]) {
            const uint64_t stretched = step ? (below + step / 2) / step : (uint64_t)level;
            levels[channel][level] = (uint8_t)(stretched < 255 ? stretched : 255);
        }
    }
    three_tables(from, to, levels);
}
