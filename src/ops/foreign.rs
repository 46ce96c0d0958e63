//! An operator that zeroq does not know: carried through unharmed, never executed.

use std::collections::BTreeSet;

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};

/// Kept as it came. Values that its subgraphs capture from outside stand behind its own inputs on the node, so that
/// the graph knows they are needed; only the first `own_inputs` are written back.
#[derive(Clone, Debug)]
pub struct Foreign {
    pub op_type: String,
    pub domain: String,
    pub attributes: Attributes,
    pub own_inputs: usize,
    /// Operators of the default domain in its subgraphs, those within them included.
    pub inner: BTreeSet<String>,
    /// Why it is not executed, for messages.
    pub reason: String,
}

impl Operator for Foreign {
    fn name(&self) -> &str {
        &self.op_type
    }

    fn domain(&self) -> &str {
        &self.domain
    }

    fn attributes(&self) -> Attributes {
        self.attributes.clone()
    }

    fn infer(&self, _inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        Err(self.reason.clone())
    }

    fn implement(&self, _site: &Site<'_>) -> Result<Implementation, Refusal> {
        Err(self.reason.clone())
    }
}
