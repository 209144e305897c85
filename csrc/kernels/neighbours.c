/* Kernels that mix a pixel with its neighbours: sharpness and blur. */
#include "kernels.h"

VECTORISED static void sharpen_row(const uint8_t *restrict above, const uint8_t *restrict row,
                                   const uint8_t *restrict below, uint8_t *restrict to,
                                   ptrdiff_t count, int16_t factor) {
    for (ptrdiff_t i = 3; i < count - 3; i++) {
        const uint16_t sum = (uint16_t)(above[i - 3] + above[i] + above[i + 3] + row[i - 3] + 5 * row[i] +
                                        row[i + 3] + below[i - 3] + below[i] + below[i + 3] + 6);
        const int16_t smooth = (int16_t)((uint16_t)(sum / 13) << 7);
        to[i] = away((int16_t)(row[i] * 128), smooth, factor, 8);
    }
}

/* Multiply the distance from an image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13 by a factor; borders stay. */
void sharpness(const Image *from, const Image *to, int16_t factor) {
    for (ptrdiff_t y = 0; y < from->height; y++) {
        memcpy(row_of(to, y), row_of(from, y), (size_t)from->width * 3);
        if (y > 0 && y < from->height - 1)
            sharpen_row(row_of(from, y - 1), row_of(from, y), row_of(from, y + 1), row_of(to, y),
                        3 * from->width, factor);
    }
}

/* Mirror places at the first and the last one, which are not repeated. */
static ptrdiff_t reflected(ptrdiff_t place, ptrdiff_t count) {
    if (count == 1) return 0;
    const ptrdiff_t period = 2 * (count - 1);
    place = place < 0 ? -place : place;
    place = place < period ? place : place % period;
    return place < count ? place : period - place;
}

/* Extend a row by `reach` pixels at both ends. */
static void reflect_ends(int16_t *row, ptrdiff_t width, ptrdiff_t reach) {
    for (ptrdiff_t k = 1; k <= reach; k++) {
        memcpy(row - 3 * k, row + 3 * reflected(-k, width), 3 * sizeof(int16_t));
        memcpy(row + 3 * (width - 1 + k), row + 3 * reflected(width - 1 + k, width),
               3 * sizeof(int16_t));
    }
}

/* Add pairs of levels in Q6 with equal weights in Q15, whose sums are below 2^15, to the result so far or
 * to the centre, whose weight is in Q14. Inlined where `pairs` and `more` are constants. */
static inline ALWAYS void blur_some(int16_t *restrict sums, const int16_t *restrict centre,
                                    int16_t of_centre, const int16_t *const *restrict places,
                                    const int16_t *restrict weights, int pairs, int more,
                                    ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) {
        int16_t sum = more ? sums[i] : times((int16_t)(centre[i] * 2), of_centre);
        for (int k = 0; k < pairs; k++)
            sum = (int16_t)(sum + times((int16_t)(places[2 * k][i] + places[2 * k + 1][i]), weights[k]));
        sums[i] = sum;
    }
}

/* Weighted sum of rows, or of one row at several places; `reach` is even, the centre comes first. */
VECTORISED static void blur_places(int16_t *restrict sums, const int16_t *const *restrict places,
                                   const int16_t *restrict weights, ptrdiff_t reach, ptrdiff_t count) {
    const int16_t *centre = places[0], of_centre = weights[0];
    const ptrdiff_t first = reach % 4 ? 2 : 4;
    places++, weights++;
    if (first == 2) blur_some(sums, centre, of_centre, places, weights, 2, 0, count);
    else blur_some(sums, centre, of_centre, places, weights, 4, 0, count);
    for (ptrdiff_t k = first; k < reach; k += 4)
        blur_some(sums, centre, of_centre, places + 2 * k, weights + k, 4, 1, count);
}

VECTORISED static void narrow_row(uint8_t *restrict to, const int16_t *restrict from, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = narrowed((int16_t)((int16_t)(from[i] + 32) >> 6));
}

enum { LONG = 42 }; /* for a longer reach, sums are kept in 32 bits: rounding errors would add up */

VECTORISED static void add_pair_of_rows(int32_t *restrict sums, const uint8_t *restrict one,
                                        const uint8_t *restrict other, int32_t weight,
                                        ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) sums[i] += (one[i] + other[i]) * weight;
}

VECTORISED static void add_pair_of_columns(int32_t *restrict sums, const int16_t *restrict centre,
                                           ptrdiff_t apart, int32_t weight, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) sums[i] += (centre[i - apart] + centre[i + apart]) * weight;
}

/* `blur` with weights in Q16. The centre is a pair of two halves. */
static int blur_long(const Image *from, const Image *to, const float *taps, ptrdiff_t reach) {
    const ptrdiff_t across = 3 * from->width;
    int32_t *weights = malloc((size_t)(reach + 1 + across) * sizeof(int32_t) +
                              (size_t)(across + 6 * reach) * sizeof(int16_t));
    if (weights == NULL) return -1;
    int32_t *sums = weights + reach + 1, left = 1 << 16;
    int16_t *own = (int16_t *)(sums + across) + 3 * reach;
    for (ptrdiff_t k = 1; k <= reach; k++) {
        weights[k] = (int32_t)floor((double)taps[reach + k] * (1 << 16) + 0.5);
        left -= 2 * weights[k];
    }
    weights[0] = left / 2; /* `left` is even */
    for (ptrdiff_t y = 0; y < from->height; y++) {
        memset(sums, 0, (size_t)across * sizeof(int32_t));
        for (ptrdiff_t k = 0; k <= reach; k++)
            add_pair_of_rows(sums, row_of(from, reflected(y - k, from->height)),
                             row_of(from, reflected(y + k, from->height)), weights[k], across);
        narrow(own, sums, across, 10); /* Q16 to Q6 */
        reflect_ends(own, from->width, reach);
        memset(sums, 0, (size_t)across * sizeof(int32_t));
        for (ptrdiff_t k = 0; k <= reach; k++)
            add_pair_of_columns(sums, own, 3 * k, weights[k], across);
        uint8_t *result = row_of(to, y);
        for (ptrdiff_t i = 0; i < across; i++) result[i] = clamped((sums[i] + (1 << 21)) >> 22);
    }
    free(weights);
    return 0;
}

/* Separable, symmetric blur: `taps` are the 2 * given + 1 weights of a row, of sum 1. */
int blur(const Image *from, const Image *to, const float *taps, ptrdiff_t given) {
    if (given > LONG) return blur_long(from, to, taps, given);
    const ptrdiff_t across = 3 * from->width, reach = given > 2 ? (given + 1) / 2 * 2 : 2;
    const ptrdiff_t before = aligned(6 * reach) / 2; /* numbers for the reflected end of a row */
    Widened widened = to_widen(from, 2 * reach + 1, 1 << 6);
    Memory memory = {NULL, 0};
    const int16_t **places;
    int16_t *weights, *sums, *own;
    for (int there = 0; there < 2; there++) {
        if (there && allot(&memory)) return -1;
        places = part(&memory, (size_t)(2 * reach + 1) * sizeof *places);
        weights = part(&memory, (size_t)(reach + 1) * sizeof(int16_t));
        sums = part(&memory, (size_t)across * sizeof(int16_t));
        own = part(&memory, (size_t)(before + across + 3 * reach) * sizeof(int16_t));
        widened.rows = part(&memory, (size_t)(widened.held * widened.stride) * sizeof(int16_t));
    }
    own += before;
    int32_t left = 1 << 14; /* of the centre, in Q14, so that a flat image stays flat */
    for (ptrdiff_t k = 1; k <= reach; k++) {
        weights[k] = k <= given ? (int16_t)floor((double)taps[given + k] * (1 << 15) + 0.5) : 0;
        left -= weights[k];
    }
    weights[0] = (int16_t)left;
    for (ptrdiff_t y = 0; y < from->height; y++) {
        places[0] = widened_row(&widened, y);
        for (ptrdiff_t k = 1; k <= reach; k++) {
            places[2 * k - 1] = widened_row(&widened, reflected(y - k, from->height));
            places[2 * k] = widened_row(&widened, reflected(y + k, from->height));
        }
        blur_places(own, places, weights, reach, across);
        reflect_ends(own, from->width, reach);
        places[0] = own;
        for (ptrdiff_t k = 1; k <= reach; k++) {
            places[2 * k - 1] = own - 3 * k;
            places[2 * k] = own + 3 * k;
        }
        blur_places(sums, places, weights, reach, across);
        narrow_row(row_of(to, y), sums, across);
    }
    free(memory.begin);
    return 0;
}
