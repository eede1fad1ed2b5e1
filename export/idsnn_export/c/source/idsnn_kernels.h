/* A spiking network in whole numbers: the form of its tables, and what computes them.
 *
 * Maps are stored row by row, a pixel's channels side by side. A neuron's spikes over the steps are one small pattern:
 * bit t is set where it fired at step t. C99, no heap, no recursion, no library, no state of its own.
 */
#ifndef IDSNN_KERNELS_H
#define IDSNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* IDSNN_STEPS; idsnn_bits, a pattern with a bit for each of them; idsnn_place, x * channels + channel of any map that
 * weights read; IDSNN_PATHS, the most into one layer */
#include "idsnn_bits.h"

#define IDSNN_INPUT (-1)  /* a path's source: the image, or the frames */
#define IDSNN_NOWHERE (-1) /* a place in the arena that is not needed */

typedef struct {
  int32_t height, width, channels;
} idsnn_shape;

typedef struct { /* zeros around the map are `pad` before; what is behind follows from the sizes */
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x, hole_y, hole_x;
} idsnn_window;

/* How far sums of weights stay inside 16 bits, proved when this was written: over the whole window, over a row of it, over
 * one of its pixels; or not at all. */
typedef enum { IDSNN_AT_ONCE, IDSNN_BY_ROW, IDSNN_BY_TAP, IDSNN_WIDE } idsnn_exact;

/* One way into a layer: source, pooling, weights, pooling. Every sum is exact. */
typedef struct {
  int32_t source;           /* an index into the layers, or IDSNN_INPUT */
  int32_t delayed;          /* 1: what the source gave one step before */
  idsnn_shape from;         /* the source's map */
  idsnn_window pool;        /* a window of 1 where there is none */
  idsnn_shape pooled;       /* the map that the weights read */
  const int8_t *weights8;   /* [ky][kx][input channel][output channel of its group, zeros up to `stride`]; or */
  const int16_t *weights16; /* the same in 16 bits; or neither, and spikes enter as they are */
  idsnn_window window;
  idsnn_shape to;           /* the map that the weights give */
  int32_t groups;
  idsnn_window pool_after;
  idsnn_exact exact;
  const int32_t *amplitude; /* per output channel, where there are no weights */
  const int32_t *shifted;   /* per output channel, where there are: 2^shift */
  int32_t stride;           /* output channels of a group, rounded up to 8 */
  int32_t lists;            /* bytes into the scratch */
  int32_t list_rows, list_capacity; /* rows listed at a time, entries of each at most */
} idsnn_path;

/* A constant per channel, or per neuron where `each` is 1. */
typedef struct {
  const int32_t *values;
  int32_t each;
} idsnn_constant;

typedef enum { IDSNN_FIRES, IDSNN_INTEGRATES, IDSNN_READOUT } idsnn_kind;

typedef struct {
  const char *name;
  idsnn_kind kind;
  idsnn_shape shape;
  const idsnn_path *paths;
  int32_t path_count;
  idsnn_constant offset, late, decay, synapse, membrane_offset, theta, reset, rho; /* values NULL: 0, or absent */
  int32_t out;      /* bytes into the arena: patterns, or values of a layer that integrates */
  int32_t membrane; /* bytes into the arena, where calls go on from each other */
  int32_t current;  /* the same for a synapse's current, or IDSNN_NOWHERE */
  int32_t read_late; /* 1: some path delivers its spikes a step later */
} idsnn_layer;

typedef enum { IDSNN_SUM, IDSNN_LAST, IDSNN_MAX } idsnn_over_time; /* what becomes of the readout's steps */

typedef struct {
  const idsnn_layer *layers;
  int32_t layer_count;     /* the last one is the readout */
  const int16_t *table;    /* [channel][256]: what a pixel or count stands for */
  idsnn_shape input;
  int32_t is_static;       /* 1: one image for all steps; 0: a frame per step */
  int32_t scratch;         /* bytes into the arena: a row of x at all steps, then lists */
  idsnn_over_time readout;
} idsnn_network;

/* Steps first..last-1 of one layer, over its whole map. `keep`: membranes go on from the last call and stay for the next,
 * from rest at step 0. The readout takes its steps into
 * `logits`, as `network->readout` says. */
void idsnn_take(const idsnn_network *network, const idsnn_layer *layer, const uint8_t *pixels, uint8_t *arena,
                int32_t first, int32_t last, int32_t keep, int32_t *logits);

/* What a step's output makes of the answer so far. */
int32_t idsnn_taken(idsnn_over_time readout, int32_t answer, int32_t output);

/* p1 - p2 of `count` answers in 2^-16, rounded down; one of an answer is `octave` / 2^shift of 2^-16 octaves. */
int32_t idsnn_apart(const int32_t *answer, int32_t count, uint32_t octave, int32_t shift);

#ifdef IDSNN_COUNT
extern uint64_t idsnn_additions; /* of weights, since the program began */
#endif

#endif
