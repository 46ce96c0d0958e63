use super::ort_cpu_costs::ORT_CPU_COSTS;
use crate::quantization::target::{Placement, Target};
use crate::tensor::DataType;

/// u8 × s8 with asymmetric activations is what the CPU provider of ONNX Runtime fuses; OpenVINO takes the same file.
pub const ORT_CPU: Target = Target {
    name: "ort-cpu",
    description: "ONNX Runtime on x64 CPUs with VNNI, and OpenVINO",
    activation_type: DataType::U8,
    symmetric_activations: false,
    integer_bias: true,
    placement: Placement::Everywhere,
    minimum_opset: 13,
    costs: Some(&ORT_CPU_COSTS),
};
