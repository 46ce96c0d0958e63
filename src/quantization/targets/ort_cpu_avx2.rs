use super::ort_cpu::ORT_CPU;
use crate::quantization::target::Target;

/// Without VNNI (AVX2, and AVX-512 without it) ONNX Runtime adds two products of u8 × s8 in 16 bits, saturating
/// (`vpmaddubsw`): weights of 7 bits are never cut off there.
pub const ORT_CPU_AVX2: Target = Target {
    name: "ort-cpu-avx2",
    description: "ONNX Runtime and OpenVINO on x64 CPUs without VNNI; 7-bit weights",
    largest_weight: 64,
    costs: None,
    ..ORT_CPU
};
