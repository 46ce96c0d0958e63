//! Rewrites of graphs. Each keeps the FP32 function; after each, `graph::check` holds.

mod absorb_bias;
mod batch_norm_statistics;
mod bind_shapes;
mod carry_through;
mod eliminate_identities;
mod equalize_layers;
mod flatten_softmax;
mod fold_batch_norm;
mod fold_bias;
mod fold_constants;
mod infer_shapes;
mod level_channels;
mod macs;
mod merge_pad;
mod name_all_dimensions;
mod name_old_rounding;
mod open_batch;
mod pad_channels;
mod plain_products;
mod replace_reduce_mean;
mod scale_quantized;
mod sizes;
mod split_channels;
#[cfg(test)]
mod tests;
mod unpack_sequences;
mod upgrade_opset;
mod widen_float16;

use crate::error::Result;
use crate::graph::{Graph, check};

pub use absorb_bias::{absorb_bias, add_to_bias, can_absorb_bias, outputs_of, weighted_sums};
pub use batch_norm_statistics::{BatchNormSite, batch_norm_statistics};
pub use bind_shapes::{assumed_shapes, bind_shapes, sample_shape, single_sample, sized_samples};
pub use carry_through::carry_through;
pub use eliminate_identities::eliminate_identities;
pub use equalize_layers::{Seam, channel_of, find_seams, scale_seam};
pub use flatten_softmax::flatten_softmax;
pub use fold_batch_norm::fold_batch_norm;
pub use fold_bias::fold_bias;
pub use fold_constants::{fold_constants, seal_constants};
pub use infer_shapes::{fact_of, infer_shapes};
pub use level_channels::level_channels;
pub use macs::macs;
pub use merge_pad::merge_pad;
pub use name_all_dimensions::name_all_dimensions;
pub use name_old_rounding::name_old_rounding;
pub use open_batch::{fixed_batch, open_batch, with_batch};
pub use pad_channels::pad_channels;
pub use plain_products::plain_products;
pub use replace_reduce_mean::replace_reduce_mean;
pub use split_channels::{Strand, find_strands, split_channels};
pub use unpack_sequences::unpack_sequences;
pub use upgrade_opset::upgrade_opset;
pub use widen_float16::widen_float16;

/// Removes what exporters leave behind: shape arithmetic, identities, separate padding and biases, factors of products.
/// BatchNormalization stays, since synthesis reads it.
///
/// # Errors
/// If the graph is not sound.
pub fn simplify(graph: &mut Graph) -> Result<()> {
    fold_constants(graph)?;
    name_old_rounding(graph)?;
    infer_shapes(graph)?;
    name_all_dimensions(graph)?;
    eliminate_identities(graph)?;
    merge_pad(graph)?;
    plain_products(graph)?;
    fold_bias(graph)?;
    graph.remove_dead_nodes(&[]);
    infer_shapes(graph)?;
    check(graph)
}

/// Brings a simplified graph into the form that runtimes execute with integers: BatchNormalization folded, means as pools.
/// Returns how many BatchNormalizations were folded and how many became convolutions of their own.
///
/// # Errors
/// If the graph is not sound.
pub fn prepare(graph: &mut Graph) -> Result<(usize, usize)> {
    let folded = fold_batch_norm(graph)?;
    replace_reduce_mean(graph)?;
    graph.remove_dead_nodes(&[]);
    infer_shapes(graph)?;
    check(graph)?;
    Ok(folded)
}
