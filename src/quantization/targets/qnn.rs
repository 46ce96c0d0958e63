use crate::quantization::target::{Format, PerChannel, Placement, Target};
use crate::tensor::DataType;

/// What ONNX Runtime hands to a Hexagon processor: u8 or u16 activations on every value, results too, since what is float
/// goes back to the CPU; results have 16 bits, behind a conversion of what makes them; one scale per channel in convolutions
/// only.
pub const QNN: Target = Target {
    name: "qnn",
    description: "ONNX Runtime with QNN, on Qualcomm NPUs",
    runtime: "ONNX Runtime with QNN",
    activation_type: DataType::U8,
    symmetric_activations: false,
    activation_types: &[DataType::U8, DataType::U16],
    weight_types: &[DataType::I8, DataType::I4],
    largest_weight: 127,
    per_channel: PerChannel::Convolutions,
    integer_bias: true,
    transposed_convolutions: true,
    eight_bits_alone: false,
    placement: Placement::AllValues,
    format: Format::Qdq,
    fixed_shapes: true,
    timed_on: None,
    costs: None,
    runs_in: "ONNX Runtime 1.18 with its QNN provider",
    tested: "in ONNX Runtime 1.31.1 on a CPU; on no Qualcomm processor",
};
