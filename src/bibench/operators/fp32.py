"""Full precision through the same machinery: the baseline, bit-identical to the plain network."""

from torch import Tensor

from bibench.operators.base import Operator, operator
from bibench.operators.description import InferenceForm
from bibench.operators.method import Techniques


@operator("fp32")
class FP32(Operator):
    """No binarization at all: layers compute exactly what they computed before conversion; BiBench's own baseline."""

    title = "Full precision"
    formula = r"o = a * w"
    techniques = Techniques(weight_gradient="exact", activation_gradient="exact")
    full_precision = True
    weight_bits = 32
    activation_bits = 32

    def inference_form(self, w: Tensor) -> InferenceForm:
        return InferenceForm(weight=w)
