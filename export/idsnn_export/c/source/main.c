/* A self-test, and the smallest program that uses the network.
 *
 *     idsnn check            answers the golden vectors: at once, as a stream, and until a class stands out;
 *                            exit code 1 where a number differs
 *     idsnn run < INPUT      IDSNN_PIXELS bytes, [frame][row][column][channel]; prints the class and the logits
 */
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "idsnn_model.h"

static uint64_t arena[(IDSNN_ARENA_BYTES + 7) / 8];
static uint64_t stream[(IDSNN_STREAM_ARENA_BYTES + 7) / 8];

static int same(const char *how, int sample, const int32_t *got, const int32_t *wanted) {
  for (int i = 0; i < IDSNN_CLASSES; i++)
    if (got[i] != wanted[i]) {
      printf("sample %d, %s: logit %d is %ld, golden %ld\n", sample, how, i, (long)got[i], (long)wanted[i]);
      return 0;
    }
  return 1;
}

static int answer_stream(const uint8_t *pixels, int32_t *answer) {
  int32_t logits[IDSNN_CLASSES];
  if (idsnn_start(stream, sizeof stream) != IDSNN_OK) return 0;
  for (int t = 0; t < IDSNN_TIMESTEPS; t++) {
    const size_t frame = IDSNN_FRAMES == 1 ? 0 : (size_t)t * (IDSNN_PIXELS / IDSNN_FRAMES);
    if (idsnn_step(pixels + frame, logits, stream, sizeof stream) != IDSNN_OK) return 0;
    idsnn_read_out(logits, t, answer);
  }
  return 1;
}

static int answer_early(const uint8_t *pixels, int sample) {
  const int32_t wanted = idsnn_golden_steps[sample];
  int32_t answer[IDSNN_CLASSES], steps;
  if (idsnn_run_until(pixels, IDSNN_GOLDEN_MARGIN, answer, &steps, stream, sizeof stream) != IDSNN_OK) return 0;
  if (steps != wanted) printf("sample %d stops after %ld steps, golden %ld\n", sample, (long)steps, (long)wanted);
  return same("early", sample, answer, idsnn_golden_early + (size_t)sample * IDSNN_CLASSES) && steps == wanted;
}

static int check(void) {
  int passed = 0;
  for (int n = 0; n < IDSNN_GOLDEN; n++) {
    const uint8_t *pixels = idsnn_golden_pixels + (size_t)n * IDSNN_PIXELS;
    const int32_t *wanted = idsnn_golden_logits + (size_t)n * IDSNN_CLASSES;
    int32_t got[IDSNN_CLASSES];
    int good = idsnn_run_in(pixels, got, arena, sizeof arena) == IDSNN_OK && same("at once", n, got, wanted);
    good = answer_stream(pixels, got) && same("as a stream", n, got, wanted) && good;
    good = answer_early(pixels, n) && good;
    passed += good;
  }
  printf("%d of %d golden vectors answered, bit for bit\n", passed, IDSNN_GOLDEN);
  return passed == IDSNN_GOLDEN ? 0 : 1;
}

static int run(void) {
  static uint8_t pixels[IDSNN_PIXELS];
  int32_t logits[IDSNN_CLASSES];
  const size_t got = fread(pixels, 1, sizeof pixels, stdin);
  if (got != sizeof pixels || getc(stdin) != EOF) {
    fprintf(stderr, "idsnn: standard input is not %d bytes, which an input has\n", IDSNN_PIXELS);
    return 2;
  }
  if (idsnn_run_in(pixels, logits, arena, sizeof arena) != IDSNN_OK) return 2;
  printf("%d\n", idsnn_class(logits));
  for (int i = 0; i < IDSNN_CLASSES; i++) printf("%s%.9g", i == 0 ? "" : " ", (double)logits[i] * IDSNN_LOGIT_UNIT);
  printf("\n");
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "check") == 0) return check();
  if (argc == 2 && strcmp(argv[1], "run") == 0) return run();
  fprintf(stderr, "usage: %s check | run < INPUT\n", argv[0]);
  return 2;
}
