"""What the student learns from: labels, and the teacher's softened answer (Eq. 6 and 7 of the paper).

    L = CE(z_s, y) + alpha * tau^2 * KL(softmax(z_t / tau) || softmax(z_s / tau))

`z_s`, `z_t` logits of student and teacher, `y` labels, `tau` temperature; KL is summed over classes and averaged over
the batch, and the factor tau^2 keeps its gradient's size when tau changes (Hinton et al., 2015).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float = 0.3, temperature: float = 4.0
) -> Tensor:
    """Returns the total loss, a scalar; the teacher's logits carry no gradient.

    Args:
        student: logits `(B, K)`.
        teacher: logits `(B, K)`.
        labels: classes `(B,)`.
        alpha: weight of the soft part.
        temperature: tau.
    """
    log_s = log_softmax(student / temperature, dim=1)
    log_t = log_softmax(teacher.detach() / temperature, dim=1)
    soft = kl_div(log_s, log_t, reduction="batchmean", log_target=True)
    return cross_entropy(student, labels) + alpha * temperature**2 * soft
