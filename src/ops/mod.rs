//! The operators that zeroq knows, one file each.

mod abs;
mod add;
#[cfg(test)]
mod arithmetic_tests;
pub mod attributes;
mod average_pool;
mod batch_normalization;
mod binary;
mod broadcast;
mod clip;
mod comparison;
mod concat;
mod conv;
mod conv_transpose;
mod convolution_kernel;
mod depth_to_space;
mod dequantize_linear;
mod div;
mod einsum;
mod elu;
mod erf;
mod exp;
mod expand;
mod foreign;
mod gather;
mod gelu;
mod gemm;
mod global_average_pool;
mod global_max_pool;
#[cfg(test)]
mod gradient_tests;
mod group_normalization;
mod hard_sigmoid;
mod hard_swish;
mod instance_normalization;
mod layer_normalization;
mod leaky_relu;
mod linear_quantization;
mod log;
mod log_softmax;
mod lrn;
mod mat_mul;
mod matrix_kernel;
mod max;
mod max_pool;
mod min;
mod mish;
mod mul;
mod neg;
mod normalization;
mod normalized_exponential;
pub mod operator;
mod p_relu;
mod pad;
mod pooling;
mod pow;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod product_tests;
mod quantization_drop;
#[cfg(test)]
mod quantization_tests;
mod quantize_linear;
mod rearrange;
mod reduce_l2;
mod reduce_max;
mod reduce_mean;
mod reduce_sum;
mod reduction;
#[cfg(test)]
mod reduction_tests;
mod relu;
mod reordered;
mod reshape;
mod resize;
mod rounding;
mod selu;
mod shape;
mod sigmoid;
mod slice;
mod sliding;
mod soft_round;
mod softmax;
mod softplus;
mod space_to_depth;
mod split;
mod sqrt;
mod sub;
mod sum;
mod tanh;
mod tile;
mod transpose;
mod unary;
mod variadic;

use std::sync::Arc;

use crate::tensor::TensorData;
pub use abs::Abs;
pub use add::Add;
pub use attributes::{Attribute, Attributes};
pub use average_pool::AveragePool;
pub use batch_normalization::BatchNormalization;
pub use clip::Clip;
pub use comparison::{Equal, Greater, Less};
pub use concat::Concat;
pub use conv::Conv;
pub use conv_transpose::ConvTranspose;
pub use depth_to_space::DepthToSpace;
pub use dequantize_linear::DequantizeLinear;
pub use div::Div;
pub use einsum::Einsum;
pub use elu::Elu;
pub use erf::Erf;
pub use exp::Exp;
pub use expand::Expand;
pub use foreign::Foreign;
pub use gather::Gather;
pub use gelu::Gelu;
pub use gemm::Gemm;
pub use global_average_pool::GlobalAveragePool;
pub use global_max_pool::GlobalMaxPool;
pub use group_normalization::GroupNormalization;
pub use hard_sigmoid::HardSigmoid;
pub use hard_swish::HardSwish;
pub use instance_normalization::InstanceNormalization;
pub use layer_normalization::LayerNormalization;
pub use leaky_relu::LeakyRelu;
pub use log::Log;
pub use log_softmax::LogSoftmax;
pub use lrn::Lrn;
pub use mat_mul::MatMul;
pub use max::Max;
pub use max_pool::MaxPool;
pub use min::Min;
pub use mish::Mish;
pub use mul::Mul;
pub use neg::Neg;
pub use normalized_exponential::SoftmaxAxis;
pub use operator::{Operator, Refusal};
pub use p_relu::PRelu;
pub use pad::{Pad, PadMode};
pub use pooling::{Padding, Window};
pub use pow::Pow;
pub use quantization_drop::QuantizationDrop;
pub use quantize_linear::QuantizeLinear;
pub use reduce_l2::ReduceL2;
pub use reduce_max::ReduceMax;
pub use reduce_mean::ReduceMean;
pub use reduce_sum::ReduceSum;
pub use reduction::ReducedAxes;
pub use relu::Relu;
pub use reshape::{Dropout, Flatten, Identity, Reshape, Squeeze, Unsqueeze};
pub use resize::{Interpolation, Resize, Swing};
pub use rounding::{Ceil, Floor, Reciprocal};
pub use selu::Selu;
pub use shape::{Cast, CastLike, ConstantOfShape, Range, Shape, Size, Where};
pub use sigmoid::Sigmoid;
pub use slice::Slice;
pub use sliding::{AutoPad, Sliding};
pub use soft_round::SoftRound;
pub use softmax::Softmax;
pub use softplus::Softplus;
pub use space_to_depth::SpaceToDepth;
pub use split::Split;
pub use sqrt::Sqrt;
pub use sub::Sub;
pub use sum::Sum;
pub use tanh::Tanh;
pub use tile::Tile;
pub use transpose::Transpose;

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

/// Reads a node's attributes. An error refuses the node by name.
pub type Parse = fn(NodeForm) -> Result<Parsed, Refusal>;

/// Every known operator by ONNX name, sorted.
const OPERATORS: &[(&str, Parse)] = &[
    ("Abs", abs::parse),
    ("Add", add::parse),
    ("AveragePool", average_pool::parse),
    ("BatchNormalization", batch_normalization::parse),
    ("Cast", Cast::parse),
    ("CastLike", CastLike::parse),
    ("Ceil", rounding::parse_ceil),
    ("Clip", clip::parse),
    ("Concat", Concat::parse),
    ("ConstantOfShape", ConstantOfShape::parse),
    ("Conv", conv::parse),
    ("ConvTranspose", conv_transpose::parse),
    ("DepthToSpace", DepthToSpace::parse),
    ("DequantizeLinear", dequantize_linear::parse),
    ("Div", div::parse),
    ("Dropout", Dropout::parse),
    ("Einsum", Einsum::parse),
    ("Elu", elu::parse),
    ("Equal", comparison::parse_equal),
    ("Erf", erf::parse),
    ("Exp", exp::parse),
    ("Expand", Expand::parse),
    ("Flatten", Flatten::parse),
    ("Floor", rounding::parse_floor),
    ("Gather", Gather::parse),
    ("Gelu", gelu::parse),
    ("Gemm", gemm::parse),
    ("GlobalAveragePool", global_average_pool::parse),
    ("GlobalMaxPool", global_max_pool::parse),
    ("Greater", comparison::parse_greater),
    ("GroupNormalization", group_normalization::parse),
    ("HardSigmoid", hard_sigmoid::parse),
    ("HardSwish", hard_swish::parse),
    ("Identity", Identity::parse),
    ("InstanceNormalization", instance_normalization::parse),
    ("LRN", lrn::parse),
    ("LayerNormalization", layer_normalization::parse),
    ("LeakyRelu", leaky_relu::parse),
    ("Less", comparison::parse_less),
    ("Log", log::parse),
    ("LogSoftmax", log_softmax::parse),
    ("MatMul", mat_mul::parse),
    ("Max", max::parse),
    ("MaxPool", max_pool::parse),
    ("Min", min::parse),
    ("Mish", mish::parse),
    ("Mul", mul::parse),
    ("Neg", neg::parse),
    ("PRelu", p_relu::parse),
    ("Pad", Pad::parse),
    ("Pow", pow::parse),
    ("QuantizeLinear", quantize_linear::parse),
    ("Range", Range::parse),
    ("Reciprocal", rounding::parse_reciprocal),
    ("ReduceL2", reduce_l2::parse),
    ("ReduceMax", reduce_max::parse),
    ("ReduceMean", reduce_mean::parse),
    ("ReduceSum", reduce_sum::parse),
    ("Relu", relu::parse),
    ("Reshape", Reshape::parse),
    ("Resize", Resize::parse),
    ("Selu", selu::parse),
    ("Shape", Shape::parse),
    ("Sigmoid", sigmoid::parse),
    ("Size", Size::parse),
    ("Slice", Slice::parse),
    ("Softmax", softmax::parse),
    ("Softplus", softplus::parse),
    ("SpaceToDepth", SpaceToDepth::parse),
    ("Split", Split::parse),
    ("Sqrt", sqrt::parse),
    ("Squeeze", Squeeze::parse),
    ("Sub", sub::parse),
    ("Sum", sum::parse),
    ("Tanh", tanh::parse),
    ("Tile", Tile::parse),
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

/// Inputs that an operator has at most, in any operator set.
pub fn most_inputs(op_type: &str) -> usize {
    match op_type {
        "Concat" | "Max" | "Min" | "Sum" => usize::MAX,
        "BatchNormalization" | "Slice" => 5,
        "Pad" | "Resize" => 4,
        "Clip" | "Conv" | "ConvTranspose" | "DequantizeLinear" | "Dropout" | "Gemm" | "QuantizeLinear" | "Range" | "Where" => 3,
        "Add" | "CastLike" | "Div" | "Equal" | "Expand" | "Gather" | "Greater" | "Less" | "MatMul" | "Mul" | "PRelu" | "Pow" => 2,
        "ReduceMax" | "ReduceMean" | "ReduceSum" | "Reshape" | "Split" | "Squeeze" | "Sub" | "Unsqueeze" | "Upsample" => 2,
        _ => 1,
    }
}

/// Names of all known operators.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|(name, _)| *name)
}
