"""The torch side of idsnn: neuron, networks, initialization, distillation, training."""
