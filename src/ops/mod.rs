//! The operators that zeroq knows, one file each.

pub mod attributes;
pub mod operator;
#[cfg(test)]
mod product_tests;
mod reordered;
mod sliding;

mod batch_normalization;
mod binary;
mod broadcast;
mod conv;
mod conv_transpose;
mod convolution_kernel;
mod foreign;
mod gemm;
mod mat_mul;
mod matrix_kernel;
mod pooling;
mod quantize_linear;
mod rearrange;
mod reduction;
mod reshape;
mod resize;
mod shape;
mod unary;
mod window;

use std::sync::Arc;

use crate::tensor::TensorData;
pub use attributes::{Attribute, Attributes};
pub use batch_normalization::BatchNormalization;
pub use binary::{Add, Clip, Div, Equal, Greater, Less, Max, Min, Mul, PRelu, Pow, Sub, Sum};
pub use conv::Conv;
pub use conv_transpose::ConvTranspose;
pub use foreign::Foreign;
pub use gemm::Gemm;
pub use mat_mul::MatMul;
pub use operator::{Operator, Refusal};
pub use pooling::{AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool};
pub use quantize_linear::{DequantizeLinear, QuantizeLinear};
pub use rearrange::PadMode;
pub use rearrange::{Concat, DepthToSpace, Expand, Gather, Pad, Slice, Split, Transpose};
pub use reduction::{LogSoftmax, Reduce, Softmax};
pub use reshape::{Dropout, Flatten, Identity, Reshape, Squeeze, Unsqueeze};
pub use resize::{Resize, Swing};
pub use shape::{Cast, CastLike, ConstantOfShape, Range, Shape, Size, Where};
pub use unary::{Abs, Ceil, Elu, Exp, Floor, HardSigmoid, HardSwish, LeakyRelu, Log, Neg, Reciprocal, Relu, Sigmoid, Softplus, Sqrt, Tanh};
pub use sliding::{AutoPad, Sliding};
pub use window::{Resolved, Window};

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
const OPERATORS: &[(&str, Parse)] = &[
    ("Abs", Abs::parse),
    ("Add", Add::parse),
    ("AveragePool", AveragePool::parse),
    ("BatchNormalization", BatchNormalization::parse),
    ("Cast", Cast::parse),
    ("CastLike", CastLike::parse),
    ("Ceil", Ceil::parse),
    ("Clip", Clip::parse),
    ("Concat", Concat::parse),
    ("ConstantOfShape", ConstantOfShape::parse),
    ("Conv", conv::parse),
    ("ConvTranspose", conv_transpose::parse),
    ("DepthToSpace", DepthToSpace::parse),
    ("DequantizeLinear", DequantizeLinear::parse),
    ("Div", Div::parse),
    ("Dropout", Dropout::parse),
    ("Elu", Elu::parse),
    ("Equal", Equal::parse),
    ("Exp", Exp::parse),
    ("Expand", Expand::parse),
    ("Flatten", Flatten::parse),
    ("Floor", Floor::parse),
    ("Gather", Gather::parse),
    ("Gemm", gemm::parse),
    ("GlobalAveragePool", GlobalAveragePool::parse),
    ("GlobalMaxPool", GlobalMaxPool::parse),
    ("Greater", Greater::parse),
    ("HardSigmoid", HardSigmoid::parse),
    ("HardSwish", HardSwish::parse),
    ("Identity", Identity::parse),
    ("LeakyRelu", LeakyRelu::parse),
    ("Less", Less::parse),
    ("Log", Log::parse),
    ("LogSoftmax", LogSoftmax::parse),
    ("MatMul", mat_mul::parse),
    ("Max", Max::parse),
    ("MaxPool", MaxPool::parse),
    ("Min", Min::parse),
    ("Mul", Mul::parse),
    ("Neg", Neg::parse),
    ("PRelu", PRelu::parse),
    ("Pad", Pad::parse),
    ("Pow", Pow::parse),
    ("QuantizeLinear", QuantizeLinear::parse),
    ("Range", Range::parse),
    ("Reciprocal", Reciprocal::parse),
    ("ReduceMax", Reduce::parse_max),
    ("ReduceMean", Reduce::parse_mean),
    ("ReduceProd", Reduce::parse_product),
    ("ReduceSum", Reduce::parse_sum),
    ("Relu", Relu::parse),
    ("Reshape", Reshape::parse),
    ("Resize", Resize::parse),
    ("Shape", Shape::parse),
    ("Sigmoid", Sigmoid::parse),
    ("Size", Size::parse),
    ("Slice", Slice::parse),
    ("Softmax", Softmax::parse),
    ("Softplus", Softplus::parse),
    ("Split", Split::parse),
    ("Sqrt", Sqrt::parse),
    ("Squeeze", Squeeze::parse),
    ("Sub", Sub::parse),
    ("Sum", Sum::parse),
    ("Tanh", Tanh::parse),
    ("Transpose", Transpose::parse),
    ("Unsqueeze", Unsqueeze::parse),
    ("Upsample", Resize::parse_upsample),
    ("Where", Where::parse),
];

/// The operator `op_type` of the default domain as written in `form`; `None` if zeroq does not know it.
pub fn parse(op_type: &str, form: NodeForm) -> Option<Result<Parsed, Refusal>> {
    let index = OPERATORS.binary_search_by_key(&op_type, |(name, _)| name).ok()?;
    Some((OPERATORS[index].1)(form))
}

/// Names of all known operators.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_sorted_and_named_once() {
        assert!(names().zip(names().skip(1)).all(|(a, b)| a < b));
    }
}
