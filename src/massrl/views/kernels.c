/* Pixel kernels of the CPU executor: uint8 (H, W, 3) in, uint8 (H, W, 3) out.
 *
 * Plain C, written so that a compiler turns the inner loops into vector instructions. On x86-64 with
 * glibc they are compiled twice, and the processor's own is taken when the module is loaded.
 *
 * Everything is whole numbers, or single IEEE operations on floats that are neither reordered nor
 * contracted (see setup.py): from the same pixels and numbers every processor comes to the same, bit for
 * bit.
 *
 * Fixed point: "Qn" is a whole number of 2^-n. An image is read and written row by row; rows may lie
 * apart (a cut-out), pixels may not. Sources are never written to, and no kernel works in place.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(VECTORISED) /* a test builds without */
#elif defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define VECTORISED
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define SCALAR __attribute__((optimize("no-tree-vectorize"))) /* of look-ups, GCC makes it worse */
#else
#define SCALAR
#endif

#if defined(__GNUC__)
#define ALWAYS __attribute__((always_inline))
#else
#define ALWAYS
#endif

typedef struct {
    uint8_t *pixels;
    ptrdiff_t stride; /* bytes from row to row */
    ptrdiff_t height, width;
} Image;

static inline uint8_t *row_of(const Image *image, ptrdiff_t y) {
    return image->pixels + y * image->stride;
}

/* a * b in Q15, rounded; the form that compilers know as pmulhrsw and sqrdmulh. */
static inline int16_t times(int16_t a, int16_t b) {
    return (int16_t)((((int32_t)a * b >> 14) + 1) >> 1);
}

static inline uint8_t clamped(int32_t level) {
    return (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
}

/* A float level to uint8 as torchvision has it: the fraction cut off. */
static inline uint8_t truncated(float level) {
    level = level > 0.0f ? level : 0.0f;
    level = level < 255.0f ? level : 255.0f;
    return (uint8_t)(int32_t)level;
}

static inline uint8_t narrowed(int16_t level) {
    level = level > 0 ? level : 0;
    level = level < 255 ? level : 255;
    return (uint8_t)level;
}

/* `from` + (level - from) * factor, in Q7 and the factor, of -7 to 7, in Q12. The result has Q4, to which
 * `up` is added before its fraction is cut off: 8 rounds, 1 makes up for the roundings on the way. */
static inline uint8_t away(int16_t level, int16_t from, int16_t factor, int16_t up) {
    const int16_t moved = times((int16_t)(level - from), factor); /* Q4 */
    return narrowed((int16_t)((int16_t)(moved + (from >> 3) + up) >> 4));
}

/* One piece of memory for all that a kernel needs. Its parts are asked for twice: to know how much it
 * is, and once it is there. Vectors are quickest where they begin at a multiple of their size. */
typedef struct {
    uint8_t *begin;
    size_t used;
} Memory;

enum { ALIGNED = 64 };

static ptrdiff_t aligned(ptrdiff_t bytes) { return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED; }

static void *part(Memory *memory, size_t bytes) {
    void *place = memory->begin == NULL ? NULL : memory->begin + memory->used;
    memory->used += (size_t)aligned((ptrdiff_t)bytes);
    return place;
}

static int allot(Memory *memory) {
    memory->begin = aligned_alloc(ALIGNED, memory->used);
    memory->used = 0;
    return memory->begin == NULL ? -1 : 0;
}

/* ------------------------------------------------------------------------------------- resize */

enum {
    LANES = 16, /* rows that are resized together, four times four of them */
    APART = 3 * LANES,
    MANY = 32,  /* from so many taps on, sums are kept in 32 bits: roundings would add up */
};

/* For each pixel of the result: where its taps begin, 6 of them or a multiple of 4. Weights are in Q14,
 * first those of all pixels' first taps. */
typedef struct {
    int32_t *first;
    int16_t *weights;
    ptrdiff_t taps, pixels;
} Filter;

/* Catmull-Rom (a = -0.5), as Pillow and torch have it when they antialias; both branches, then one. */
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

/* One tap of every pixel of the result; what lies outside the image has no weight. */
VECTORISED static void weigh_tap(double *restrict weights, double *restrict sums,
                                 const double *restrict offsets, const double *restrict taps,
                                 double k, double narrower, ptrdiff_t to) {
    for (ptrdiff_t i = 0; i < to; i++) {
        const double weight = bicubic((k - offsets[i]) * narrower);
        weights[i] = k < taps[i] ? weight : 0.0;
        sums[i] += weights[i];
    }
}

/* One tap in Q14; what is left of 1, and which tap weighs most, are carried on. */
VECTORISED static void round_tap(int16_t *restrict weights, int32_t *restrict left,
                                 int32_t *restrict most, int32_t *restrict largest,
                                 const double *restrict exact, const double *restrict units, int32_t k,
                                 ptrdiff_t to) {
    for (ptrdiff_t i = 0; i < to; i++) {
        /* From half a unit up the fraction is cut off; the rest keeps it from being below 0. */
        const int32_t weight = (int32_t)(exact[i] * units[i] + ((1 << 14) + 0.5)) - (1 << 14);
        weights[i] = (int16_t)weight;
        left[i] -= weight;
        largest[i] = weight > most[i] ? k : largest[i];
        most[i] = weight > most[i] ? weight : most[i];
    }
}

/* Pillow's weights: a bicubic that is as much wider as the image shrinks, cut off at the borders.
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
    for (ptrdiff_t i = 0; i < to; i++) /* what is flat stays flat */
        filter->weights[largest[i] * to + i] = (int16_t)(filter->weights[largest[i] * to + i] + left[i]);
}

VECTORISED static void widen(int16_t *restrict to, const uint8_t *restrict from, ptrdiff_t count,
                             int16_t unit) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = (int16_t)(from[i] * unit);
}

/* Rows of an image in fixed point, the last few that were asked for; each is made once. */
typedef struct {
    const Image *from;
    int16_t *rows;
    ptrdiff_t stride;     /* numbers from row to row */
    ptrdiff_t held, next; /* how many, a power of 2; the first one that was not made yet */
    int16_t unit;         /* a level of 1 */
} Widened;

static Widened to_widen(const Image *from, ptrdiff_t rows, int16_t unit) {
    Widened widened = {from, NULL, aligned(6 * from->width) / 2, 1, 0, unit};
    while (widened.held < rows) widened.held *= 2;
    return widened;
}

static const int16_t *widened_row(Widened *widened, ptrdiff_t y) {
    const ptrdiff_t last = widened->held - 1;
    for (; widened->next <= y; widened->next++)
        widen(widened->rows + (widened->next & last) * widened->stride,
              row_of(widened->from, widened->next), 3 * widened->from->width, widened->unit);
    return widened->rows + (y & last) * widened->stride;
}

/* `taps` rows, weighted and added, to what is there or not; inlined where these two are known. Weights
 * lie `apart`. Q7 times Q14 is Q6. */
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

VECTORISED static void narrow(int16_t *restrict to, const int32_t *restrict from, ptrdiff_t count,
                              int shift) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = (int16_t)((from[i] + (1 << (shift - 1))) >> shift);
}

/* Four of LANES rows at a time become columns: four numbers side by side, which then are moved as one. */
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

/* And back again. */
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

/* Pixels of LANES rows, whose taps lie APART. Q6 times Q14 is Q5, then uint8. */
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

/* What a resize works on beside the images. */
typedef struct {
    Filter rows, columns;
    Widened widened;
    const int16_t **tap; /* a widened row for each tap of a row */
    double *scratch;
    int32_t *sums;
    int16_t *four_rows, *fours, *turned;
    uint8_t *done, *apart, *spare;
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
    own->spare = part(memory, side * 3);
}

/* Down first, then across: LANES rows of the result at a time, so that all of it stays in the cache.
 * Across, the taps of a pixel lie side by side, which vectors cannot use; so these rows are transposed. */
static int resize(const Image *from, const Image *to, int mirrored) {
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
    /* Beyond the last pixel lie taps of weight 0. */
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
                result[row] = y + row < to->height ? row_of(to, y + row) : own.spare;
            return_rows(result[0], result[1], result[2], result[3], own.apart + (y - top) * 3 * side,
                        3 * side);
        }
    }
    free(memory.begin);
    return 0;
}

/* ----------------------------------------------------------------------------------- geometry */

static void flip(const Image *from, const Image *to) {
    for (ptrdiff_t y = 0; y < to->height; y++) {
        const uint8_t *source = row_of(from, y);
        uint8_t *result = row_of(to, y);
        const ptrdiff_t last = to->width - 1;
        memcpy(result, source + 3 * last, 3); /* then four bytes at once, of which the next hides one */
        for (ptrdiff_t x = 1; x < last; x++) memcpy(result + 3 * x, source + 3 * (last - x), 4);
        if (last > 0) memcpy(result + 3 * last, source, 3);
    }
}

/* Between four levels: `right` is in Q7, `down` in Q15. */
static inline uint8_t bilinear(int16_t upper_left, int16_t upper_right, int16_t lower_left,
                               int16_t lower_right, int16_t right, int16_t down) {
    const int16_t upper = (int16_t)(upper_left * 128 + (upper_right - upper_left) * right);
    const int16_t lower = (int16_t)(lower_left * 128 + (lower_right - lower_left) * right);
    const int16_t level = (int16_t)(upper + times((int16_t)(lower - upper), down));
    return narrowed((int16_t)((int16_t)(level + 64) >> 7));
}

/* What a bilinear sample takes from four pixels that may lie outside; weights are in Q7 and Q15. */
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

/* Pixels in fours of bytes, and each one's weights in Q7 and Q15, once for every byte. */
typedef struct {
    uint8_t corners[4][4 * CHUNK]; /* upper left, upper right, lower left, lower right */
    int16_t right[4 * CHUNK], down[4 * CHUNK];
} Gathered;

/* The fractions of places that are a step apart, in Q7 and shifted up, each of them four times. */
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

/* A row between pixels: one weight for all of it to the right, in Q7, and one down, in Q15. */
VECTORISED static void blend_rows(const uint8_t *restrict upper_row, const uint8_t *restrict lower_row,
                                  uint8_t *restrict to, ptrdiff_t count, int16_t right, int16_t down) {
    for (ptrdiff_t i = 0; i < count; i++)
        to[i] = bilinear(upper_row[i], upper_row[i + 3], lower_row[i], lower_row[i + 3], right, down);
}

/* The part of 0 ... count where low <= start + i * step < high, as far as whole steps go. */
static void within(int64_t start, int64_t step, int64_t low, int64_t high, ptrdiff_t *begin,
                   ptrdiff_t *end) {
    while (*begin < *end && (start + *begin * step < low || start + *begin * step >= high)) ++*begin;
    while (*begin < *end &&
           (start + (*end - 1) * step < low || start + (*end - 1) * step >= high))
        --*end;
}

/* Bilinear. `inverse` takes a pixel of the result, by its edges, to the source; places are in Q32. */
static void warp(const Image *from, const Image *to, const double inverse[6], uint8_t fill) {
    const double unit = 4294967296.0;
    const int64_t one = (int64_t)1 << 32, upwards = one >> 8; /* fractions are cut to a 128th */
    const int64_t right_x = (int64_t)floor(inverse[0] * unit + 0.5);
    const int64_t right_y = (int64_t)floor(inverse[3] * unit + 0.5);
    const int sideways = right_x == one && right_y == 0;
    Gathered part;
    uint8_t blended[4 * CHUNK];
    memset(&part, 0, sizeof part);
    for (ptrdiff_t row = 0; row < to->height; row++) {
        /* From edges to centres. */
        const double across = 0.5 * inverse[0] + (row + 0.5) * inverse[1] + inverse[2] - 0.5;
        const double along = 0.5 * inverse[3] + (row + 0.5) * inverse[4] + inverse[5] - 0.5;
        const int64_t x = (int64_t)floor(across * unit + 0.5) + upwards;
        const int64_t y = (int64_t)floor(along * unit + 0.5) + upwards;
        /* From `begin` to `end` all four pixels lie inside, and a byte after the last one. */
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

/* -------------------------------------------------------------------------------------- tables */

SCALAR static void look_up(const uint8_t *restrict from, uint8_t *restrict to, ptrdiff_t count,
                           const uint8_t *restrict levels) {
    for (; count >= 8; from += 8, to += 8, count -= 8) {
        const uint8_t a = levels[from[0]], b = levels[from[1]], c = levels[from[2]], d = levels[from[3]];
        const uint8_t e = levels[from[4]], f = levels[from[5]], g = levels[from[6]], h = levels[from[7]];
        to[0] = a, to[1] = b, to[2] = c, to[3] = d, to[4] = e, to[5] = f, to[6] = g, to[7] = h;
    }
    for (ptrdiff_t i = 0; i < count; i++) to[i] = levels[from[i]];
}

static void table(const Image *from, const Image *to, const uint8_t *levels) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        look_up(row_of(from, y), row_of(to, y), 3 * to->width, levels);
}

/* A level times a factor, the fraction cut off. */
VECTORISED static void brighten_row(const uint8_t *restrict from, uint8_t *restrict to, ptrdiff_t count,
                                    float factor) {
    for (ptrdiff_t i = 0; i < count; i++) {
        const int16_t level = (int16_t)(int32_t)((float)from[i] * factor); /* of 1785 at most */
        to[i] = narrowed(level);
    }
}

static void brightness(const Image *from, const Image *to, float factor) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        brighten_row(row_of(from, y), row_of(to, y), 3 * to->width, factor);
}

VECTORISED static void posterize_row(const uint8_t *restrict from, uint8_t *restrict to,
                                     ptrdiff_t count, uint8_t kept) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = from[i] & kept;
}

/* The upper `bits` of each level. */
static void posterize(const Image *from, const Image *to, int bits) {
    for (ptrdiff_t y = 0; y < to->height; y++)
        posterize_row(row_of(from, y), row_of(to, y), 3 * to->width, (uint8_t)(256 - (1 << (8 - bits))));
}

VECTORISED static void solarize_row(const uint8_t *restrict from, uint8_t *restrict to,
                                    ptrdiff_t count, uint8_t least, uint8_t turned) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = from[i] >= least ? from[i] ^ turned : from[i];
}

/* Levels from `least` on inverted; of 256, none. */
static void solarize(const Image *from, const Image *to, int least) {
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

enum { PERIOD = 96 }; /* bytes after which channels and vectors begin together again */

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

/* Each channel stretched to 0 ... 255; a reciprocal first, as torch divides a number by a tensor. */
static void autocontrast(const Image *from, const Image *to) {
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

/* How often each level comes in a channel; twice, so that equal neighbours do not wait for each other. */
SCALAR static void count_levels(const uint8_t *restrict row, ptrdiff_t width,
                                uint32_t counts[restrict 2][3][256]) {
    for (; width >= 2; width -= 2, row += 6) {
        counts[0][0][row[0]]++, counts[0][1][row[1]]++, counts[0][2][row[2]]++;
        counts[1][0][row[3]]++, counts[1][1][row[4]]++, counts[1][2][row[5]]++;
    }
    if (width) counts[0][0][row[0]]++, counts[0][1][row[1]]++, counts[0][2][row[2]]++;
}

/* Pillow's and torchvision's histogram equalisation. */
static void equalize(const Image *from, const Image *to) {
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

/* -------------------------------------------------------------------------------------- colour */

VECTORISED static void add_up(const uint8_t *restrict row, ptrdiff_t count, uint32_t *restrict sums) {
    while (count >= PERIOD) {
        uint16_t some[PERIOD] = {0}; /* as many as 16 bits hold */
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

/* The distance from the mean grey, times a factor. */
static void contrast(const Image *from, const Image *to, int16_t factor) {
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

/* What a level takes of the two before it, itself and the two after it for its pixel's grey. */
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

/* A part ends where a pixel does, so what lies around it is of no weight. */
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

/* The distance from a pixel's own grey, times a factor. */
static void saturation(const Image *from, const Image *to, int16_t factor) {
    static const int16_t luma[3] = {9795, 19236, 3737}; /* 0.2989, 0.587, 0.114 in Q15; they add up to 1 here */
    Mixing grey;
    for (int k = 0; k < 5; k++)
        for (int i = 0; i < PERIOD; i++) {
            const int channel = i % 3 + k - 2;
            grey.weights[k][i] = channel >= 0 && channel < 3 ? luma[channel] : 0;
        }
    for (ptrdiff_t y = 0; y < from->height; y++)
        saturation_row(row_of(from, y), row_of(to, y), 3 * from->width, &grey, factor);
}

/* How much of the spread a channel lacks at a place on the colour circle, all in Q4; the circle has
 * six parts of one spread each. */
static inline int16_t lacking(int16_t place, int16_t spread) {
    const int16_t circle = (int16_t)(6 * spread);
    place = place >= circle ? (int16_t)(place - circle) : place;
    const int16_t falling = (int16_t)(4 * spread - place);
    place = place < falling ? place : falling;
    place = place > 0 ? place : 0;
    return place < spread ? place : spread;
}

/* Where each channel begins on the circle, in Q12, by which channel is the lightest. */
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

/* A turn on the colour circle in sixths, from 0 to 6, in Q12; lightest and darkest channel stay. */
static void hue(const Image *from, const Image *to, int32_t turn) {
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

/* --------------------------------------------------------------------------------- neighbourhoods */

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

/* The distance from an image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, times a factor; borders stay. */
static void sharpness(const Image *from, const Image *to, int16_t factor) {
    for (ptrdiff_t y = 0; y < from->height; y++) {
        memcpy(row_of(to, y), row_of(from, y), (size_t)from->width * 3);
        if (y > 0 && y < from->height - 1)
            sharpen_row(row_of(from, y - 1), row_of(from, y), row_of(from, y + 1), row_of(to, y),
                        3 * from->width, factor);
    }
}

/* Places mirrored at the first and the last one, which are not repeated. */
static ptrdiff_t reflected(ptrdiff_t place, ptrdiff_t count) {
    if (count == 1) return 0;
    const ptrdiff_t period = 2 * (count - 1);
    place = place < 0 ? -place : place;
    place = place < period ? place : place % period;
    return place < count ? place : period - place;
}

/* `reach` more pixels before and after a row. */
static void reflect_ends(int16_t *row, ptrdiff_t width, ptrdiff_t reach) {
    for (ptrdiff_t k = 1; k <= reach; k++) {
        memcpy(row - 3 * k, row + 3 * reflected(-k, width), 3 * sizeof(int16_t));
        memcpy(row + 3 * (width - 1 + k), row + 3 * reflected(width - 1 + k, width),
               3 * sizeof(int16_t));
    }
}

/* Levels in Q6 that weigh alike, in pairs whose sums are below 2^15, weighted in Q15 and added, to what
 * is there or to the centre, whose weight is in Q14. Inlined where `pairs` and `more` are known. */
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

/* Rows, or one row at as many places, weighted and added; `reach` is even, the centre comes first. */
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

enum { LONG = 42 }; /* from a longer reach on, sums are kept in 32 bits: roundings would add up */

VECTORISED static void add_pair_of_rows(int32_t *restrict sums, const uint8_t *restrict one,
                                        const uint8_t *restrict other, int32_t weight,
                                        ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) sums[i] += (one[i] + other[i]) * weight;
}

VECTORISED static void add_pair_of_columns(int32_t *restrict sums, const int16_t *restrict centre,
                                           ptrdiff_t apart, int32_t weight, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) sums[i] += (centre[i - apart] + centre[i + apart]) * weight;
}

/* `blur` with weights in Q16. Halves of the centre make a pair of it. */
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

/* Separable and symmetric: `taps` are the 2 * given + 1 weights of a row, which add up to 1. */
static int blur(const Image *from, const Image *to, const float *taps, ptrdiff_t given) {
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
    int32_t left = 1 << 14; /* of the centre, in Q14, so that what is flat stays flat */
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

/* -------------------------------------------------------------------------------------- module */

/* The two images of a call, and the buffers to give back after it. */
typedef struct {
    Py_buffer buffers[2];
    Image from, to;
} Call;

static int open_image(PyObject *object, int writable, Py_buffer *buffer, Image *image) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)))
        return -1;
    if (buffer->ndim != 3 || buffer->itemsize != 1 || strcmp(buffer->format, "B") != 0 ||
        buffer->shape[2] != 3 || buffer->strides[2] != 1 || buffer->shape[0] < 1 ||
        buffer->shape[1] < 1 || (buffer->strides[1] != 3 && buffer->shape[1] > 1)) {
        PyErr_SetString(PyExc_ValueError, "uint8 (H, W, 3) is wanted, of pixels that lie side by side");
        PyBuffer_Release(buffer);
        return -1;
    }
    *image = (Image){buffer->buf, buffer->strides[0], buffer->shape[0], buffer->shape[1]};
    return 0;
}

static void close_call(Call *call) {
    PyBuffer_Release(&call->buffers[0]);
    PyBuffer_Release(&call->buffers[1]);
}

static int open_call(PyObject *const *args, Py_ssize_t given, Py_ssize_t wanted, int resizes, Call *call) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%zd arguments are wanted, %zd were given", wanted, given);
        return -1;
    }
    if (open_image(args[0], 0, &call->buffers[0], &call->from)) return -1;
    if (open_image(args[1], 1, &call->buffers[1], &call->to)) {
        PyBuffer_Release(&call->buffers[0]);
        return -1;
    }
    if (!resizes && (call->from.height != call->to.height || call->from.width != call->to.width)) {
        PyErr_SetString(PyExc_ValueError, "image and result differ in size");
        close_call(call);
        return -1;
    }
    return 0;
}

/* `count` numbers of one type, side by side; their memory is the object's own. */
static const void *numbers_of(PyObject *object, const char *format, Py_ssize_t count, Py_buffer *buffer) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) return NULL;
    if (strcmp(buffer->format, format) == 0 && (count < 0 || buffer->len / buffer->itemsize == count))
        return buffer->buf;
    if (count < 0)
        PyErr_Format(PyExc_ValueError, "numbers of type '%s' are wanted", format);
    else
        PyErr_Format(PyExc_ValueError, "%zd numbers of type '%s' are wanted", count, format);
    PyBuffer_Release(buffer);
    return NULL;
}

/* A number within `low` ... `high`. */
static int number_of(PyObject *object, double low, double high, double *number) {
    *number = PyFloat_AsDouble(object);
    if (PyErr_Occurred()) return -1;
    if (*number >= low && *number <= high) return 0;
    PyErr_Format(PyExc_ValueError, "a number of %d to %d is wanted", (int)low, (int)high);
    return -1;
}

/* Runs a kernel without the interpreter's lock, and ends the call. */
#define RUN_AND_RETURN(call, kernel)           \
    do {                                       \
        Py_BEGIN_ALLOW_THREADS;                \
        kernel;                                \
        Py_END_ALLOW_THREADS;                  \
        close_call(&(call));                   \
        Py_RETURN_NONE;                        \
    } while (0)

#define WITHOUT_NUMBERS(name)                                                                  \
    static PyObject *call_##name(PyObject *module, PyObject *const *args, Py_ssize_t given) {  \
        (void)module;                                                                          \
        Call call;                                                                             \
        if (open_call(args, given, 2, 0, &call)) return NULL;                                  \
        RUN_AND_RETURN(call, name(&call.from, &call.to));                                      \
    }

#define FIXED(bits) floor(number * (1 << (bits)) + 0.5)

/* A kernel is given a number in a type of its own. */
#define WITH_A_NUMBER(name, low, high, type, converted)                                        \
    static PyObject *call_##name(PyObject *module, PyObject *const *args, Py_ssize_t given) {  \
        (void)module;                                                                          \
        Call call;                                                                             \
        double number;                                                                         \
        if (open_call(args, given, 3, 0, &call)) return NULL;                                  \
        if (number_of(args[2], low, high, &number)) {                                          \
            close_call(&call);                                                                 \
            return NULL;                                                                       \
        }                                                                                      \
        RUN_AND_RETURN(call, name(&call.from, &call.to, (type)(converted)));                  \
    }

WITHOUT_NUMBERS(flip)
WITHOUT_NUMBERS(autocontrast)
WITHOUT_NUMBERS(equalize)
WITH_A_NUMBER(brightness, 0, 7, float, number)
WITH_A_NUMBER(posterize, 0, 8, int, number)
WITH_A_NUMBER(solarize, 0, 256, int, ceil(number))
WITH_A_NUMBER(contrast, -7, 7, int16_t, FIXED(12))
WITH_A_NUMBER(saturation, -7, 7, int16_t, FIXED(12))
WITH_A_NUMBER(sharpness, -7, 7, int16_t, FIXED(12))
WITH_A_NUMBER(hue, 0, 6, int32_t, FIXED(12))

static PyObject *call_table(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    Py_buffer buffer;
    if (open_call(args, given, 3, 0, &call)) return NULL;
    const uint8_t *levels = numbers_of(args[2], "B", 256, &buffer);
    if (levels == NULL) {
        close_call(&call);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    table(&call.from, &call.to, levels);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&buffer);
    close_call(&call);
    Py_RETURN_NONE;
}

static PyObject *call_resize(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    int failed;
    if (open_call(args, given, 3, 1, &call)) return NULL;
    const int mirrored = PyObject_IsTrue(args[2]);
    if (mirrored < 0) {
        close_call(&call);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    failed = resize(&call.from, &call.to, mirrored);
    Py_END_ALLOW_THREADS;
    close_call(&call);
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *call_blur(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    Py_buffer buffer;
    int failed;
    if (open_call(args, given, 3, 0, &call)) return NULL;
    const float *taps = numbers_of(args[2], "f", -1, &buffer);
    if (taps == NULL) {
        close_call(&call);
        return NULL;
    }
    const Py_ssize_t count = buffer.len / (Py_ssize_t)sizeof(float);
    double sum = 0.0;
    int wrong = count % 2 == 0;
    for (Py_ssize_t k = 0; k < count; k++) {
        wrong |= !(taps[k] >= 0.0f && taps[k] <= 1.0f) || taps[k] != taps[count - 1 - k];
        sum += taps[k];
    }
    if (wrong || fabs(sum - 1.0) > 1e-3) {
        PyErr_SetString(PyExc_ValueError, "an odd number of symmetric weights that add up to 1 is wanted");
        PyBuffer_Release(&buffer);
        close_call(&call);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    failed = blur(&call.from, &call.to, taps, count / 2);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&buffer);
    close_call(&call);
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *call_warp(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    double m[6] = {0.0};
    if (open_call(args, given, 4, 0, &call)) return NULL;
    const long fill = PyLong_AsLong(args[3]);
    if (!PyTuple_Check(args[2]) || PyTuple_GET_SIZE(args[2]) != 6)
        PyErr_SetString(PyExc_TypeError, "a tuple of six numbers is wanted");
    for (int i = 0; i < 6 && !PyErr_Occurred(); i++)
        m[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(args[2], i));
    if (PyErr_Occurred()) {
        close_call(&call);
        return NULL;
    }
    const double area = m[0] * m[4] - m[1] * m[3];
    const double inverse[6] = {m[4] / area,  -m[1] / area, (m[1] * m[5] - m[2] * m[4]) / area,
                               -m[3] / area, m[0] / area,  (m[2] * m[3] - m[0] * m[5]) / area};
    /* Whatever is sampled lies so near that Q32 holds it; what is no number lies nowhere. */
    const double width = (double)call.to.width + 1, height = (double)call.to.height + 1, limit = 1 << 28;
    const int near_by =
        fabs(inverse[0]) * width + fabs(inverse[1]) * height + fabs(inverse[2]) < limit &&
        fabs(inverse[3]) * width + fabs(inverse[4]) * height + fabs(inverse[5]) < limit;
    if (!near_by || fill < 0 || fill > 255) {
        PyErr_SetString(PyExc_ValueError, "a map that has an inverse and a level of 0 to 255 are wanted");
        close_call(&call);
        return NULL;
    }
    RUN_AND_RETURN(call, warp(&call.from, &call.to, inverse, (uint8_t)fill));
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))call_##name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {
    METHOD(resize),   METHOD(flip),       METHOD(warp),      METHOD(table),        METHOD(brightness),
    METHOD(solarize), METHOD(posterize),  METHOD(contrast),  METHOD(autocontrast), METHOD(equalize),
    METHOD(hue),      METHOD(saturation), METHOD(sharpness), METHOD(blur),         {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "kernels",
    .m_doc = "Pixel kernels of the CPU executor; what each takes stands in kernels.pyi.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_kernels(void) { return PyModuleDef_Init(&module); }
