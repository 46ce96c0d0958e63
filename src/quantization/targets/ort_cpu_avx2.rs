use super::ort_cpu::ORT_CPU;
use crate::quantization::target::Target;

/// Without VNNI (AVX2, and AVX-512 without it) ONNX Runtime adds two products of u8 × s8 in 16 bits, saturating
/// (`vpmaddubsw`): weights of 7 bits are never cut off there.
pub const ORT_CPU_AVX2: Target = Target {
    name: "ort-cpu-avx2",
    description: "ONNX Runtime and OpenVINO on x64 CPUs without VNNI; 7-bit weights",
    largest_weight: 64,
    costs: None,
    runs_in: "ONNX Runtime 1.16 with operator sets up to 19, 1.18 with 20 and 21, which integers of 4 and 16 bits need; OpenVINO 2026.4",
    tested: "in ONNX Runtime 1.31.1 and OpenVINO 2026.4 on x64 with VNNI; without it, only that no two products overflow 16 bits",
    ..ORT_CPU
};
