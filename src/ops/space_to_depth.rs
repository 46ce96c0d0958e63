//! SpaceToDepth.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{moved, operator, row_major_shape, take_blocks};
use super::{NodeForm, Parsed};
use crate::graph::Dim;

/// `[N, C, H, W]` to `[N, b²·C, H / b, W / b]`; `column_row_depth` is ONNX's mode CRD: the channel comes before the place in
/// the block.
#[derive(Clone, Copy, Debug)]
pub struct SpaceToDepth {
    pub block_size: usize,
    pub column_row_depth: bool,
}

impl SpaceToDepth {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let (block_size, column_row_depth) = take_blocks(form)?;
        Ok(Parsed::plain(SpaceToDepth { block_size, column_row_depth }))
    }
}

operator!(
    SpaceToDepth,
    PassThrough,
    |s| {
        let attributes = Attributes::default().int("blocksize", s.block_size as i64);
        // The attribute came with operator set 28.
        if s.column_row_depth { attributes.string("mode", "CRD") } else { attributes }
    },
    |s, inputs| {
        let x = inputs.required(0)?;
        let [n, c, h, w] = &x.shape[..] else { return Err(format!("its input has rank {}, it needs 4", x.rank())) };
        let shrink = |dim: &Dim| match dim.known() {
            Some(size) if size.is_multiple_of(s.block_size) => Ok(Dim::Known(size / s.block_size)),
            Some(size) => Err(format!("blocksize={} does not divide {size}", s.block_size)),
            None => Ok(Dim::Unknown),
        };
        let channels = c.known().map_or(Dim::Unknown, |c| Dim::Known(c * s.block_size * s.block_size));
        Ok(vec![Fact::new(x.data_type, vec![n.clone(), channels, shrink(h)?, shrink(w)?])])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let output = &site.output(0).ok_or("it has no output")?.shape;
        let ([_, c, h, w], [batch, channels, rows, columns]) = (&shape[..], &output[..]) else {
            return Err("it needs rank 4".to_string());
        };
        let b = s.block_size;
        let mut map = Vec::with_capacity(output.iter().product());
        for n in 0..*batch {
            for channel in 0..*channels {
                let area = b * b;
                let (block, from) = if s.column_row_depth { (channel % area, channel / area) } else { (channel / c, channel % c) };
                for y in 0..*rows {
                    let row = ((n * c + from) * h + y * b + block / b) * w + block % b;
                    map.extend((0..*columns).map(|x| (row + x * b) as u32));
                }
            }
        }
        Ok(moved(vec![map]))
    }
);
