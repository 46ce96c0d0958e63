//! Matrix products.

use candle_core::{Result, Tensor};

use super::step::{Call, Step, align, fit, required};

/// MatMul of two values of rank 2 or more.
pub(super) struct MatMul;

impl Step for MatMul {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let (a, b) = both(inputs)?;
        multiply(&a, &b)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (a, b) = both(call.inputs)?;
        let g = call.gradient;
        let mut found = vec![None, None];
        if call.wants(0) {
            found[0] = Some(fit(&multiply(g, &transposed(&b)?)?, required(call.inputs, 0)?)?);
        }
        if call.wants(1) {
            found[1] = Some(fit(&weigh(&a, g, is_shared(&b))?, required(call.inputs, 1)?)?);
        }
        Ok(found)
    }
}

/// α · A · B + β · C.
pub(super) struct Gemm {
    pub alpha: f64,
    pub beta: f64,
    pub transpose_a: bool,
    pub transpose_b: bool,
}

impl Gemm {
    fn factors(&self, inputs: &[Option<Tensor>]) -> Result<(Tensor, Tensor)> {
        let turned = |index: usize, turn: bool| -> Result<Tensor> {
            let x = required(inputs, index)?;
            if turn { transposed(x) } else { Ok(x.clone()) }
        };
        Ok((turned(0, self.transpose_a)?, turned(1, self.transpose_b)?))
    }
}

impl Step for Gemm {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let (a, b) = self.factors(inputs)?;
        let product = (multiply(&a, &b)? * self.alpha)?;
        match inputs.get(2) {
            Some(Some(c)) => product.broadcast_add(&(align(c, product.rank())? * self.beta)?),
            _ => Ok(product),
        }
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (a, b) = self.factors(call.inputs)?;
        let g = (call.gradient * self.alpha)?;
        let back = |gradient: Tensor, turned: bool| if turned { transposed(&gradient) } else { Ok(gradient) };
        let mut found = vec![None, None, None];
        if call.wants(0) {
            found[0] = Some(fit(&back(multiply(&g, &transposed(&b)?)?, self.transpose_a)?, required(call.inputs, 0)?)?);
        }
        if call.wants(1) {
            found[1] = Some(fit(&back(weigh(&a, &g, is_shared(&b))?, self.transpose_b)?, required(call.inputs, 1)?)?);
        }
        if call.wants(2) {
            found[2] = Some(fit(&(call.gradient * self.beta)?, required(call.inputs, 2)?)?);
        }
        Ok(found)
    }
}

fn both(inputs: &[Option<Tensor>]) -> Result<(Tensor, Tensor)> {
    let (a, b) = (required(inputs, 0)?, required(inputs, 1)?);
    let rank = a.rank().max(b.rank());
    Ok((align(a, rank)?, align(b, rank)?))
}

fn transposed(x: &Tensor) -> Result<Tensor> {
    x.transpose(x.rank() - 2, x.rank() - 1)?.contiguous()
}

/// Whether `x` is one matrix for all.
fn is_shared(x: &Tensor) -> bool {
    x.dims()[..x.rank() - 2].iter().all(|size| *size == 1)
}

/// `[…, m, k]` × `[…, k, n]`.
fn multiply(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let rank = a.rank();
    if !is_shared(b) {
        return a.contiguous()?.broadcast_matmul(b);
    }
    let (depth, columns) = (b.dim(rank - 2)?, b.dim(rank - 1)?);
    let product = a.reshape(((), depth))?.matmul(&b.reshape((depth, columns))?)?;
    product.reshape([&a.dims()[..rank - 1], &[columns]].concat())
}

/// The gradient of B: Aᵀ · G, summed over all matrices where `shared`.
fn weigh(a: &Tensor, g: &Tensor, shared: bool) -> Result<Tensor> {
    let rank = a.rank();
    if !shared {
        return transposed(a)?.broadcast_matmul(g);
    }
    let (depth, columns) = (a.dim(rank - 1)?, g.dim(rank - 1)?);
    let product = a.reshape(((), depth))?.t()?.contiguous()?.matmul(&g.reshape(((), columns))?)?;
    product.reshape([&vec![1; rank - 2], &[depth, columns][..]].concat())
}
