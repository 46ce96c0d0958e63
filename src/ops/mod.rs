//! The operators that zeroq knows, one file each.

pub mod attributes;
mod conv;
mod conv_transpose;
mod convolution_kernel;
mod foreign;
mod gemm;
mod mat_mul;
mod matrix_kernel;
pub mod operator;
#[cfg(test)]
mod product_tests;
mod reordered;
mod sliding;

use std::sync::Arc;

use crate::tensor::TensorData;
pub use attributes::{Attribute, Attributes};
pub use conv::Conv;
pub use conv_transpose::ConvTranspose;
pub use foreign::Foreign;
pub use gemm::Gemm;
pub use mat_mul::MatMul;
pub use operator::{Operator, Refusal};
pub use sliding::{AutoPad, Sliding};

/// An operator read from a node of an older or newer operator set, in the form that sets 13 to 17 share.
pub struct Parsed {
    pub operator: Arc<dyn Operator>,
    /// Inputs that the node's own set wrote as attributes (axes of Squeeze, bounds of Clip, …): `(input index, value)`.
    pub inputs: Vec<(usize, TensorData)>,
}

impl Parsed {
    pub fn plain(operator: impl Operator) -> Self {
        Parsed { operator: Arc::new(operator), inputs: Vec::new() }
    }
}

/// What a node says beside its inputs.
pub struct NodeForm {
    pub attributes: Attributes,
    /// Version of the default operator set that the node is written in.
    pub opset: i64,
    pub input_count: usize,
    pub output_count: usize,
}

/// Reads a node's attributes. An error refuses the node by name.
pub type Parse = fn(NodeForm) -> Result<Parsed, Refusal>;

/// Every known operator by ONNX name, sorted.
const OPERATORS: &[(&str, Parse)] =
    &[("Conv", conv::parse), ("ConvTranspose", conv_transpose::parse), ("Gemm", gemm::parse), ("MatMul", mat_mul::parse)];

/// The operator `op_type` of the default domain as written in `form`; `None` if zeroq does not know it.
pub fn parse(op_type: &str, form: NodeForm) -> Option<Result<Parsed, Refusal>> {
    let index = OPERATORS.binary_search_by_key(&op_type, |(name, _)| name).ok()?;
    Some((OPERATORS[index].1)(form))
}

/// Names of all known operators.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|(name, _)| *name)
}
