/* Flip and affine warp. */
#include "kernels.h"

void flip(const Image *from, const Image *to) {
    for (ptrdiff_t y = 0; y < to->height; y++) {
        const uint8_t *source = row_of(from, y);
        uint8_t *result = row_of(to, y);
        const ptrdiff_t last = to->width - 1;
        memcpy(result, source + 3 * last, 3); /* then four at once: the next copy hides the last */
        for (ptrdiff_t x = 1; x < last; x++) memcpy(result + 3 * x, source + 3 * (last - x), 4);
        if (last > 0) memcpy(result + 3 * last, source, 3);
    }
}

/* Interpolate between four levels: `right` is in Q7, `down` in Q15. */
static inline uint8_t bilinear(int16_t upper_left, int16_t upper_right, int16_t lower_left,
                               int16_t lower_right, int16_t right, int16_t down) {
    const int16_t upper = (int16_t)(upper_left * 128 + (upper_right - upper_left) * right);
    const int16_t lower = (int16_t)(lower_left * 128 + (lower_right - lower_left) * right);
    const int16_t level = (int16_t)(upper + times((int16_t)(lower - upper), down));
    return narrowed((int16_t)((int16_t)(level + 64) >> 7));
}

/* A bilinear sample of four pixels that may be outside the image; weights are in Q7 and Q15. */
static void sample_border(const Image *from, ptrdiff_t x, ptrdiff_t y, int16_t right, int16_t down,
                          uint8_t fill, uint8_t *result) {
    if (x < -1 || x >= from->width || y < -1 || y >= from->height) {
        memset(result, fill, 3);
        return;
    }
    for (int channel = 0; channel < 3; channel++) {
        int16_t corners[4];
        for (int part = 0; part < 4; part++) {
            const ptrdiff_t column = x + (part & 1), row = y + (part >> 1);
            const int inside = row >= 0 && row < from->height && column >= 0 && column < from->width;
            corners[part] = inside ? row_of(from, row)[3 * column + channel] : fill;
        }
        result[channel] = bilinear(corners[0], corners[1], corners[2], corners[3], right, down);
    }
}

enum { CHUNK = 64 }; /* pixels of the result that are gathered, then blended */

/* Pixels as groups of four bytes, and their weights in Q7 and Q15, repeated for every byte. */
typedef struct {
    uint8_t corners[4][4 * CHUNK]; /* upper left, upper right, lower left, lower right */
    int16_t right[4 * CHUNK], down[4 * CHUNK];
} Gathered;

/* Fractions of equally spaced places, in Q7 and shifted up, each four times. */
VECTORISED static void weigh_places(int16_t *restrict to, uint32_t place, uint32_t step, int shift) {
    int16_t once[CHUNK], twice[2 * CHUNK];
    for (uint32_t i = 0; i < CHUNK; i++) once[i] = (int16_t)((place + i * step) >> 25 << shift);
    for (int i = 0; i < CHUNK; i++) twice[2 * i] = twice[2 * i + 1] = once[i];
    for (int i = 0; i < 2 * CHUNK; i++) to[2 * i] = to[2 * i + 1] = twice[i];
}

VECTORISED static void blend(const Gathered *restrict part, uint8_t *restrict to) {
    for (int i = 0; i < 4 * CHUNK; i++)
        to[i] = bilinear(part->corners[0][i], part->corners[1][i], part->corners[2][i],
                         part->corners[3][i], part->right[i], part->down[i]);
}

/* A row with one weight to the right, in Q7, and one down, in Q15, for all of its pixels. */
VECTORISED static void blend_rows(const uint8_t *restrict upper_row, const uint8_t *restrict lower_row,
                                  uint8_t *restrict to, ptrdiff_t count, int16_t right, int16_t down) {
    for (ptrdiff_t i = 0; i < count; i++)
        to[i] = bilinear(upper_row[i], upper_row[i + 3], lower_row[i], lower_row[i + 3], right, down);
}

/* The range of i in 0 ... count with low <= start + i * step < high. */
static void within(int64_t start, int64_t step, int64_t low, int64_t high, ptrdiff_t *begin,
                   ptrdiff_t *end) {
    while (*begin < *end && (start + *begin * step < low || start + *begin * step >= high)) ++*begin;
    while (*begin < *end &&
           (start + (*end - 1) * step < low || start + (*end - 1) * step >= high))
        --*end;
}

/* Warp bilinearly. `inverse` maps pixel edges of the result to the source; places are in Q32. */
void warp(const Image *from, const Image *to, const double inverse[6], uint8_t fill) {
    const double unit = 4294967296.0;
    const int64_t one = (int64_t)1 << 32, upwards = one >> 8; /* fractions are cut to a 128th */
    const int64_t right_x = (int64_t)floor(inverse[0] * unit + 0.5);
    const int64_t right_y = (int64_t)floor(inverse[3] * unit + 0.5);
    const int sideways = right_x == one && right_y == 0;
    Gathered part;
    uint8_t blended[4 * CHUNK];
    memset(&part, 0, sizeof part);
    for (ptrdiff_t row = 0; row < to->height; row++) {
        /* From pixel edges to pixel centres. */
        const double across = 0.5 * inverse[0] + (row + 0.5) * inverse[1] + inverse[2] - 0.5;
        const double along = 0.5 * inverse[3] + (row + 0.5) * inverse[4] + inverse[5] - 0.5;
        const int64_t x = (int64_t)floor(across * unit + 0.5) + upwards;
        const int64_t y = (int64_t)floor(along * unit + 0.5) + upwards;
        /* From `begin` to `end` all four pixels are inside, and so is a byte after the last one. */
        ptrdiff_t begin = 0, end = to->width;
        within(x, right_x, 0, (from->width - 2) * one, &begin, &end);
        within(y, right_y, 0, (from->height - 1) * one, &begin, &end);
        uint8_t *result = row_of(to, row);
        for (ptrdiff_t i = 0; i < to->width; i++) {
            if (i == begin && i < end) i = end;
            if (i == to->width) break;
            const int64_t own_x = x + i * right_x, own_y = y + i * right_y;
            sample_border(from, (ptrdiff_t)(own_x >> 32), (ptrdiff_t)(own_y >> 32),
                          (int16_t)(own_x >> 25 & 127), (int16_t)((own_y >> 25 & 127) << 8), fill,
                          result + 3 * i);
        }
        if (begin >= end) continue;
        if (sideways) {
            const uint8_t *place = row_of(from, (ptrdiff_t)(y >> 32)) + 3 * ((x >> 32) + begin);
            blend_rows(place, place + from->stride, result + 3 * begin, 3 * (end - begin),
                       (int16_t)(x >> 25 & 127), (int16_t)((y >> 25 & 127) << 8));
            continue;
        }
        for (ptrdiff_t start = begin; start < end; start += CHUNK) {
            const ptrdiff_t count = end - start < CHUNK ? end - start : CHUNK;
            int64_t own_x = x + start * right_x, own_y = y + start * right_y;
            weigh_places(part.right, (uint32_t)own_x, (uint32_t)right_x, 0);
            weigh_places(part.down, (uint32_t)own_y, (uint32_t)right_y, 8);
            for (ptrdiff_t i = 0; i < count; i++, own_x += right_x, own_y += right_y) {
                const uint8_t *upper = row_of(from, (ptrdiff_t)(own_y >> 32)) + 3 * (own_x >> 32);
                const uint8_t *lower = upper + from->stride;
                memcpy(part.corners[0] + 4 * i, upper, 4);
                memcpy(part.corners[1] + 4 * i, upper + 3, 4);
                memcpy(part.corners[2] + 4 * i, lower, 4);
                memcpy(part.corners[3] + 4 * i, lower + 3, 4);
            }
            blend(&part, blended);
            uint8_t *place = result + 3 * start;
            for (ptrdiff_t i = 0; i < count - 1; i++) memcpy(place + 3 * i, blended + 4 * i, 4);
            memcpy(place + 3 * (count - 1), blended + 4 * (count - 1), 3);
        }
    }
}
