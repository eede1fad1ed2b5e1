/* Sums of weight rows for Arm processors with DSP instructions and no NEON (Cortex-M4, M7, M33), four weights in two of them.
 *
 *     sxtab16: two 16-bit lanes plus two signed bytes of a word; rotated by 8, plus the other two
 *
 * One step at a time: the sums of eight or sixteen channels are four or eight registers, where those of all steps would
 * not fit.
 */
#include <arm_acle.h>

static inline int16x2_t others(int16x2_t sum, uint32_t w) {
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(sum) : "r"(sum), "r"(w));
  return sum;
}

/* Lane j of the sums of channels 0 and 2, 1 and 3, 4 and 6, 5 and 7, ... */
static inline int16_t lane(const int16x2_t *sum, size_t j) {
  const uint32_t two = (uint32_t)sum[j / 4 * 2 + j % 2];
  return (int16_t)(j % 4 < 2 ? two : two >> 16);
}

#define FOUR(i)                                           \
  memcpy(&w, row + 4 * (i), sizeof w);                    \
  sum[2 * (i)] = __sxtab16(sum[2 * (i)], (int8x4_t)w);    \
  sum[2 * (i) + 1] = others(sum[2 * (i) + 1], w);

#define STEP_BY_STEP(name, lanes, fours)                                                                              \
  static void name(const piece *g, const piece *const end, const spike *list, const int8_t *weights, size_t stride,   \
                   const int32_t *unit, int32_t *x, size_t next, size_t n) {                                          \
    for (uint32_t t = 0; t < IDSNN_STEPS; t++) {                                                                      \
      const uint32_t at = UINT32_C(1) << t;                                                                           \
      int16x2_t sum[(lanes) / 2] = {0};                                                                               \
      int16_t held[lanes];                                                                                            \
      for (const piece *p = g; p != end; p++) {                                                                       \
        const spike *e = list + p->first, *const stop = list + p->stop;                                               \
        const size_t shift = (size_t)(ptrdiff_t)p->shift * stride; /* modulo 2^32, so one below 0 is one, too */      \
        for (; e != stop; e++)                                                                                        \
          if (e->bits & at) {                                                                                         \
            const int8_t *const row = weights + (e->place * stride + shift);                                          \
            uint32_t w;                                                                                               \
            fours                                                                                                     \
          }                                                                                                           \
      }                                                                                                               \
      for (size_t j = 0; j < (lanes); j++) held[j] = lane(sum, j);                                                    \
      ENTER(held, unit, x + t * next, lanes, n)                                                                       \
    }                                                                                                                 \
  }
STEP_BY_STEP(narrow8_all, 8, FOUR(0) FOUR(1))
STEP_BY_STEP(narrow16_all, 16, FOUR(0) FOUR(1) FOUR(2) FOUR(3))
