//! A node as it is read, and what becomes of it.

use std::sync::Arc;

use super::attributes::Attributes;
use super::operator::Operator;
use crate::tensor::TensorData;

/// An operator read from a node of an older or newer operator set, in the form that sets 13 to 17 share.
pub struct Parsed {
    pub operator: Arc<dyn Operator>,
    /// Inputs that the node's own set wrote as attributes (axes of Squeeze, bounds of Clip, …): `(input index, value)`.
    pub inputs: Vec<(usize, TensorData)>,
    /// An input that the node's own set wrote at another place: `(index there, index here)`.
    pub moved: Option<(usize, usize)>,
}

impl Parsed {
    pub fn plain(operator: impl Operator) -> Self {
        Parsed::of(Arc::new(operator))
    }

    pub fn of(operator: Arc<dyn Operator>) -> Self {
        Parsed { operator, inputs: Vec::new(), moved: None }
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
