/* How a layer is computed.
 *
 *     for every row of the layer's map
 *         x[t][pixel][c] = offset                                        all steps together
 *         for every path: for every pixel: for every spike in its window a list, so that work follows the spikes
 *             sum[t][:] += weights of the spike, at the steps t at which it fired
 *             x[t][pixel][c] += sum[t][c] << shift[c]
 *         for every neuron: for every t: leak, add, compare, reset; keep one pattern
 *
 * Spikes are listed a row at a time for all pixels that read them: (channel, pattern) of every neuron that fired at all.
 */
#include "idsnn_kernels.h"

#include <string.h>

#define LEAK_BITS 15
#define FLOOR (-1073741824) /* of a membrane that does not leak */

typedef struct {
  uint16_t channel;
  idsnn_bits bits;
} event;

typedef struct { /* what the arena's scratch is divided into */
  int32_t *x;    /* [steps][width][channels] of the layer */
  int32_t *sum;  /* [steps][channels], read as int16_t by narrow paths */
  event *events; /* [rows][capacity] */
  int32_t *ends; /* [rows][width + 1] */
  int32_t *tags; /* [rows]: which row is listed there, of the path that lists belong to */
  const idsnn_path *listed;
} scratch;

#ifdef IDSNN_COUNT
uint64_t idsnn_additions;
#endif

static size_t aligned(size_t bytes) { return (bytes + 7u) & ~(size_t)7u; }

static scratch divided(const idsnn_network *net, uint8_t *at, int32_t steps) {
  const size_t rows = aligned((size_t)steps * (size_t)net->row_capacity * sizeof(int32_t));
  const size_t sums = aligned((size_t)steps * (size_t)net->sum_capacity * sizeof(int32_t));
  const size_t lists = aligned((size_t)net->list_rows * (size_t)net->list_capacity * sizeof(event));
  const size_t ends = aligned((size_t)net->list_rows * ((size_t)net->list_width + 1u) * sizeof(int32_t));
  scratch s;
  s.x = (int32_t *)(void *)at;
  s.sum = (int32_t *)(void *)(at + rows);
  s.events = (event *)(void *)(at + rows + sums);
  s.ends = (int32_t *)(void *)(at + rows + sums + lists);
  s.tags = (int32_t *)(void *)(at + rows + sums + lists + ends);
  s.listed = NULL;
  return s;
}

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

/* Adds the weight rows of spikes e..stop to the sums of the steps at which they fired, `lanes` channels at a time. The
 * sums stay in registers; what did not fire at a step is masked out, which costs less than asking. */
#define ADD_ROWS(name, steps, lanes, sum_type, weight_type)                                                         \
  static void name(const event *e, const event *stop, const weight_type *weights, size_t stride, sum_type *sum,     \
                   size_t row) {                                                                                    \
    sum_type held[steps][lanes];                                                                                    \
    for (size_t t = 0; t < (steps); t++)                                                                            \
      for (size_t j = 0; j < (lanes); j++) held[t][j] = sum[t * row + j];                                           \
    for (; e != stop; e++) {                                                                                        \
      const weight_type *w = weights + (size_t)e->channel * stride;                                                 \
      for (size_t t = 0; t < (steps); t++) {                                                                        \
        const sum_type on = (sum_type)(-(int32_t)(((uint32_t)e->bits >> t) & 1u));                                  \
        for (size_t j = 0; j < (lanes); j++) held[t][j] = (sum_type)(held[t][j] + ((sum_type)w[j] & on));           \
      }                                                                                                             \
    }                                                                                                               \
    for (size_t t = 0; t < (steps); t++)                                                                            \
      for (size_t j = 0; j < (lanes); j++) sum[t * row + j] = held[t][j];                                           \
  }
ADD_ROWS(narrow16_all, IDSNN_STEPS, 16, int16_t, int8_t)
ADD_ROWS(narrow8_all, IDSNN_STEPS, 8, int16_t, int8_t)
ADD_ROWS(wide8_all, IDSNN_STEPS, 8, int32_t, int8_t)
ADD_ROWS(wide16_all, IDSNN_STEPS, 8, int32_t, int16_t)
ADD_ROWS(narrow16_one, 1, 16, int16_t, int8_t)
ADD_ROWS(narrow8_one, 1, 8, int16_t, int8_t)
ADD_ROWS(wide8_one, 1, 8, int32_t, int8_t)
ADD_ROWS(wide16_one, 1, 8, int32_t, int16_t)

/* The spikes of one pixel and one group: all its channels, a block of lanes after the other. */
static void add_spikes(const idsnn_path *p, const scratch *s, const event *e, const event *stop, size_t tap,
                       size_t group, int32_t steps) {
  const size_t stride = (size_t)p->stride, row = stride * (size_t)p->groups, first = tap * stride;
  const int all = steps != 1;
  size_t c = 0;
  if (p->narrow) {
    int16_t *sum = (int16_t *)(void *)s->sum + group * stride;
    const int8_t *w = p->weights8 + first;
    for (; c + 16 <= stride; c += 16) (all ? narrow16_all : narrow16_one)(e, stop, w + c, stride, sum + c, row);
    if (c < stride) (all ? narrow8_all : narrow8_one)(e, stop, w + c, stride, sum + c, row);
  } else if (p->weights8 != NULL) {
    int32_t *sum = s->sum + group * stride;
    for (; c < stride; c += 8)
      (all ? wide8_all : wide8_one)(e, stop, p->weights8 + first + c, stride, sum + c, row);
  } else {
    int32_t *sum = s->sum + group * stride;
    for (; c < stride; c += 8)
      (all ? wide16_all : wide16_one)(e, stop, p->weights16 + first + c, stride, sum + c, row);
  }
#ifdef IDSNN_COUNT
  for (; e != stop; e++)
    for (uint32_t bits = e->bits; bits != 0; bits &= bits - 1u) idsnn_additions += (uint64_t)(p->to.channels / p->groups);
#endif
}

#define LISTED 8 /* channels that are asked together whether any of them fired */

/* The bits of steps first..last-1 in a pattern, moved to 0..; a delayed source's are one step late. */
static idsnn_bits within(idsnn_bits bits, int32_t delayed, int32_t first, int32_t last) {
  const uint64_t moved = ((uint64_t)bits << (delayed ? 1 : 0)) >> first;
  return (idsnn_bits)(moved & ((UINT64_C(1) << (last - first)) - 1u));
}

/* Appends spikes to a list; returns how many it holds then. Every one is written, and kept where it fired: there is no
 * branch to mispredict. */
static int32_t list_some(const idsnn_bits *bits, int32_t channel, int32_t n, event *events, int32_t count) {
  for (int32_t j = 0; j < n; j++) {
    events[count].channel = (uint16_t)(channel + j);
    events[count].bits = bits[j];
    count += bits[j] != 0;
  }
  return count;
}

/* The spikes of one pixel; blocks of silent channels are passed over. */
static int32_t list_pixel(const idsnn_bits *pixel, int32_t channels, int32_t delayed, int32_t first, int32_t last,
                          event *events, int32_t count) {
  idsnn_bits moved[LISTED];
  for (int32_t c = 0; c < channels; c += LISTED) {
    const int32_t n = channels - c < LISTED ? channels - c : LISTED;
    uint32_t any = 0;
    for (int32_t j = 0; j < n; j++) any |= pixel[c + j];
    if (any == 0) continue;
    if (delayed || last - first != IDSNN_STEPS) {
      for (int32_t j = 0; j < n; j++) moved[j] = within(pixel[c + j], delayed, first, last);
      count = list_some(moved, c, n, events, count);
    } else {
      count = list_some(pixel + c, c, n, events, count);
    }
  }
  return count;
}

/* Lists the spikes of one row of the pooled map, pixel by pixel. */
static void list_row(const idsnn_path *p, const idsnn_bits *map, int32_t row, int32_t first, int32_t last,
                     event *events, int32_t *ends) {
  int32_t count = 0;
  ends[0] = 0;
  for (int32_t x = 0; x < p->pooled.width; x++) {
    for (int32_t ky = 0; ky < p->pool.kernel_y; ky++) {
      const int32_t sy = row * p->pool.stride_y - p->pool.pad_y + ky;
      if (sy < 0 || sy >= p->from.height) continue;
      for (int32_t kx = 0; kx < p->pool.kernel_x; kx++) {
        const int32_t sx = x * p->pool.stride_x - p->pool.pad_x + kx;
        if (sx < 0 || sx >= p->from.width) continue;
        const idsnn_bits *pixel = map + ((size_t)sy * (size_t)p->from.width + (size_t)sx) * (size_t)p->from.channels;
        count = list_pixel(pixel, p->from.channels, p->delayed, first, last, events, count);
      }
    }
    ends[x + 1] = count;
  }
}

/* The spikes in the window of one output pixel of the weights. */
static void gather_spikes(const idsnn_network *net, const idsnn_path *p, const idsnn_bits *map, const scratch *s,
                          int32_t oy, int32_t ox, int32_t first, int32_t last) {
  const int32_t in = p->pooled.channels / p->groups;
  for (int32_t ky = 0; ky < p->window.kernel_y; ky++) {
    const int32_t iy = oy * p->window.stride_y - p->window.pad_y + ky * p->window.hole_y;
    if (iy < 0 || iy >= p->pooled.height) continue;
    const int32_t slot = iy % net->list_rows;
    event *events = s->events + (size_t)slot * (size_t)net->list_capacity;
    int32_t *ends = s->ends + (size_t)slot * ((size_t)net->list_width + 1u);
    if (s->tags[slot] != iy) {
      list_row(p, map, iy, first, last, events, ends);
      s->tags[slot] = iy;
    }
    for (int32_t kx = 0; kx < p->window.kernel_x; kx++) {
      const int32_t ix = ox * p->window.stride_x - p->window.pad_x + kx * p->window.hole_x;
      if (ix < 0 || ix >= p->pooled.width || ends[ix] == ends[ix + 1]) continue;
      const size_t tap = (size_t)(ky * p->window.kernel_x + kx) * (size_t)p->pooled.channels;
      const event *e = events + ends[ix], *stop = events + ends[ix + 1];
      if (p->groups == 1) {
        add_spikes(p, s, e, stop, tap, 0, last - first);
      } else {
        for (; e != stop; e++) add_spikes(p, s, e, e + 1, tap, (size_t)(e->channel / in), last - first);
      }
    }
  }
}

/* What the input gives at one pixel of the pooled map. */
static int32_t value_at(const idsnn_network *net, const idsnn_path *p, const uint8_t *frame, int32_t y, int32_t x,
                        int32_t c) {
  const int16_t *table = net->table + (size_t)c * 256u;
  int32_t value = 0;
  for (int32_t ky = 0; ky < p->pool.kernel_y; ky++) {
    const int32_t sy = y * p->pool.stride_y - p->pool.pad_y + ky;
    if (sy < 0 || sy >= p->from.height) continue;
    for (int32_t kx = 0; kx < p->pool.kernel_x; kx++) {
      const int32_t sx = x * p->pool.stride_x - p->pool.pad_x + kx;
      if (sx < 0 || sx >= p->from.width) continue;
      value += table[frame[((size_t)sy * (size_t)p->from.width + (size_t)sx) * (size_t)p->from.channels + (size_t)c]];
    }
  }
  return value;
}

static void add_value(const idsnn_path *p, size_t row, int32_t value, int32_t *sum) {
  if (p->weights8 != NULL) {
    const int8_t *w = p->weights8 + row;
    for (int32_t i = 0; i < p->stride; i++) sum[i] += value * w[i];
  } else {
    const int16_t *w = p->weights16 + row;
    for (int32_t i = 0; i < p->stride; i++) sum[i] += value * w[i];
  }
}

/* The input's values in the window of one output pixel; zeros cost nothing. An image's sums go to step 0 alone. */
static void gather_values(const idsnn_network *net, const idsnn_path *p, const uint8_t *pixels, const scratch *s,
                          int32_t oy, int32_t ox, int32_t steps) {
  const int32_t in = p->pooled.channels / p->groups;
  const size_t frame = (size_t)p->from.height * (size_t)p->from.width * (size_t)p->from.channels;
  for (int32_t ky = 0; ky < p->window.kernel_y; ky++) {
    const int32_t iy = oy * p->window.stride_y - p->window.pad_y + ky * p->window.hole_y;
    if (iy < 0 || iy >= p->pooled.height) continue;
    for (int32_t kx = 0; kx < p->window.kernel_x; kx++) {
      const int32_t ix = ox * p->window.stride_x - p->window.pad_x + kx * p->window.hole_x;
      if (ix < 0 || ix >= p->pooled.width) continue;
      for (int32_t c = 0; c < p->pooled.channels; c++) {
        const size_t tap = (size_t)(ky * p->window.kernel_x + kx) * (size_t)p->pooled.channels + (size_t)c;
        for (int32_t t = 0; t < steps; t++) {
          const int32_t value = value_at(net, p, pixels + (size_t)t * frame, iy, ix, c);
          if (value == 0) continue;
          add_value(p, tap * (size_t)p->stride, value, s->sum + (t * p->groups + c / in) * p->stride);
#ifdef IDSNN_COUNT
          idsnn_additions += (uint64_t)(p->to.channels / p->groups);
#endif
        }
      }
    }
  }
}

/* Without weights: each channel's own spikes or values, times its amplitude, into x of one pixel. */
static void enter(const idsnn_network *net, const idsnn_layer *source, const idsnn_path *p, const uint8_t *arena,
                  const uint8_t *pixels, int32_t *into, size_t stride, int32_t y, int32_t x, int32_t first,
                  int32_t last) {
  const int32_t channels = p->to.channels;
  const size_t map = (size_t)p->from.height * (size_t)p->from.width * (size_t)channels;
  for (int32_t ky = 0; ky < p->pool.kernel_y; ky++) {
    const int32_t sy = y * p->pool.stride_y - p->pool.pad_y + ky;
    if (sy < 0 || sy >= p->from.height) continue;
    for (int32_t kx = 0; kx < p->pool.kernel_x; kx++) {
      const int32_t sx = x * p->pool.stride_x - p->pool.pad_x + kx;
      if (sx < 0 || sx >= p->from.width) continue;
      const size_t pixel = ((size_t)sy * (size_t)p->from.width + (size_t)sx) * (size_t)channels;
      for (int32_t t = 0; t < last - first; t++) {
        int32_t *x_t = into + (size_t)t * stride;
        if (source == NULL) {
          const uint8_t *from = pixels + (net->is_static ? 0 : (size_t)t * map) + pixel;
          for (int32_t c = 0; c < channels; c++) x_t[c] += net->table[(size_t)c * 256u + from[c]] * p->amplitude[c];
        } else if (source->kind == IDSNN_FIRES) {
          const idsnn_bits *from = patterns(arena, source) + pixel;
          for (int32_t c = 0; c < channels; c++)
            x_t[c] += (within(from[c], p->delayed, first, last) >> t & 1) * p->amplitude[c];
        } else {
          const int32_t *from = (const int32_t *)(const void *)(arena + source->out) + (size_t)t * map + pixel;
          for (int32_t c = 0; c < channels; c++) x_t[c] += from[c] * p->amplitude[c];
        }
      }
    }
  }
}

/* The sums of one pixel of the layer, from all pixels of the weights' map that are pooled into it. */
static void gather(const idsnn_network *net, const idsnn_layer *source, const idsnn_path *p, const uint8_t *pixels,
                   const uint8_t *arena, const scratch *s, int32_t y, int32_t x, int32_t sums, int32_t first,
                   int32_t last) {
  memset(s->sum, 0, (size_t)(sums * p->groups * p->stride) * (p->narrow ? sizeof(int16_t) : sizeof(int32_t)));
  for (int32_t ky = 0; ky < p->pool_after.kernel_y; ky++) {
    const int32_t oy = y * p->pool_after.stride_y - p->pool_after.pad_y + ky;
    if (oy < 0 || oy >= p->to.height) continue;
    for (int32_t kx = 0; kx < p->pool_after.kernel_x; kx++) {
      const int32_t ox = x * p->pool_after.stride_x - p->pool_after.pad_x + kx;
      if (ox < 0 || ox >= p->to.width) continue;
      if (source == NULL)
        gather_values(net, p, pixels, s, oy, ox, sums);
      else
        gather_spikes(net, p, patterns(arena, source), s, oy, ox, first, last);
    }
  }
}

/* x += sum << shift; the shift is a product, which is defined for negative sums, too. */
static void add_shifted(const idsnn_path *p, const scratch *s, int32_t t, int32_t *into) {
  const int32_t n = p->to.channels / p->groups;
  for (int32_t g = 0; g < p->groups; g++) {
    const size_t at = (size_t)((t * p->groups + g) * p->stride);
    const int16_t *narrow = (const int16_t *)(const void *)s->sum + at;
    const int32_t *wide = s->sum + at, *unit = p->shifted + g * n;
    int32_t *x = into + g * n;
    if (p->narrow)
      for (int32_t c = 0; c < n; c++) x[c] += narrow[c] * unit[c];
    else
      for (int32_t c = 0; c < n; c++) x[c] += wide[c] * unit[c];
  }
}

/* One path's part of x in one row of the layer. */
static void follow(const idsnn_network *net, const idsnn_layer *layer, const idsnn_path *p, const uint8_t *pixels,
                   const uint8_t *arena, scratch *s, int32_t y, int32_t first, int32_t last) {
  const int32_t steps = last - first, width = layer->shape.width, channels = layer->shape.channels;
  const size_t stride = (size_t)width * (size_t)channels;
  const idsnn_layer *source = p->source == IDSNN_INPUT ? NULL : &net->layers[p->source];
  const int32_t sums = source == NULL && net->is_static ? 1 : steps;
  if (s->listed != p) {
    for (int32_t i = 0; i < net->list_rows; i++) s->tags[i] = -1;
    s->listed = p;
  }
  for (int32_t x = 0; x < width; x++) {
    int32_t *into = s->x + (size_t)x * (size_t)channels;
    if (p->weights8 == NULL && p->weights16 == NULL) {
      enter(net, source, p, arena, pixels, into, stride, y, x, first, last);
      continue;
    }
    gather(net, source, p, pixels, arena, s, y, x, sums, first, last);
    for (int32_t t = 0; t < steps; t++)
      add_shifted(p, s, sums == 1 ? 0 : t, into + (size_t)t * stride);
  }
}

/* All steps of up to BLOCK neurons side by side, whose constants and states lie in arrays of their own. */
#define BLOCK 16

typedef struct {
  int32_t k[BLOCK], k_syn[BLOCK], theta[BLOCK], reset[BLOCK], behind[BLOCK], least[BLOCK], m[BLOCK], i[BLOCK];
  uint32_t fired[BLOCK];
} block;

static void load(block *b, const idsnn_layer *layer, size_t at, int32_t channel, int32_t n) {
  for (int32_t j = 0; j < n; j++) {
    b->k[j] = constant(&layer->decay, channel + j, at + (size_t)j);
    b->theta[j] = constant(&layer->theta, channel + j, at + (size_t)j);
    b->reset[j] = constant(&layer->reset, channel + j, at + (size_t)j);
    b->k_syn[j] = constant(&layer->synapse, channel + j, at + (size_t)j);
    b->behind[j] = constant(&layer->membrane_offset, channel + j, at + (size_t)j);
    b->least[j] = b->k[j] == 1 << LEAK_BITS ? FLOOR : INT32_MIN;
  }
}

static void step_synapse(block *restrict b, int32_t *restrict x) {
  for (int32_t j = 0; j < BLOCK; j++) {
    b->i[j] = decayed(b->i[j], b->k_syn[j]) + x[j];
    x[j] = b->i[j] + b->behind[j];
  }
}

/* v = leak(m) + x in place; lanes beyond the block's neurons compute what nobody reads. */
static void step_membrane(const block *restrict b, int32_t *restrict x) {
  for (int32_t j = 0; j < BLOCK; j++) {
    const int32_t v = decayed(b->m[j], b->k[j]) + x[j];
    x[j] = v < b->least[j] ? b->least[j] : v;
  }
}

static void step_spikes(block *restrict b, const int32_t *restrict v, int32_t t, int fires) {
  if (fires)
    for (int32_t j = 0; j < BLOCK; j++) {
      const int32_t s = v[j] > b->theta[j];
      b->m[j] = s ? b->reset[j] : v[j];
      b->fired[j] |= (uint32_t)s << t;
    }
  else
    for (int32_t j = 0; j < BLOCK; j++) b->m[j] = v[j];
}

/* The neurons of one row; their membranes are kept where another call goes on. */
static void fire(const idsnn_layer *layer, uint8_t *arena, const scratch *s, int32_t y, int32_t first, int32_t last,
                 int32_t keep) {
  const int32_t channels = layer->shape.channels;
  const size_t stride = (size_t)layer->shape.width * (size_t)channels, row = (size_t)y * stride;
  const size_t map = (size_t)layer->shape.height * stride;
  int32_t *membranes = keep ? (int32_t *)(void *)(arena + layer->membrane) : NULL;
  int32_t *currents = keep && layer->current != IDSNN_NOWHERE ? (int32_t *)(void *)(arena + layer->current) : NULL;
  const int each = layer->decay.each || layer->synapse.each || layer->theta.each || layer->reset.each ||
                   layer->membrane_offset.each;
  block b;
  memset(&b, 0, sizeof b);
  for (int32_t c = 0; c < channels; c += BLOCK) {
    const int32_t n = channels - c < BLOCK ? channels - c : BLOCK;
    load(&b, layer, row + (size_t)c, c, n);
    for (int32_t x = 0; x < layer->shape.width; x++) {
      const size_t in_row = (size_t)x * (size_t)channels + (size_t)c, at = row + in_row;
      if (each && x != 0) load(&b, layer, at, c, n);
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
        memcpy(v, s->x + (size_t)t * stride + in_row, (size_t)n * sizeof(int32_t));
        if (layer->synapse.values != NULL) step_synapse(&b, v);
        step_membrane(&b, v);
        step_spikes(&b, v, t, layer->kind == IDSNN_FIRES);
        if (layer->kind == IDSNN_INTEGRATES)
          memcpy((int32_t *)(void *)(arena + layer->out) + (size_t)t * map + at, v, (size_t)n * sizeof(int32_t));
      }
      if (membranes != NULL) memcpy(membranes + at, b.m, (size_t)n * sizeof(int32_t));
      if (currents != NULL) memcpy(currents + at, b.i, (size_t)n * sizeof(int32_t));
      if (layer->kind == IDSNN_FIRES) {
        idsnn_bits *out = (idsnn_bits *)(void *)(arena + layer->out) + at;
        for (int32_t j = 0; j < n; j++) {
          const uint64_t before = first == 0 ? 0u : (uint64_t)out[j] & ((UINT64_C(1) << first) - 1u);
          out[j] = (idsnn_bits)(before | (uint64_t)b.fired[j] << first);
        }
      }
    }
  }
}

/* logits[(c, y, x)] += sum over t of x, in the order of the graph's output. */
static void read_out(const idsnn_layer *layer, const scratch *s, int32_t y, int32_t steps, int32_t *logits) {
  const idsnn_shape shape = layer->shape;
  for (int32_t t = 0; t < steps; t++)
    for (int32_t x = 0; x < shape.width; x++)
      for (int32_t c = 0; c < shape.channels; c++)
        logits[(c * shape.height + y) * shape.width + x] += s->x[(t * shape.width + x) * shape.channels + c];
}

/* Adds a constant to the channels of one pixel, or sets them to it. */
static void add_constant(const idsnn_constant *c, size_t at, int32_t n, int32_t *restrict into) {
  const int32_t *values = c->values == NULL ? NULL : c->values + (c->each ? at : 0);
  if (values == NULL) return;
  for (int32_t j = 0; j < n; j++) into[j] += values[j];
}

/* x of one row before any path: the offsets. */
static void begin(const idsnn_layer *layer, const scratch *s, int32_t y, int32_t first, int32_t last) {
  const int32_t width = layer->shape.width, channels = layer->shape.channels;
  memset(s->x, 0, (size_t)((last - first) * width * channels) * sizeof(int32_t));
  for (int32_t t = first; t < last; t++)
    for (int32_t x = 0; x < width; x++) {
      int32_t *into = s->x + (size_t)(((t - first) * width + x) * channels);
      const size_t at = ((size_t)y * (size_t)width + (size_t)x) * (size_t)channels;
      add_constant(&layer->offset, at, channels, into);
      if (t != 0) add_constant(&layer->late, at, channels, into);
    }
}

void idsnn_take(const idsnn_network *net, const idsnn_layer *layer, const uint8_t *pixels, uint8_t *arena,
                int32_t first, int32_t last, int32_t keep, int32_t *logits) {
  scratch s = divided(net, arena + net->scratch, last - first);
  for (int32_t y = 0; y < layer->shape.height; y++) {
    begin(layer, &s, y, first, last);
    for (int32_t q = 0; q < layer->path_count; q++)
      follow(net, layer, &layer->paths[q], pixels, arena, &s, y, first, last);
    if (layer->kind == IDSNN_READOUT)
      read_out(layer, &s, y, last - first, logits);
    else
      fire(layer, arena, &s, y, first, last, keep);
  }
}
