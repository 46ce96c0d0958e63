//! Facts about a runtime: what it runs as integers, and where it wants quantizers.

use super::costs::RuntimeCosts;
use super::widths::Widths;
use crate::error::{Error, Result};
use crate::graph::{Dim, Graph, known_shape};
use crate::tensor::DataType;

/// Where QDQ pairs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Around every tensor between two integer operators, outputs included (ONNX Runtime on CPU, OpenVINO).
    Everywhere,
    /// At the inputs of matrix products and on the skip input of residual additions only (TensorRT).
    WeightedInputs,
    /// At the inputs of matrix products alone: where the runtime has no kernels for the integers and computes in float.
    ProductInputs,
    /// On every float value of the network, its results too (processors without floats).
    AllValues,
}

impl Placement {
    /// Whether quantizers stand where values are read, and no result is one for being made.
    pub fn is_at_inputs(self) -> bool {
        matches!(self, Placement::WeightedInputs | Placement::ProductInputs)
    }
}

/// How integers are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Float operators between QuantizeLinear and DequantizeLinear, which the runtime fuses.
    Qdq,
    /// Integer operators (QLinearConv, QLinearMatMul, MatMulInteger), for runtimes that fuse nothing.
    QOperator,
}

/// Whose weights may have one scale per output channel; others have one scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerChannel {
    AllProducts,
    Convolutions,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Kebab-case name.
    pub name: &'static str,
    pub description: &'static str,
    /// Of 8 bits; other widths have its sign.
    pub activation_type: DataType,
    /// Zero point 0, range symmetric about 0.
    pub symmetric_activations: bool,
    /// What activations may be.
    pub activation_types: &'static [DataType],
    /// What weights may be.
    pub weight_types: &'static [DataType],
    /// Largest magnitude of an 8-bit weight.
    pub largest_weight: u8,
    pub per_channel: PerChannel,
    /// Biases as int32 behind a DequantizeLinear.
    pub integer_bias: bool,
    pub placement: Placement,
    pub format: Format,
    /// Sizes of all inputs must be known; an open batch becomes one sample.
    pub fixed_shapes: bool,
    /// The architecture whose CPUs run its files in ONNX Runtime, so that they can be timed.
    pub timed_on: Option<&'static str>,
    /// What operators cost there, where that was measured.
    pub costs: Option<&'static RuntimeCosts>,
}

impl Target {
    pub fn signed_activations(&self) -> bool {
        self.activation_type == DataType::I8
    }

    /// # Errors
    /// If the runtime does not take `graph` with integers of these widths, which `precision` stands for: all that it does not
    /// take.
    pub fn check(&self, graph: &Graph, widths: &Widths, precision: &str) -> Result<()> {
        let reasons = [self.unknown_types(widths), self.open_inputs(graph)].concat();
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Error::Usage(format!("--target {} with --precision {precision}: {}", self.name, reasons.join("; "))))
    }

    fn unknown_types(&self, widths: &Widths) -> Vec<String> {
        let (weight, activation) = (widths.weights.data_type(true), widths.activations.data_type(self.signed_activations()));
        let list = |types: &[DataType]| types.iter().map(DataType::to_string).collect::<Vec<_>>().join(", ");
        let refuse = |what: &str, found: DataType, known: &[DataType]| {
            (!known.contains(&found)).then(|| format!("it takes no {found} {what}, only {}", list(known)))
        };
        let reasons = [refuse("weights", weight, self.weight_types), refuse("activations", activation, self.activation_types)];
        reasons.into_iter().flatten().collect()
    }

    fn open_inputs(&self, graph: &Graph) -> Vec<String> {
        let open =
            |shape: &Option<Vec<Dim>>| shape.as_deref().is_none_or(|shape| known_shape(shape.get(1..).unwrap_or_default()).is_none());
        let inputs = graph.inputs.iter().map(|id| graph.value(*id)).filter(|value| self.fixed_shapes && open(&value.shape));
        inputs.map(|value| format!("it takes no open sizes, as input `{0}` has: pass --shape {0}=SIZES", value.name)).collect()
    }
}
