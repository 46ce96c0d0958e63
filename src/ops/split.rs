//! Split.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{index_map, moved, operator, row_major_shape};
use super::unary::resolve_axis;
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::TensorData;

/// Cuts input 0 along `axis` into its outputs: sizes in input 1, or equal parts.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    pub axis: i64,
    pub outputs: usize,
    /// Whether the number of outputs is an attribute: from operator set 18 on it must be, where no sizes are given.
    pub counted: bool,
}

impl Split {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 0)?;
        let sizes = attributes.take_ints("split")?;
        let counted = attributes.take_optional_int("num_outputs")?;
        attributes.finish()?;
        if let Some(outputs) = counted.filter(|outputs| *outputs != form.output_count as i64) {
            return Err(format!("num_outputs={outputs} for {} outputs", form.output_count));
        }
        let inputs = sizes.map(|sizes| (1, TensorData::vector(sizes))).into_iter().collect();
        Ok(Parsed { inputs, ..Parsed::plain(Split { axis, outputs: form.output_count, counted: counted.is_some() }) })
    }

    fn sizes(self, total: usize, given: Option<Vec<i64>>) -> Result<Vec<usize>, Refusal> {
        let sizes: Vec<usize> = match given {
            Some(given) => {
                given.iter().map(|n| usize::try_from(*n).map_err(|_| format!("split={given:?} is negative"))).collect::<Result<_, _>>()?
            }
            None => {
                let part = total.div_ceil(self.outputs.max(1));
                (0..self.outputs).map(|i| part.min(total.saturating_sub(i * part))).collect()
            }
        };
        let sum = sizes.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
        if sizes.len() != self.outputs || sum != Some(total) {
            Err(format!("split={sizes:?} does not add up to {total}"))
        } else {
            Ok(sizes)
        }
    }
}

operator!(
    Split,
    PassThrough,
    |s| {
        let attributes = Attributes::default().int("axis", s.axis);
        if s.counted { attributes.int("num_outputs", s.outputs as i64) } else { attributes }
    },
    |s, inputs| {
        let x = inputs.required(0)?;
        let axis = resolve_axis(s.axis, x.rank())?;
        let given = inputs.get(1).map(|sizes| sizes.integers().ok_or("its sizes must be constant")).transpose()?;
        let total = x.shape[axis].known().ok_or("the size of the dimension that it cuts is not known")?;
        let part = |size: usize| {
            let mut shape = x.shape.clone();
            shape[axis] = Dim::Known(size);
            Fact::new(x.data_type, shape)
        };
        Ok(s.sizes(total, given)?.into_iter().map(part).collect())
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let axis = resolve_axis(s.axis, shape.len())?;
        let given = site.get(1).map(|_| site.integers(1)).transpose()?;
        let mut start = 0;
        let maps = s.sizes(shape[axis], given)?.into_iter().map(|size| {
            let mut picks: Vec<Vec<Option<usize>>> = shape.iter().map(|n| (0..*n).map(Some).collect()).collect();
            picks[axis] = (start..start + size).map(Some).collect();
            start += size;
            index_map(&shape, &picks)
        });
        Ok(moved(maps.collect()))
    }
);
