/* The same layers once as an ANN in 8 bits: every weight of every pixel, four outputs at a time.
 *
 *     a = clip((sum over paths of w a') >> 7, 0, 255)
 *
 * A window's row lies side by side in map and weights, so the innermost loop is a dot product. What it answers means
 * nothing; how many instructions it takes does not depend on it.
 */
#include "idsnn_model.c"

#include "dense_weights.h" /* dense_weights[layer][path]: int8 [output][ky][kx][input] */

static uint8_t maps[DENSE_BYTES], pooled[DENSE_BYTES];

static void pool(const idsnn_path *p, const uint8_t *from) {
  const int32_t channels = p->from.channels;
  uint8_t *to = pooled;
  for (int32_t y = 0; y < p->pooled.height; y++)
    for (int32_t x = 0; x < p->pooled.width; x++)
      for (int32_t c = 0; c < channels; c++) {
        uint32_t sum = 0;
        for (int32_t ky = 0; ky < p->pool.kernel_y; ky++)
          for (int32_t kx = 0; kx < p->pool.kernel_x; kx++)
            sum += from[((y * p->pool.stride_y + ky) * p->from.width + x * p->pool.stride_x + kx) * channels + c];
        *to++ = (uint8_t)(sum > 255 ? 255 : sum);
      }
}

/* Four outputs of one pixel; a function of its own, so that all of the loop stays in registers. */
__attribute__((noinline)) static void dots(const idsnn_path *p, const uint8_t *from, const int8_t *weights, int32_t y, int32_t x, int32_t acc[4]) {
  const int32_t channels = p->pooled.channels, row = p->window.kernel_x * channels, all = p->window.kernel_y * row;
  const int32_t ix = x * p->window.stride_x - p->window.pad_x;
  const int32_t first = ix < 0 ? 0 : ix, stop = ix + p->window.kernel_x < p->pooled.width ? ix + p->window.kernel_x : p->pooled.width;
  const int32_t length = (stop - first) * channels;
  int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
  for (int32_t ky = 0; ky < p->window.kernel_y; ky++) {
    const int32_t iy = y * p->window.stride_y - p->window.pad_y + ky;
    if (iy < 0 || iy >= p->pooled.height) continue;
    const uint8_t *a = from + (iy * p->pooled.width + first) * channels;
    const int8_t *w0 = weights + ky * row + (first - ix) * channels, *w1 = w0 + all, *w2 = w1 + all, *w3 = w2 + all;
    for (int32_t i = 0; i < length; i++) {
      const int32_t v = a[i];
      a0 += v * w0[i];
      a1 += v * w1[i];
      a2 += v * w2[i];
      a3 += v * w3[i];
    }
  }
  acc[0] = a0, acc[1] = a1, acc[2] = a2, acc[3] = a3;
}

static const uint8_t *source(const uint8_t *pixels, const size_t *at, const idsnn_path *p) {
  return p->source == IDSNN_INPUT ? pixels : maps + at[p->source];
}

static void layer(int32_t index, const uint8_t *pixels, const size_t *at, int32_t *logits) {
  const idsnn_layer *l = &layers[index];
  for (int32_t q = 0; q < l->path_count; q++)
    if (l->paths[q].pool.kernel_y * l->paths[q].pool.kernel_x > 1) pool(&l->paths[q], source(pixels, at, &l->paths[q]));
  uint8_t *out = maps + at[index];
  for (int32_t y = 0; y < l->shape.height; y++)
    for (int32_t x = 0; x < l->shape.width; x++)
      for (int32_t c = 0; c < l->shape.channels; c += 4) {
        int32_t acc[4] = {0, 0, 0, 0};
        for (int32_t q = 0; q < l->path_count; q++) {
          const idsnn_path *p = &l->paths[q];
          const uint8_t *from = p->pool.kernel_y * p->pool.kernel_x > 1 ? pooled : source(pixels, at, p);
          const int32_t all = p->window.kernel_y * p->window.kernel_x * p->pooled.channels;
          if (dense_weights[index][q] != NULL)
            dots(p, from, dense_weights[index][q] + c * all, y, x, acc);
          else
            for (int32_t j = 0; j < 4; j++) acc[j] += from[(y * l->shape.width + x) * l->shape.channels + c + j] << 7;
        }
        for (int32_t j = 0; j < 4 && c + j < l->shape.channels; j++) {
          const int32_t v = acc[j] >> 7;
          if (l->kind == IDSNN_READOUT)
            logits[c + j] = acc[j];
          else
            out[(y * l->shape.width + x) * l->shape.channels + c + j] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
      }
}

int answer(const uint8_t *pixels, int32_t *logits);
int answer(const uint8_t *pixels, int32_t *logits) {
  size_t at[sizeof layers / sizeof *layers], next = 0;
  for (int32_t i = 0; i < network.layer_count; i++) {
    at[i] = next;
    next += (size_t)layers[i].shape.height * (size_t)layers[i].shape.width * (size_t)layers[i].shape.channels;
  }
  for (int32_t i = 0; i < network.layer_count; i++) layer(i, pixels, at, logits);
  return 0;
}
