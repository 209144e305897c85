/* Resize. */
#include "kernels.h"

enum {
    LANES = 16, /* rows that are resized together, four times four of them */
    APART = 3 * LANES,
    MANY = 32, /* from this many taps, sums are kept in 32 bits: rounding errors would add up */
};

/* For each pixel of the result, the start of its taps, 6 of them or a multiple of 4. Weights are in Q14,
 * those of all pixels' first taps first. */
typedef struct {
    int32_t *first;
    int16_t *weights;
    ptrdiff_t taps, pixels;
} Filter;

/* Catmull-Rom (a = -0.5), as Pillow and torch use when they antialias; both branches, then one. */
static inline double bicubic(double x) {
    x = x < 0.0 ? -x : x;
    const double inner = (1.5 * x - 2.5) * x * x + 1.0, outer = ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0;
    return x < 1.0 ? inner : x < 2.0 ? outer : 0.0;
}

static double reach_of(ptrdiff_t from, ptrdiff_t to) { return from > to ? 2.0 * from / to : 2.0; }

static ptrdiff_t taps_of(ptrdiff_t from, ptrdiff_t to) {
    const ptrdiff_t taps = (ptrdiff_t)ceil(2.0 * reach_of(from, to));
    return taps == 5 || taps == 6 ? 6 : (taps + 3) / 4 * 4;
}

/* One tap of every pixel of the result; taps outside the image have no weight. */
VECTORISED static void weigh_tap(double *restrict weights, double *restrict sums,
                                 const double *restrict offsets, const double *restrict taps,
                                 double k, double narrower, ptrdiff_t to) {
    for (ptrdiff_t i = 0; i < to; i++) {
        const double weight = bicubic((k - offsets[i]) * narrower);
        weights[i] = k < taps[i] ? weight : 0.0;
        sums[i] += weights[i];
    }
}

/* One tap in Q14; the remainder to a sum of 1 and the largest tap are carried on. */
VECTORISED static void round_tap(int16_t *restrict weights, int32_t *restrict left,
                                 int32_t *restrict most, int32_t *restrict largest,
                                 const double *restrict exact, const double *restrict units, int32_t k,
                                 ptrdiff_t to) {
    for (ptrdiff_t i = 0; i < to; i++) {
        /* Adding a half rounds; the offset keeps the number from being below 0. */
        const int32_t weight = (int32_t)(exact[i] * units[i] + ((1 << 14) + 0.5)) - (1 << 14);
        weights[i] = (int16_t)weight;
        left[i] -= weight;
        largest[i] = weight > most[i] ? k : largest[i];
        most[i] = weight > most[i] ? weight : most[i];
    }
}

/* Pillow's weights: a bicubic kernel widened by the factor of reduction, cut off at the borders.
 * `scratch` holds taps + 5 numbers for each pixel of the result. */
static void weigh(const Filter *filter, ptrdiff_t from, double *scratch) {
    const ptrdiff_t to = filter->pixels;
    const double scale = (double)from / to, narrower = scale > 1.0 ? 1.0 / scale : 1.0;
    const double reach = reach_of(from, to);
    double *offsets = scratch, *counts = scratch + to, *sums = scratch + 2 * to, *exact = scratch + 3 * to;
    int32_t *left = (int32_t *)(exact + filter->taps * to), *most = left + to, *largest = most + to;
    for (ptrdiff_t i = 0; i < to; i++) {
        const double centre = (i + 0.5) * scale;
        ptrdiff_t begin = (ptrdiff_t)(centre - reach + 0.5), end = (ptrdiff_t)(centre + reach + 0.5);
        begin = begin < 0 ? 0 : begin;
        end = end > from ? from : end;
        filter->first[i] = (int32_t)begin;
        offsets[i] = centre - 0.5 - begin;
        counts[i] = (double)(end - begin);
        sums[i] = 0.0;
        left[i] = 1 << 14;
        most[i] = largest[i] = 0;
    }
    for (ptrdiff_t k = 0; k < filter->taps; k++)
        weigh_tap(exact + k * to, sums, offsets, counts, (double)k, narrower, to);
    for (ptrdiff_t i = 0; i < to; i++) sums[i] = (1 << 14) / sums[i];
    for (ptrdiff_t k = 0; k < filter->taps; k++)
        round_tap(filter->weights + k * to, left, most, largest, exact + k * to, sums, (int32_t)k, to);
    for (ptrdiff_t i = 0; i < to; i++) /* a flat image stays flat */
        filter->weights[largest[i] * to + i] = (int16_t)(filter->weights[largest[i] * to + i] + left[i]);
}

/* Weighted sum of `taps` rows, added to the result so far or not; inlined where these two are constants.
 * Weights are `apart` numbers apart. Q7 times Q14 is Q6. */
static inline ALWAYS void add_some(int16_t *restrict sums, const int16_t *const *restrict rows,
                                   const int16_t *restrict weights, ptrdiff_t apart, int taps, int more,
                                   ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) {
        int16_t sum = more ? sums[i] : 0;
        for (int k = 0; k < taps; k++) sum = (int16_t)(sum + times(rows[k][i], weights[k * apart]));
        sums[i] = sum;
    }
}

VECTORISED static void add_rows(int16_t *restrict sums, const int16_t *const *restrict rows,
                                const int16_t *restrict weights, ptrdiff_t apart, ptrdiff_t taps,
                                ptrdiff_t count) {
    if (taps == 4)
        add_some(sums, rows, weights, apart, 4, 0, count);
    else if (taps == 6)
        add_some(sums, rows, weights, apart, 6, 0, count);
    else
        add_some(sums, rows, weights, apart, 8, 0, count);
    for (ptrdiff_t k = 8; k < taps; k += 4)
        add_some(sums, rows + k, weights + k * apart, apart, 4, 1, count);
}

VECTORISED static void add_many_rows(int32_t *restrict sums, const int16_t *restrict row,
                                     int32_t weight, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) sums[i] += row[i] * weight;
}

/* Transpose four of LANES rows at a time: four contiguous numbers, which then are moved as one. */
typedef uint64_t __attribute__((may_alias)) FourNumbers;
typedef uint32_t __attribute__((may_alias)) FourBytes;

VECTORISED static void turn_rows(int16_t *restrict to, const int16_t *restrict from, ptrdiff_t stride,
                                 ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (int row = 0; row < 4; row++) to[4 * i + row] = from[row * stride + i];
}

VECTORISED static void turn_fours(FourNumbers *restrict to, const FourNumbers *restrict from,
                                  ptrdiff_t stride, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (int four = 0; four < 4; four++) to[4 * i + four] = from[four * stride + i];
}

/* Transpose back. */
VECTORISED static void return_fours(FourBytes *restrict to, const FourBytes *restrict from,
                                    ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (int four = 0; four < 4; four++) to[four * count + i] = from[4 * i + four];
}

VECTORISED static void return_rows(uint8_t *restrict a, uint8_t *restrict b, uint8_t *restrict c,
                                   uint8_t *restrict d, const uint8_t *restrict from, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) {
        a[i] = from[4 * i];
        b[i] = from[4 * i + 1];
        c[i] = from[4 * i + 2];
        d[i] = from[4 * i + 3];
    }
}

/* Weighted sums of pixels of LANES rows, whose taps are APART. Q6 times Q14 is Q5, then uint8. */
static inline ALWAYS void add_across(uint8_t *restrict to, const int16_t *restrict from,
                                     const Filter *filter, ptrdiff_t side, ptrdiff_t step, int taps) {
    for (ptrdiff_t x = 0; x < side; x++, to += step) {
        const int16_t *weights = filter->weights + x, *tap = from + filter->first[x] * APART;
        int16_t sums[APART];
        for (int i = 0; i < APART; i++) {
            sums[i] = 16;
            for (int k = 0; k < taps; k++)
                sums[i] = (int16_t)(sums[i] + times(tap[k * APART + i], weights[k * side]));
        }
        for (ptrdiff_t more = taps; more < filter->taps; more += 4)
            for (int i = 0; i < APART; i++)
                for (int k = 0; k < 4; k++)
                    sums[i] = (int16_t)(sums[i] + times(tap[(more + k) * APART + i],
                                                        weights[(more + k) * side]));
        for (int i = 0; i < APART; i++) to[i] = narrowed((int16_t)(sums[i] >> 5));
    }
}

VECTORISED static void add_columns(uint8_t *restrict to, const int16_t *restrict from,
                                   const Filter *filter, ptrdiff_t side, ptrdiff_t step) {
    if (filter->taps == 4) add_across(to, from, filter, side, step, 4);
    else if (filter->taps == 6) add_across(to, from, filter, side, step, 6);
    else add_across(to, from, filter, side, step, 8);
}

VECTORISED static void add_many_columns(uint8_t *restrict to, const int16_t *restrict from,
                                        const Filter *filter, ptrdiff_t side, ptrdiff_t step) {
    for (ptrdiff_t x = 0; x < side; x++, to += step) {
        const int16_t *weights = filter->weights + x, *tap = from + filter->first[x] * APART;
        int32_t sums[APART] = {0};
        for (ptrdiff_t k = 0; k < filter->taps; k++, tap += APART)
            for (int i = 0; i < APART; i++) sums[i] += tap[i] * weights[k * side];
        for (int i = 0; i < APART; i++) to[i] = clamped((sums[i] + (1 << 19)) >> 20);
    }
}

/* Buffers of a resize. */
typedef struct {
    Filter rows, columns;
    Widened widened;
    const int16_t **tap; /* a widened row for each tap of a row */
    double *scratch;
    int32_t *sums;
    int16_t *four_rows, *fours, *turned;
    uint8_t *done, *apart, *spare; /* `spare` for rows beyond the last one of the result */
} Resizing;

static void lay_out(Resizing *own, Memory *memory) {
    const ptrdiff_t side = own->columns.pixels, stride = own->widened.stride, width = own->widened.from->width;
    const ptrdiff_t down = own->rows.pixels * (own->rows.taps + 5), aside = side * (own->columns.taps + 5);
    own->scratch = part(memory, (down > aside ? down : aside) * sizeof(double));
    own->rows.first = part(memory, own->rows.pixels * sizeof(int32_t));
    own->rows.weights = part(memory, own->rows.pixels * own->rows.taps * sizeof(int16_t));
    own->columns.first = part(memory, side * sizeof(int32_t));
    own->columns.weights = part(memory, side * own->columns.taps * sizeof(int16_t));
    own->tap = part(memory, own->rows.taps * sizeof(int16_t *));
    own->sums = part(memory, 3 * width * sizeof(int32_t));
    own->widened.rows = part(memory, own->widened.held * stride * sizeof(int16_t));
    own->four_rows = part(memory, 4 * stride * sizeof(int16_t));
    own->fours = part(memory, LANES * stride * sizeof(int16_t));
    own->turned = part(memory, (width + own->columns.taps) * APART * sizeof(int16_t));
    own->done = part(memory, side * APART);
    own->apart = part(memory, side * APART);
    own->spare = part(memory, 4 * side * 3);
}

/* Down first, then across: LANES rows of the result at a time, so that all of it stays in the cache.
 * Across, the taps of a pixel are contiguous, which vectors cannot use; so these rows are transposed. */
int resize(const Image *from, const Image *to, int mirrored) {
    const ptrdiff_t side = to->width, across = 3 * from->width;
    Resizing own = {.rows = {.taps = taps_of(from->height, to->height), .pixels = to->height},
                    .columns = {.taps = taps_of(from->width, side), .pixels = side}};
    own.widened = to_widen(from, own.rows.taps, 1 << 7);
    Memory memory = {NULL, 0};
    lay_out(&own, &memory);
    if (allot(&memory)) return -1;
    lay_out(&own, &memory);
    const Filter rows = own.rows;
    weigh(&rows, from->height, own.scratch);
    weigh(&own.columns, from->width, own.scratch);
    /* Taps beyond the last pixel have weight 0; no unwritten memory is read. */
    memset(own.turned + across * LANES, 0, (size_t)own.columns.taps * APART * sizeof(int16_t));
    for (ptrdiff_t top = 0; top < to->height; top += LANES) {
        for (ptrdiff_t y = top; y < top + LANES && y < to->height; y++) {
            int16_t *result = own.four_rows + y % 4 * own.widened.stride;
            for (ptrdiff_t k = 0; k < rows.taps; k++) {
                const ptrdiff_t place = rows.first[y] + k;
                own.tap[k] = widened_row(&own.widened, place < from->height ? place : from->height - 1);
            }
            if (rows.taps < MANY)
                add_rows(result, own.tap, rows.weights + y, to->height, rows.taps, across);
            else {
                memset(own.sums, 0, (size_t)across * sizeof(int32_t));
                for (ptrdiff_t k = 0; k < rows.taps; k++)
                    add_many_rows(own.sums, own.tap[k], rows.weights[k * to->height + y], across);
                narrow(result, own.sums, across, 15);
            }
            if (y % 4 == 3 || y == to->height - 1)
                turn_rows(own.fours + (y - top) / 4 * 4 * own.widened.stride, own.four_rows,
                          own.widened.stride, across);
        }
        turn_fours((FourNumbers *)own.turned, (const FourNumbers *)own.fours, own.widened.stride, across);
        (own.columns.taps < MANY ? add_columns : add_many_columns)(
            mirrored ? own.done + (side - 1) * APART : own.done, own.turned, &own.columns, side,
            mirrored ? -APART : APART);
        return_fours((FourBytes *)own.apart, (const FourBytes *)own.done, 3 * side);
        for (ptrdiff_t y = top; y < top + LANES && y < to->height; y += 4) {
            uint8_t *result[4];
            for (int row = 0; row < 4; row++)
                result[row] = y + row < to->height ? row_of(to, y + row) : own.spare + row * side * 3;
            return_rows(result[0], result[1], result[2], result[3], own.apart + (y - top) * 3 * side,
                        3 * side);
        }
    }
    free(memory.begin);
    return 0;
}
