//! What operators share whose outputs are elements of their inputs in another arrangement.

use super::NodeForm;
use super::operator::{FILL, Implementation, MOST_ELEMENTS, Refusal, Site};
use crate::graph::{Dim, known_shape};

/// Row-major index into `shape` for every combination of per-dimension indices; `None` among them is [`FILL`].
pub(super) fn index_map(shape: &[usize], picks: &[Vec<Option<usize>>]) -> Vec<u32> {
    let mut map = vec![0u32];
    for (size, picks) in shape.iter().zip(picks) {
        let next = map.iter().flat_map(|base| {
            picks.iter().map(move |pick| match pick {
                Some(index) if *base != FILL => base * *size as u32 + *index as u32,
                _ => FILL,
            })
        });
        map = next.collect();
    }
    map
}

pub(super) fn moved(maps: Vec<Vec<u32>>) -> Implementation {
    Implementation::Move { maps, fill: 0.0 }
}

pub(super) fn row_major_shape(site: &Site<'_>, index: usize) -> Result<Vec<usize>, Refusal> {
    Ok(site.required(index)?.layout.shape.clone())
}

/// `impl Operator` in one expression each: attributes, inference, implementation.
macro_rules! operator {
    ($name:ident, $role:ident, |$a:ident| $attributes:expr, |$s:ident, $inputs:ident| $infer:expr, |$t:ident, $site:ident| $implement:expr) => {
        impl Operator for $name {
            fn name(&self) -> &str {
                stringify!($name)
            }

            fn attributes(&self) -> Attributes {
                let $a = self;
                let _ = $a;
                $attributes
            }

            fn infer(&self, $inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
                let $s = self;
                let _ = $s;
                $infer
            }

            fn implement(&self, $site: &Site<'_>) -> Result<Implementation, Refusal> {
                let $t = self;
                let _ = $t;
                $implement
            }

            fn quantization_role(&self) -> QuantizationRole {
                QuantizationRole::$role
            }
        }
    };
}
pub(super) use operator;

/// Sizes from a list of integers.
pub(super) fn sizes(list: &[i64]) -> Result<Vec<usize>, Refusal> {
    let sizes =
        list.iter().map(|n| usize::try_from(*n).map_err(|_| format!("shape {list:?} is negative"))).collect::<Result<Vec<_>, _>>()?;
    let total = sizes.iter().try_fold(1usize, |total, n| total.checked_mul(*n));
    if total.is_none_or(|total| total > MOST_ELEMENTS) {
        Err(format!("shape {list:?} has more than {MOST_ELEMENTS} elements"))
    } else {
        Ok(sizes)
    }
}

/// Known sizes of all dimensions, or a refusal.
pub(super) fn all_known(shape: &[Dim]) -> Result<Vec<usize>, Refusal> {
    known_shape(shape).ok_or_else(|| "a size of its input is not known".to_string())
}

/// Side of the blocks, and whether the channel comes before the place in the block (ONNX's mode CRD).
///
/// # Errors
/// If an attribute is wrong or unknown.
pub fn take_blocks(form: NodeForm) -> Result<(usize, bool), Refusal> {
    let mut attributes = form.attributes;
    let block_size = attributes.take_int("blocksize", 0)?;
    let column_row_depth = match attributes.take_string("mode", "DCR")?.as_str() {
        "DCR" => false,
        "CRD" => true,
        other => return Err(format!("mode={other} is not known")),
    };
    attributes.finish()?;
    if !(1..=1024).contains(&block_size) {
        return Err(format!("blocksize={block_size} is out of range"));
    }
    Ok((block_size as usize, column_row_depth))
}
