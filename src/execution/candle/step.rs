//! What one node does on candle tensors, forward and backward.

use candle_core::{DType, Result, Tensor};

/// What [`Step::backward`] works on.
pub(super) struct Call<'a> {
    pub inputs: &'a [Option<Tensor>],
    pub output: &'a Tensor,
    /// Of the output.
    pub gradient: &'a Tensor,
    /// Which inputs need a gradient.
    pub wanted: &'a [bool],
}

impl Call<'_> {
    pub fn wants(&self, input: usize) -> bool {
        self.wanted.get(input).copied().unwrap_or(false)
    }
}

/// A node on whole batches. Every tensor is row-major and contiguous, with the batch before the dimensions of one sample;
/// it is 1 where all samples share the value.
pub(super) trait Step: Send + Sync {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor>;

    /// The gradient of every wanted input, in the shape of that input.
    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>>;
}

/// # Errors
/// If input `index` is missing.
pub(super) fn required(inputs: &[Option<Tensor>], index: usize) -> Result<&Tensor> {
    match inputs.get(index) {
        Some(Some(tensor)) => Ok(tensor),
        _ => candle_core::bail!("input {index} is missing"),
    }
}

/// `x` with ones between the batch and its other dimensions, as many as make `rank` in all.
pub(super) fn align(x: &Tensor, rank: usize) -> Result<Tensor> {
    let missing = rank.saturating_sub(x.rank());
    let dims = x.dims();
    x.reshape([&dims[..1], &vec![1; missing], &dims[1..]].concat())
}

/// `gradient`, summed over what `like` was broadcast along, in the shape of `like`.
pub(super) fn fit(gradient: &Tensor, like: &Tensor) -> Result<Tensor> {
    let aligned = align(like, gradient.rank())?;
    let pairs = gradient.dims().iter().zip(aligned.dims());
    let broadcast: Vec<usize> = pairs.enumerate().filter(|(_, (a, b))| a != b).map(|(dim, _)| dim).collect();
    let summed = if broadcast.is_empty() { gradient.clone() } else { gradient.sum_keepdim(broadcast)? };
    summed.reshape(like.dims())
}

/// 1 where a comparison holds, else 0.
pub(super) fn mask(comparison: Result<Tensor>) -> Result<Tensor> {
    comparison?.to_dtype(DType::F32)
}

/// `vector` along dimension `axis` of what has `rank` dimensions, the batch included.
pub(super) fn along(vector: &Tensor, axis: usize, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank];
    dims[axis] = vector.elem_count();
    vector.reshape(dims)
}
