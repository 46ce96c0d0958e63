//! Reductions along dimensions: ReduceSum, ReduceMean, ReduceMax and the like.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::reduction::{self, ReducedAxes};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::reduce::Reduction;

/// ONNX `op_type`, and since which operator set the axes are an input.
const NAMES: [(Reduction, &str, i64); 10] = [
    (Reduction::L1, "ReduceL1", 18),
    (Reduction::L2, "ReduceL2", 18),
    (Reduction::LogSum, "ReduceLogSum", 18),
    (Reduction::LogSumExp, "ReduceLogSumExp", 18),
    (Reduction::Max, "ReduceMax", 18),
    (Reduction::Mean, "ReduceMean", 18),
    (Reduction::Min, "ReduceMin", 18),
    (Reduction::Product, "ReduceProd", 18),
    (Reduction::Sum, "ReduceSum", 13),
    (Reduction::SumOfSquares, "ReduceSumSquare", 18),
];

/// Elements along dimensions made one.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    pub reduction: Reduction,
    pub axes: ReducedAxes,
}

impl Reduce {
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse(form: NodeForm, reduction: Reduction) -> Result<Parsed, Refusal> {
        let (_, input_since) = named(reduction);
        let (axes, inputs) = ReducedAxes::parse(form, input_since)?;
        Ok(Parsed { inputs, ..Parsed::plain(Reduce { reduction, axes }) })
    }
}

fn named(reduction: Reduction) -> (&'static str, i64) {
    NAMES.iter().find(|(other, ..)| *other == reduction).map_or(("", 0), |(_, name, since)| (*name, *since))
}

impl Operator for Reduce {
    fn name(&self) -> &str {
        named(self.reduction).0
    }

    fn attributes(&self) -> Attributes {
        self.axes.attributes()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.axes.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        reduction::implement(site, &self.axes, self.reduction)
    }
}
