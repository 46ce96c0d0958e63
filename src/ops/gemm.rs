//! Gemm: α · A · B + β · C.

use super::attributes::Attributes;
use super::matrix_kernel::{Addend, Batch, MatrixForm, MatrixKernel};
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::graph::{Dim, known_shape};
use crate::kernels::MatrixProduct;

/// A `[M, K]` (`[K, M]` if transposed), B `[K, N]` (`[N, K]`), C broadcast to `[M, N]`, output `[M, N]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    pub alpha: f32,
    pub beta: f32,
    pub transpose_a: bool,
    pub transpose_b: bool,
}

impl Gemm {
    /// `[M, K, N]` where the sides fit each other.
    fn sizes(&self, a: &[Dim], b: &[Dim]) -> Result<[Dim; 3], Refusal> {
        let ([a0, a1], [b0, b1]) = (a, b) else {
            return Err(format!("inputs of rank {} and {} are not supported, only 2", a.len(), b.len()));
        };
        let (rows, depth) = if self.transpose_a { (a1, a0) } else { (a0, a1) };
        let (other, columns) = if self.transpose_b { (b1, b0) } else { (b0, b1) };
        match (depth, other) {
            (Dim::Known(left), Dim::Known(right)) if left != right => {
                Err(format!("sides of depth {left} and {right} do not fit each other"))
            }
            _ => Ok([rows.clone(), other.clone(), columns.clone()]),
        }
    }
}

/// Strides of C against `[rows, columns]`.
fn addend_strides(shape: &[usize], rows: usize, columns: usize) -> Result<(usize, usize), Refusal> {
    let (c_rows, c_columns) = match *shape {
        [] => (1, 1),
        [columns] => (1, columns),
        [rows, columns] => (rows, columns),
        _ => return Err(format!("input 2 of shape {shape:?} is not a matrix")),
    };
    if (c_rows != 1 && c_rows != rows) || (c_columns != 1 && c_columns != columns) {
        return Err(format!("input 2 of shape {shape:?} does not broadcast to [{rows}, {columns}]"));
    }
    Ok((if c_rows == 1 { 0 } else { c_columns }, usize::from(c_columns != 1)))
}

impl Operator for Gemm {
    fn name(&self) -> &str {
        "Gemm"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().float("alpha", self.alpha).float("beta", self.beta);
        attributes.int("transA", i64::from(self.transpose_a)).int("transB", i64::from(self.transpose_b))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (a, b) = (inputs.required(0)?, inputs.required(1)?);
        if a.data_type != b.data_type {
            return Err(format!("inputs of types {} and {} do not fit each other", a.data_type, b.data_type));
        }
        let [rows, _, columns] = self.sizes(&a.shape, &b.shape)?;
        if let (Some(c), Dim::Known(m), Dim::Known(n)) = (inputs.get(2), &rows, &columns)
            && let Some(shape) = known_shape(&c.shape)
        {
            addend_strides(&shape, *m, *n)?;
        }
        Ok(vec![Fact::new(a.data_type, vec![rows, columns])])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (a, b) = (site.required(0)?, site.required(1)?);
        let dims = |shape: &[usize]| shape.iter().map(|n| Dim::Known(*n)).collect::<Vec<Dim>>();
        let sizes = known_shape(&self.sizes(&dims(&a.layout.shape), &dims(&b.layout.shape))?).unwrap_or_default();
        let [rows, depth, columns] = sizes[..] else { return Err("sizes must be known".into()) };
        check_sizes(&[rows, depth, columns])?;
        let addend = match site.get(2) {
            None => None,
            Some(c) => {
                let (row_stride, column_stride) = addend_strides(&c.layout.shape, rows, columns)?;
                Some(Addend { scale: self.beta, row_stride, column_stride })
            }
        };
        let product = MatrixProduct::new(rows, depth, columns, self.transpose_b, site.isa);
        let batches = vec![Batch { left: 0, right: 0, output: 0 }];
        let form = MatrixForm { batches, left_transposed: self.transpose_a, scale: self.alpha, addend };
        Ok(Implementation::Compute(Box::new(MatrixKernel::new(product, form, a, b))))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Weighted
    }
}

/// # Errors
/// If a size is zero or any product of two is too large to address.
pub fn check_sizes(sizes: &[usize; 3]) -> Result<(), Refusal> {
    let [rows, depth, columns] = sizes.map(|size| size as u128);
    let largest = (rows * depth).max(depth * columns).max(rows * columns);
    if sizes.contains(&0) || largest > i32::MAX as u128 {
        return Err(format!("a matrix product of sizes {sizes:?} is not supported"));
    }
    Ok(())
}

/// # Errors
/// If the node is malformed.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let gemm = Gemm {
        alpha: attributes.take_float("alpha", 1.0)?,
        beta: attributes.take_float("beta", 1.0)?,
        transpose_a: attributes.take_int("transA", 0)? != 0,
        transpose_b: attributes.take_int("transB", 0)? != 0,
    };
    attributes.finish()?;
    Ok(Parsed::plain(gemm))
}
