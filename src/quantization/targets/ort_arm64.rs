use super::ort_cpu::ORT_CPU;
use crate::quantization::target::Target;
use crate::tensor::DataType;

/// s8 × s8 is what the dot products of ARM compute; asymmetric, since a Relu is fused where the zero point is the least
/// number.
pub const ORT_ARM64: Target = Target {
    name: "ort-arm64",
    description: "ONNX Runtime on 64-bit ARM CPUs; signed activations",
    activation_type: DataType::I8,
    activation_types: &[DataType::I8, DataType::I4, DataType::I16],
    timed_on: Some("aarch64"),
    costs: None,
    ..ORT_CPU
};
