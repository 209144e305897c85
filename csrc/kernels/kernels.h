/* Shared by the pixel kernels: images, fixed point, memory.
 *
 * The kernels of the CPU executor take uint8 (H, W, 3) and make uint8 (H, W, 3). They are plain C, written
 * so that a compiler turns the inner loops into vector instructions. On x86-64 with glibc these are
 * compiled twice, and the one for the processor is selected when the module is loaded.
 *
 * Everything is whole numbers, or single IEEE operations on floats that are neither reordered nor
 * contracted (see setup.py): from the same pixels and numbers every processor computes the same result,
 * bit for bit.
 *
 * Fixed point: "Qn" is a whole number of 2^-n. An image is read and written row by row; rows may be
 * apart (a cut-out), the pixels of a row are contiguous. Sources are never written to, and no kernel
 * works in place.
 */
#ifndef MASSRL_KERNELS_H
#define MASSRL_KERNELS_H

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
#define SCALAR __attribute__((optimize("no-tree-vectorize"))) /* GCC makes look-ups slower with vectors */
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

/* a * b in Q15, rounded; in the form that compilers recognise as pmulhrsw and sqrdmulh. */
static inline int16_t times(int16_t a, int16_t b) {
    return (int16_t)((((int32_t)a * b >> 14) + 1) >> 1);
}

static inline uint8_t clamped(int32_t level) {
    return (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
}

static inline uint8_t narrowed(int16_t level) {
    level = level > 0 ? level : 0;
    level = level < 255 ? level : 255;
    return (uint8_t)level;
}

/* `from` + (level - from) * factor, in Q7 and the factor, of -7 to 7, in Q12. The result has Q4, to which
 * `up` is added before its fraction is cut off: 8 rounds, 1 compensates for earlier rounding errors. */
static inline uint8_t away(int16_t level, int16_t from, int16_t factor, int16_t up) {
    const int16_t moved = times((int16_t)(level - from), factor); /* Q4 */
    return narrowed((int16_t)((int16_t)(moved + (from >> 3) + up) >> 4));
}

/* One allocation for all buffers of a kernel. Its parts are requested twice: to compute the size, and after
 * the allocation. Vectors are fastest where they begin at a multiple of their size. */
typedef struct {
    uint8_t *begin;
    size_t used;
} Memory;

enum { ALIGNED = 64 };

static inline ptrdiff_t aligned(ptrdiff_t bytes) { return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED; }

static inline void *part(Memory *memory, size_t bytes) {
    void *place = memory->begin == NULL ? NULL : memory->begin + memory->used;
    memory->used += (size_t)aligned((ptrdiff_t)bytes);
    return place;
}

static inline int allot(Memory *memory) {
    memory->begin = aligned_alloc(ALIGNED, memory->used);
    memory->used = 0;
    return memory->begin == NULL ? -1 : 0;
}

enum { PERIOD = 96 }; /* bytes after which channels and vectors are aligned again */

/* The most recently requested rows of an image, in fixed point; each is computed once. */
typedef struct {
    const Image *from;
    int16_t *rows;
    ptrdiff_t stride;     /* numbers from row to row */
    ptrdiff_t held, next; /* how many, a power of 2; the first one that is not computed yet */
    int16_t unit;         /* a level of 1 */
} Widened;

/* Initialise for this many rows; `rows` is set by the caller. */
Widened to_widen(const Image *from, ptrdiff_t rows, int16_t unit);
const int16_t *widened_row(Widened *widened, ptrdiff_t y);

/* Convert to 16 bits, rounded. */
static inline void narrow(int16_t *restrict to, const int32_t *restrict from, ptrdiff_t count, int shift) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = (int16_t)((from[i] + (1 << (shift - 1))) >> shift);
}

/* The kernels, documented at their definitions and in kernels.pyi. Those that allocate memory return -1 if
 * there is none. */
int resize(const Image *from, const Image *to, int mirrored);
void flip(const Image *from, const Image *to);
void warp(const Image *from, const Image *to, const double inverse[6], uint8_t fill);
void table(const Image *from, const Image *to, const uint8_t *levels);
void brightness(const Image *from, const Image *to, float factor);
void posterize(const Image *from, const Image *to, int bits);
void solarize(const Image *from, const Image *to, int least);
void autocontrast(const Image *from, const Image *to);
void equalize(const Image *from, const Image *to);
void contrast(const Image *from, const Image *to, int16_t factor);
void saturation(const Image *from, const Image *to, int16_t factor);
void hue(const Image *from, const Image *to, int32_t turn);
void sharpness(const Image *from, const Image *to, int16_t factor);
int blur(const Image *from, const Image *to, const float *taps, ptrdiff_t given);

#endif
