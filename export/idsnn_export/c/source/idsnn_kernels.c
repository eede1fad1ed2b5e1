/* How a layer is computed.
 *
 *     for every row of the layer's map
 *         x[t][pixel][c] = offset                                        all steps together
 *         for every path: for every pixel: for every spike in its window a list, so that work follows the spikes
 *             for every step t at which it fired: sum[t][:] += weights of the spike
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
#define COUNT(n) (idsnn_additions += (uint64_t)(n))
#else
#define COUNT(n) ((void)0)
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

/* floor((m k + 2^14) / 2^15); C leaves the right shift of a negative number to the compiler, so it is shifted inverted */
static int32_t leak(int32_t m, int32_t k) {
  const int64_t product = (int64_t)m * k + (1 << (LEAK_BITS - 1));
  return (int32_t)(product >= 0 ? product >> LEAK_BITS : ~(~product >> LEAK_BITS));
}

static int32_t constant(const idsnn_constant *c, int32_t channel, size_t neuron) {
  return c->values == NULL ? 0 : c->values[c->each ? neuron : (size_t)channel];
}

static const idsnn_bits *patterns(const uint8_t *arena, const idsnn_layer *layer) {
  return (const idsnn_bits *)(const void *)(arena + layer->out);
}

static void add8_narrow(int16_t *sum, const int8_t *w, int32_t n) {
  for (int32_t i = 0; i < n; i++) sum[i] = (int16_t)(sum[i] + w[i]);
}

static void add8(int32_t *sum, const int8_t *w, int32_t n) {
  for (int32_t i = 0; i < n; i++) sum[i] += w[i];
}

static void add16(int32_t *sum, const int16_t *w, int32_t n) {
  for (int32_t i = 0; i < n; i++) sum[i] += w[i];
}

/* The bits of steps first..last-1 in a pattern, moved to 0..; a delayed source's are one step late. */
static idsnn_bits within(idsnn_bits bits, int32_t delayed, int32_t first, int32_t last) {
  const uint64_t moved = ((uint64_t)bits << (delayed ? 1 : 0)) >> first;
  return (idsnn_bits)(moved & ((UINT64_C(1) << (last - first)) - 1u));
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
        for (int32_t c = 0; c < p->from.channels; c++) {
          events[count].channel = (uint16_t)c; /* written always, kept where it fired: no branch to mispredict */
          events[count].bits = within(pixel[c], p->delayed, first, last);
          count += events[count].bits != 0;
        }
      }
    }
    ends[x + 1] = count;
  }
}

/* Adds a weight row to the sums of every step at which its spike fired. */
static void add_event(const idsnn_path *p, const scratch *s, size_t row, int32_t channel_out, int32_t n,
                      uint32_t bits) {
  const int32_t channels = p->to.channels;
  for (int32_t t = 0; bits != 0; t++, bits >>= 1) {
    if (!(bits & 1u)) continue;
    COUNT(n);
    if (p->narrow)
      add8_narrow((int16_t *)(void *)s->sum + (size_t)t * (size_t)channels + channel_out, p->weights8 + row, n);
    else if (p->weights8 != NULL)
      add8(s->sum + (size_t)t * (size_t)channels + channel_out, p->weights8 + row, n);
    else
      add16(s->sum + (size_t)t * (size_t)channels + channel_out, p->weights16 + row, n);
  }
}

/* The spikes in the window of one output pixel of the weights. */
static void gather_spikes(const idsnn_network *net, const idsnn_path *p, const idsnn_bits *map, const scratch *s,
                          int32_t oy, int32_t ox, int32_t first, int32_t last) {
  const int32_t n = p->to.channels / p->groups, in = p->pooled.channels / p->groups;
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
      if (ix < 0 || ix >= p->pooled.width) continue;
      const size_t tap = (size_t)(ky * p->window.kernel_x + kx) * (size_t)p->pooled.channels;
      for (int32_t e = ends[ix]; e < ends[ix + 1]; e++) {
        const int32_t group = p->groups == 1 ? 0 : events[e].channel / in;
        add_event(p, s, (tap + events[e].channel) * (size_t)n, group * n, n, events[e].bits);
      }
    }
  }
}

/* The input's values in the window of one output pixel; zeros cost nothing. An image's sums go to step 0 alone. */
static void gather_values(const idsnn_network *net, const idsnn_path *p, const uint8_t *pixels, const scratch *s,
                          int32_t oy, int32_t ox, int32_t steps) {
  const int32_t n = p->to.channels / p->groups, in = p->pooled.channels / p->groups;
  const size_t frame = (size_t)p->from.height * (size_t)p->from.width * (size_t)p->from.channels;
  for (int32_t ky = 0; ky < p->window.kernel_y; ky++) {
    const int32_t iy = oy * p->window.stride_y - p->window.pad_y + ky * p->window.hole_y;
    if (iy < 0 || iy >= p->pooled.height) continue;
    for (int32_t kx = 0; kx < p->window.kernel_x; kx++) {
      const int32_t ix = ox * p->window.stride_x - p->window.pad_x + kx * p->window.hole_x;
      if (ix < 0 || ix >= p->pooled.width) continue;
      const size_t tap = (size_t)(ky * p->window.kernel_x + kx) * (size_t)p->pooled.channels;
      for (int32_t c = 0; c < p->pooled.channels; c++) {
        const size_t row = (tap + (size_t)c) * (size_t)n;
        for (int32_t t = 0; t < steps; t++) {
          int32_t value = 0;
          for (int32_t py = 0; py < p->pool.kernel_y; py++) {
            const int32_t sy = iy * p->pool.stride_y - p->pool.pad_y + py;
            if (sy < 0 || sy >= p->from.height) continue;
            for (int32_t px = 0; px < p->pool.kernel_x; px++) {
              const int32_t sx = ix * p->pool.stride_x - p->pool.pad_x + px;
              if (sx < 0 || sx >= p->from.width) continue;
              const size_t at = ((size_t)sy * (size_t)p->from.width + (size_t)sx) * (size_t)p->from.channels + (size_t)c;
              value += net->table[(size_t)c * 256u + pixels[(size_t)t * frame + at]];
            }
          }
          if (value == 0) continue;
          COUNT(n);
          int32_t *sum = s->sum + (size_t)t * (size_t)p->to.channels + (c / in) * n;
          for (int32_t i = 0; i < n; i++)
            sum[i] += value * (p->weights8 != NULL ? p->weights8[row + (size_t)i] : p->weights16[row + (size_t)i]);
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
      for (int32_t c = 0; c < channels; c++) {
        const size_t at = pixel + (size_t)c;
        for (int32_t t = 0; t < last - first; t++) {
          int32_t value;
          if (source == NULL)
            value = net->table[(size_t)c * 256u + pixels[(net->is_static ? 0 : (size_t)t * map) + at]];
          else if (source->kind == IDSNN_FIRES)
            value = (within(patterns(arena, source)[at], p->delayed, first, last) >> t) & 1;
          else
            value = ((const int32_t *)(const void *)(arena + source->out))[(size_t)t * map + at];
          into[(size_t)t * stride + (size_t)c] += value * p->amplitude[c];
        }
      }
    }
  }
}

/* The sums of one pixel of the layer, from all pixels of the weights' map that are pooled into it. */
static void gather(const idsnn_network *net, const idsnn_layer *source, const idsnn_path *p, const uint8_t *pixels,
                   const uint8_t *arena, const scratch *s, int32_t y, int32_t x, int32_t sums, int32_t first,
                   int32_t last) {
  memset(s->sum, 0, (size_t)sums * (size_t)p->to.channels * (p->narrow ? sizeof(int16_t) : sizeof(int32_t)));
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
static void add_shifted(const idsnn_path *p, const scratch *s, size_t row, int32_t *into) {
  const int32_t channels = p->to.channels;
  const int16_t *narrow = (const int16_t *)(const void *)s->sum + row;
  const int32_t *wide = s->sum + row;
  if (p->narrow)
    for (int32_t c = 0; c < channels; c++) into[c] += narrow[c] * (1 << p->shift[c]);
  else
    for (int32_t c = 0; c < channels; c++) into[c] += wide[c] * (1 << p->shift[c]);
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
      add_shifted(p, s, (size_t)(sums == 1 ? 0 : t) * (size_t)channels, into + (size_t)t * stride);
  }
}

/* All steps of one neuron: returns the pattern of its spikes; a layer that does not fire leaves v in x. */
static idsnn_bits integrate(const idsnn_layer *layer, int32_t channel, size_t at, int32_t *x, size_t stride,
                            int32_t steps, int32_t *membrane, int32_t *current) {
  const int32_t k = constant(&layer->decay, channel, at), k_syn = constant(&layer->synapse, channel, at);
  const int32_t theta = constant(&layer->theta, channel, at), reset = constant(&layer->reset, channel, at);
  const int32_t behind = constant(&layer->membrane_offset, channel, at);
  int32_t m = *membrane, i = *current;
  idsnn_bits fired = 0;
  for (int32_t t = 0; t < steps; t++) {
    int32_t v = x[(size_t)t * stride];
    if (layer->synapse.values != NULL) {
      i = leak(i, k_syn) + v;
      v = i + behind;
    }
    v += leak(m, k);
    if (k == 1 << LEAK_BITS && v < FLOOR) v = FLOOR;
    m = v;
    x[(size_t)t * stride] = v;
    if (layer->kind == IDSNN_FIRES && v > theta) {
      fired = (idsnn_bits)((uint64_t)fired | UINT64_C(1) << t);
      m = reset;
    }
  }
  *membrane = m;
  *current = i;
  return fired;
}

/* The neurons of one row; their membranes are kept where another call goes on. */
static void fire(const idsnn_layer *layer, uint8_t *arena, const scratch *s, int32_t y, int32_t first, int32_t last,
                 int32_t keep) {
  const size_t stride = (size_t)layer->shape.width * (size_t)layer->shape.channels, row = (size_t)y * stride;
  const size_t map = (size_t)layer->shape.height * stride;
  int32_t *membranes = keep ? (int32_t *)(void *)(arena + layer->membrane) : NULL;
  int32_t *currents = keep && layer->current != IDSNN_NOWHERE ? (int32_t *)(void *)(arena + layer->current) : NULL;
  for (size_t n = 0; n < stride; n++) {
    int32_t m = first != 0 && membranes != NULL ? membranes[row + n] : 0;
    int32_t i = first != 0 && currents != NULL ? currents[row + n] : 0;
    const int32_t channel = (int32_t)(n % (size_t)layer->shape.channels);
    const idsnn_bits fired = integrate(layer, channel, row + n, s->x + n, stride, last - first, &m, &i);
    if (membranes != NULL) membranes[row + n] = m;
    if (currents != NULL) currents[row + n] = i;
    if (layer->kind == IDSNN_FIRES) {
      idsnn_bits *out = (idsnn_bits *)(void *)(arena + layer->out) + row + n;
      const uint64_t before = first == 0 ? 0u : (uint64_t)*out & ((UINT64_C(1) << first) - 1u);
      *out = (idsnn_bits)(before | (uint64_t)fired << first);
    } else {
      for (int32_t t = 0; t < last - first; t++)
        ((int32_t *)(void *)(arena + layer->out))[(size_t)t * map + row + n] = s->x[(size_t)t * stride + n];
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

void idsnn_take(const idsnn_network *net, const idsnn_layer *layer, const uint8_t *pixels, uint8_t *arena,
                int32_t first, int32_t last, int32_t keep, int32_t *logits) {
  const int32_t width = layer->shape.width, channels = layer->shape.channels;
  scratch s = divided(net, arena + net->scratch, last - first);
  for (int32_t y = 0; y < layer->shape.height; y++) {
    for (int32_t t = first; t < last; t++)
      for (int32_t n = 0; n < width * channels; n++) {
        const size_t at = (size_t)y * (size_t)(width * channels) + (size_t)n;
        s.x[(t - first) * width * channels + n] =
            constant(&layer->offset, n % channels, at) + (t == 0 ? 0 : constant(&layer->late, n % channels, at));
      }
    for (int32_t q = 0; q < layer->path_count; q++)
      follow(net, layer, &layer->paths[q], pixels, arena, &s, y, first, last);
    if (layer->kind == IDSNN_READOUT)
      read_out(layer, &s, y, last - first, logits);
    else
      fire(layer, arena, &s, y, first, last, keep);
  }
}
