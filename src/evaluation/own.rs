//! Our own executor as an engine.

use super::engine::{Engine, Stacked, Subject};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::{Config, evaluate};
use crate::graph::{Dim, Graph};

pub struct Own<'a> {
    graph: &'a Graph,
    config: Config,
}

impl<'a> Own<'a> {
    pub fn new(subject: &Subject<'a>, config: &Config) -> Self {
        Own { graph: subject.graph, config: *config }
    }
}

impl Engine for Own<'_> {
    fn name(&self) -> &str {
        concat!("zeroq ", env!("CARGO_PKG_VERSION"))
    }

    fn sizes_of(&self, name: &str) -> Option<Vec<Option<usize>>> {
        let value = self.graph.inputs.iter().map(|input| self.graph.value(*input)).find(|value| value.name == name)?;
        Some(value.shape.as_ref()?.iter().map(Dim::known).collect())
    }

    fn outputs(&mut self, set: &CalibrationSet) -> Result<Vec<Stacked>> {
        Ok(evaluate(self.graph, &self.graph.outputs, set, &self.config)?.into_iter().map(Stacked::Whole).collect())
    }
}
