"""What the student learns from: labels, and the teacher's softened answer (Eq. 6 and 7 of the paper).

    L = CE(z_s, y) + alpha * tau^2 * KL(softmax(z_t / tau) || softmax(z_s / tau))

`z_s`, `z_t` logits of student and teacher, `y` labels, `tau` temperature; KL is summed over classes and averaged over
the batch, and the factor tau^2 keeps its gradient's size when tau changes (Hinton et al., 2015).

With logits z[t] at T steps the loss may look at their mean or at each of them:

    mean        L(1/T sum_t z[t])               the paper
    steps       1/T sum_t L(z[t])               temporal efficient training (Deng et al., ICLR 2022)
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax


def distillation_loss(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    alpha: float = 0.3,
    temperature: float = 4.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Returns the total loss, a scalar; the teacher's logits carry no gradient.

    Args:
        student: logits `(B, K)`, or `(T, B, K)` for the mean of the losses of T steps.
        teacher: logits `(B, K)`, or `(T, B, K)` for a student's T steps; None leaves the labels alone.
        labels: classes `(B,)`.
        alpha: weight of the soft part.
        temperature: tau.
        label_smoothing: share of each label that is spread evenly over all classes, in the cross entropy.
    """
    if student.dim() == 3:
        steps = len(student)
        student, labels = student.flatten(0, 1), labels.repeat(steps)
        if teacher is not None:
            teacher = teacher.flatten(0, 1) if teacher.dim() == 3 else teacher.repeat(steps, 1)
    hard = cross_entropy(student, labels, label_smoothing=label_smoothing)
    if teacher is None:
        return hard
    log_s = log_softmax(student / temperature, dim=1)
    log_t = log_softmax(teacher.detach() / temperature, dim=1)
    soft = kl_div(log_s, log_t, reduction="batchmean", log_target=True)
    return hard + alpha * temperature**2 * soft
