//! Our own executor as an engine.

use super::engine::{Engine, Stacked, Subject};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::{Config, evaluate};
use crate::graph::Graph;

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

    fn outputs(&mut self, set: &CalibrationSet) -> Result<Vec<Stacked>> {
        Ok(evaluate(self.graph, &self.graph.outputs, set, &self.config)?.into_iter().map(Stacked::Whole).collect())
    }
}
