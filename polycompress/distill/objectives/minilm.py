"""MiniLM: the attention and the value relations of one layer, as a rule the last of each model."""

from __future__ import annotations

from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.attention import attention_kl, attention_log_maps
from polycompress.distill.objectives.inputs import check_pairs
from polycompress.distill.outputs import Given, Needs, Outputs


def value_relation_kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(R^T || R^S) with R = softmax(V V^T / sqrt(d)) over real tokens, the mean over heads and real tokens.

    Args:
        student: (B, A, n, d_S) values.
        teacher: (B, A, n, d_T) values; gets no gradient.
        mask: (B, n) bool, True for real tokens.

    Returns:
        Scalar, fp32 or wider. A rotation within a head changes nothing, and d_S and d_T may differ.

    Raises:
        InputError: The numbers of heads differ.

    Reference:
        Wang et al., "MiniLM" (2020), section 3.2.
    """
    own, other = (attention_log_maps(values, values, mask) for values in (student, teacher.detach()))
    return attention_kl(own, other, mask)


class MiniLM(Objective):
    """Deep self-attention distillation: attention maps and value relations of one pair of layers.

        L = KL(A^T || A^S) + KL(R^T || R^S),    each the mean over heads and real tokens

    Widths may differ; numbers of heads may not, of values either. For those there is ``MiniLMv2``.

    Reference:
        Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
        Transformers" (2020), section 3.
    """

    def __init__(self, student_layer: int, teacher_layer: int) -> None:
        """Say what is matched.

        Args:
            student_layer: From 0; as a rule the last.
            teacher_layer: From 0; as a rule the last.

        Raises:
            InputError: A layer is below 0.
        """
        super().__init__()
        check_pairs("minilm", [(student_layer, teacher_layer)])
        self.student_layer, self.teacher_layer = student_layer, teacher_layer
        own, other = frozenset((student_layer,)), frozenset((teacher_layer,))
        self.student_needs = Needs(queries=own, keys=own, values=own)
        self.teacher_needs = Needs(queries=other, keys=other, values=other)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The sum of both divergences."""
        own, other, mask = self.student_layer, self.teacher_layer, given.mask
        attention = attention_kl(
            attention_log_maps(student.queries[own], student.keys[own], mask),
            attention_log_maps(teacher.queries[other], teacher.keys[other], mask),
            mask,
        )
        return attention + value_relation_kl(student.values[own], teacher.values[other], mask)
