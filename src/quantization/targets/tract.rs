use crate::quantization::target::{Format, PerChannel, Placement, Target};
use crate::tensor::DataType;

/// tract computes QLinearConv, QLinearMatMul and MatMulInteger on integers, and what stands between QDQ pairs in float.
pub const TRACT: Target = Target {
    name: "tract",
    description: "tract, in integer operators (QLinearConv, MatMulInteger)",
    runtime: "tract",
    activation_type: DataType::U8,
    symmetric_activations: false,
    activation_types: &[DataType::U8],
    weight_types: &[DataType::I8],
    largest_weight: 127,
    per_channel: PerChannel::AllProducts,
    integer_bias: true,
    transposed_convolutions: false,
    eight_bits_alone: true,
    placement: Placement::Everywhere,
    format: Format::QOperator,
    fixed_shapes: false,
    timed_on: None,
    costs: None,
    runs_in: "tract 0.23",
    tested: "in tract 0.23 and in ONNX Runtime 1.31.1",
};
