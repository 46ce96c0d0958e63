//! DepthToSpace.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{moved, operator, row_major_shape, take_blocks};
use super::{NodeForm, Parsed};
use crate::graph::Dim;

/// `[N, C, H, W]` to `[N, C / b², H·b, W·b]`; `column_row_depth` is ONNX's mode CRD.
#[derive(Clone, Copy, Debug)]
pub struct DepthToSpace {
    pub block_size: usize,
    pub column_row_depth: bool,
}

impl DepthToSpace {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let (block_size, column_row_depth) = take_blocks(form)?;
        Ok(Parsed::plain(DepthToSpace { block_size, column_row_depth }))
    }
}

operator!(
    DepthToSpace,
    PassThrough,
    |s| Attributes::default().int("blocksize", s.block_size as i64).string("mode", if s.column_row_depth { "CRD" } else { "DCR" }),
    |s, inputs| {
        let x = inputs.required(0)?;
        let [n, c, h, w] = &x.shape[..] else { return Err(format!("its input has rank {}, it needs 4", x.rank())) };
        let grow = |dim: &Dim| dim.known().map_or(Dim::Unknown, |n| Dim::Known(n * s.block_size));
        let channels = match c.known() {
            Some(c) if c % (s.block_size * s.block_size) == 0 => Dim::Known(c / (s.block_size * s.block_size)),
            Some(c) => return Err(format!("blocksize={} does not divide {c} channels", s.block_size)),
            None => Dim::Unknown,
        };
        Ok(vec![Fact::new(x.data_type, vec![n.clone(), channels, grow(h), grow(w)])])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let output = &site.output(0).ok_or("it has no output")?.shape;
        let [_, c, h, w] = shape[..] else { return Err("it needs rank 4".to_string()) };
        let (b, depth) = (s.block_size, c / (s.block_size * s.block_size));
        let mut map = Vec::new();
        for n in 0..output[0] {
            for channel in 0..output[1] {
                for y in 0..output[2] {
                    for x in 0..output[3] {
                        let block = y % b * b + x % b;
                        let from = if s.column_row_depth { channel * b * b + block } else { block * depth + channel };
                        map.push((((n * c + from) * h + y / b) * w + x / b) as u32);
                    }
                }
            }
        }
        Ok(moved(vec![map]))
    }
);
