//! Quantization that is left out at random.

use candle_core::{DType, Result, Tensor};

use super::step::{Call, Step, required};
use crate::ops::QuantizationDrop;

/// [`QuantizationDrop`], which chooses as on the CPU, where channels come last.
pub(super) struct Drop;

impl Drop {
    fn seed(inputs: &[Option<Tensor>]) -> Result<Option<u32>> {
        let state = required(inputs, 2)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(state.first().and_then(|state| QuantizationDrop::seed(*state)))
    }
}

/// 1 where an element of `x` `[batch, images, channels, …]` keeps its value, else 0.
fn kept(x: &Tensor, seed: u32) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return super::cuda::keeps(x, seed)?.to_dtype(DType::U8);
    }
    let (_, images, channels) = (x.dim(0)?, x.dim(1)?, x.dim(2)?);
    let inner: usize = x.dims()[3..].iter().product();
    let sample = images * channels * inner;
    let keeps = |(at, x): (usize, &f32)| {
        let (place, channel, image) = (at % inner, at / inner % channels, at % sample / (channels * inner));
        u8::from(QuantizationDrop::keeps(*x, (image * inner + place) * channels + channel, seed))
    };
    let elements = x.flatten_all()?.to_vec1::<f32>()?;
    Tensor::from_vec(elements.iter().enumerate().map(keeps).collect::<Vec<u8>>(), x.dims(), x.device())
}

impl Step for Drop {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let (x, quantized) = (required(inputs, 0)?, required(inputs, 1)?);
        match Self::seed(inputs)? {
            Some(seed) => kept(x, seed)?.where_cond(x, quantized),
            None => Ok(quantized.clone()),
        }
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, g) = (required(call.inputs, 0)?, call.gradient);
        let zeros = Tensor::zeros(g.dims(), DType::F32, g.device())?;
        let (by_x, by_quantized) = match Self::seed(call.inputs)? {
            Some(seed) => {
                let kept = kept(x, seed)?;
                (kept.where_cond(g, &zeros)?, kept.where_cond(&zeros, g)?)
            }
            None => (zeros, g.clone()),
        };
        Ok(vec![Some(by_x), Some(by_quantized), None])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::execution::candle::tests::assert_agree;
    use crate::graph::sketch::Sketch;
    use crate::tensor::TensorData;

    #[test]
    fn the_same_elements_are_dropped_on_every_engine() {
        for (shape, state) in [(&[1, 3, 5, 4][..], 7.0f32), (&[1, 3, 5, 4], -1.0), (&[2, 6], 9.0)] {
            let mut graph = Sketch::new(shape).plain("q", "Neg", "x").outputs("q");
            let state = graph.add_constant("state", TensorData::scalar(state));
            let (x, q) = (graph.inputs[0], graph.find_value("q").unwrap());
            let (_, y) = graph.add_operation("y_node", Arc::new(QuantizationDrop), vec![x, q, state], "y");
            let facts = graph.value(x).clone();
            graph.set_facts(y, facts.data_type, facts.shape);
            graph.outputs = vec![y];
            assert_eq!(assert_agree("drop", &graph, &[y], &[]), 0);
        }
    }
}
