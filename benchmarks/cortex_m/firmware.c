/* A network on a bare Cortex-M: inputs come from a file of the host over semihosting, answers go to its console.
 *
 *     per input     TICKS LOGIT LOGIT ...     ticks of the processor's clock, from SysTick
 *     at the end    stack BYTES               the deepest that the stack was, by what is left of a pattern
 */
#include <stdint.h>

#include "idsnn_model.h"

#define OPEN 0x01
#define WRITE0 0x04
#define READ 0x06
#define EXIT 0x18
#define STACK_WORDS 16384u
#define PATTERN 0xa5a5a5a5u

#define SYST_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018u)

extern uint32_t data_begin[], data_end[], data_kept[], bss_begin[], bss_end[], stack_top[];
int answer(const uint8_t *pixels, int32_t *logits);
void reset(void);

static void fault(void) {
  for (;;) __asm__ volatile("bkpt 0");
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_top, (const void *)reset, (const void *)fault, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault};

static uint32_t host(uint32_t what, const void *with) {
  register uint32_t r0 __asm__("r0") = what;
  register const void *r1 __asm__("r1") = with;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void say_number(int32_t value, char end) {
  char text[14], *at = text + sizeof text;
  uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
  *--at = '\0';
  *--at = end;
  do *--at = (char)('0' + rest % 10u);
  while ((rest /= 10u) != 0);
  if (value < 0) *--at = '-';
  host(WRITE0, at);
}

static void run(void) {
  static uint8_t pixels[IDSNN_PIXELS];
  static int32_t logits[IDSNN_CLASSES];
  static const char name[] = "inputs.bin";
  const uint32_t open[3] = {(uint32_t)name, 1, sizeof name - 1};
  const uint32_t read[3] = {host(OPEN, open), (uint32_t)pixels, sizeof pixels};
  SYST_RVR = 0xffffffu;
  SYST_CSR = 5;
  while (host(READ, read) == 0) {
    SYST_CVR = 0;
    if (answer(pixels, logits) != 0) fault();
    const uint32_t now = SYST_CVR;
    say_number((int32_t)(0xffffffu - now), ' ');
    for (int i = 0; i < IDSNN_CLASSES; i++) say_number(logits[i], i + 1 < IDSNN_CLASSES ? ' ' : '\n');
  }
}

void reset(void) {
  uint32_t *const end = stack_top, *const begin = end - STACK_WORDS, *here;
  __asm__ volatile("mov %0, sp" : "=r"(here));
  for (uint32_t *to = data_begin, *from = data_kept; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_begin; to < bss_end;) *to++ = 0;
  for (volatile uint32_t *to = begin; to < here; to++) *to = PATTERN;
  run();
  const uint32_t *deepest = begin;
  while (*deepest == PATTERN) deepest++;
  host(WRITE0, "stack ");
  say_number((int32_t)((end - deepest) * 4), '\n');
  host(EXIT, (const void *)0x20026);
  fault();
}
