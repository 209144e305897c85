/* Kernels that mix a pixel's channels or change its distance from grey. */
#include "kernels.h"

VECTORISED static void add_up(const uint8_t *restrict row, ptrdiff_t count, uint32_t *restrict sums) {
    while (count >= PERIOD) {
        uint16_t some[PERIOD] = {0}; /* as many as fit in 16 bits */
        for (int n = 0; n < 256 && count >= PERIOD; n++, row += PERIOD, count -= PERIOD)
            for (int i = 0; i < PERIOD; i++) some[i] = (uint16_t)(some[i] + row[i]);
        for (int i = 0; i < PERIOD; i++) sums[i] += some[i];
    }
    for (ptrdiff_t i = 0; i < count; i++) sums[i] += row[i];
}

VECTORISED static void contrast_row(const uint8_t *restrict from, uint8_t *restrict to,
                                    ptrdiff_t count, int16_t factor, int16_t mean) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = away((int16_t)(from[i] * 128), mean, factor, 1);
}

/* Multiply the distance from the mean grey by a factor. */
void contrast(const Image *from, const Image *to, int16_t factor) {
    static const float luma[3] = {0.2989f, 0.587f, 0.114f}; /* torchvision's rgb_to_grayscale */
    uint64_t sums[3] = {0, 0, 0};
    for (ptrdiff_t y = 0; y < from->height; y++) {
        uint32_t of_row[PERIOD] = {0};
        add_up(row_of(from, y), 3 * from->width, of_row);
        for (int i = 0; i < PERIOD; i += 3)
            for (int channel = 0; channel < 3; channel++) sums[channel] += of_row[i + channel];
    }
    double grey = 0.0;
    for (int channel = 0; channel < 3; channel++) grey += (double)sums[channel] * (double)luma[channel];
    const int16_t mean = (int16_t)(grey / (double)(from->height * from->width) * 128 + 0.5);
    for (ptrdiff_t y = 0; y < from->height; y++)
        contrast_row(row_of(from, y), row_of(to, y), 3 * from->width, factor, mean);
}

/* Weights of the two levels before a level, itself and the two after it for its pixel's grey. */
typedef struct {
    int16_t weights[5][PERIOD];
} Mixing;

static inline ALWAYS void saturate(const int16_t *restrict levels, uint8_t *restrict to, ptrdiff_t count,
                                   const Mixing *restrict grey, int16_t factor) {
    for (ptrdiff_t i = 0; i < count; i++) {
        int16_t own = 0;
        for (int k = 0; k < 5; k++) own = (int16_t)(own + times(levels[i + k - 2], grey->weights[k][i]));
        to[i] = away(levels[i], own, factor, 8);
    }
}

/* A part ends at the end of a pixel, so the levels around it have no weight. */
VECTORISED static void saturation_row(const uint8_t *restrict from, uint8_t *restrict to,
                                      ptrdiff_t count, const Mixing *restrict grey, int16_t factor) {
    int16_t levels[16 + 8 * PERIOD + 16] __attribute__((aligned(ALIGNED))), *own = levels + 16;
    own[-2] = own[-1] = 0;
    for (ptrdiff_t start = 0; start < count; start += 8 * PERIOD) {
        const ptrdiff_t end = count - start < 8 * PERIOD ? count - start : 8 * PERIOD;
        for (ptrdiff_t i = 0; i < end; i++) own[i] = (int16_t)(from[start + i] * 128);
        own[end] = own[end + 1] = 0;
        ptrdiff_t i = 0;
        for (; i <= end - PERIOD; i += PERIOD) saturate(own + i, to + start + i, PERIOD, grey, factor);
        saturate(own + i, to + start + i, end - i, grey, factor);
    }
}

/* Multiply the distance from a pixel's own grey by a factor. */
void saturation(const Image *from, const Image *to, int16_t factor) {
    static const int16_t luma[3] = {9795, 19236, 3737}; /* 0.2989, 0.587, 0.114 in Q15; their sum is 1 here */
    Mixing grey;
    for (int k = 0; k < 5; k++)
        for (int i = 0; i < PERIOD; i++) {
            const int channel = i % 3 + k - 2;
            grey.weights[k][i] = channel >= 0 && channel < 3 ? luma[channel] : 0;
        }
    for (ptrdiff_t y = 0; y < from->height; y++)
        saturation_row(row_of(from, y), row_of(to, y), 3 * from->width, &grey, factor);
}

/* The part of the spread that a channel lacks at a place on the colour circle, in Q4; the circle has six
 * parts of one spread each. */
static inline int16_t lacking(int16_t place, int16_t spread) {
    const int16_t circle = (int16_t)(6 * spread);
    place = place >= circle ? (int16_t)(place - circle) : place;
    const int16_t falling = (int16_t)(4 * spread - place);
    place = place < falling ? place : falling;
    place = place > 0 ? place : 0;
    return place < spread ? place : spread;
}

/* Start of each channel on the circle, in Q12, for each lightest channel. */
typedef struct {
    int16_t red[3], green[3], blue[3];
} Starts;

VECTORISED static void hue_row(const uint8_t *restrict from, uint8_t *restrict to, ptrdiff_t width,
                               const Starts *restrict starts) {
    const Starts own = *starts;
    for (ptrdiff_t x = 0; x < width; x++) {
        const int16_t r = from[3 * x], g = from[3 * x + 1], b = from[3 * x + 2];
        const int16_t gb_most = g > b ? g : b, gb_least = g < b ? g : b;
        const int16_t most = r > gb_most ? r : gb_most, least = r < gb_least ? r : gb_least;
        const int16_t spread = (int16_t)(most - least);
        const int16_t spread_4 = (int16_t)(spread * 16), spread_7 = (int16_t)(spread * 128);
        int16_t apart = (int16_t)(r - g);
        apart = most == g ? (int16_t)(b - r) : apart;
        apart = most == r ? (int16_t)(g - b) : apart;
        apart = (int16_t)(apart * 16);
        int16_t red = own.red[2], green = own.green[2], blue = own.blue[2];
        red = most == g ? own.red[1] : red;
        red = most == r ? own.red[0] : red;
        green = most == g ? own.green[1] : green;
        green = most == r ? own.green[0] : green;
        blue = most == g ? own.blue[1] : blue;
        blue = most == r ? own.blue[0] : blue;
        const int16_t height = (int16_t)(most * 16 + 8);
        red = (int16_t)(height - lacking((int16_t)(times(spread_7, red) + apart), spread_4));
        green = (int16_t)(height - lacking((int16_t)(times(spread_7, green) + apart), spread_4));
        blue = (int16_t)(height - lacking((int16_t)(times(spread_7, blue) + apart), spread_4));
        to[3 * x] = (uint8_t)(red >> 4);
        to[3 * x + 1] = (uint8_t)(green >> 4);
        to[3 * x + 2] = (uint8_t)(blue >> 4);
    }
}

/* Turn the colour circle by sixths, 0 to 6, in Q12; the lightest and the darkest level stay. */
void hue(const Image *from, const Image *to, int32_t turn) {
    Starts starts;
    for (int lightest = 0; lightest < 3; lightest++) {
        int16_t *own[3] = {starts.red, starts.green, starts.blue};
        for (int channel = 0; channel < 3; channel++)
            own[channel][lightest] =
                (int16_t)((turn + (5 - 2 * channel + 2 * lightest) * (1 << 12)) % (6 * (1 << 12)));
    }
    for (ptrdiff_t y = 0; y < from->height; y++)
        hue_row(row_of(from, y), row_of(to, y), from->width, &starts);
}
