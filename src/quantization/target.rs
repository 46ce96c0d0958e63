//! Facts about a runtime: what it runs as integers, and where it wants quantizers.

use super::costs::RuntimeCosts;
use crate::tensor::DataType;

/// Where QDQ pairs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Around every tensor between two integer operators, outputs included (ONNX Runtime on CPU, OpenVINO).
    Everywhere,
    /// At the inputs of matrix products and on the skip input of residual additions only (TensorRT).
    WeightedInputs,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Kebab-case name.
    pub name: &'static str,
    pub description: &'static str,
    pub activation_type: DataType,
    /// Zero point 0, range symmetric about 0.
    pub symmetric_activations: bool,
    /// Biases as int32 behind a DequantizeLinear.
    pub integer_bias: bool,
    pub placement: Placement,
    pub minimum_opset: i64,
    /// What operators cost there, where that was measured.
    pub costs: Option<&'static RuntimeCosts>,
}
