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
    runs_in: "ONNX Runtime 1.16 with operator sets up to 19, 1.18 with 20 and 21, which integers of 4 and 16 bits need",
    tested: "in ONNX Runtime 1.31.1 on x64; on no ARM processor",
    ..ORT_CPU
};
