//! Gemm and MatMul.

use super::attributes::Attributes;
use super::broadcast::broadcast;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::MatrixProduct;

/// alpha · A · B + beta · C, with A `[M, K]` and B `[K, N]` after transposing.
#[derive(Clone, Debug)]
pub struct Gemm {
    pub alpha: f32,
    pub beta: f32,
    pub transpose_a: bool,
    pub transpose_b: bool,
}

/// Matrix product with numpy's rules for ranks above 2.
#[derive(Clone, Copy, Debug)]
pub struct MatMul;

fn agree(a: &Dim, b: &Dim) -> Result<(), Refusal> {
    match (a, b) {
        (Dim::Known(a), Dim::Known(b)) if a != b => Err(format!("inner sizes {a} and {b} differ")),
        _ => Ok(()),
    }
}

impl Gemm {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let gemm = Gemm {
            alpha: attributes.take_float("alpha", 1.0)?,
            beta: attributes.take_float("beta", 1.0)?,
            transpose_a: attributes.take_int("transA", 0)? != 0,
            transpose_b: attributes.take_int("transB", 0)? != 0,
        };
        attributes.0.remove("broadcast");
        attributes.finish()?;
        Ok(Parsed::plain(gemm))
    }
}

impl Operator for Gemm {
    fn name(&self) -> &str {
        "Gemm"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().float("alpha", self.alpha).float("beta", self.beta);
        attributes.int("transA", self.transpose_a.into()).int("transB", self.transpose_b.into())
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (a, b) = (inputs.required(0)?, inputs.required(1)?);
        let ([a0, a1], [b0, b1]) = (&a.shape[..], &b.shape[..]) else { return Err("its inputs must have rank 2".to_string()) };
        let (m, k) = if self.transpose_a { (a1, a0) } else { (a0, a1) };
        let (k_of_b, n) = if self.transpose_b { (b1, b0) } else { (b0, b1) };
        agree(k, k_of_b)?;
        let shape = vec![m.clone(), n.clone()];
        if let Some(c) = inputs.get(2) {
            broadcast(&shape, &c.shape)?;
        }
        Ok(vec![Fact::new(a.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (a, b, output) = (site.required(0)?, site.required(1)?, site.outputs.first().ok_or("it has no output")?);
        let (rows, n) = (output.shape[0], output.shape[1]);
        let k = a.layout.shape[usize::from(!self.transpose_a)];
        let plain_bias = site.get(2).is_none_or(|c| c.layout.len() == n && c.layout.shape.last() == Some(&n));
        if !self.transpose_a && self.alpha == 1.0 && self.beta == 1.0 && plain_bias {
            return Ok(Implementation::Compute(Box::new(MatrixProduct::new(rows, k, n, self.transpose_b, site.isa))));
        }
        let a_offsets = |row: usize, k_index: usize| if self.transpose_a { k_index * rows + row } else { row * k + k_index };
        let b_offsets = |k_index: usize, column: usize| if self.transpose_b { column * k + k_index } else { k_index * n + column };
        let _ = b;
        let mut products = Vec::with_capacity(rows * n);
        for row in 0..rows {
            for column in 0..n {
                let terms = (0..k).map(|i| (a_offsets(row, i) as u32, b_offsets(i, column) as u32)).collect();
                products.push((terms, (row * n + column) as u32));
            }
        }
        let addend = site.get(2).map(|c| c.layout.broadcast_offsets(&output.shape));
        Ok(Implementation::Compute(Box::new(PlainProduct { products, addend, alpha: self.alpha, beta: self.beta })))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Weighted
    }
}

/// Any sum of products, term by term.
struct PlainProduct {
    /// Offsets of each output's factors, and of the output.
    products: Vec<(Vec<(u32, u32)>, u32)>,
    /// Offset of each output's addend in input 2.
    addend: Option<Vec<usize>>,
    alpha: f32,
    beta: f32,
}

impl Kernel for PlainProduct {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (index, (terms, to)) in self.products.iter().enumerate() {
            let sum: f32 = terms.iter().map(|(a, b)| inputs[0][*a as usize] * inputs[1][*b as usize]).sum();
            let addend = self.addend.as_ref().map_or(0.0, |offsets| self.beta * inputs[2][offsets[index]]);
            output[*to as usize] = self.alpha * sum + addend;
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        for (index, gradient) in call.input_gradients.iter_mut().enumerate() {
            let Some(gradient) = gradient else { continue };
            let target = gradient.open();
            for (position, (terms, to)) in self.products.iter().enumerate() {
                let g = call.output_gradient[*to as usize];
                match (index, &self.addend) {
                    (0, _) => terms.iter().for_each(|(a, b)| target[*a as usize] += self.alpha * g * call.inputs[1][*b as usize]),
                    (1, _) => terms.iter().for_each(|(a, b)| target[*b as usize] += self.alpha * g * call.inputs[0][*a as usize]),
                    (_, Some(offsets)) => target[offsets[position]] += self.beta * g,
                    _ => {}
                }
            }
        }
    }
}

impl MatMul {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(MatMul))
    }
}

impl Operator for MatMul {
    fn name(&self) -> &str {
        "MatMul"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (a, b) = (inputs.required(0)?, inputs.required(1)?);
        let (ra, rb) = (a.rank(), b.rank());
        if ra < 2 || rb < 2 {
            return Err(format!("ranks {ra} and {rb} are not supported; both must be at least 2"));
        }
        agree(&a.shape[ra - 1], &b.shape[rb - 2])?;
        let mut shape = broadcast(&a.shape[..ra - 2], &b.shape[..rb - 2])?;
        shape.extend([a.shape[ra - 2].clone(), b.shape[rb - 1].clone()]);
        Ok(vec![Fact::new(a.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (a, b) = (&site.required(0)?.layout, &site.required(1)?.layout);
        let output = site.outputs.first().ok_or("it has no output")?;
        let (rank, k) = (output.shape.len(), a.shape[a.shape.len() - 1]);
        let (m, n) = (output.shape[rank - 2], output.shape[rank - 1]);
        if a.shape.len() == 2 && b.shape.len() == 2 {
            return Ok(Implementation::Compute(Box::new(MatrixProduct::new(m, k, n, false, site.isa))));
        }
        let stack = |layout: &Layout, last: [usize; 2]| -> Vec<usize> {
            let mut shape = output.shape[..rank - 2].to_vec();
            shape.extend(last);
            layout.broadcast_offsets(&shape)
        };
        let (a_offsets, b_offsets, to) = (stack(a, [m, k]), stack(b, [k, n]), output.offsets());
        let mut products = Vec::with_capacity(to.len());
        for (index, to) in to.into_iter().enumerate() {
            let (matrix, row, column) = (index / (m * n), index / n % m, index % n);
            let terms = (0..k).map(|i| (a_offsets[(matrix * m + row) * k + i] as u32, b_offsets[(matrix * k + i) * n + column] as u32));
            products.push((terms.collect(), to as u32));
        }
        Ok(Implementation::Compute(Box::new(PlainProduct { products, addend: None, alpha: 1.0, beta: 0.0 })))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Weighted
    }
}
