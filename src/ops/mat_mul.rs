//! MatMul: products of the last two dimensions, broadcast over the others.

use super::attributes::Attributes;
use super::gemm::check_sizes;
use super::matrix_kernel::{Batch, MatrixForm, MatrixKernel};
use super::operator::{Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::reordered::reorder;
use super::{NodeForm, Parsed};
use crate::graph::{Dim, known_shape};
use crate::kernels::MatrixProduct;

/// `[…, M, K]` × `[…, K, N]` = `[…, M, N]`; a vector stands for one row on the left and one column on the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatMul;

/// Shapes with vectors filled up to matrices.
struct Sides {
    left_batch: Vec<Dim>,
    right_batch: Vec<Dim>,
    rows: Dim,
    depth: Dim,
    columns: Dim,
}

fn sides(left: &[Dim], right: &[Dim]) -> Result<Sides, Refusal> {
    let one = Dim::Known(1);
    let (left_batch, rows, depth) = match left {
        [] => return Err("input 0 is a scalar".into()),
        [depth] => (vec![], one.clone(), depth.clone()),
        [batch @ .., rows, depth] => (batch.to_vec(), rows.clone(), depth.clone()),
    };
    let (right_batch, other, columns) = match right {
        [] => return Err("input 1 is a scalar".into()),
        [depth] => (vec![], depth.clone(), one),
        [batch @ .., depth, columns] => (batch.to_vec(), depth.clone(), columns.clone()),
    };
    match (&depth, &other) {
        (Dim::Known(a), Dim::Known(b)) if a != b => Err(format!("sides of depth {a} and {b} do not fit each other")),
        _ => Ok(Sides { left_batch, right_batch, rows, depth: other, columns }),
    }
}

impl Sides {
    fn batch(&self) -> Result<Vec<Dim>, Refusal> {
        let rank = self.left_batch.len().max(self.right_batch.len());
        let at = |batch: &[Dim], index: usize| (index + batch.len()).checked_sub(rank).map_or(Dim::Known(1), |index| batch[index].clone());
        (0..rank).map(|index| broadcast(at(&self.left_batch, index), at(&self.right_batch, index))).collect()
    }
}

fn broadcast(left: Dim, right: Dim) -> Result<Dim, Refusal> {
    match (left, right) {
        (Dim::Known(1), other) | (other, Dim::Known(1)) => Ok(other),
        (left, right) if left == right => Ok(left),
        (Dim::Known(a), Dim::Known(b)) => Err(format!("batch sizes {a} and {b} do not broadcast")),
        (Dim::Known(n), _) | (_, Dim::Known(n)) => Ok(Dim::Known(n)),
        _ => Ok(Dim::Unknown),
    }
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|n| Dim::Known(*n)).collect()
}

/// Which matrices meet; one tall product where a single right side serves all rows.
fn batches(left: &[usize], right: &[usize], output: &[usize]) -> Vec<Batch> {
    let offsets = |batch: &[usize]| Layout::row_major(batch).broadcast_offsets(output);
    let pairs = offsets(left).into_iter().zip(offsets(right));
    pairs.enumerate().map(|(output, (left, right))| Batch { left, right, output }).collect()
}

impl Operator for MatMul {
    fn name(&self) -> &str {
        "MatMul"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (left, right) = (inputs.required(0)?, inputs.required(1)?);
        if left.data_type != right.data_type {
            return Err(format!("inputs of types {} and {} do not fit each other", left.data_type, right.data_type));
        }
        let sides = sides(&left.shape, &right.shape)?;
        let mut shape = sides.batch()?;
        shape.extend((left.rank() > 1).then_some(sides.rows));
        shape.extend((right.rank() > 1).then_some(sides.columns));
        Ok(vec![Fact::new(left.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (left, right) = (site.required(0)?, site.required(1)?);
        let output = site.output(0).ok_or("the output is missing")?;
        let sides = sides(&dims(&left.layout.shape), &dims(&right.layout.shape))?;
        let batch = known_shape(&sides.batch()?).ok_or("sizes must be known")?;
        let known = known_shape(&[sides.rows, sides.depth, sides.columns]).ok_or("sizes must be known")?;
        let [mut rows, depth, columns] = known[..] else { return Err("sizes must be known".into()) };
        let left_batch = known_shape(&sides.left_batch).unwrap_or_default();
        let right_batch = known_shape(&sides.right_batch).unwrap_or_default();
        let mut batches = batches(&left_batch, &right_batch, &batch);
        if right_batch.iter().all(|n| *n == 1) && left_batch.iter().product::<usize>() == batches.len() && !batches.is_empty() {
            rows *= batches.len();
            batches.truncate(1);
        }
        check_sizes(&[rows, depth, columns])?;
        let product = MatrixProduct::new(rows, depth, columns, false, site.isa);
        let form = MatrixForm { batches, left_transposed: false, scale: 1.0, addend: None };
        let kernel = Box::new(MatrixKernel::new(product, form, left, right));
        let wanted = [Layout::row_major(&left.layout.shape), Layout::row_major(&right.layout.shape)];
        Ok(Implementation::Compute(reorder(site, &wanted, &Layout::row_major(&output.shape), kernel)))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Weighted
    }
}

/// # Errors
/// If the node is malformed.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    form.attributes.finish()?;
    Ok(Parsed::plain(MatMul))
}
