//! Operators that are index maps, and images moved by an offset.

use candle_core::{Device, Result, Tensor};

use super::gather::Gather;
use super::step::{Call, Step, required};

/// Every element of the output is one of the inputs', or `fill`.
pub(super) struct Move {
    gather: Gather,
    fill: f64,
    /// Elements of each present input.
    lengths: Vec<Option<usize>>,
    output: Vec<usize>,
}

impl Move {
    /// `map` as in [`crate::ops::operator::Implementation::Move`]; shapes are those of one sample. `None` where going back would
    /// read too much.
    ///
    /// # Errors
    /// If the map is wrong, or `device` has no memory for it.
    pub fn new(map: &[u32], fill: f64, inputs: &[Option<&[usize]>], output: &[usize], device: &Device) -> Result<Option<Self>> {
        let lengths: Vec<Option<usize>> = inputs.iter().map(|shape| shape.map(|shape| shape.iter().product())).collect();
        let gather = Gather::new(map, lengths.iter().flatten().sum(), device)?;
        Ok(gather.map(|gather| Move { gather, fill, lengths, output: output.to_vec() }))
    }
}

impl Step for Move {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let batch = inputs.iter().flatten().map(|x| x.dims()[0]).max().unwrap_or(1);
        let flat = |x: &Tensor| x.reshape((x.dim(0)?, ()))?.broadcast_as((batch, x.elem_count() / x.dim(0)?))?.contiguous();
        let parts = inputs.iter().flatten().map(flat).collect::<Result<Vec<_>>>()?;
        let all = if let [one] = parts.as_slice() { one.clone() } else { Tensor::cat(&parts, 1)? };
        self.gather.forward(&all, self.fill)?.reshape([&[batch], self.output.as_slice()].concat())
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let g = call.gradient;
        let all = self.gather.backward(&g.reshape((g.dim(0)?, self.gather.len()))?)?;
        let (mut found, mut start) = (Vec::new(), 0);
        for (index, length) in self.lengths.iter().enumerate() {
            let Some(length) = length else {
                found.push(None);
                continue;
            };
            if call.wants(index) {
                let x = required(call.inputs, index)?;
                let part = all.narrow(1, start, *length)?;
                let part = if x.dims()[0] == 1 { part.sum_keepdim(0)? } else { part };
                found.push(Some(part.contiguous()?.reshape(x.dims())?));
            } else {
                found.push(None);
            }
            start += length;
        }
        Ok(found)
    }
}

/// [`crate::ops::Swing`]: all nine offsets, of which input 1 names one.
pub(super) struct Swing {
    offsets: Vec<Gather>,
}

impl Swing {
    /// # Errors
    /// If `device` has no memory for the positions.
    pub fn new(height: usize, width: usize, device: &Device) -> Result<Option<Self>> {
        let reflect = |at: isize, size: usize| {
            let last = size as isize - 1;
            (if at < 0 { -at } else { at.min(2 * last - at) }) as u32
        };
        let mut offsets = Vec::with_capacity(9);
        for (down, right) in (0..9).map(|index| (index / 3 - 1, index % 3 - 1)) {
            let from = |at: usize| {
                let (y, x) = ((at / width) as isize + down, (at % width) as isize + right);
                reflect(y, height) * width as u32 + reflect(x, width)
            };
            let map: Vec<u32> = (0..height * width).map(from).collect();
            let Some(gather) = Gather::new(&map, height * width, device)? else { return Ok(None) };
            offsets.push(gather);
        }
        Ok(Some(Swing { offsets }))
    }

    fn gather(&self, inputs: &[Option<Tensor>]) -> Result<&Gather> {
        let offset = required(inputs, 1)?.flatten_all()?.to_vec1::<f32>()?;
        let at = |index: usize| offset.get(index).map_or(1, |offset| offset.clamp(0.0, 2.0) as usize);
        Ok(&self.offsets[at(0) * 3 + at(1)])
    }
}

impl Step for Swing {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        self.gather(inputs)?.forward(&x.flatten_from(3)?, 0.0)?.reshape(x.dims())
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let g = call.gradient;
        Ok(vec![Some(self.gather(call.inputs)?.backward(&g.flatten_from(3)?)?.reshape(g.dims())?)])
    }
}
