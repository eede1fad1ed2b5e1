/* Sums of weight rows for AVX2, two spikes at a time.
 *
 *     vpmaddubsw: a[2j] w[2j] + a[2j+1] w[2j+1],   a: 1 where a spike fired at step t, w: the rows of two spikes, interleaved
 *
 * is the sum of both rows in 16 bits, for one instruction where masking and adding need four. Interleaving leaves the
 * channels of 32 lanes as 0-7, 16-23 and 8-15, 24-31; they are put in order when the sums leave the registers.
 */
#include <immintrin.h>

#define PAIR(i, t) (((i) >> (t) & 1) | ((i) >> (4 + (t)) & 1) << 8) * 0x00010001
#define PAIRS1(i) {PAIR(i, 0), PAIR(i, 1), PAIR(i, 2), PAIR(i, 3)}
#define PAIRS4(i) PAIRS1(i), PAIRS1((i) + 1), PAIRS1((i) + 2), PAIRS1((i) + 3)
#define PAIRS16(i) PAIRS4(i), PAIRS4((i) + 4), PAIRS4((i) + 8), PAIRS4((i) + 12)
#define PAIRS64(i) PAIRS16(i), PAIRS16((i) + 16), PAIRS16((i) + 32), PAIRS16((i) + 48)
static const int32_t paired[256][4] = { /* [four bits of one spike, four of the other][which of them] */
    PAIRS64(0), PAIRS64(64), PAIRS64(128), PAIRS64(192)};

static inline __m256i fired_at(uint32_t one, uint32_t other, uint32_t t) {
  return _mm256_set1_epi32(paired[(one >> (t & ~3u) & 15u) | (other >> (t & ~3u) & 15u) << 4][t & 3u]);
}

static inline void add_pair32(__m256i low[IDSNN_STEPS], __m256i high[IDSNN_STEPS], const int8_t *v, const int8_t *w,
                              uint32_t one, uint32_t other) {
  const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)v);
  const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)w);
  const __m256i first = _mm256_unpacklo_epi8(a, b), last = _mm256_unpackhi_epi8(a, b);
  for (uint32_t t = 0; t < IDSNN_STEPS; t++) {
    const __m256i on = fired_at(one, other, t);
    low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(on, first));
    high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(on, last));
  }
}

static inline void add_pair16(__m256i sum[IDSNN_STEPS], const int8_t *v, const int8_t *w, uint32_t one, uint32_t other) {
  const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)v);
  const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)w);
  const __m256i both = _mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b));
  for (uint32_t t = 0; t < IDSNN_STEPS; t++)
    sum[t] = _mm256_add_epi16(sum[t], _mm256_maddubs_epi16(fired_at(one, other, t), both));
}

/* Every spike of every piece, in pairs; the last of an odd number goes with itself, silent. */
#define ROW(e) (weights + ((size_t)(e)->place * stride + shift)) /* modulo 2^64, so a shift below 0 is one, too */
#define FOR_PAIRS(add)                                            \
  for (; g != end; g++) {                                         \
    const spike *e = list + g->first, *const stop = list + g->stop; \
    const size_t shift = (size_t)(ptrdiff_t)g->shift * stride;    \
    for (; stop - e >= 2; e += 2) add(ROW(e), ROW(e + 1), e[0].bits, e[1].bits); \
    if (e != stop) add(ROW(e), ROW(e), e->bits, 0);               \
  }

static void narrow32_all(const piece *g, const piece *end, const spike *list, const int8_t *weights, size_t stride,
                         const int32_t *unit, int32_t *x, size_t next, size_t n) {
  __m256i low[IDSNN_STEPS], high[IDSNN_STEPS];
  for (size_t t = 0; t < IDSNN_STEPS; t++) low[t] = high[t] = _mm256_setzero_si256();
#define ADD32(v, w, one, other) add_pair32(low, high, v, w, one, other)
  FOR_PAIRS(ADD32)
  for (size_t t = 0; t < IDSNN_STEPS; t++) {
    int16_t held[32];
    _mm256_storeu_si256((__m256i *)(void *)held, _mm256_permute2x128_si256(low[t], high[t], 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(held + 16), _mm256_permute2x128_si256(low[t], high[t], 0x31));
    ENTER(held, unit, x + t * next, 32, n)
  }
}

static void narrow16_all(const piece *g, const piece *end, const spike *list, const int8_t *weights, size_t stride,
                         const int32_t *unit, int32_t *x, size_t next, size_t n) {
  __m256i sum[IDSNN_STEPS];
  for (size_t t = 0; t < IDSNN_STEPS; t++) sum[t] = _mm256_setzero_si256();
#define ADD16(v, w, one, other) add_pair16(sum, v, w, one, other)
  FOR_PAIRS(ADD16)
  for (size_t t = 0; t < IDSNN_STEPS; t++) {
    int16_t held[16];
    _mm256_storeu_si256((__m256i *)(void *)held, sum[t]);
    ENTER(held, unit, x + t * next, 16, n)
  }
}
