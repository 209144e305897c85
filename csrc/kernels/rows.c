/* Rows in fixed point, the input of kernels that compute weighted sums of rows. */
#include "kernels.h"

VECTORISED static void widen(int16_t *restrict to, const uint8_t *restrict from, ptrdiff_t count,
                             int16_t unit) {
    for (ptrdiff_t i = 0; i < count; i++) to[i] = (int16_t)(from[i] * unit);
}

Widened to_widen(const Image *from, ptrdiff_t rows, int16_t unit) {
    Widened widened = {from, NULL, aligned(6 * from->width) / 2, 1, 0, unit};
    while (widened.held < rows) widened.held *= 2;
    return widened;
}

const int16_t *widened_row(Widened *widened, ptrdiff_t y) {
    const ptrdiff_t last = widened->held - 1;
    for (; widened->next <= y; widened->next++)
        widen(widened->rows + (widened->next & last) * widened->stride,
              row_of(widened->from, widened->next), 3 * widened->from->width, widened->unit);
    return widened->rows + (y & last) * widened->stride;
}
