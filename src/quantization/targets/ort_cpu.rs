use super::ort_cpu_costs::ORT_CPU_COSTS;
use crate::quantization::target::{Format, PerChannel, Placement, Target};
use crate::tensor::DataType;

/// u8 × s8 with asymmetric activations is what the CPU provider of ONNX Runtime fuses; OpenVINO takes the same file.
pub const ORT_CPU: Target = Target {
    name: "ort-cpu",
    description: "ONNX Runtime on x64 CPUs with VNNI, and OpenVINO",
    runtime: "ONNX Runtime",
    activation_type: DataType::U8,
    symmetric_activations: false,
    activation_types: &[DataType::U8, DataType::U4, DataType::U16],
    weight_types: &[DataType::I8, DataType::I4],
    largest_weight: 127,
    per_channel: PerChannel::AllProducts,
    integer_bias: true,
    transposed_convolutions: false,
    eight_bits_alone: true,
    placement: Placement::Everywhere,
    format: Format::Qdq,
    fixed_shapes: false,
    timed_on: Some("x86_64"),
    costs: Some(&ORT_CPU_COSTS),
    runs_in: "ONNX Runtime 1.16 with operator sets up to 19, 1.18 with 20 and 21, which integers of 4 and 16 bits need; OpenVINO 2026.4",
    tested: "in ONNX Runtime 1.31.1 on x64 with VNNI, speed too, and in OpenVINO 2026.4",
};
