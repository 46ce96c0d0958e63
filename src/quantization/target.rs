//! Facts about a runtime: what it runs as integers, and where it wants quantizers.

use super::costs::RuntimeCosts;
use super::widths::{Width, Widths};
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
    /// Kebab-case name.
    pub fn name(self) -> &'static str {
        match self {
            Placement::Everywhere => "everywhere",
            Placement::WeightedInputs => "weighted-inputs",
            Placement::ProductInputs => "product-inputs",
            Placement::AllValues => "all-values",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Placement::Everywhere => "around every tensor between two integer operators, outputs included",
            Placement::WeightedInputs => "at the inputs of matrix products, and on the skip input of residual additions",
            Placement::ProductInputs => "at the inputs of matrix products alone",
            Placement::AllValues => "on every float value, the results of the network too",
        }
    }

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

impl Format {
    /// Kebab-case name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Qdq => "qdq",
            Format::QOperator => "qoperator",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Format::Qdq => "float operators between QuantizeLinear and DequantizeLinear, which the runtime fuses",
            Format::QOperator => "integer operators: QLinearConv, QLinearMatMul, MatMulInteger",
        }
    }
}

/// Whose weights may have one scale per output channel; others have one scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerChannel {
    AllProducts,
    Convolutions,
}

impl PerChannel {
    /// Kebab-case name.
    pub fn name(self) -> &'static str {
        match self {
            PerChannel::AllProducts => "all-products",
            PerChannel::Convolutions => "convolutions",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            PerChannel::AllProducts => "one for each output channel",
            PerChannel::Convolutions => "one for each output channel of convolutions, one for all else",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Kebab-case name.
    pub name: &'static str,
    pub description: &'static str,
    /// What runs its files.
    pub runtime: &'static str,
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
    /// Whether it runs ConvTranspose on integers; else the weights of one are stored so.
    pub transposed_convolutions: bool,
    /// Whether integers of other sizes than 8 bits are computed with in float.
    pub eight_bits_alone: bool,
    pub placement: Placement,
    pub format: Format,
    /// Sizes of all inputs must be known; an open batch becomes one sample.
    pub fixed_shapes: bool,
    /// The architecture whose CPUs run its files in ONNX Runtime, so that they can be timed.
    pub timed_on: Option<&'static str>,
    /// What operators cost there, where that was measured.
    pub costs: Option<&'static RuntimeCosts>,
    /// The oldest versions that take its files.
    pub runs_in: &'static str,
    /// What the tests of this repository run its files in, and what they do not.
    pub tested: &'static str,
}

impl Target {
    pub fn signed_activations(&self) -> bool {
        self.activation_type == DataType::I8
    }

    /// The type that results have where activations have 8 bits and everything must be an integer: a tail and what is common fit
    /// 16 bits both.
    pub fn wide_results(&self) -> Option<DataType> {
        let wide = Width::Sixteen.data_type(self.signed_activations());
        (self.placement == Placement::AllValues && self.activation_types.contains(&wide)).then_some(wide)
    }

    /// Whether the runtime knows integers of these widths.
    pub fn takes(&self, widths: &Widths) -> bool {
        self.unknown_types(widths).is_empty()
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
