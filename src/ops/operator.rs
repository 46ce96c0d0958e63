//! What an operator is: six faces, and it never sees the graph.

use std::any::Any;
use std::fmt::Debug;

use super::attributes::Attributes;
use crate::graph::Dim;
use crate::kernels::{Activation, Isa};
use crate::tensor::{DataType, TensorData};

/// Why an operator refuses its attributes or inputs: text for the user, without the node's name.
pub type Refusal = String;

/// What is known of a value before anything runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub data_type: DataType,
    pub shape: Vec<Dim>,
    /// The numbers, where they are known already.
    pub constant: Option<TensorData>,
}

/// Elements of the largest value that is believed.
pub const MOST_ELEMENTS: usize = 1 << 31;

impl Fact {
    /// Whether the known sizes alone make more than [`MOST_ELEMENTS`].
    pub fn is_too_large(&self) -> bool {
        let mut sizes = self.shape.iter().filter_map(Dim::known);
        sizes.try_fold(1usize, |count, size| count.checked_mul(size).filter(|count| *count <= MOST_ELEMENTS)).is_none()
    }

    pub fn new(data_type: DataType, shape: Vec<Dim>) -> Self {
        Fact { data_type, shape, constant: None }
    }

    pub fn known(data_type: DataType, shape: &[usize]) -> Self {
        Fact::new(data_type, shape.iter().map(|n| Dim::Known(*n)).collect())
    }

    pub fn of(tensor: TensorData) -> Self {
        Fact { constant: Some(tensor.clone()), ..Fact::known(tensor.data_type(), tensor.shape()) }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The numbers as integers, where they are known.
    pub fn integers(&self) -> Option<Vec<i64>> {
        self.constant.as_ref()?.to_i64()
    }
}

/// Facts of a node's inputs, in ONNX order; `None` where an optional input is omitted.
pub struct Facts<'a>(pub &'a [Option<Fact>]);

impl Facts<'_> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<&Fact> {
        self.0.get(index).and_then(Option::as_ref)
    }

    /// # Errors
    /// If input `index` is missing.
    pub fn required(&self, index: usize) -> Result<&Fact, Refusal> {
        self.get(index).ok_or_else(|| format!("input {index} is missing"))
    }
}

/// Where the elements of a value lie in flat memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Sizes in ONNX order, for example `[N, C, H, W]`.
    pub shape: Vec<usize>,
    /// Distance in elements between neighbours along each dimension. Together they cover `0..len` exactly once.
    pub strides: Vec<usize>,
}

impl Layout {
    /// Row-major: the last dimension is contiguous.
    pub fn row_major(shape: &[usize]) -> Self {
        Self::ordered(shape, &(0..shape.len()).collect::<Vec<_>>())
    }

    /// `order` lists the dimensions from the outermost to the contiguous one.
    pub fn ordered(shape: &[usize], order: &[usize]) -> Self {
        let mut strides = vec![0; shape.len()];
        let mut step = 1;
        for dim in order.iter().rev() {
            strides[*dim] = step;
            step *= shape[*dim];
        }
        Layout { shape: shape.to_vec(), strides }
    }

    /// What flows image by image: `[N, H, W, C]` in memory for rank 3 and more, row-major below.
    pub fn activation(shape: &[usize]) -> Self {
        let mut order: Vec<usize> = (0..shape.len()).collect();
        if shape.len() >= 3 {
            order.remove(1);
            order.push(1);
        }
        Self::ordered(shape, &order)
    }

    /// What all images share: `[kH, kW, in, out]` in memory for rank 3 and more, row-major below.
    pub fn parameter(shape: &[usize]) -> Self {
        let mut order: Vec<usize> = (0..shape.len()).collect();
        if shape.len() >= 3 {
            order.rotate_left(2);
            let rank = order.len();
            order.swap(rank - 2, rank - 1);
        }
        Self::ordered(shape, &order)
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_row_major(&self) -> bool {
        *self == Self::row_major(&self.shape)
    }

    /// Memory offset of each element, in row-major order of the logical indices.
    pub fn offsets(&self) -> Vec<usize> {
        self.broadcast_offsets(&self.shape)
    }

    /// Memory offset of the element that stands at each position of `shape` after numpy broadcasting, row-major.
    pub fn broadcast_offsets(&self, shape: &[usize]) -> Vec<usize> {
        let lead = shape.len() - self.shape.len();
        let mut offsets = vec![0];
        for (dim, size) in shape.iter().enumerate() {
            let stride = if dim < lead || self.shape[dim - lead] == 1 { 0 } else { self.strides[dim - lead] };
            offsets = offsets.iter().flat_map(|base| (0..*size).map(move |i| base + i * stride)).collect();
        }
        offsets
    }
}

/// An input as a kernel will meet it: always f32 in flight, whatever its declared type.
#[derive(Clone, Debug)]
pub struct Operand {
    pub layout: Layout,
    pub data_type: DataType,
    /// The numbers, where they never change.
    pub constant: Option<TensorData>,
    /// True where one value serves all images (a parameter, or computed from parameters alone).
    pub shared: bool,
    /// Whether `backward` will be asked for its gradient.
    pub wants_gradient: bool,
}

/// All that a kernel may know when it is made. Shapes are final; the batch is one sample.
pub struct Site<'a> {
    pub inputs: &'a [Option<Operand>],
    /// `None` where an output is left out.
    pub outputs: &'a [Option<Layout>],
    pub isa: Isa,
}

impl Site<'_> {
    pub fn get(&self, index: usize) -> Option<&Operand> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    /// # Errors
    /// If input `index` is missing.
    pub fn required(&self, index: usize) -> Result<&Operand, Refusal> {
        self.get(index).ok_or_else(|| format!("input {index} is missing"))
    }

    /// Where output `index` is to lie; `None` if nobody asks for it.
    pub fn output(&self, index: usize) -> Option<&Layout> {
        self.outputs.get(index).and_then(Option::as_ref)
    }

    /// # Errors
    /// If input `index` is missing or its numbers are not known beforehand.
    pub fn integers(&self, index: usize) -> Result<Vec<i64>, Refusal> {
        let constant = self.required(index)?.constant.as_ref();
        constant.and_then(TensorData::to_i64).ok_or_else(|| format!("input {index} must be constant integers"))
    }
}

/// Where an element of a moved output comes from.
pub const FILL: u32 = u32::MAX;

/// How an operator works once shapes are final.
pub enum Implementation {
    /// The outputs depend on shapes alone.
    Constant(Vec<TensorData>),
    /// Every output element is one input element, or `fill`: one map per output, row-major in logical indices.
    /// An entry counts through the row-major elements of all present inputs one after another; [`FILL`] takes `fill`.
    /// Forward is a gather and backward a scatter-add, on any element type and any layout.
    Move { maps: Vec<Vec<u32>>, fill: f64 },
    /// Arithmetic, one output.
    Compute(Box<dyn Kernel>),
    /// Arithmetic, a kernel for each output that there may be; all read the same inputs.
    Several(Vec<Box<dyn Kernel>>),
}

impl Implementation {
    /// One output, the elements of input 0 in their row-major order.
    pub fn same_elements(len: usize) -> Self {
        Implementation::Move { maps: vec![(0..len as u32).collect()], fill: 0.0 }
    }

    /// What makes the outputs at `positions` alone.
    ///
    /// # Errors
    /// If the operator has fewer outputs.
    pub fn at(self, positions: &[usize]) -> Result<Self, Refusal> {
        Ok(match self {
            Implementation::Constant(tensors) => Implementation::Constant(pick(tensors, positions)?),
            Implementation::Move { maps, fill } => Implementation::Move { maps: pick(maps, positions)?, fill },
            Implementation::Several(kernels) => Implementation::Several(pick(kernels, positions)?),
            Implementation::Compute(_) if positions.first() != Some(&0) => return Err("it has one output alone".to_string()),
            Implementation::Compute(kernel) => Implementation::Compute(kernel),
        })
    }
}

fn pick<T>(all: Vec<T>, positions: &[usize]) -> Result<Vec<T>, Refusal> {
    let mut all: Vec<Option<T>> = all.into_iter().map(Some).collect();
    let mut one = |position: &usize| all.get_mut(*position).and_then(Option::take).ok_or("it has an output too many");
    Ok(positions.iter().map(&mut one).collect::<Result<_, _>>()?)
}

/// A gradient to write: added to what is there if `accumulate`, else overwriting it.
pub struct Gradient<'a> {
    pub values: &'a mut [f32],
    pub accumulate: bool,
}

impl Gradient<'_> {
    /// Clears the values unless they accumulate; after this, adding is right in both cases.
    pub fn open(&mut self) -> &mut [f32] {
        if !self.accumulate {
            self.values.fill(0.0);
            self.accumulate = true;
        }
        self.values
    }
}

/// What one call of [`Kernel::backward`] works on. Slices of omitted inputs are empty.
pub struct BackwardCall<'a, 'b> {
    pub inputs: &'a [&'a [f32]],
    pub output: &'a [f32],
    pub output_gradient: &'a [f32],
    /// `None` where no gradient is wanted. Gradients of shared inputs are summed over the images of a group.
    pub input_gradients: &'a mut [Option<Gradient<'b>>],
    pub scratch: &'a mut [f32],
}

/// Forward and backward of one node on plain slices, for final shapes and layouts, one sample at a time.
pub trait Kernel: Send + Sync {
    /// f32 elements of scratch memory that a call needs.
    fn scratch(&self) -> usize {
        0
    }

    /// Called before the first image and again whenever shared inputs have changed: the place to pack weights.
    /// `Some` where input is shared (constants included).
    fn prepare(&mut self, _shared: &[Option<&[f32]>]) {}

    /// Writes all of `output`. Slices of omitted inputs are empty.
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]);

    /// Writes the wanted gradients.
    fn backward(&self, call: BackwardCall<'_, '_>);

    /// Whether input `input`, where all samples share it, is read by `prepare` alone.
    fn keeps_copy(&self, _input: usize) -> bool {
        false
    }

    /// Whether `backward` reads the input values.
    fn backward_needs_inputs(&self) -> bool {
        true
    }

    /// Whether `backward` reads the output values.
    fn backward_needs_output(&self) -> bool {
        false
    }
}

/// How quantization treats an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantizationRole {
    /// A matrix product with weights: Conv, ConvTranspose, Gemm, MatMul.
    Weighted,
    /// Moves or selects elements: same scale out as in.
    PassThrough,
    /// Several data inputs become one output: Add, Mul, Concat.
    Merge,
    /// An integer kernel exists in some runtimes with own output scale: AveragePool, Sigmoid, LeakyRelu, Softmax.
    Function,
    /// A clamp that a runtime folds into its producer: Relu, Clip.
    Activation,
    /// Stays float.
    Float,
}

/// One ONNX operator with its attributes.
pub trait Operator: Any + Debug + Send + Sync {
    /// ONNX `op_type`.
    fn name(&self) -> &str;

    /// ONNX domain; empty for the default one.
    fn domain(&self) -> &str {
        ""
    }

    /// The attributes, in the form of the newest operator set that the graph may be in (13 and up).
    fn attributes(&self) -> Attributes;

    /// Element types and shapes of the outputs.
    ///
    /// # Errors
    /// If the inputs cannot be right, or the shape cannot be told.
    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal>;

    /// How the operator computes at `site`.
    ///
    /// # Errors
    /// If it cannot, with the reason.
    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal>;

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Float
    }

    /// The function of input 0 that it is, if that is linear in pieces; `constants` are the numbers of its inputs.
    fn activation(&self, _constants: &[Option<&TensorData>]) -> Option<Activation> {
        None
    }
}
