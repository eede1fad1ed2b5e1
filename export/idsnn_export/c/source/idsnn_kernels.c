/* How a layer is computed.
 *
 *     for every row of the layer's map
 *         x[t][pixel][c] = offset                                          all steps together
 *         for every path, every pixel, every block of channels, in registers
 *             sum[t] = sum over spikes in the pixel's window of their weights, at the steps t at which they fired
 *             x[t] += sum[t] << shift
 *         for every neuron: for every t: add, compare, reset, leak; keep one pattern
 *
 * What is not zero is listed a row at a time for all pixels that read it: (place, pattern) of every neuron that fired at
 * all, (place, value) of the input. A place is x * channels + channel: a row of a pixel's window is one piece of a list,
 * and a place plus a number of the piece is a row of weights. So work follows the spikes.
 */
#include "idsnn_kernels.h"

#include <string.h>

#define LEAK_BITS 15
#define EDGE 1073741824 /* how far a membrane that does not leak goes, either way */

typedef struct {
  idsnn_place place;
  idsnn_bits bits;
} spike;

typedef struct {
  int32_t value;
  idsnn_place place;
} amount;

typedef struct { /* entries first..stop-1 of a list; `shift` takes a place to its row of weights */
  int32_t first, stop, shift;
} piece;

typedef struct { /* a path on its way into a row of the layer */
  const idsnn_network *net;
  const idsnn_path *path;
  const idsnn_layer *source; /* NULL: the input */
  const uint8_t *arena, *frame;
  int32_t first, last; /* steps */
  int32_t *tags;       /* [list_rows]: which row is listed there */
  int32_t *ends;       /* [list_rows][width + 1]: where its pixels begin and end */
  void *list;          /* [list_rows][list_capacity] of spikes or amounts */
} reader;

#ifdef IDSNN_COUNT
uint64_t idsnn_additions;
#endif

static size_t aligned(size_t bytes) { return (bytes + 7u) & ~(size_t)7u; }

/* floor(v / 2^15) without the right shift of a negative number, which C leaves to the compiler */
static int32_t halved15(int32_t v) { return (int32_t)(((uint32_t)v ^ 0x80000000u) >> LEAK_BITS) - 65536; }

/* floor((m k + 2^14) / 2^15) in 32 bits: m = 2^15 h + l, so m k = 2^15 h k + l k with l k < 2^30 */
static int32_t decayed(int32_t m, int32_t k) {
  const uint32_t low = ((uint32_t)m & 32767u) * (uint32_t)k + 16384u;
  return halved15(m) * k + (int32_t)(low >> LEAK_BITS);
}

static int32_t constant(const idsnn_constant *c, int32_t channel, size_t neuron) {
  return c->values == NULL ? 0 : c->values[c->each ? neuron : (size_t)channel];
}

static const idsnn_bits *patterns(const uint8_t *arena, const idsnn_layer *layer) {
  return (const idsnn_bits *)(const void *)(arena + layer->out);
}

/* ---- weights of spikes ------------------------------------------------------------------------------------------- */

/* What a step adds of a row of weights. With vectors masking costs less than asking; without, asking costs less. */
#if !defined(IDSNN_SCALAR) && (defined(__SSE2__) || defined(__ARM_NEON) || defined(__riscv_vector))
#define EIGHT(v) v, v, v, v, v, v, v, v
#define LANES16(v) {EIGHT(v), EIGHT(v)}
#define NIBBLE(b) {LANES16(-((b) & 1)), LANES16(-((b) >> 1 & 1)), LANES16(-((b) >> 2 & 1)), LANES16(-((b) >> 3 & 1))}
static const int16_t masks[16][4][16] = { /* [four bits of a pattern][which of them][lane]: -1 where it is set */
    NIBBLE(0), NIBBLE(1), NIBBLE(2),  NIBBLE(3),  NIBBLE(4),  NIBBLE(5),  NIBBLE(6),  NIBBLE(7),
    NIBBLE(8), NIBBLE(9), NIBBLE(10), NIBBLE(11), NIBBLE(12), NIBBLE(13), NIBBLE(14), NIBBLE(15)};
#define NARROW(held, w, bits, t, lanes)                                                   \
  const int16_t *on = masks[((uint32_t)(bits) >> ((t) & ~3u)) & 15u][(t) & 3u];           \
  for (size_t h = 0; h < (lanes); h += 16)                                                \
    for (size_t j = 0; j < ((lanes) < 16 ? (lanes) : 16); j++) held[t][h + j] = (int16_t)(held[t][h + j] + (w[h + j] & on[j]));
#define WIDE(held, w, bits, t, lanes)                                                     \
  const int32_t on = -(int32_t)(((uint32_t)(bits) >> (t)) & 1u);                          \
  for (size_t j = 0; j < (lanes); j++) held[t][j] += (w[j] & on);
#else
#define NARROW(held, w, bits, t, lanes)                  \
  if ((((uint32_t)(bits) >> (t)) & 1u) == 0) continue;   \
  for (size_t j = 0; j < (lanes); j++) held[t][j] = (int16_t)(held[t][j] + w[j]);
#define WIDE(held, w, bits, t, lanes)                    \
  if ((((uint32_t)(bits) >> (t)) & 1u) == 0) continue;   \
  for (size_t j = 0; j < (lanes); j++) held[t][j] += w[j];
#endif

/* x[0..n-1] += unit * held, of which there are `lanes`. */
#define ENTER(held, unit, x, lanes, n)                                  \
  if ((n) >= (lanes))                                                   \
    for (size_t j = 0; j < (lanes); j++) (x)[j] += (held)[j] * (unit)[j]; \
  else                                                                  \
    for (size_t j = 0; j < (n); j++) (x)[j] += (held)[j] * (unit)[j];

/* x[t][0..n-1] += unit * the weights of all spikes of the pieces that fired at t, `lanes` channels at a time. */
#define ADD(name, steps, lanes, sum_type, weight_type, at_step)                                                       \
  static void name(const piece *g, const piece *end, const spike *list, const weight_type *weights, size_t stride,    \
                   const int32_t *unit, int32_t *x, size_t next, size_t n) {                                          \
    sum_type held[steps][lanes];                                                                                      \
    for (size_t t = 0; t < (steps); t++)                                                                              \
      for (size_t j = 0; j < (lanes); j++) held[t][j] = 0;                                                            \
    for (; g != end; g++) {                                                                                           \
      const spike *e = list + g->first, *const stop = list + g->stop;                                                 \
      const int32_t shift = g->shift;                                                                                 \
      for (; e != stop; e++) {                                                                                        \
        const weight_type *const w = weights + (size_t)((int32_t)e->place + shift) * stride;                          \
        for (size_t t = 0; t < (steps); t++) {                                                                        \
          at_step(held, w, e->bits, t, lanes)                                                                         \
        }                                                                                                             \
      }                                                                                                               \
    }                                                                                                                 \
    for (size_t t = 0; t < (steps); t++) ENTER(held[t], unit, x + t * next, lanes, n)                                 \
  }
#if defined(IDSNN_DSP)
#include "idsnn_dsp.h"
#else
#ifdef IDSNN_AVX2
#include "idsnn_avx2.h"
#else
ADD(narrow32_all, IDSNN_STEPS, 32, int16_t, int8_t, NARROW)
ADD(narrow16_all, IDSNN_STEPS, 16, int16_t, int8_t, NARROW)
#endif
ADD(narrow8_all, IDSNN_STEPS, 8, int16_t, int8_t, NARROW)
#endif
ADD(wide8_all, IDSNN_STEPS, 8, int32_t, int8_t, WIDE)
ADD(wide16_all, IDSNN_STEPS, 8, int32_t, int16_t, WIDE)
ADD(narrow16_one, 1, 16, int16_t, int8_t, NARROW)
ADD(narrow8_one, 1, 8, int16_t, int8_t, NARROW)
ADD(wide8_one, 1, 8, int32_t, int8_t, WIDE)
ADD(wide16_one, 1, 8, int32_t, int16_t, WIDE)
#define WIDEST (IDSNN_STEPS <= 4 ? 32 : 16) /* lanes whose sums of all steps fit into the registers of AVX2 */

/* The spikes of some pieces, into the channels of one group. */
static void add_spikes(const reader *r, const piece *g, const piece *end, size_t group, int32_t *x, size_t next) {
  const idsnn_path *p = r->path;
  const size_t stride = (size_t)p->stride, n = (size_t)(p->to.channels / p->groups);
  const int32_t *unit = p->shifted + group * n;
  const spike *list = (const spike *)r->list;
  const int all = r->last - r->first != 1;
  size_t c = 0;
  x += group * n;
  if (p->exact != IDSNN_WIDE) {
    const int8_t *w = p->weights8;
#ifndef IDSNN_DSP
    if (all && WIDEST == 32)
      for (; c + 32 <= stride; c += 32) narrow32_all(g, end, list, w + c, stride, unit + c, x + c, next, n - c);
#endif
    for (; c + 16 <= stride; c += 16)
      (all ? narrow16_all : narrow16_one)(g, end, list, w + c, stride, unit + c, x + c, next, n - c);
    if (c < stride) (all ? narrow8_all : narrow8_one)(g, end, list, w + c, stride, unit + c, x + c, next, n - c);
  } else if (p->weights8 != NULL) {
    for (; c < stride; c += 8)
      (all ? wide8_all : wide8_one)(g, end, list, p->weights8 + c, stride, unit + c, x + c, next, n - c);
  } else {
    for (; c < stride; c += 8)
      (all ? wide16_all : wide16_one)(g, end, list, p->weights16 + c, stride, unit + c, x + c, next, n - c);
  }
#ifdef IDSNN_COUNT
  for (; g != end; g++)
    for (int32_t e = g->first; e != g->stop; e++)
      for (uint32_t bits = list[e].bits; bits != 0; bits &= bits - 1u) idsnn_additions += (uint64_t)n;
#endif
}

/* The input's values of some pieces: x[t] += unit * sum, the same at `steps` steps. */
#define ADD_AMOUNTS(name, weight_type, lanes)                                                                       \
  static void name(const piece *g, const piece *end, const amount *list, const weight_type *weights, size_t stride, \
                   int32_t *sum) {                                                                                  \
    int32_t held[lanes] = {0};                                                                                      \
    for (; g != end; g++)                                                                                           \
      for (const amount *e = list + g->first, *const stop = list + g->stop; e != stop; e++) {                       \
        const weight_type *const w = weights + (size_t)((int32_t)e->place + g->shift) * stride;                     \
        for (size_t j = 0; j < (lanes); j++) held[j] += e->value * w[j];                                            \
      }                                                                                                             \
    memcpy(sum, held, sizeof held);                                                                                 \
  }
ADD_AMOUNTS(amounts8_8, int8_t, 8)
ADD_AMOUNTS(amounts8_16, int8_t, 16)
ADD_AMOUNTS(amounts16_8, int16_t, 8)
ADD_AMOUNTS(amounts16_16, int16_t, 16)

static void add_amounts(const reader *r, const piece *g, const piece *end, size_t group, int32_t *x, size_t next,
                        int32_t steps) {
  const idsnn_path *p = r->path;
  const size_t stride = (size_t)p->stride, n = (size_t)(p->to.channels / p->groups);
  const int32_t *unit = p->shifted + group * n;
  const amount *list = (const amount *)r->list;
  x += group * n;
  for (size_t c = 0; c < stride; c += 16) {
    const int whole = stride - c >= 16;
    const size_t lanes = whole ? 16 : 8;
    int32_t sum[16];
    if (p->weights8 != NULL)
      (whole ? amounts8_16 : amounts8_8)(g, end, list, p->weights8 + c, stride, sum);
    else
      (whole ? amounts16_16 : amounts16_8)(g, end, list, p->weights16 + c, stride, sum);
    for (int32_t t = 0; t < steps; t++) ENTER(sum, unit + c, x + (size_t)t * next + c, lanes, n - c)
  }
#ifdef IDSNN_COUNT
  for (; g != end; g++) idsnn_additions += (uint64_t)(g->stop - g->first) * (uint64_t)n;
#endif
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

#define LISTED 8 /* channels that are asked together whether any of them fired */

static int silent(const idsnn_bits *bits) {
  uint64_t words[sizeof(idsnn_bits)], any = 0;
  memcpy(words, bits, sizeof words);
  for (size_t i = 0; i < sizeof(idsnn_bits); i++) any |= words[i];
  return any == 0;
}

/* Appends the spikes of one pixel; returns how many there are then. A block of silent channels is passed over; of the
 * others each is written, and kept where it fired, so that there is no branch to mispredict. */
static int32_t list_pixel(const idsnn_bits *pixel, int32_t channels, uint32_t place, int32_t delayed, int32_t first,
                          int32_t last, spike *list, int32_t count) {
  const uint64_t steps = (UINT64_C(1) << (last - first)) - 1u;
  const int whole = !delayed && last - first == IDSNN_STEPS;
  for (int32_t c = 0; c < channels; c += LISTED) {
    const int32_t n = channels - c < LISTED ? channels - c : LISTED;
    if (n == LISTED && silent(pixel + c)) continue;
    for (int32_t j = c; j < c + n; j++) {
      const uint64_t moved = ((uint64_t)pixel[j] << (delayed ? 1 : 0)) >> first;
      const idsnn_bits bits = (idsnn_bits)(whole ? pixel[j] : moved & steps);
      list[count].place = (idsnn_place)(place + (uint32_t)j);
      list[count].bits = bits;
      count += bits != 0;
    }
  }
  return count;
}

/* What the input gives at one pixel of the pooled map. */
static int32_t list_values(const reader *r, const uint8_t *pixel, uint32_t place, amount *list, int32_t count) {
  for (int32_t c = 0; c < r->path->from.channels; c++) {
    const int32_t value = r->net->table[(size_t)c * 256u + pixel[c]];
    list[count].place = (idsnn_place)(place + (uint32_t)c);
    list[count].value = value;
    count += value != 0;
  }
  return count;
}

/* Lists one row of the pooled map, pixel by pixel; pooling is a sum, so a pixel has the entries of all that it pools. */
static void list_row(const reader *r, int32_t row, int32_t slot) {
  const idsnn_path *p = r->path;
  const int32_t channels = p->from.channels, capacity = p->list_capacity;
  int32_t *ends = r->ends + (size_t)slot * ((size_t)p->pooled.width + 1u), count = slot * capacity;
  ends[0] = count;
  for (int32_t x = 0; x < p->pooled.width; x++) {
    const uint32_t place = (uint32_t)(x * channels);
    for (int32_t ky = 0; ky < p->pool.kernel_y; ky++) {
      const int32_t sy = row * p->pool.stride_y - p->pool.pad_y + ky;
      if (sy < 0 || sy >= p->from.height) continue;
      for (int32_t kx = 0; kx < p->pool.kernel_x; kx++) {
        const int32_t sx = x * p->pool.stride_x - p->pool.pad_x + kx;
        const size_t pixel = ((size_t)sy * (size_t)p->from.width + (size_t)sx) * (size_t)channels;
        if (sx < 0 || sx >= p->from.width) continue;
        if (r->source == NULL)
          count = list_values(r, r->frame + pixel, place, (amount *)r->list, count);
        else
          count = list_pixel(patterns(r->arena, r->source) + pixel, channels, place, p->delayed, r->first, r->last,
                             (spike *)r->list, count);
      }
    }
    ends[x + 1] = count;
  }
}

#define ROWS 8

typedef struct { /* a row of windows: where its pixels begin and end in the list, and the first of its weights' pixels */
  const int32_t *ends;
  int32_t tap;
} listed;

/* Lists what is not listed yet of the rows ky..stop-1 of the windows of row oy; returns how many lie on the map. */
static int32_t list_rows(const reader *r, int32_t oy, int32_t ky, int32_t stop, listed rows[ROWS]) {
  const idsnn_path *p = r->path;
  int32_t count = 0;
  for (; ky < stop; ky++) {
    const int32_t row = oy * p->window.stride_y - p->window.pad_y + ky * p->window.hole_y, slot = row % p->list_rows;
    if (row < 0 || row >= p->pooled.height) continue;
    if (r->tags[slot] != row) {
      list_row(r, row, slot);
      r->tags[slot] = row;
    }
    rows[count].ends = r->ends + (size_t)slot * ((size_t)p->pooled.width + 1u);
    rows[count++].tap = ky * p->window.kernel_x;
  }
  return count;
}

/* ---- a path into a row of the layer ------------------------------------------------------------------------------ */

/* The pieces gathered so far, into x; with groups each spike goes to its own. */
static void flush(const reader *r, const piece *g, const piece *end, int32_t *x, size_t next, int32_t steps) {
  const idsnn_path *p = r->path;
  const int32_t in = p->pooled.channels / p->groups;
  if (g == end) return;
  if (p->groups == 1) {
    if (r->source == NULL)
      add_amounts(r, g, end, 0, x, next, steps);
    else
      add_spikes(r, g, end, 0, x, next);
    return;
  }
  for (; g != end; g++)
    for (int32_t e = g->first; e != g->stop; e++) {
      const piece one = {e, e + 1, g->shift};
      const idsnn_place place = r->source == NULL ? ((const amount *)r->list)[e].place : ((const spike *)r->list)[e].place;
      const size_t group = (size_t)((int32_t)place % p->pooled.channels / in);
      if (r->source == NULL)
        add_amounts(r, &one, &one + 1, group, x, next, steps);
      else
        add_spikes(r, &one, &one + 1, group, x, next);
    }
}

/* What some rows of the window of one pixel give, into x: a row is one piece, where 16 bits hold its sum and no holes are in
 * it, else a piece per pixel. */
static void gather(const reader *r, const listed *rows, int32_t count, int32_t ox, int32_t *x, size_t next,
                   int32_t steps) {
  const idsnn_path *p = r->path;
  const int by_tap = p->exact == IDSNN_BY_TAP;
  const int32_t taps = by_tap || p->window.hole_x != 1 ? p->window.kernel_x : 1, wide = p->window.kernel_x / taps;
  piece g[ROWS];
  for (int32_t kx = 0; kx < taps; kx++) {
    const int32_t ix = ox * p->window.stride_x - p->window.pad_x + kx * p->window.hole_x;
    const int32_t from = ix < 0 ? 0 : ix, to = ix + wide > p->pooled.width ? p->pooled.width : ix + wide;
    int32_t n = 0;
    if (from >= to) continue;
    for (int32_t k = 0; k < count; k++) {
      g[n].first = rows[k].ends[from];
      g[n].stop = rows[k].ends[to];
      g[n].shift = (rows[k].tap + kx - ix) * p->pooled.channels;
      n += g[n].first != g[n].stop;
    }
    if (by_tap)
      for (int32_t k = 0; k < n; k++) flush(r, g + k, g + k + 1, x, next, steps);
    else
      flush(r, g, g + n, x, next, steps);
  }
}

/* Without weights: each channel's own spikes or values of one pixel at one step, times its amplitude, into x. */
static void enter_pixel(const reader *r, size_t pixel, int32_t t, int32_t *restrict x) {
  const idsnn_path *p = r->path;
  const int32_t channels = p->to.channels, *amplitude = p->amplitude;
  const size_t map = (size_t)p->from.height * (size_t)p->from.width * (size_t)channels;
  if (r->source == NULL) {
    for (int32_t c = 0; c < channels; c++)
      x[c] += r->net->table[(size_t)c * 256u + r->frame[pixel + (size_t)c]] * amplitude[c];
  } else if (r->source->kind == IDSNN_FIRES) {
    const idsnn_bits *from = patterns(r->arena, r->source) + pixel;
    const int32_t place = r->first + t - p->delayed;
    if (place < 0) return;
    for (int32_t c = 0; c < channels; c++) x[c] += -(int32_t)(((uint32_t)from[c] >> place) & 1u) & amplitude[c];
  } else {
    const int32_t *from = (const int32_t *)(const void *)(r->arena + r->source->out) + (size_t)t * map + pixel;
    for (int32_t c = 0; c < channels; c++) x[c] += from[c] * amplitude[c];
  }
}

static void enter(const reader *r, int32_t y, int32_t width, int32_t t, int32_t *x) {
  const idsnn_path *p = r->path;
  const size_t channels = (size_t)p->to.channels;
  for (int32_t ky = 0; ky < p->pool.kernel_y; ky++) {
    const int32_t sy = y * p->pool.stride_y - p->pool.pad_y + ky;
    if (sy < 0 || sy >= p->from.height) continue;
    for (int32_t kx = 0; kx < p->pool.kernel_x; kx++)
      for (int32_t i = 0; i < width; i++) {
        const int32_t sx = i * p->pool.stride_x - p->pool.pad_x + kx;
        if (sx < 0 || sx >= p->from.width) continue;
        enter_pixel(r, ((size_t)sy * (size_t)p->from.width + (size_t)sx) * channels, t, x + (size_t)i * channels);
      }
  }
}

/* Rows of windows whose lists lie in the scratch together, and whose sums 16 bits hold. */
static int32_t at_once(const idsnn_path *p) {
  if (p->list_rows == 1 || p->exact == IDSNN_BY_ROW) return 1;
  return p->window.kernel_y < ROWS ? p->window.kernel_y : ROWS;
}

/* Row oy of the map that the weights give, into the pixels of row y that it is pooled into. */
static void convolve(const reader *r, int32_t oy, int32_t width, int32_t *x, size_t next, int32_t steps) {
  const idsnn_path *p = r->path;
  const int32_t many = at_once(p);
  listed rows[ROWS];
  for (int32_t ky = 0; ky < p->window.kernel_y; ky += many) {
    const int32_t stop = ky + many < p->window.kernel_y ? ky + many : p->window.kernel_y;
    const int32_t count = list_rows(r, oy, ky, stop, rows);
    for (int32_t i = 0; i < width; i++)
      for (int32_t kx = 0; kx < p->pool_after.kernel_x; kx++) {
        const int32_t ox = i * p->pool_after.stride_x - p->pool_after.pad_x + kx;
        if (ox < 0 || ox >= p->to.width) continue;
        gather(r, rows, count, ox, x + (size_t)i * (size_t)p->to.channels, next, steps);
      }
  }
}

/* A path's part of x in one row of the layer. Spikes of all steps go together, an image's values to all steps, the values
 * of frames step by step. */
static void follow(reader *r, const idsnn_layer *layer, int32_t *x, int32_t y, const uint8_t *pixels) {
  const idsnn_path *p = r->path;
  const int32_t width = layer->shape.width, steps = r->last - r->first;
  const size_t next = (size_t)width * (size_t)layer->shape.channels;
  const size_t frame = (size_t)p->from.height * (size_t)p->from.width * (size_t)p->from.channels;
  const int weighted = p->weights8 != NULL || p->weights16 != NULL, frames = r->source == NULL && !r->net->is_static;
  const int32_t rounds = frames || !weighted ? steps : 1;
  for (int32_t t = 0; t < rounds; t++) {
    r->frame = pixels + (frames ? (size_t)t * frame : 0);
    if (!weighted) {
      enter(r, y, width, t, x + (size_t)t * next);
      continue;
    }
    if (frames)
      for (int32_t i = 0; i < p->list_rows; i++) r->tags[i] = -1;
    for (int32_t ky = 0; ky < p->pool_after.kernel_y; ky++) {
      const int32_t oy = y * p->pool_after.stride_y - p->pool_after.pad_y + ky;
      if (oy < 0 || oy >= p->to.height) continue;
      convolve(r, oy, width, x + (size_t)t * next, next, rounds == 1 ? steps : 1);
    }
  }
}

/* ---- neurons ----------------------------------------------------------------------------------------------------- */

/* All steps of up to BLOCK neurons side by side, whose constants and states lie in arrays of their own.
 *
 *     v = m + x,   s = v > theta,   m = decayed(reset where s, else v)         reset to a value
 *                                   m = decayed(v) - (rho where s)             reset by subtraction
 *
 * m, which is kept from step to step, is what the next one begins with: leak and reset are done.
 */
#define BLOCK 16

typedef struct {
  int32_t k[BLOCK], k_syn[BLOCK], theta[BLOCK], reset[BLOCK], rho[BLOCK], behind[BLOCK], least[BLOCK], most[BLOCK];
  int32_t m[BLOCK], i[BLOCK];
  uint32_t fired[BLOCK];
} block;

static void load(block *b, const idsnn_layer *layer, size_t at, int32_t channel, int32_t n) {
  for (int32_t j = 0; j < n; j++) {
    b->k[j] = constant(&layer->decay, channel + j, at + (size_t)j);
    b->theta[j] = constant(&layer->theta, channel + j, at + (size_t)j);
    b->reset[j] = constant(&layer->reset, channel + j, at + (size_t)j);
    b->k_syn[j] = constant(&layer->synapse, channel + j, at + (size_t)j);
    b->behind[j] = constant(&layer->membrane_offset, channel + j, at + (size_t)j);
    b->rho[j] = constant(&layer->rho, channel + j, at + (size_t)j);
    b->least[j] = b->k[j] == 1 << LEAK_BITS ? -EDGE : INT32_MIN;
    b->most[j] = b->k[j] == 1 << LEAK_BITS ? EDGE : INT32_MAX;
  }
}

static void step_synapse(block *restrict b, int32_t *restrict x) {
  for (int32_t j = 0; j < BLOCK; j++) {
    b->i[j] = decayed(b->i[j], b->k_syn[j]) + x[j];
    x[j] = b->i[j] + b->behind[j];
  }
}

/* v = m + x in place; lanes beyond the block's neurons compute what nobody reads. */
static void step_membrane(const block *restrict b, int32_t *restrict x) {
  for (int32_t j = 0; j < BLOCK; j++) {
    const int32_t v = b->m[j] + x[j];
    x[j] = v < b->least[j] ? b->least[j] : v > b->most[j] ? b->most[j] : v;
  }
}

static void step_spikes(block *restrict b, const int32_t *restrict v, int32_t t, const idsnn_layer *layer) {
  if (layer->kind != IDSNN_FIRES)
    for (int32_t j = 0; j < BLOCK; j++) b->m[j] = decayed(v[j], b->k[j]);
  else if (layer->rho.values != NULL)
    for (int32_t j = 0; j < BLOCK; j++) {
      const int32_t s = v[j] > b->theta[j];
      b->m[j] = decayed(v[j], b->k[j]) - (s ? b->rho[j] : 0);
      b->fired[j] |= (uint32_t)s << t;
    }
  else
    for (int32_t j = 0; j < BLOCK; j++) {
      const int32_t s = v[j] > b->theta[j];
      b->m[j] = decayed(s ? b->reset[j] : v[j], b->k[j]);
      b->fired[j] |= (uint32_t)s << t;
    }
}

/* The same for neurons with one constant per channel, from rest, whose membranes nobody asks for: in registers. */
static void fire_plain(const block *restrict b, const int32_t *restrict x, size_t next, idsnn_bits *restrict out,
                       size_t channels, int32_t width) {
  for (int32_t i = 0; i < width; i++, x += channels, out += channels) {
    int32_t m[BLOCK] = {0};
    uint32_t fired[BLOCK] = {0};
    for (uint32_t t = 0; t < IDSNN_STEPS; t++)
      for (int32_t j = 0; j < BLOCK; j++) {
        const int32_t u = m[j] + x[t * next + (size_t)j], v = u < b->least[j] ? b->least[j] : u;
        const int32_t s = v > b->theta[j];
        m[j] = decayed(s ? b->reset[j] : v, b->k[j]);
        fired[j] |= (uint32_t)s << t;
      }
    for (int32_t j = 0; j < BLOCK; j++) out[j] = (idsnn_bits)fired[j];
  }
}

/* The same for one step, `first`, whose membranes are kept; `before` has the bits of `out` that stay. */
static void fire_once(const block *restrict b, const int32_t *restrict x, idsnn_bits *restrict out,
                      int32_t *restrict membranes, size_t channels, int32_t width, int32_t first, uint32_t before) {
  const int32_t on = -(first != 0);
  for (int32_t i = 0; i < width; i++, x += channels, out += channels, membranes += channels)
    for (int32_t j = 0; j < BLOCK; j++) {
      const int32_t u = (membranes[j] & on) + x[j], v = u < b->least[j] ? b->least[j] : u;
      const int32_t s = v > b->theta[j];
      membranes[j] = decayed(s ? b->reset[j] : v, b->k[j]);
      out[j] = (idsnn_bits)((out[j] & before) | (uint32_t)s << first);
    }
}

/* The bits of earlier steps that stay: those of a layer that is read late. */
static uint32_t earlier(const idsnn_layer *layer, int32_t first) {
  return layer->read_late ? (UINT32_C(1) << first) - 1u : 0u;
}

/* The neurons of one row; their membranes are kept where another call goes on. */
static void fire(const idsnn_layer *layer, uint8_t *arena, const int32_t *x, int32_t y, int32_t first, int32_t last,
                 int32_t keep) {
  const int32_t channels = layer->shape.channels;
  const size_t stride = (size_t)layer->shape.width * (size_t)channels, row = (size_t)y * stride;
  const size_t map = (size_t)layer->shape.height * stride;
  int32_t *membranes = keep ? (int32_t *)(void *)(arena + layer->membrane) : NULL;
  int32_t *currents = keep && layer->current != IDSNN_NOWHERE ? (int32_t *)(void *)(arena + layer->current) : NULL;
  const int each = layer->decay.each || layer->synapse.each || layer->theta.each || layer->reset.each ||
                   layer->rho.each || layer->membrane_offset.each;
  const int plain = !each && layer->synapse.values == NULL && layer->rho.values == NULL && layer->kind == IDSNN_FIRES;
  block b;
  memset(&b, 0, sizeof b);
  for (int32_t c = 0; c < channels; c += BLOCK) {
    const int32_t n = channels - c < BLOCK ? channels - c : BLOCK;
    load(&b, layer, row + (size_t)c, c, n);
    if (plain && n == BLOCK) {
      idsnn_bits *out = (idsnn_bits *)(void *)(arena + layer->out) + row + c;
      if (keep)
        fire_once(&b, x + c, out, membranes + row + c, (size_t)channels, layer->shape.width, first, earlier(layer, first));
      else
        fire_plain(&b, x + c, stride, out, (size_t)channels, layer->shape.width);
      continue;
    }
    for (int32_t i = 0; i < layer->shape.width; i++) {
      const size_t in_row = (size_t)i * (size_t)channels + (size_t)c, at = row + in_row;
      if (each && i != 0) load(&b, layer, at, c, n);
      memset(b.fired, 0, sizeof b.fired);
      if (first != 0 && membranes != NULL)
        memcpy(b.m, membranes + at, (size_t)n * sizeof(int32_t));
      else
        memset(b.m, 0, sizeof b.m);
      if (first != 0 && currents != NULL)
        memcpy(b.i, currents + at, (size_t)n * sizeof(int32_t));
      else
        memset(b.i, 0, sizeof b.i);
      for (int32_t t = 0; t < last - first; t++) {
        int32_t v[BLOCK] = {0};
        memcpy(v, x + (size_t)t * stride + in_row, (size_t)n * sizeof(int32_t));
        if (layer->synapse.values != NULL) step_synapse(&b, v);
        step_membrane(&b, v);
        step_spikes(&b, v, t, layer);
        if (layer->kind == IDSNN_INTEGRATES)
          memcpy((int32_t *)(void *)(arena + layer->out) + (size_t)t * map + at, v, (size_t)n * sizeof(int32_t));
      }
      if (membranes != NULL) memcpy(membranes + at, b.m, (size_t)n * sizeof(int32_t));
      if (currents != NULL) memcpy(currents + at, b.i, (size_t)n * sizeof(int32_t));
      if (layer->kind == IDSNN_FIRES) {
        idsnn_bits *out = (idsnn_bits *)(void *)(arena + layer->out) + at;
        const uint32_t before = earlier(layer, first);
        for (int32_t j = 0; j < n; j++) out[j] = (idsnn_bits)((out[j] & before) | b.fired[j] << first);
      }
    }
  }
}

int32_t idsnn_taken(idsnn_over_time readout, int32_t answer, int32_t output) {
  return readout == IDSNN_SUM ? answer + output : readout == IDSNN_LAST || output > answer ? output : answer;
}

/* The steps of one row into logits[(c, y, x)], in the order of the graph's output. */
static void read_out(const idsnn_network *net, const idsnn_layer *layer, const int32_t *x, int32_t y, int32_t steps,
                     int32_t *logits) {
  const idsnn_shape shape = layer->shape;
  for (int32_t t = 0; t < steps; t++)
    for (int32_t i = 0; i < shape.width; i++)
      for (int32_t c = 0; c < shape.channels; c++) {
        int32_t *answer = &logits[(c * shape.height + y) * shape.width + i];
        *answer = idsnn_taken(net->readout, *answer, x[(t * shape.width + i) * shape.channels + c]);
      }
}

/* ---- a layer ----------------------------------------------------------------------------------------------------- */

/* Adds a constant to a row of the map. */
static void add_constant(const idsnn_constant *c, size_t row, size_t width, size_t channels, int32_t *restrict into) {
  if (c->values == NULL) return;
  for (size_t i = 0; i < width; i++) {
    const int32_t *values = c->values + (c->each ? row + i * channels : 0);
    for (size_t j = 0; j < channels; j++) into[i * channels + j] += values[j];
  }
}

/* x of one row before any path: the offsets. */
static void begin(const idsnn_layer *layer, int32_t *x, int32_t y, int32_t first, int32_t last) {
  const size_t width = (size_t)layer->shape.width, channels = (size_t)layer->shape.channels;
  const size_t next = width * channels, row = (size_t)y * next, steps = (size_t)(last - first);
  memset(x, 0, next * sizeof(int32_t));
  add_constant(&layer->offset, row, width, channels, x);
  for (size_t t = 1; t < steps; t++) memcpy(x + t * next, x, next * sizeof(int32_t));
  for (size_t t = first == 0 ? 1 : 0; t < steps; t++) add_constant(&layer->late, row, width, channels, x + t * next);
}

/* The path's lists in the scratch; nothing is listed yet. */
static reader reader_of(const idsnn_network *net, const idsnn_path *p, uint8_t *arena, int32_t first, int32_t last) {
  const size_t rows = (size_t)p->list_rows;
  uint8_t *at = arena + net->scratch + p->lists;
  reader r = {net, p, p->source == IDSNN_INPUT ? NULL : &net->layers[p->source], arena, NULL, first, last, NULL, NULL, NULL};
  r.tags = (int32_t *)(void *)at;
  r.ends = r.tags + rows;
  r.list = at + aligned((rows + rows * ((size_t)p->pooled.width + 1u)) * sizeof(int32_t));
  for (size_t i = 0; i < rows; i++) r.tags[i] = -1;
  return r;
}

void idsnn_take(const idsnn_network *net, const idsnn_layer *layer, const uint8_t *pixels, uint8_t *arena,
                int32_t first, int32_t last, int32_t keep, int32_t *logits) {
  int32_t *x = (int32_t *)(void *)(arena + net->scratch);
  reader readers[IDSNN_PATHS];
  for (int32_t q = 0; q < layer->path_count; q++) readers[q] = reader_of(net, &layer->paths[q], arena, first, last);
  for (int32_t y = 0; y < layer->shape.height; y++) {
    begin(layer, x, y, first, last);
    for (int32_t q = 0; q < layer->path_count; q++) follow(&readers[q], layer, x, y, pixels);
    if (layer->kind == IDSNN_READOUT)
      read_out(net, layer, x, y, last - first, logits);
    else
      fire(layer, arena, x, y, first, last, keep);
  }
}
