use crate::quantization::target::{Format, PerChannel, Placement, Target};
use crate::tensor::DataType;

/// Explicit quantization: symmetric s8 everywhere, float biases, pairs at the inputs of matrix products.
pub const TENSORRT: Target = Target {
    name: "tensorrt",
    description: "TensorRT with explicit quantization",
    runtime: "TensorRT",
    activation_type: DataType::I8,
    symmetric_activations: true,
    activation_types: &[DataType::I8],
    weight_types: &[DataType::I8, DataType::I4],
    largest_weight: 127,
    per_channel: PerChannel::AllProducts,
    integer_bias: false,
    transposed_convolutions: true,
    eight_bits_alone: true,
    placement: Placement::WeightedInputs,
    format: Format::Qdq,
    fixed_shapes: false,
    timed_on: None,
    costs: None,
    runs_in: "TensorRT 10",
    tested: "in ONNX Runtime 1.31.1 on a CPU; not in TensorRT",
};
