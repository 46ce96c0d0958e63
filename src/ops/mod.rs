//! The operators that zeroq knows, one file each.

mod abs;
mod add;
mod affine_grid;
mod arg_extreme;
#[cfg(test)]
mod arithmetic_tests;
pub mod attributes;
mod average_pool;
mod batch_normalization;
mod binary;
mod broadcast;
mod celu;
mod clip;
mod col2im;
mod comparison;
mod concat;
mod conv;
mod conv_transpose;
mod convolution_kernel;
mod cos;
mod cum_sum;
mod deform_conv;
mod depth_to_space;
mod dequantize_linear;
mod div;
mod dropout;
mod einsum;
mod elu;
mod erf;
mod exp;
mod expand;
mod foreign;
mod form;
mod gather;
mod gather_elements;
mod gather_nd;
mod gelu;
mod gemm;
mod global_average_pool;
mod global_max_pool;
#[cfg(test)]
mod gradient_tests;
mod grid_sample;
mod group_normalization;
mod hard_sigmoid;
mod hard_swish;
#[cfg(test)]
mod index_gradient_tests;
mod indexed;
mod instance_normalization;
mod layer_normalization;
mod leaky_relu;
mod linear_quantization;
mod lines;
mod log;
mod log_softmax;
mod lp_normalization;
mod lp_pool;
mod lrn;
mod mat_mul;
mod matrix_kernel;
mod max;
mod max_pool;
mod max_unpool;
mod mean;
mod min;
mod mish;
mod mix;
mod modulo;
mod mul;
mod neg;
mod normalization;
mod normalized_exponential;
mod one_hot;
pub mod operator;
mod p_relu;
mod pad;
mod pooling;
mod pow;
mod predicate;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod product_tests;
mod quantization_drop;
#[cfg(test)]
mod quantization_tests;
mod quantize_linear;
mod rearrange;
mod recurrent;
mod reduce;
mod reduction;
#[cfg(test)]
mod reduction_tests;
mod relu;
mod reordered;
mod resampling;
mod reshape;
mod resize;
mod resize_forms;
mod reverse_sequence;
mod roi_align;
mod rounding;
#[cfg(test)]
mod sampling_tests;
mod scatter;
mod selu;
mod shape;
mod shrink;
mod sigmoid;
mod sin;
mod slice;
mod sliding;
mod soft_round;
mod softmax;
mod softplus;
mod softsign;
mod space_to_depth;
mod split;
mod sqrt;
mod sub;
mod sum;
mod swing;
mod swish;
mod tanh;
mod thresholded_relu;
mod tile;
mod top_k;
mod transpose;
mod trigonometry;
mod trilu;
pub(crate) mod unary;
mod variadic;

use crate::kernels::reduce::Reduction;
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
pub use dropout::Dropout;
pub use einsum::Einsum;
pub use elu::Elu;
pub use erf::Erf;
pub use exp::Exp;
pub use expand::Expand;
pub use foreign::Foreign;
pub use form::{NodeForm, Parsed};
pub use gather::Gather;
pub use gelu::Gelu;
pub use gemm::Gemm;
pub use global_average_pool::GlobalAveragePool;
pub use global_max_pool::GlobalMaxPool;
pub use grid_sample::GridSample;
pub use group_normalization::GroupNormalization;
pub use hard_sigmoid::HardSigmoid;
pub use hard_swish::HardSwish;
pub use instance_normalization::InstanceNormalization;
pub use layer_normalization::LayerNormalization;
pub use leaky_relu::LeakyRelu;
pub use linear_quantization::Sharing;
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
use predicate::Predicate;
pub use quantization_drop::QuantizationDrop;
pub use quantize_linear::QuantizeLinear;
pub use reduce::Reduce;
pub use reduction::ReducedAxes;
pub use relu::Relu;
pub use reshape::{Flatten, Identity, Reshape, Squeeze, Unsqueeze};
pub use resize::{AspectRatio, Interpolation, OLD_ROUNDING, Resize};
pub use resize_forms::ResizeLists;
pub use roi_align::RoiAlign;
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
pub use swing::Swing;
pub use tanh::Tanh;
pub use tile::Tile;
pub use transpose::Transpose;

/// Reads a node's attributes. An error refuses the node by name.
pub type Parse = fn(NodeForm) -> Result<Parsed, Refusal>;

/// As many inputs as there are.
const ANY: usize = usize::MAX;

/// Every known operator by ONNX name, sorted, with the most inputs that any operator set gives it.
const OPERATORS: &[(&str, usize, Parse)] = &[
    ("Abs", 1, |form| unary::plain(form, abs::Abs)),
    ("Acos", 1, |form| unary::plain(form, trigonometry::Acos)),
    ("Acosh", 1, |form| unary::plain(form, trigonometry::Acosh)),
    ("Add", 2, add::parse),
    ("AffineGrid", 2, affine_grid::parse),
    ("And", 2, comparison::parse_and),
    ("ArgMax", 1, |form| arg_extreme::ArgExtreme::parse(form, true)),
    ("ArgMin", 1, |form| arg_extreme::ArgExtreme::parse(form, false)),
    ("Asin", 1, |form| unary::plain(form, trigonometry::Asin)),
    ("Asinh", 1, |form| unary::plain(form, trigonometry::Asinh)),
    ("Atan", 1, |form| unary::plain(form, trigonometry::Atan)),
    ("Atanh", 1, |form| unary::plain(form, trigonometry::Atanh)),
    ("AveragePool", 1, average_pool::parse),
    ("BatchNormalization", 5, batch_normalization::parse),
    ("Cast", 1, Cast::parse),
    ("CastLike", 2, CastLike::parse),
    ("Ceil", 1, |form| unary::plain(form, rounding::Ceil)),
    ("Celu", 1, celu::parse),
    ("Clip", 3, clip::parse),
    ("Col2Im", 3, col2im::parse),
    ("Concat", ANY, Concat::parse),
    ("ConstantOfShape", 1, ConstantOfShape::parse),
    ("Conv", 3, conv::parse),
    ("ConvTranspose", 3, conv_transpose::parse),
    ("Cos", 1, |form| unary::plain(form, cos::Cos)),
    ("Cosh", 1, |form| unary::plain(form, trigonometry::Cosh)),
    ("CumSum", 2, cum_sum::parse),
    ("DeformConv", 5, deform_conv::parse),
    ("DepthToSpace", 1, DepthToSpace::parse),
    ("DequantizeLinear", 3, dequantize_linear::parse),
    ("Div", 2, div::parse),
    ("Dropout", 3, Dropout::parse),
    ("Einsum", ANY, Einsum::parse),
    ("Elu", 1, elu::parse),
    ("Equal", 2, comparison::parse_equal),
    ("Erf", 1, |form| unary::plain(form, erf::Erf)),
    ("Exp", 1, |form| unary::plain(form, exp::Exp)),
    ("Expand", 2, Expand::parse),
    ("EyeLike", 1, one_hot::EyeLike::parse),
    ("Flatten", 1, Flatten::parse),
    ("Floor", 1, |form| unary::plain(form, rounding::Floor)),
    ("GRU", 6, recurrent::parse_gru),
    ("Gather", 2, Gather::parse),
    ("GatherElements", 2, gather_elements::GatherElements::parse),
    ("GatherND", 2, gather_nd::GatherND::parse),
    ("Gelu", 1, gelu::parse),
    ("Gemm", 3, gemm::parse),
    ("GlobalAveragePool", 1, global_average_pool::parse),
    ("GlobalLpPool", 1, lp_pool::GlobalLpPool::parse),
    ("GlobalMaxPool", 1, global_max_pool::parse),
    ("Greater", 2, comparison::parse_greater),
    ("GreaterOrEqual", 2, comparison::parse_greater_or_equal),
    ("GridSample", 2, grid_sample::parse),
    ("GroupNormalization", 3, group_normalization::parse),
    ("HardSigmoid", 1, hard_sigmoid::parse),
    ("HardSwish", 1, |form| unary::plain(form, hard_swish::HardSwish)),
    ("Identity", 1, Identity::parse),
    ("InstanceNormalization", 3, instance_normalization::parse),
    ("IsInf", 1, Predicate::parse_is_inf),
    ("IsNaN", 1, |form| unary::plain(form, Predicate::IsNaN)),
    ("LRN", 1, lrn::parse),
    ("LSTM", 8, recurrent::parse_lstm),
    ("LayerNormalization", 3, layer_normalization::parse),
    ("LeakyRelu", 1, leaky_relu::parse),
    ("Less", 2, comparison::parse_less),
    ("LessOrEqual", 2, comparison::parse_less_or_equal),
    ("Log", 1, |form| unary::plain(form, log::Log)),
    ("LogSoftmax", 1, log_softmax::parse),
    ("LpNormalization", 1, lp_normalization::parse),
    ("LpPool", 1, lp_pool::LpPool::parse),
    ("MatMul", 2, mat_mul::parse),
    ("Max", ANY, max::parse),
    ("MaxPool", 1, max_pool::parse),
    ("MaxUnpool", 3, max_unpool::parse),
    ("Mean", ANY, mean::parse),
    ("Min", ANY, min::parse),
    ("Mish", 1, |form| unary::plain(form, mish::Mish)),
    ("Mod", 2, modulo::parse),
    ("Mul", 2, mul::parse),
    ("Neg", 1, |form| unary::plain(form, neg::Neg)),
    ("Not", 1, |form| unary::plain(form, Predicate::Not)),
    ("OneHot", 3, one_hot::OneHot::parse),
    ("Or", 2, comparison::parse_or),
    ("PRelu", 2, p_relu::parse),
    ("Pad", 4, Pad::parse),
    ("Pow", 2, pow::parse),
    ("QuantizeLinear", 3, quantize_linear::parse),
    ("RNN", 6, recurrent::parse_rnn),
    ("Range", 3, Range::parse),
    ("Reciprocal", 1, |form| unary::plain(form, rounding::Reciprocal)),
    ("ReduceL1", 2, |form| Reduce::parse(form, Reduction::L1)),
    ("ReduceL2", 2, |form| Reduce::parse(form, Reduction::L2)),
    ("ReduceLogSum", 2, |form| Reduce::parse(form, Reduction::LogSum)),
    ("ReduceLogSumExp", 2, |form| Reduce::parse(form, Reduction::LogSumExp)),
    ("ReduceMax", 2, |form| Reduce::parse(form, Reduction::Max)),
    ("ReduceMean", 2, |form| Reduce::parse(form, Reduction::Mean)),
    ("ReduceMin", 2, |form| Reduce::parse(form, Reduction::Min)),
    ("ReduceProd", 2, |form| Reduce::parse(form, Reduction::Product)),
    ("ReduceSum", 2, |form| Reduce::parse(form, Reduction::Sum)),
    ("ReduceSumSquare", 2, |form| Reduce::parse(form, Reduction::SumOfSquares)),
    ("Relu", 1, relu::parse),
    ("Reshape", 2, Reshape::parse),
    ("Resize", 4, Resize::parse),
    ("ReverseSequence", 2, reverse_sequence::parse),
    ("RoiAlign", 3, roi_align::parse),
    ("Round", 1, |form| unary::plain(form, rounding::Round)),
    ("Scatter", 3, scatter::ScatterElements::parse),
    ("ScatterElements", 3, scatter::ScatterElements::parse),
    ("ScatterND", 3, scatter::ScatterND::parse),
    ("Selu", 1, selu::parse),
    ("Shape", 1, Shape::parse),
    ("Shrink", 1, shrink::parse),
    ("Sigmoid", 1, sigmoid::parse),
    ("Sign", 1, |form| unary::plain(form, rounding::Sign)),
    ("Sin", 1, |form| unary::plain(form, sin::Sin)),
    ("Sinh", 1, |form| unary::plain(form, trigonometry::Sinh)),
    ("Size", 1, Size::parse),
    ("Slice", 5, Slice::parse),
    ("Softmax", 1, softmax::parse),
    ("Softplus", 1, |form| unary::plain(form, softplus::Softplus)),
    ("Softsign", 1, |form| unary::plain(form, softsign::Softsign)),
    ("SpaceToDepth", 1, SpaceToDepth::parse),
    ("Split", 2, Split::parse),
    ("Sqrt", 1, |form| unary::plain(form, sqrt::Sqrt)),
    ("Squeeze", 2, Squeeze::parse),
    ("Sub", 2, sub::parse),
    ("Sum", ANY, sum::parse),
    ("Swish", 1, swish::parse),
    ("Tan", 1, |form| unary::plain(form, trigonometry::Tan)),
    ("Tanh", 1, |form| unary::plain(form, tanh::Tanh)),
    ("ThresholdedRelu", 1, thresholded_relu::parse),
    ("Tile", 2, Tile::parse),
    ("TopK", 2, top_k::parse),
    ("Transpose", 1, Transpose::parse),
    ("Trilu", 2, trilu::Trilu::parse),
    ("Unsqueeze", 2, Unsqueeze::parse),
    ("Upsample", 2, Resize::parse_upsample),
    ("Where", 3, Where::parse),
    ("Xor", 2, comparison::parse_xor),
];

/// The operator `op_type` of the default domain as written in `form`; `None` if zeroq does not know it.
pub fn parse(op_type: &str, form: NodeForm) -> Option<Result<Parsed, Refusal>> {
    let index = OPERATORS.binary_search_by_key(&op_type, |(name, ..)| name).ok()?;
    let (_, most, parse) = OPERATORS[index];
    if form.input_count > most {
        return Some(Err(format!("it has {} inputs, and the operator takes {most} at most", form.input_count)));
    }
    Some(parse(form))
}

/// Names of all known operators.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|(name, ..)| *name)
}
