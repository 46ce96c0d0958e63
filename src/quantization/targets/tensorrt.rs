use crate::quantization::target::{Placement, Target};
use crate::tensor::DataType;

/// Explicit quantization: symmetric s8 everywhere, float biases, pairs at the inputs of matrix products.
pub const TENSORRT: Target = Target {
    name: "tensorrt",
    description: "TensorRT with explicit quantization",
    activation_type: DataType::I8,
    symmetric_activations: true,
    integer_bias: false,
    placement: Placement::WeightedInputs,
    minimum_opset: 13,
    costs: None,
};
