//! What Sum, Max and Min share.

use super::operator::{Implementation, Refusal, Site};
use super::unary::{output, traverse};
use crate::kernels::variadic::{Fold, Variadic};

/// # Errors
/// If there is no input, or one does not broadcast to the output.
pub fn implement(site: &Site<'_>, fold: Fold) -> Result<Implementation, Refusal> {
    let output = output(site)?;
    site.required(0)?;
    let traversal = |index| traverse(output, [&site.required(index)?.layout]);
    let traversals = (0..site.inputs.len()).map(traversal).collect::<Result<_, Refusal>>()?;
    Ok(Implementation::Compute(Box::new(Variadic { fold, traversals, output_len: output.len(), isa: site.isa })))
}
