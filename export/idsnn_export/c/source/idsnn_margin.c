/* How far a class stands out, in whole numbers.
 *
 *     d_k = largest answer - answer_k
 *     z_k = floor((d_k octave + 2^(shift - 1)) / 2^shift)       how far it lies behind, in 2^-16 octaves
 *     e_k = 2^30 2^(-z_k / 2^16)                                a factor 2^(-2^-b) per bit of z, rounded down
 *     p1 - p2 = (2^30 - e_2) / sum of e_k                       the two largest of softmax(answer)
 */
#include "idsnn_kernels.h"

#define ONE (UINT32_C(1) << 30)
#define OCTAVE 16 /* bits of z behind the point, and of p1 - p2 */

static const uint32_t roots[OCTAVE] = { /* 2^30 2^(-2^-b), b from 1 */
    759250125,  902905651,  984625594,  1028218693, 1050733751, 1062175491, 1067942999, 1070838486,
    1072289173, 1073015252, 1073378477, 1073560135, 1073650976, 1073696399, 1073719111, 1073730468};

static uint64_t power(int32_t largest, int32_t answer, uint32_t octave, int32_t shift) {
  const uint64_t d = (uint64_t)((uint32_t)largest - (uint32_t)answer);
  const uint64_t z = (d * octave + ((UINT64_C(1) << shift) >> 1)) >> shift;
  uint64_t e = ONE;
  if (z >> OCTAVE > 30) return 0;
  for (int b = 0; b < OCTAVE; b++)
    if (z >> (OCTAVE - 1 - b) & 1u) e = e * roots[b] >> 30;
  return e >> (z >> OCTAVE);
}

int32_t idsnn_apart(const int32_t *answer, int32_t count, uint32_t octave, int32_t shift) {
  int32_t first = 0, second = -1;
  uint64_t behind = 0, sum = 0;
  for (int32_t k = 1; k < count; k++) {
    if (answer[k] > answer[first]) {
      second = first;
      first = k;
    } else if (second < 0 || answer[k] > answer[second]) {
      second = k;
    }
  }
  if (second >= 0) behind = power(answer[first], answer[second], octave, shift);
  for (int32_t k = 0; k < count; k++) sum += power(answer[first], answer[k], octave, shift);
  return (int32_t)(((ONE - behind) << OCTAVE) / sum);
}
